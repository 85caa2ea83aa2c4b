//! `kill`: sends a signal to a container's first process, or to all.

use std::os::fd::AsFd;

use oci::{Context, Error, Result};

use super::Command;
use crate::cli::{Args, Count, Failure, Flag, Global, switch};
use crate::signals;
use crate::state::Container;

static FLAGS: [Flag; 1] = [switch(&["all", "a"], "signal every process of the container; no error if none runs")];

pub(super) static COMMAND: Command = Command {
    name: "kill",
    about: "send a signal (default: SIGTERM) to the container's first process",
    usage: "<container-id> [signal]",
    flags: &FLAGS,
    arguments: Count::Between(1, 2),
    command_after: None,
    makes: false,
    run,
};

fn run(global: &Global, args: &Args) -> Result<i32, Failure> {
    let id = &args.positional[0];
    let container = Container::open(&global.root, id)?;
    let signal = match args.positional.get(1).map(String::as_str) {
        None | Some("") => 15,
        Some(text) => signals::parse(text)?,
    };
    kill(&container, signal, args.on("all"))?;
    Ok(0)
}

fn kill(container: &Container, signal: i32, all: bool) -> Result<()> {
    let record = container.record()?;
    let init = container.init();
    // Without a PID namespace of its own, killing the first process does not end the others, and its end is not
    // theirs.
    let shared = !record.private_pid;
    if all || (signal == 9 && shared) {
        let pids = record.cgroup.processes()?;
        if pids.is_empty() && init.is_none() && !all {
            return Err(not_running());
        }
        let kill_first = init.iter().map(|(pid, _)| *pid).filter(|pid| !pids.contains(pid));
        for pid in pids.iter().copied().chain(kill_first) {
            // It may have ended a moment ago.
            let _ = sys::process::kill(pid, signal);
        }
    } else {
        let Some((_, handle)) = init else { return Err(not_running()) };
        sys::process::pidfd_kill(handle.as_fd(), signal).context(|| "unable to signal init")?;
    }
    // A frozen v1 cgroup delivers nothing, not even this one.
    if signal == 9 && record.cgroup.frozen() {
        record.cgroup.set_frozen(false)?;
    }
    Ok(())
}

fn not_running() -> Error {
    Error::not_found("container not running")
}
