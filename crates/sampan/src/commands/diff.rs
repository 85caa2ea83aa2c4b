//! `diff`: what a container has changed in its image's files.

use super::shared;
use crate::Context;
use crate::args::{Arity, Flags, verb};
use crate::client::Call;
use crate::failure::Result;
use crate::output;
use clap::{Arg, ArgMatches};
use wire::docker::container::Change;

verb!("diff", "CONTAINER", "Inspect changes to files or directories on a container's filesystem", Arity::Exactly(1));

fn flags() -> Vec<Arg> {
    Vec::new()
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let call = Call::get(shared::container(&m.arguments()[0], "changes"));
    // A nil list is null.
    let changes: Option<Vec<Change>> = cx.client.ask(call).await?;
    let mut text = String::new();
    for change in changes.iter().flatten() {
        let letter = match change.kind {
            0 => 'C',
            1 => 'A',
            _ => 'D',
        };
        text.push_str(&format!("{letter} {}\n", change.path));
    }
    output::print(&text);
    Ok(0)
}
