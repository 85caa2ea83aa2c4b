//! `resume`: thaws a paused container.

use oci::{Error, Result};

use super::Command;
use crate::cli::{Args, Count, Failure, Global};
use crate::state::{Container, Status};

pub(super) static COMMAND: Command = Command {
    name: "resume",
    about: "resumes all processes that have been previously paused",
    usage: "<container-id>",
    flags: &[],
    arguments: Count::Exactly(1),
    command_after: None,
    makes: false,
    run,
};

fn run(global: &Global, args: &Args) -> Result<i32, Failure> {
    let container = Container::open_locked(&global.root, args.id("resume")?)?;
    match container.status() {
        Status::Paused => container.record()?.cgroup.set_frozen(false)?,
        _ => return Err(Error::conflict("container not paused").into()),
    }
    Ok(0)
}
