//! `image prune`.

use super::shared;
use crate::args::{Arity, Flags, flag, long_filter_flag, verb};
use crate::client::{Call, Query};
use crate::failure::Result;
use crate::format::units::decimal_size;
use crate::{Context, output};
use clap::{Arg, ArgMatches};
use wire::docker::image::PruneReport;

verb!("prune", "[OPTIONS]", "Remove unused images", Arity::None);

fn flags() -> Vec<Arg> {
    vec![
        flag(Some('a'), "all", "Remove all unused images, not just dangling ones"),
        long_filter_flag(),
        flag(Some('f'), "force", "Do not prompt for confirmation"),
    ]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let all = m.on("all");
    if !m.on("force") {
        let which = if all { "images without at least one container associated to them" } else { "dangling images" };
        shared::confirm(&format!("WARNING! This will remove all {which}.\nAre you sure you want to continue?"))?;
    }
    let (text, space) = prune(cx, all, &m.texts("filter")).await?;
    output::print(&text);
    output::line(&format!("Total reclaimed space: {}", decimal_size(space as f64, 4)));
    Ok(0)
}

/// Removes them, tells which, and how much room they had.
pub(super) async fn prune(cx: &Context, all: bool, filters: &[String]) -> Result<(String, u64)> {
    let mut filters = filters.to_vec();
    filters.push(format!("dangling={}", !all));
    let query = Query::new().text("filters", &shared::filters(&filters)?);
    let report: PruneReport = cx.client.ask(Call::post("/images/prune").query(query)).await?;
    let mut text = String::new();
    for item in report.images_deleted.iter().flatten() {
        if item.untagged.is_empty() {
            text.push_str(&format!("deleted: {}\n", item.deleted));
        } else {
            text.push_str(&format!("untagged: {}\n", item.untagged));
        }
    }
    if !text.is_empty() {
        text = format!("Deleted Images:\n{text}\n");
    }
    Ok((text, report.space_reclaimed))
}
