//! Being told when the kernel kills for want of memory.
//!
//! v1 counts into an eventfd that is registered with the cgroup; on v2 `memory.events` itself can be waited for.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use oci::{Context, Result};
use rustix::event::{EventfdFlags, PollFlags, eventfd};

use super::{Location, v1};

/// A registration; it ends when this is dropped.
#[derive(Debug)]
pub(crate) enum OomWatch {
    V1 {
        event: OwnedFd,
        /// The cgroup's end counts as an event too; this is how to tell.
        control: PathBuf,
    },
    V2 {
        events: File,
        seen: u64,
    },
}

impl Location {
    /// Begins to listen; `None` where no memory is counted.
    pub(crate) fn watch_oom(&self) -> Result<Option<OomWatch>> {
        match self {
            Self::None => Ok(None),
            Self::V1 { paths } => v1::find(paths, "memory").map(register).transpose(),
            Self::V2 { path } => {
                let path = path.join("memory.events");
                match File::open(&path) {
                    Ok(events) => {
                        let seen = kills(&events)?;
                        Ok(Some(OomWatch::V2 { events, seen }))
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(error).context(|| format!("open {}", path.display())),
                }
            }
        }
    }
}

fn register(directory: &Path) -> Result<OomWatch> {
    let control = directory.join("memory.oom_control");
    let file = File::open(&control).context(|| format!("open {}", control.display()))?;
    let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(std::io::Error::from)?;
    let path = directory.join("cgroup.event_control");
    File::options()
        .write(true)
        .open(&path)
        .and_then(|mut f| f.write_all(format!("{} {}", event.as_raw_fd(), file.as_raw_fd()).as_bytes()))
        .context(|| format!("ask {} for events", path.display()))?;
    Ok(OomWatch::V1 { event, control })
}

/// How many processes have been killed for want of memory, in the cgroup and below.
fn kills(events: &File) -> Result<u64> {
    let mut text = [0u8; 1024];
    // From the same descriptor: reading is what ends the readiness.
    let length = events.read_at(&mut text, 0).context(|| "read memory.events")?;
    let text = String::from_utf8_lossy(&text[..length]);
    Ok(text.lines().find_map(|line| line.strip_prefix("oom_kill ")).and_then(|n| n.parse().ok()).unwrap_or(0))
}

impl OomWatch {
    /// What to wait for.
    pub(crate) fn readiness(&self) -> (BorrowedFd<'_>, PollFlags) {
        match self {
            Self::V1 { event, .. } => (event.as_fd(), PollFlags::IN),
            Self::V2 { events, .. } => (events.as_fd(), PollFlags::PRI),
        }
    }

    /// Whether it has happened since the last call.
    pub(crate) fn happened(&mut self) -> bool {
        match self {
            Self::V1 { event, control } => {
                let mut count = [0u8; 8];
                let Ok(mut event) = event.try_clone().map(File::from) else { return false };
                event.read(&mut count).is_ok() && control.exists()
            }
            Self::V2 { events, seen } => {
                // The cgroup's end is no event.
                let Ok(now) = kills(events) else { return false };
                std::mem::replace(seen, now) < now
            }
        }
    }
}
