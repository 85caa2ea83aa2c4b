//! `start`: lets a created container's process go on to the program.

use oci::{Context, Error, Kind, Result};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::Command;
use crate::cli::{Args, Failure, Global};
use crate::hooks;
use crate::state::{Container, Status};

pub(super) static COMMAND: Command = Command {
    name: "start",
    about: "executes the user defined process in a created container",
    usage: "<container-id>",
    flags: &[],
    command_after: None,
    makes: false,
    run,
};

fn run(global: &Global, args: &Args) -> Result<i32, Failure> {
    let container = Container::open_locked(&global.root, args.id("start")?)?;
    start(&container)?;
    Ok(0)
}

fn start(container: &Container) -> Result<()> {
    let record = container.record()?;
    match container.status() {
        Status::Created => {}
        Status::Stopped => return Err(Error::conflict("cannot start a container that has stopped")),
        Status::Running => return Err(Error::conflict("cannot start an already running container")),
        status => return Err(Error::conflict(format!("cannot start a container in the {} state", status.word()))),
    }
    let gate = container.gate();
    let io = |e: Errno| Error::from(std::io::Error::from(e));
    // Without a reader this fails at once: then nobody waits behind the gate any more.
    let fifo = match rustix::fs::open(&gate, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NXIO) => return Err(Error::conflict("cannot start a container that has stopped")),
        result => result.map_err(io).context(|| format!("open {}", gate.display()))?,
    };
    rustix::io::write(&fifo, b"0").map_err(io).context(|| "open the container's gate")?;
    std::fs::remove_file(&gate).context(|| format!("remove {}", gate.display()))?;
    let pid = container.pid().unwrap_or(0);
    if record.hooks.poststart.is_empty() {
        return Ok(());
    }
    hooks::run(&record.hooks.poststart, &container.state(Status::Running, pid)?).map_err(|error| {
        // The specification: a failed hook stops the container.
        if let Some((_, handle)) = container.init() {
            let _ = sys::process::pidfd_kill(std::os::fd::AsFd::as_fd(&handle), 9);
        }
        Error::new(Kind::Internal, format!("poststart: {error}"))
    })
}
