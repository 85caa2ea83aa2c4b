//! `system df`: where the room goes.

use crate::args::{Arity, Flags, flag, format_flag, verb};
use crate::client::Call;
use crate::commands::{images, ps, volume};
use crate::failure::{Failure, Result};
use crate::format::listing::{Listing, row};
use crate::format::units::decimal_size;
use crate::value::Val;
use crate::{Context, output};
use clap::{Arg, ArgMatches};
use wire::docker::container::Summary;
use wire::docker::system::DiskUsage;

verb!("df", "[OPTIONS]", "Show disk usage", Arity::None);

fn flags() -> Vec<Arg> {
    vec![format_flag(), flag(Some('v'), "verbose", "Show detailed information on space usage")]
}

const LISTING: Listing = Listing {
    headings: &[
        ("Type", "TYPE"),
        ("TotalCount", "TOTAL"),
        ("Active", "ACTIVE"),
        ("Size", "SIZE"),
        ("Reclaimable", "RECLAIMABLE"),
    ],
    table: "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
    quiet: "{{.Type}}",
};

const IMAGES: Listing = Listing {
    headings: &[
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("ID", "IMAGE ID"),
        ("CreatedSince", "CREATED"),
        ("Size", "SIZE"),
        ("SharedSize", "SHARED SIZE"),
        ("UniqueSize", "UNIQUE SIZE"),
        ("Containers", "CONTAINERS"),
    ],
    table: "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}",
    quiet: "{{.ID}}",
};

const CONTAINERS: Listing = Listing {
    headings: &[
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Size", "SIZE"),
        ("RunningFor", "CREATED"),
        ("Status", "STATUS"),
        ("Names", "NAMES"),
    ],
    table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}",
    quiet: "{{.ID}}",
};

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let usage: DiskUsage = cx.client.ask(Call::get("/system/df")).await?;
    if !m.on("verbose") {
        LISTING.print(m.text("format"), false, &rows(&usage))?;
        return Ok(0);
    }
    if !matches!(m.text("format"), "" | "table") {
        return Err(Failure::new("--verbose with --format is not supported: leave one of them out"));
    }
    let images: Vec<Val> = usage.images.iter().flatten().flat_map(|i| images::image_rows(i, false, false)).collect();
    let containers: Vec<Val> = usage
        .containers
        .iter()
        .flatten()
        .map(|c| ps::summary_row(&Summary { size_root_fs: 0, ..c.clone() }, false))
        .collect();
    let volumes: Vec<Val> = usage.volumes.iter().flatten().map(volume::ls::volume_row).collect();
    let with_links = Listing { table: "{{.Name}}\t{{.Links}}\t{{.Size}}", ..volume::ls::LISTING };
    output::print(&format!("Images space usage:\n\n{}", IMAGES.render("", false, &images)?));
    output::print(&format!("\nContainers space usage:\n\n{}", CONTAINERS.render("", false, &containers)?));
    output::print(&format!("\nLocal Volumes space usage:\n\n{}", with_links.render("", false, &volumes)?));
    Ok(0)
}

fn summary(name: &str, total: usize, active: usize, size: i64, free: i64) -> Val {
    let human = |bytes: i64| decimal_size(bytes.max(0) as f64, 4);
    let reclaimable = if size > 0 { format!("{} ({}%)", human(free), free.max(0) * 100 / size) } else { human(free) };
    row([
        ("Type", name.to_owned()),
        ("TotalCount", total.to_string()),
        ("Active", active.to_string()),
        ("Size", human(size)),
        ("Reclaimable", reclaimable),
    ])
}

fn rows(usage: &DiskUsage) -> Vec<Val> {
    let images = usage.images.as_deref().unwrap_or_default();
    let in_use = images.iter().filter(|image| image.containers > 0);
    let used: i64 = in_use.clone().filter(|i| i.size >= 0 && i.shared_size >= 0).map(|i| i.size - i.shared_size).sum();
    let containers = usage.containers.as_deref().unwrap_or_default();
    let runs = |state: &str| matches!(state, "running" | "paused" | "restarting");
    let stopped: i64 = containers.iter().filter(|c| !runs(&c.state)).map(|c| c.size_rw).sum();
    let volumes = usage.volumes.as_deref().unwrap_or_default();
    let sizes = |unused: bool| -> i64 {
        let data = volumes.iter().filter_map(|volume| volume.usage_data.as_ref());
        data.filter(|data| data.size > 0 && (!unused || data.ref_count == 0)).map(|data| data.size).sum()
    };
    let volumes_in_use =
        volumes.iter().filter(|v| v.usage_data.as_ref().is_some_and(|data| data.ref_count > 0)).count();
    let cache = usage.build_cache.as_deref().unwrap_or_default();
    let cached = |busy: bool| -> i64 {
        let entries = cache.iter().filter(|entry| !busy || entry["InUse"] == true);
        entries.filter_map(|entry| entry["Size"].as_i64()).sum()
    };
    let busy = cache.iter().filter(|entry| entry["InUse"] == true).count();
    vec![
        summary("Images", images.len(), in_use.count(), usage.layers_size, usage.layers_size - used),
        summary(
            "Containers",
            containers.len(),
            containers.iter().filter(|c| runs(&c.state)).count(),
            containers.iter().map(|c| c.size_rw).sum(),
            stopped,
        ),
        summary("Local Volumes", volumes.len(), volumes_in_use, sizes(false), sizes(true)),
        summary("Build Cache", cache.len(), busy, cached(false), cached(false) - cached(true)),
    ]
}
