//! `volume ls`.

use crate::Context;
use crate::args::{Arity, Flags, filter_flag, flag, format_flag, verb};
use crate::client::{Call, Query};
use crate::commands::shared;
use crate::failure::Result;
use crate::format::listing::{Listing, label_text, row, with_labels};
use crate::format::units;
use crate::output;
use crate::value::Val;
use clap::{Arg, ArgMatches};
use wire::docker::volume::{List, Volume};

verb!("ls", "[OPTIONS]", "List volumes", Arity::None);

fn flags() -> Vec<Arg> {
    vec![filter_flag(), format_flag(), flag(Some('q'), "quiet", "Only display volume names")]
}

pub(in crate::commands) const LISTING: Listing = Listing {
    headings: &[
        ("Name", "VOLUME NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("Mountpoint", "MOUNTPOINT"),
        ("Labels", "LABELS"),
        ("Links", "LINKS"),
        ("Size", "SIZE"),
        ("Status", "STATUS"),
        ("Group", "GROUP"),
        ("Availability", "AVAILABILITY"),
    ],
    table: "{{.Driver}}\t{{.Name}}",
    quiet: "{{.Name}}",
};

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let query = Query::new().text("filters", &shared::filters(&m.texts("filter"))?);
    let mut list: List = cx.client.ask(Call::get("/volumes").query(query)).await?;
    for warning in list.warnings.iter().flatten() {
        output::error(warning);
    }
    list.volumes.sort_by(|a, b| a.name.cmp(&b.name));
    let rows: Vec<Val> = list.volumes.iter().map(volume_row).collect();
    let format = m.given("format").unwrap_or_else(|| cx.config.text("volumesFormat"));
    LISTING.print(format, m.on("quiet"), &rows)?;
    Ok(0)
}

/// A volume as a row.
pub(in crate::commands) fn volume_row(volume: &Volume) -> Val {
    let labels = volume.labels.clone().unwrap_or_default();
    let usage =
        |text: fn(&wire::docker::volume::Usage) -> String| volume.usage_data.as_ref().map_or("N/A".into(), text);
    let fields = row([
        ("Name", volume.name.clone()),
        ("Driver", volume.driver.clone()),
        ("Scope", volume.scope.clone()),
        ("Mountpoint", volume.mountpoint.clone()),
        ("Labels", label_text(&labels)),
        ("Links", usage(|usage| usage.ref_count.to_string())),
        ("Size", usage(|usage| units::size3(usage.size))),
        ("Status", "N/A".into()),
        ("Group", "N/A".into()),
        ("Availability", "N/A".into()),
    ]);
    with_labels(fields, &labels)
}
