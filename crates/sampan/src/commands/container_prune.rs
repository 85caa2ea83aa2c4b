//! `container prune`.

use super::shared;
use crate::args::{Arity, Flags, flag, long_filter_flag, verb};
use crate::client::{Call, Query};
use crate::failure::Result;
use crate::format::units::decimal_size;
use crate::{Context, output};
use clap::{Arg, ArgMatches};
use wire::docker::container::PruneReport;

verb!("prune", "[OPTIONS]", "Remove all stopped containers", Arity::None);

fn flags() -> Vec<Arg> {
    vec![long_filter_flag(), flag(Some('f'), "force", "Do not prompt for confirmation")]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    if !m.on("force") {
        shared::confirm("WARNING! This will remove all stopped containers.\nAre you sure you want to continue?")?;
    }
    let (text, space) = prune(cx, &m.texts("filter")).await?;
    output::print(&text);
    output::line(&format!("Total reclaimed space: {}", decimal_size(space as f64, 4)));
    Ok(0)
}

/// Removes them, tells which, and how much room they had.
pub(super) async fn prune(cx: &Context, filters: &[String]) -> Result<(String, u64)> {
    let query = Query::new().text("filters", &shared::filters(filters)?);
    let report: PruneReport = cx.client.ask(Call::post("/containers/prune").query(query)).await?;
    let ids = report.containers_deleted.unwrap_or_default();
    let text = if ids.is_empty() { String::new() } else { format!("Deleted Containers:\n{}\n\n", ids.join("\n")) };
    Ok((text, report.space_reclaimed))
}
