//! The `delete` action: what the server would have done, had it lived.

use super::args::Args;
use super::{rootfs, runtime, start};
use crate::exits::{self, Exit};
use oci::{Error, Result, Timestamp};
use prost::Message;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::io::Write;
use std::process::{Command, ExitStatus};
use wire::task::DeleteResponse;

/// The code of a process whose exit nobody saw.
const KILLED: u32 = 128 + 9;

/// How long the runtime may take, in seconds.
const LIMIT: i64 = 20;

/// Runs a command, and kills it when its time is over.
fn wait_bounded(mut command: Command) -> std::io::Result<ExitStatus> {
    let mut child = command.spawn()?;
    let limit = Timespec { tv_sec: LIMIT, tv_nsec: 0 };
    let ended = match Pid::from_raw(child.id() as i32) {
        Some(pid) => {
            let handle = pidfd_open(pid, PidfdFlags::empty())?;
            poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&limit))?
        }
        None => 0,
    };
    if ended == 0 {
        child.kill()?;
        child.wait()?;
        return Err(std::io::ErrorKind::TimedOut.into());
    }
    child.wait()
}

pub(super) fn delete(args: &Args) -> Result<()> {
    let mut failures = Vec::new();
    match runtime::Runtime::load(&args.bundle) {
        Ok(Some(found)) => {
            let log = args.bundle.join("delete-log.json");
            let mut command = found.command(&args.bundle, &log);
            command.args(["delete", "--force", &args.id]);
            match wait_bounded(command) {
                Ok(status) if status.success() => {}
                // runc says so when there is nothing to delete any more.
                Ok(_) if runtime::last_error(&log).is_none_or(|e| e.contains("does not exist")) => {}
                Ok(_) => failures.extend(runtime::last_error(&log)),
                Err(error) => failures.push(format!("run {}: {error}", found.binary.display())),
            }
            let _ = std::fs::remove_file(&log);
        }
        // The server died before it had made anything.
        Ok(None) => {}
        Err(error) => failures.push(error.to_string()),
    }
    if let Err(error) = rootfs::unmount_all(&args.bundle.join("rootfs")) {
        failures.push(error.to_string());
    }
    if let Ok(socket) = start::socket_path(args)
        && std::os::unix::net::UnixStream::connect(&socket).is_err()
    {
        let _ = std::fs::remove_file(socket);
    }
    // Everything was tried; whoever asked has to know that something is left, and to ask again.
    if !failures.is_empty() {
        return Err(Error::internal(format!("delete {}: {}", args.id, failures.join("; "))));
    }
    let exit = match exits::read(&args.bundle, "") {
        Ok(Some(exit)) => exit,
        _ => {
            let pid = std::fs::read_to_string(args.bundle.join("init.pid")).unwrap_or_default();
            let pid = pid.trim().parse().unwrap_or(0);
            let exit = Exit { pid, status: KILLED, exited_at: Timestamp::now(), oom_killed: false };
            // Kept, so that the next to ask hears the same.
            exits::write(&args.bundle, "", &exit)?;
            exit
        }
    };
    let at = Some(super::shim::stamp(exit.exited_at));
    let answer = DeleteResponse { pid: exit.pid, exit_status: exit.status, exited_at: at };
    std::io::stdout().write_all(&answer.encode_to_vec())?;
    Ok(())
}
