//! `pause`: freezes all processes of a container.

use oci::{Error, Result};

use super::Command;
use crate::cli::{Args, Count, Failure, Global};
use crate::state::{Container, Status};

pub(super) static COMMAND: Command = Command {
    name: "pause",
    about: "pause suspends all processes inside the container",
    usage: "<container-id>",
    flags: &[],
    arguments: Count::Exactly(1),
    command_after: None,
    makes: false,
    run,
};

fn run(global: &Global, args: &Args) -> Result<i32, Failure> {
    let container = Container::open_locked(&global.root, args.id("pause")?)?;
    match container.status() {
        Status::Running | Status::Created => container.record()?.cgroup.set_frozen(true)?,
        _ => return Err(Error::conflict("container not running").into()),
    }
    Ok(0)
}
