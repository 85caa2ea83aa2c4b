//! `logs`: what a container has written.

use super::shared;
use crate::Context;
use crate::args::{Arity, Flags, flag, value, verb};
use crate::client::{Call, Query};
use crate::failure::{Failure, Result};
use crate::format::time;
use crate::session::print_frames;
use clap::{Arg, ArgMatches};
use wire::docker::container::Inspect;

verb!("logs", "[OPTIONS] CONTAINER", "Fetch the logs of a container", Arity::Exactly(1));

fn flags() -> Vec<Arg> {
    vec![
        flag(None, "details", "Show extra details provided to logs"),
        flag(Some('f'), "follow", "Follow log output"),
        value(
            None,
            "since",
            "string",
            "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\")",
        ),
        value(Some('n'), "tail", "string", "Number of lines to show from the end of the logs (default \"all\")"),
        flag(Some('t'), "timestamps", "Show timestamps"),
        value(
            None,
            "until",
            "string",
            "Show logs before a timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\")",
        ),
    ]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let name = &m.arguments()[0];
    let moment = |flag: &str| match m.text(flag) {
        "" => Ok(String::new()),
        text => time::moment(text).map_err(Failure::new),
    };
    let (since, until) = (moment("since")?, moment("until")?);
    let container: Inspect = cx.client.ask(Call::get(shared::container(name, "json"))).await?;
    let query = Query::new()
        .flag("details", m.on("details"))
        .flag("follow", m.on("follow"))
        .text("since", &since)
        .text("until", &until)
        .with("stderr", "1")
        .with("stdout", "1")
        .with("tail", m.given("tail").unwrap_or("all"))
        .flag("timestamps", m.on("timestamps"));
    let call = Call::get(shared::container(&container.id, "logs")).query(query);
    let download = cx.client.download(call).await?;
    print_frames(download.into_reader(), !container.config.tty).await?;
    Ok(0)
}
