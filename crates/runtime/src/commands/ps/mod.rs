//! `ps`: the processes inside a container, by host process id, as procps' `ps` shows them.
//!
//! runc runs that program and filters its lines. Here the columns are made from `/proc` directly: nothing shells out,
//! and nothing depends on what is installed.

mod columns;

use oci::{Error, Result};

use super::Command;
use crate::cli::{Args, Count, Failure, Flag, Global, value};
use crate::state::Container;

static FLAGS: [Flag; 1] = [value(&["format", "f"], "table or json (default: \"table\")")];

pub(super) static COMMAND: Command = Command {
    name: "ps",
    about: "show the processes inside a container",
    usage: "<container-id> [ps options]",
    flags: &FLAGS,
    arguments: Count::AtLeast(1),
    command_after: Some(1),
    makes: false,
    run,
};

fn run(global: &Global, args: &Args) -> Result<i32, Failure> {
    let (id, options) = (&args.positional[0], &args.positional[1..]);
    let container = Container::open(&global.root, id)?;
    let mut pids = container.record()?.cgroup.processes()?;
    pids.sort_unstable();
    pids.dedup();
    match args.get("format") {
        Some("json") if pids.is_empty() => say!("null"), // as Go prints an empty list
        Some("json") => say!("{}", serde_json::to_string(&pids).map_err(|e| Error::internal(e.to_string()))?),
        None | Some("table") => columns::print(options, &pids)?,
        Some(_) => return Err(Error::invalid("invalid format option").into()),
    }
    Ok(0)
}
