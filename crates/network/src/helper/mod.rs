//! The work of `sampan-net`: what changes interfaces, addresses, routes and rules.
//!
//! It runs in a process of its own with one thread, because joining a namespace concerns a thread
//! and a daemon has many. It may be killed at any instruction: everything that it makes has the
//! owner's name, and the manager wrote down beforehand what was to be made.

mod attach;
mod bridge;
mod detach;
mod inside;
mod sweep;
mod sysctl;

use crate::plan::{Done, Host, MAX_REQUEST, Request, Response};
use oci::{Context, Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};

/// How long another process may hold the host's side.
const LOCK_WAIT: Duration = Duration::from_secs(20);

/// Has the kernel kill this process with the thread that started it. Together with the look at
/// standard output once the lock is held, nothing is made after a daemon's death: what a killed
/// daemon's helper did is complete before the next daemon's sweep, or never starts.
///
/// # Errors
/// The kernel's.
pub fn follow_parent() -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(std::io::Error::from)
        .context(|| "ask for a signal at the parent's death")
}

/// Reads a request from `input`, carries it out and returns the response as JSON.
pub fn serve(input: impl Read) -> String {
    let response = Response::from(read(input).and_then(|request| carry_out(&request)));
    serde_json::to_string(&response).unwrap_or_else(|error| {
        format!(r#"{{"error":{{"kind":"Internal","message":"response: {}"}}}}"#, error.to_string().escape_default())
    })
}

fn read(input: impl Read) -> Result<Request> {
    let mut text = Vec::new();
    input.take(MAX_REQUEST + 1).read_to_end(&mut text).context(|| "read the request")?;
    if text.len() as u64 > MAX_REQUEST {
        return Err(Error::invalid(format!("the request is longer than {MAX_REQUEST} bytes")));
    }
    serde_json::from_slice(&text).map_err(|error| Error::invalid(format!("malformed request: {error}")))
}

/// Carries out a request in the calling process, which must have one thread.
fn carry_out(request: &Request) -> Result<Done> {
    match request {
        Request::Attach(plan) => attach::attach(plan),
        Request::Detach(plan) => detach::detach(plan),
        Request::Sweep(plan) => sweep::sweep(plan),
        Request::Loopback { netns } => inside::loopback(netns),
        Request::DefaultRoute { netns, gateway, interface } => inside::default_route(netns, *gateway, interface),
    }
}

/// Locks the host's side until the returned file is dropped.
fn lock(host: &Host) -> Result<File> {
    let what = || format!("lock {}", host.lock.display());
    let file = File::options().create(true).truncate(false).write(true).open(&host.lock).context(what)?;
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                check_reader()?;
                return Ok(file);
            }
            Err(Errno::AGAIN) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            Err(Errno::AGAIN) => {
                return Err(Error::deadline(format!("{}: held by another process for {LOCK_WAIT:?}", what())));
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::from(std::io::Error::from(errno)).prefixed(what())),
        }
    }
}

/// Refuses to go on if nobody reads the response any more.
fn check_reader() -> Result<()> {
    let stdout = std::io::stdout();
    let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let count = poll(&mut fds, Some(&now)).map_err(std::io::Error::from).context(|| "poll standard output")?;
    if count > 0 && fds[0].revents().contains(PollFlags::ERR) {
        return Err(Error::cancelled("the daemon is gone"));
    }
    Ok(())
}
