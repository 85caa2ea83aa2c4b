//! `save`: images as a tar archive.

use super::shared;
use crate::Context;
use crate::args::{Arity, Flags, list, value, verb};
use crate::client::{Call, Query};
use crate::failure::Result;
use crate::transfer;
use clap::{Arg, ArgMatches};

verb!(
    "save",
    "[OPTIONS] IMAGE [IMAGE...]",
    "Save one or more images to a tar archive (streamed to STDOUT by default)",
    Arity::AtLeast(1)
);

fn flags() -> Vec<Arg> {
    vec![
        value(Some('o'), "output", "string", "Write to a file, instead of STDOUT"),
        list(None, "platform", "string", "Save only the given platform variant. Formatted as \"os[/arch[/variant]]\""),
    ]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let target = transfer::Target::choose(m.text("output"), "save")?;
    let names = m.arguments();
    let mut query = Query::new();
    for name in &names {
        query = query.with("names", name);
    }
    for platform in shared::platforms(m)? {
        query = query.with("platform", platform);
    }
    let download = cx.client.download(Call::get("/images/get").query(query)).await?;
    transfer::receive(download, target).await?;
    Ok(0)
}
