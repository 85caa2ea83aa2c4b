//! `load`: images from a tar archive.

use super::shared;
use crate::Context;
use crate::args::{Arity, Flags, flag, list, value, verb};
use crate::client::{Call, Query};
use crate::failure::{Failure, Result};
use crate::progress::{self, Place};
use crate::{terminal, transfer};
use clap::{Arg, ArgMatches};

verb!("load", "[OPTIONS]", "Load an image from a tar archive or STDIN", Arity::None);

fn flags() -> Vec<Arg> {
    vec![
        value(Some('i'), "input", "string", "Read from tar archive file, instead of STDIN"),
        list(None, "platform", "string", "Load only the given platform variant. Formatted as \"os[/arch[/variant]]\""),
        flag(Some('q'), "quiet", "Suppress the load output"),
    ]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let input = m.text("input");
    if input.is_empty() && terminal::stdin_is_terminal() {
        return Err(Failure::new("requested load from stdin, but stdin is empty"));
    }
    let body = transfer::send(transfer::Source::open(input)?)?;
    let quiet = m.on("quiet") || !terminal::stdout_is_terminal();
    let mut query = Query::new().with("quiet", if quiet { "1" } else { "0" });
    for platform in shared::platforms(m)? {
        query = query.with("platform", platform);
    }
    let call = Call::post("/images/load").query(query).header("Content-Type", "application/x-tar").body(body);
    let mut messages = cx.client.follow(call).await?;
    progress::show(&mut messages, Place::Stdout).await?;
    Ok(0)
}
