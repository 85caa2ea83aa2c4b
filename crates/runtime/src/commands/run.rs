//! `run`: create and start in one, by default waiting for the end in the foreground.

use std::os::fd::OwnedFd;

use oci::Result;

use super::Command;
use super::create::{FLAGS as CREATE_FLAGS, request};
use super::delete::destroy;
use crate::cli::{self, Args, Count, Failure, Flag, Global, switch};
use crate::foreground::Terminal;
use crate::launch::{self, Launched};
use crate::notify::Proxy;
use crate::state::{Container, Status};
use crate::{foreground, hooks, log};

static FLAGS: [Flag; 10] = {
    let mut all = [switch(&["detach", "d"], "leave the process running in the background"); 10];
    let mut i = 0;
    while i < CREATE_FLAGS.len() {
        all[i] = CREATE_FLAGS[i];
        i += 1;
    }
    all[8] = switch(&["keep"], "keep the container after its process has ended");
    all[9] = switch(&["no-subreaper"], "do not adopt processes whose parents have ended");
    all
};

pub(super) static COMMAND: Command = Command {
    name: "run",
    about: "create a container and start it",
    usage: "<container-id>",
    flags: &FLAGS,
    arguments: Count::Exactly(1),
    command_after: None,
    makes: true,
    run,
};

fn run(global: &Global, args: &Args) -> Result<i32, Failure> {
    Ok(attempt(global, args).map_err(|e| e.prefixed(format!("{} run failed", cli::name())))?)
}

fn attempt(global: &Global, args: &Args) -> Result<i32> {
    let detached = args.on("detach");
    let (mut request, mut spec) = request(global, args, "run")?;
    let with_terminal = spec.process.as_ref().is_some_and(|p| p.terminal);
    request.console = cli::console_socket(args, with_terminal, detached)?;
    let mut terminal = None;
    if let Some(process) = spec.process.as_mut().filter(|p| p.terminal && !detached) {
        foreground::take_size(process);
        let (theirs, ours) = foreground::terminal()?;
        request.console = Some(theirs);
        terminal = Some(ours);
    }
    if !detached {
        // Before the process exists, so that its end cannot be missed.
        let _ = sys::signal::block_all();
        if !args.on("no-subreaper") {
            // Any number but 0 says yes.
            let _ = rustix::process::set_child_subreaper(Some(rustix::process::Pid::INIT));
        }
    }
    let launched = launch::launch(request, spec)?;
    let Launched { container, pid, pidfd, notify } = launched;
    let poststart = container.record()?.hooks.poststart.clone();
    if !poststart.is_empty()
        && let Err(error) =
            hooks::run(hooks::POSTSTART, &poststart, &container.state(Status::Running, pid)?, hooks::Place::Host)
    {
        launch::end(&pidfd);
        destroy(&container)?;
        return Err(error);
    }
    let container = container.unlock();
    if detached {
        if let Some(proxy) = notify {
            proxy.wait(pid, &pidfd)?;
        }
        return Ok(0);
    }
    wait_and_remove(container, pid, &pidfd, terminal.as_ref(), notify.as_ref(), args.on("keep"))
}

/// Waits in the foreground for the end of a container (unlocked), and removes what is left of it. Returns the status.
pub(super) fn wait_and_remove(
    container: Container,
    pid: i32,
    pidfd: &OwnedFd,
    terminal: Option<&Terminal>,
    notify: Option<&Proxy>,
    keep: bool,
) -> Result<i32> {
    let status = foreground::wait(pid, terminal, notify);
    if status.is_err() {
        launch::end(pidfd);
    }
    if !keep {
        match container.relock() {
            Ok(container) => {
                if let Err(error) = destroy(&container) {
                    log::warn(format_args!("{error}"));
                }
            }
            // Deleted by another command in the meantime.
            Err(error) if error.kind() == oci::Kind::NotFound => {}
            Err(error) => log::warn(format_args!("{error}")),
        }
    }
    status
}
