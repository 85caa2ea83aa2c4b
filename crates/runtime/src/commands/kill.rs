//! `kill`: sends a signal to a container's first process, or to all.

use std::os::fd::AsFd;

use oci::{Context, Error, Result};

use super::Command;
use crate::cli::{Args, Failure, Flag, Global, NAME, switch};
use crate::plan::namespaces;
use crate::signals;
use crate::state::{Container, Status};

static FLAGS: [Flag; 1] = [switch(&["all", "a"], "send the specified signal to all processes inside the container")];

pub(super) static COMMAND: Command = Command {
    name: "kill",
    about: "send the specified signal (default: SIGTERM) to the container's init process",
    usage: "<container-id> [signal]",
    flags: &FLAGS,
    command_after: None,
    makes: false,
    run,
};

fn run(global: &Global, args: &Args) -> Result<i32, Failure> {
    let (id, signal) = match args.positional.as_slice() {
        [id] => (id, "SIGTERM"),
        [id, signal] => (id, signal.as_str()),
        _ => return Err(Error::invalid(format!("{NAME}: \"kill\" requires a minimum of 1 argument")).into()),
    };
    let signal = signals::parse(signal)?;
    let container = Container::open(&global.root, id)?;
    kill(&container, signal, args.on("all"))?;
    Ok(0)
}

fn kill(container: &Container, signal: i32, all: bool) -> Result<()> {
    let record = container.record()?;
    let init = container.init();
    // Without a PID namespace of its own, killing the first process does not end the others.
    let shared = record.namespaces & namespaces::PID == 0;
    if all || (init.is_none() && shared && signal == 9) {
        let pids = record.cgroup.processes()?;
        if pids.is_empty() && init.is_none() && !all {
            return Err(Error::not_found("container not running"));
        }
        for pid in &pids {
            // It may have ended a moment ago.
            let _ = sys::process::kill(*pid, signal);
        }
        if signal == 9 && container.status() == Status::Paused {
            record.cgroup.set_frozen(false)?;
        }
        return Ok(());
    }
    let Some((_, handle)) = init else { return Err(Error::not_found("container not running")) };
    sys::process::pidfd_kill(handle.as_fd(), signal).context(|| format!("send signal {signal}"))?;
    if signal == 9 && shared {
        for pid in record.cgroup.processes()? {
            let _ = sys::process::kill(pid, signal);
        }
    }
    // A frozen v1 cgroup delivers nothing, not even this one.
    if signal == 9 && record.cgroup.frozen() {
        record.cgroup.set_frozen(false)?;
    }
    Ok(())
}
