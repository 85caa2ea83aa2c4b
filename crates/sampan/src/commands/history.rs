//! `history`: how an image came to be.

use super::shared;
use crate::Context;
use crate::args::{Arity, Flags, flag, format_flag, verb};
use crate::client::Call;
use crate::failure::Result;
use crate::format::listing::{Listing, ellipsis, id_text, row};
use crate::format::{time, units};
use crate::value::Val;
use clap::{Arg, ArgMatches};
use wire::docker::image::HistoryItem;

verb!("history", "[OPTIONS] IMAGE", "Show the history of an image", Arity::Exactly(1));

fn flags() -> Vec<Arg> {
    vec![
        format_flag(),
        flag(Some('H'), "human", "Print sizes and dates in human readable format (default true)"),
        flag(None, "no-trunc", "Don't truncate output"),
        flag(Some('q'), "quiet", "Only show image IDs"),
    ]
}

const LISTING: Listing = Listing {
    headings: &[
        ("ID", "IMAGE"),
        ("CreatedSince", "CREATED"),
        ("CreatedAt", "CREATED AT"),
        ("CreatedBy", "CREATED BY"),
        ("Size", "SIZE"),
        ("Comment", "COMMENT"),
    ],
    table: "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}",
    quiet: "{{.ID}}",
};

const EXACT: &str = "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let history: Vec<HistoryItem> = cx.client.ask(Call::get(shared::image(&m.arguments()[0], "history"))).await?;
    let whole = m.on("no-trunc");
    let human = m.switch("human").unwrap_or(true);
    let rows: Vec<Val> = history
        .iter()
        .map(|item| {
            let by = item.created_by.replace('\t', " ");
            row([
                ("ID", id_text(&item.id, whole)),
                ("CreatedSince", if human { time::ago(item.created) } else { time::rfc3339(item.created) }),
                ("CreatedAt", if item.created > 0 { time::rfc3339(item.created) } else { String::new() }),
                ("CreatedBy", if whole { by } else { ellipsis(&by, 45) }),
                ("Size", if human { units::size3(item.size) } else { item.size.to_string() }),
                ("Comment", item.comment.clone()),
            ])
        })
        .collect();
    let listing = if human { LISTING } else { Listing { table: EXACT, ..LISTING } };
    listing.print(m.text("format"), m.on("quiet"), &rows)?;
    Ok(0)
}
