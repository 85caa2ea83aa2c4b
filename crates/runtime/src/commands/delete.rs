//! `delete`: removes everything that a container left.

use std::os::fd::AsFd;

use oci::{Error, Kind, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Command;
use crate::cli::{Args, Failure, Flag, Global, switch};
use crate::state::{Container, Status};
use crate::{cgroups, hooks};

static FLAGS: [Flag; 1] =
    [switch(&["force", "f"], "forcibly delete the container if it is still running (uses SIGKILL)")];

pub(super) static COMMAND: Command = Command {
    name: "delete",
    about: "delete any resources held by the container often used with detached container",
    usage: "<container-id>",
    flags: &FLAGS,
    command_after: None,
    makes: false,
    run,
};

fn run(global: &Global, args: &Args) -> Result<i32, Failure> {
    let id = args.id("delete")?;
    let force = args.on("force");
    let container = match Container::open_locked(&global.root, id) {
        Err(error) if error.kind() == Kind::NotFound && force => return Ok(0),
        result => result?,
    };
    match container.status() {
        Status::Stopped => {}
        // Nobody waits for a process that was never started.
        Status::Created => end_init(&container)?,
        _ if force => end_init(&container)?,
        status => {
            return Err(Error::conflict(format!(
                "cannot delete container {id} that is not stopped: {}",
                status.word()
            ))
            .into());
        }
    }
    destroy(&container)?;
    Ok(0)
}

/// Kills the first process and waits, bounded, for its end.
pub(super) fn end_init(container: &Container) -> Result<()> {
    let Some((pid, handle)) = container.init() else { return Ok(()) };
    // Not running any more is what is wanted.
    let _ = sys::process::pidfd_kill(handle.as_fd(), 9);
    if let Some(record) = &container.record
        && record.cgroup.frozen()
    {
        record.cgroup.set_frozen(false)?;
    }
    let mut fds = [PollFd::new(&handle, PollFlags::IN)];
    let time = Timespec { tv_sec: 10, tv_nsec: 0 };
    match poll(&mut fds, Some(&time)) {
        Ok(0) => Err(Error::deadline(format!("container init (process {pid}) still running after SIGKILL"))),
        _ => Ok(()),
    }
}

/// Removes what is left of a container whose first process is gone: other processes, cgroups, record. Goes on past
/// errors and reports the first.
pub(super) fn destroy(container: &Container) -> Result<()> {
    let Some(record) = &container.record else { return container.remove() };
    // With a PID namespace of its own everything died with the first process, but half-dead processes and those that
    // hooks left can still be there.
    let mut result = record.cgroup.remove_after_kill();
    cgroups::remove_made(&record.cgroup_made);
    let state = container.state(Status::Stopped, 0)?;
    let removed = container.remove();
    hooks::run_poststop(&record.hooks.poststop, &state);
    if result.is_ok() {
        result = removed;
    }
    result
}
