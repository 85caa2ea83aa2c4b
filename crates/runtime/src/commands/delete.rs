//! `delete`: removes everything that a container left.

use std::os::fd::AsFd;

use oci::{Error, Kind, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Command;
use crate::cli::{Args, Count, Failure, Flag, Global, switch};
use crate::state::{Container, Status};
use crate::{cgroups, hooks};

static FLAGS: [Flag; 1] = [switch(&["force", "f"], "kill the container if it still runs; no error if there is none")];

pub(super) static COMMAND: Command = Command {
    name: "delete",
    about: "remove what containers have left",
    usage: "<container-id>...",
    flags: &FLAGS,
    arguments: Count::AtLeast(1),
    command_after: None,
    makes: false,
    run,
};

fn run(global: &Global, args: &Args) -> Result<i32, Failure> {
    let force = args.on("force");
    let mut first = Ok(());
    for id in &args.positional {
        if let Err(error) = delete(global, id, force) {
            match &first {
                Ok(()) => first = Err(error),
                Err(_) => crate::log::error(&error.to_string()),
            }
        }
    }
    first?;
    Ok(0)
}

fn delete(global: &Global, id: &str, force: bool) -> Result<()> {
    let container = match Container::open_locked(&global.root, id) {
        Err(error) if error.kind() == Kind::NotFound && force => return Ok(()),
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
            )));
        }
    }
    destroy(&container)
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
pub(crate) fn destroy(container: &Container) -> Result<()> {
    let Some(record) = &container.record else {
        // Its `create` was killed early: at most an empty cgroup is there.
        if let Some(place) = container.noted_cgroup() {
            place.remove_empty();
        }
        return container.remove();
    };
    // With a PID namespace of its own everything died with the first process, but half-dead processes and those that
    // hooks left can still be there.
    let mut result = match &record.unit {
        // Nobody may be left whom systemd would ask to end, and wait for.
        Some(unit) => record.cgroup.kill_all().and_then(|()| {
            let stopped = unit.stop();
            record.cgroup.remove().and(stopped)
        }),
        None => record.cgroup.remove_after_kill(),
    };
    cgroups::remove_made(&record.cgroup_made);
    if let Some(group) = &record.resctrl {
        result = result.and(group.remove());
    }
    if let Some(before) = &record.host_mounts {
        result = result.and(crate::host_mounts::remove(&record.rootfs, before));
    }
    let state = container.state(Status::Stopped, 0)?;
    let removed = container.remove();
    hooks::run_poststop(&record.hooks.poststop, &state);
    if result.is_ok() {
        result = removed;
    }
    result
}
