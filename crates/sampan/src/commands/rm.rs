//! `rm`: removes containers.

use super::shared;
use crate::Context;
use crate::args::{Arity, Flags, flag, verb};
use crate::client::{Call, Query};
use crate::failure::{Failure, Failures, Result};
use crate::output;
use clap::{Arg, ArgMatches};

verb!("rm", "[OPTIONS] CONTAINER [CONTAINER...]", "Remove one or more containers", Arity::AtLeast(1));

fn flags() -> Vec<Arg> {
    vec![
        flag(Some('f'), "force", "Force the removal of a running container (uses SIGKILL)"),
        flag(Some('l'), "link", "Remove the specified link"),
        flag(Some('v'), "volumes", "Remove anonymous volumes associated with the container"),
    ]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let force = m.on("force");
    let query = Query::new().flag("force", force).flag("link", m.on("link")).flag("v", m.on("volumes"));
    let mut failures = Failures::default();
    for name in m.arguments() {
        let name = name.trim_matches('/');
        if name.is_empty() {
            failures.push(Failure::new("container name cannot be empty"));
            continue;
        }
        match cx.client.tell(Call::delete(shared::container(name, "")).query(query.clone())).await {
            Ok(()) => output::line(name),
            // With force, what is gone already is as good as removed; docker says so, but fails no more.
            Err(failure) if force && failure.is_not_found() => output::error(&failure.message),
            Err(failure) => failures.push(failure),
        }
    }
    failures.finish()
}
