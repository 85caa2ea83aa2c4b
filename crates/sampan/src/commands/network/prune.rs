//! `network prune`.

use crate::args::{Arity, Flags, flag, long_filter_flag, verb};
use crate::client::{Call, Query};
use crate::commands::shared;
use crate::failure::Result;
use crate::{Context, output};
use clap::{Arg, ArgMatches};
use wire::docker::network::PruneReport;

verb!("prune", "[OPTIONS]", "Remove all unused networks", Arity::None);

fn flags() -> Vec<Arg> {
    vec![long_filter_flag(), flag(Some('f'), "force", "Do not prompt for confirmation")]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    if !m.on("force") {
        shared::confirm(
            "WARNING! This will remove all custom networks not used by at least one container.\nAre you sure you want to \
             continue?",
        )?;
    }
    output::print(&prune(cx, &m.texts("filter")).await?);
    Ok(0)
}

/// Removes them and tells which.
pub(in crate::commands) async fn prune(cx: &Context, filters: &[String]) -> Result<String> {
    let query = Query::new().text("filters", &shared::filters(filters)?);
    let report: PruneReport = cx.client.ask(Call::post("/networks/prune").query(query)).await?;
    let names = report.networks_deleted.unwrap_or_default();
    if names.is_empty() {
        return Ok(String::new());
    }
    Ok(format!("Deleted Networks:\n{}\n\n", names.join("\n")))
}
