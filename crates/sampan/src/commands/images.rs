//! `images`: the list of images.

use super::shared;
use crate::Context;
use crate::args::{Arity, Flags, filter_flag, flag, format_flag, verb};
use crate::client::{Call, Query};
use crate::failure::Result;
use crate::format::listing::{Listing, id_text, row};
use crate::format::{time, units};
use crate::value::Val;
use clap::{Arg, ArgMatches};
use wire::docker::image::Summary;

verb!("images", "[OPTIONS] [REPOSITORY[:TAG]]", "List images", Arity::AtMost(1));

fn flags() -> Vec<Arg> {
    vec![
        flag(Some('a'), "all", "Show all images (default hides intermediate images)"),
        flag(None, "digests", "Show digests"),
        filter_flag(),
        format_flag(),
        flag(None, "no-trunc", "Don't truncate output"),
        flag(Some('q'), "quiet", "Only show image IDs"),
    ]
}

const LISTING: Listing = Listing {
    headings: &[
        ("ID", "IMAGE ID"),
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("Digest", "DIGEST"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("Size", "SIZE"),
        ("Containers", "CONTAINERS"),
        ("VirtualSize", "SIZE"),
        ("SharedSize", "SHARED SIZE"),
        ("UniqueSize", "UNIQUE SIZE"),
    ],
    table: "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}",
    quiet: "{{.ID}}",
};

const WITH_DIGESTS: &str = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let mut filters = m.texts("filter");
    filters.extend(m.arguments().first().map(|name| format!("reference={name}")));
    let query = Query::new().flag("all", m.on("all")).text("filters", &shared::filters(&filters)?);
    let images: Vec<Summary> = cx.client.ask(Call::get("/images/json").query(query)).await?;
    let format = m.given("format").unwrap_or_else(|| cx.config.text("imagesFormat"));
    let digests = m.on("digests") || format.contains(".Digest");
    let rows: Vec<Val> = images.iter().flat_map(|image| image_rows(image, m.on("no-trunc"), digests)).collect();
    let with_digests = Listing { table: WITH_DIGESTS, ..LISTING };
    let listing = if m.on("digests") { &with_digests } else { &LISTING };
    listing.print(format, m.on("quiet"), &rows)?;
    Ok(0)
}

/// Repository and the rest of `repository:tag` or `repository@digest`.
fn split(name: &str, separator: char) -> (&str, &str) {
    name.rsplit_once(separator).filter(|(_, tag)| !tag.contains('/')).unwrap_or((name, "<none>"))
}

/// A row per name of the image.
pub(super) fn image_rows(image: &Summary, whole: bool, digests: bool) -> Vec<Val> {
    let tags: Vec<(&str, &str)> =
        image.repo_tags.iter().flatten().filter(|t| *t != "<none>:<none>").map(|t| split(t, ':')).collect();
    let known: Vec<(&str, &str)> =
        image.repo_digests.iter().flatten().filter(|d| *d != "<none>@<none>").map(|d| split(d, '@')).collect();
    let mut names: Vec<(String, String, String)> = Vec::new();
    for (repository, tag) in &tags {
        let own: Vec<&str> = known.iter().filter(|(r, _)| r == repository).map(|(_, d)| *d).collect();
        if digests && !own.is_empty() {
            names.extend(own.iter().map(|d| ((*repository).to_owned(), (*tag).to_owned(), (*d).to_owned())));
        } else {
            names.push(((*repository).to_owned(), (*tag).to_owned(), "<none>".into()));
        }
    }
    for (repository, digest) in known.iter().filter(|(r, _)| !tags.iter().any(|(t, _)| t == r)) {
        let name = ((*repository).to_owned(), "<none>".to_owned(), (*digest).to_owned());
        // Without digests, one line says enough.
        if digests || !names.iter().any(|(r, ..)| r == repository) {
            names.push(name);
        }
    }
    if names.is_empty() {
        names.push(("<none>".into(), "<none>".into(), "<none>".into()));
    }
    let size = |n: i64| if n < 0 { "N/A".to_owned() } else { units::decimal_size(n as f64, 4) };
    let count = if image.containers < 0 { "N/A".to_owned() } else { image.containers.to_string() };
    let unique = if image.shared_size < 0 { -1 } else { image.size - image.shared_size };
    names
        .into_iter()
        .map(|(repository, tag, digest)| {
            row([
                ("ID", id_text(&image.id, whole)),
                ("Repository", repository),
                ("Tag", tag),
                ("Digest", digest),
                ("CreatedSince", time::ago(image.created)),
                ("CreatedAt", time::go_string(image.created)),
                ("Size", units::size3(image.size)),
                ("Containers", count.clone()),
                ("VirtualSize", units::decimal_size(image.size as f64, 4)),
                ("SharedSize", size(image.shared_size)),
                ("UniqueSize", size(unique)),
            ])
        })
        .collect()
}
