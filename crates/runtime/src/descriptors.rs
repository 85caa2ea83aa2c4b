//! Descriptors that the caller has left open: those that the program is to get, and all the others.
//!
//! A careless caller leaks handles of the host's directories; a container that got hold of one would be out
//! (CVE-2024-21626). So everything that was not asked for is closed before anything else is opened: it then reaches no
//! hook, no working directory, no program, and its number cannot be taken for one of ours.

use std::os::fd::RawFd;
use std::path::Path;
use std::sync::OnceLock;

use oci::{Context, Error, Result};

use crate::log;

/// The standard descriptors are followed by those of `LISTEN_FDS` and `--preserve-fds`.
const FIRST: u32 = 3;

/// How many they are.
static KEPT: OnceLock<u32> = OnceLock::new();

/// Number of descriptors behind the standard ones that the program gets.
pub(crate) fn kept() -> u32 {
    KEPT.get().copied().unwrap_or(0)
}

/// Closes everything but the standard descriptors, the sockets of a service manager (where `sockets` asks for them),
/// `preserve` more behind them, the log and `others`.
pub(crate) fn close_others(sockets: bool, preserve: u32, others: &[RawFd]) -> Result<()> {
    // A number that the log has got was not open when this program was started.
    let present =
        |fd: u32| RawFd::try_from(fd).is_ok_and(|fd| log::descriptor() != Some(fd) && sys::process::is_open(fd));
    let wanted = if sockets { listen_fds().map_or(0, |count| count.min(1024)) } else { 0 };
    let base = (FIRST..FIRST + wanted).find(|fd| !present(*fd)).unwrap_or(FIRST + wanted);
    for index in 0..preserve {
        if !base.checked_add(index).is_some_and(present) {
            return Err(Error::invalid(format!("please check that preserved-fd {index} (of {preserve}) is present")));
        }
    }
    let end = base + preserve;
    let spared = others.iter().copied().chain(log::descriptor()).filter_map(|fd| u32::try_from(fd).ok());
    let mut spared: Vec<u32> = spared.filter(|fd| *fd >= end).collect();
    spared.sort_unstable();
    let mut first = end;
    for fd in spared {
        if fd > first {
            close(first, fd - 1)?;
        }
        first = fd + 1;
    }
    close(first, u32::MAX)?;
    // Only the command line's start calls this, once.
    let _ = KEPT.set(end - FIRST);
    Ok(())
}

/// The descriptor behind the standard ones that a path names, as a shell does for `<(command)`.
pub(crate) fn named(path: &Path) -> Option<RawFd> {
    let directories = ["/dev/fd", "/proc/self/fd"];
    let name = directories.iter().find_map(|directory| path.strip_prefix(directory).ok())?;
    name.to_str()?.parse().ok().filter(|fd| u32::try_from(*fd).is_ok_and(|fd| fd >= FIRST))
}

/// Closes such a descriptor once the path was used, unless the program is to get it.
pub(crate) fn close_named(path: &Path) {
    if let Some(fd) = named(path).and_then(|fd| u32::try_from(fd).ok()).filter(|fd| *fd >= FIRST + kept()) {
        // An open one can be closed; another one needs nothing.
        let _ = close(fd, fd);
    }
}

fn close(first: u32, last: u32) -> Result<()> {
    sys::process::close_foreign(first, last).context(|| "close the descriptors that the caller has left open")
}

/// Number of sockets that a service manager has handed to this process. Not those that were for another process up the
/// tree, as `LISTEN_PID` tells.
pub(crate) fn listen_fds() -> Option<u32> {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u32>().ok());
    number("LISTEN_FDS").filter(|_| number("LISTEN_PID").is_none_or(|pid| pid == std::process::id()))
}
