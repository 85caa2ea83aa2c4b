//! `start`: lets a created container's process go on to the program.

use std::os::fd::OwnedFd;
use std::time::Duration;

use oci::{Context, Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::Command;
use super::delete::{destroy, end_init};
use crate::cli::{Args, Count, Failure, Global};
use crate::notify::Proxy;
use crate::state::{Container, Status};
use crate::{hooks, log};

pub(super) static COMMAND: Command = Command {
    name: "start",
    about: "start the program of a created container",
    usage: "<container-id>",
    flags: &[],
    arguments: Count::Exactly(1),
    command_after: None,
    makes: false,
    run,
};

fn run(global: &Global, args: &Args) -> Result<i32, Failure> {
    let container = Container::open_locked(&global.root, args.id("start")?)?;
    let notify = start(&container)?;
    // Others may work on the container while its program gets ready.
    drop(container);
    if let Some((proxy, (pid, process))) = notify {
        proxy.wait(pid, &process)?;
    }
    Ok(0)
}

/// Returns what to wait for, where a service manager wants to hear of the program, and the process.
fn start(container: &Container) -> Result<Option<(Proxy, (i32, OwnedFd))>> {
    let record = container.record()?;
    match container.status() {
        Status::Created => {}
        Status::Stopped => return Err(Error::conflict("cannot start a container that has stopped")),
        Status::Running => return Err(Error::conflict("cannot start an already running container")),
        status => return Err(Error::conflict(format!("cannot start a container in the {} state", status.word()))),
    }
    // Both before the program runs, which can be quick.
    let proxy = Proxy::bind(container)?;
    let notify = proxy.and_then(|proxy| Some((proxy, container.init()?)));
    let verdict = match record.hooks.start_container.is_empty() {
        true => None,
        // Before the gate opens, so that there is a reader by the time the hooks fail.
        false => Some(open_verdict(container)?),
    };
    let gate = container.gate();
    let io = |e: Errno| Error::from(std::io::Error::from(e));
    // Without a reader this fails at once: then nobody waits behind the gate any more.
    let fifo = match rustix::fs::open(&gate, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NXIO) => return Err(Error::conflict("cannot start a container that has stopped")),
        result => result.map_err(io).context(|| format!("open {}", gate.display()))?,
    };
    rustix::io::write(&fifo, b"0").map_err(io).context(|| "open the container's gate")?;
    std::fs::remove_file(&gate).context(|| format!("remove {}", gate.display()))?;
    if let Some(verdict) = verdict {
        let heard = await_hooks(&verdict, record.hooks.start_container.len() as u32);
        let _ = std::fs::remove_file(container.verdict());
        heard.inspect_err(|_| end(container))?;
    }
    let pid = container.pid().unwrap_or(0);
    if record.hooks.poststart.is_empty() {
        return Ok(notify);
    }
    let state = container.state(Status::Running, pid)?;
    hooks::run(hooks::POSTSTART, &record.hooks.poststart, &state, hooks::Place::Host)
        .inspect_err(|_| end(container))?;
    Ok(notify)
}

/// The specification: after a hook that failed, the container is stopped and goes the way of a deleted one.
fn end(container: &Container) {
    if let Err(second) = end_init(container).and_then(|()| destroy(container)) {
        log::warn(format_args!("{second}"));
    }
}

fn open_verdict(container: &Container) -> Result<OwnedFd> {
    let path = container.verdict();
    rustix::fs::open(&path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
        .map_err(std::io::Error::from)
        .context(|| format!("open {}", path.display()))
}

/// Waits until the container's process has closed its end: by executing the program, or after it has said why not.
fn await_hooks(verdict: &OwnedFd, hooks: u32) -> Result<()> {
    let longest = hooks::LONGEST * hooks + Duration::from_secs(10);
    let mut text = [0; 4096];
    let mut fds = [PollFd::new(verdict, PollFlags::IN)];
    let time = Timespec { tv_sec: longest.as_secs() as _, tv_nsec: 0 };
    loop {
        match poll(&mut fds, Some(&time)) {
            Ok(0) => return Err(Error::deadline("the startContainer hooks do not end")),
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(std::io::Error::from(error).into()),
        }
    }
    match rustix::io::read(verdict, &mut text) {
        Ok(0) | Err(Errno::AGAIN) => Ok(()),
        Ok(length) => Err(Error::internal(String::from_utf8_lossy(&text[..length]))),
        Err(error) => Err(std::io::Error::from(error)).context(|| "hear of the startContainer hooks"),
    }
}
