//! `volume prune`.

use crate::args::{Arity, Flags, flag, long_filter_flag, verb};
use crate::client::{ApiVersion, Call, Query};
use crate::commands::shared;
use crate::failure::{Failure, Result};
use crate::format::units::decimal_size;
use crate::{Context, output};
use clap::{Arg, ArgMatches};
use wire::docker::volume::PruneReport;

verb!("prune", "[OPTIONS]", "Remove unused local volumes", Arity::None);

fn flags() -> Vec<Arg> {
    vec![
        flag(Some('a'), "all", "Remove all unused volumes, not just anonymous ones"),
        long_filter_flag(),
        flag(Some('f'), "force", "Do not prompt for confirmation"),
    ]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let all = m.on("all");
    if !m.on("force") {
        let which = if all { "all local volumes" } else { "anonymous local volumes" };
        shared::confirm(&format!(
            "WARNING! This will remove {which} not used by at least one container.\nAre you sure you want to continue?"
        ))?;
    }
    let (text, space) = prune(cx, all, &m.texts("filter")).await?;
    output::print(&text);
    output::line(&format!("Total reclaimed space: {}", decimal_size(space as f64, 4)));
    Ok(0)
}

/// Removes them, tells which, and how much room they had.
pub(in crate::commands) async fn prune(cx: &Context, all: bool, filters: &[String]) -> Result<(String, u64)> {
    let mut filters = filters.to_vec();
    // Before 1.42 a prune took named volumes along, whatever was asked.
    if cx.client.version().await? >= ApiVersion(1, 42) {
        filters.extend(all.then(|| "all=true".to_owned()));
    } else if !all {
        return Err(Failure::new(
            "this daemon can't prune anonymous volumes alone: use --all to remove every unused volume",
        ));
    }
    let query = Query::new().text("filters", &shared::filters(&filters)?);
    let report: PruneReport = cx.client.ask(Call::post("/volumes/prune").query(query)).await?;
    let text = match report.volumes_deleted.as_slice() {
        [] => String::new(),
        names => format!("Deleted Volumes:\n{}\n\n", names.join("\n")),
    };
    Ok((text, report.space_reclaimed))
}
