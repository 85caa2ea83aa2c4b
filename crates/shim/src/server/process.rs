//! What the server knows of containers and their processes.
//!
//! ```text
//! Creating ──runtime create──► Created ──runtime start──► Running ──exit, streams drained──► Stopped
//!                              (an exec begins here)          └─ `ended` is set while its streams drain
//! ```

use super::cgroup::Cgroups;
use super::connection::Reply;
use super::runtime::Runtime;
use super::stdio::Streams;
use crate::exits::Exit;
use oci::Timestamp;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Instant;

/// Names a process: the container's own where `exec_id` is empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) exec_id: String,
}

impl Key {
    pub(super) fn new(id: &str, exec_id: &str) -> Self {
        Self { id: id.into(), exec_id: exec_id.into() }
    }
}

/// Where a process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Creating,
    Created,
    Running,
    Stopped,
}

/// An exit that was seen, while output is still being read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub(super) status: u32,
    pub(super) at: Timestamp,
    pub(super) seen: Instant,
}

/// A process.
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) status: Status,
    pub(super) terminal: bool,
    /// As the request gave them, for State.
    pub(super) uris: [String; 3],
    pub(super) ended: Option<Ended>,
    pub(super) exit: Option<Exit>,
    pub(super) waiters: Vec<Reply>,
    pub(super) streams: Streams,
    /// The runtime's start is under way.
    pub(super) starting: bool,
    /// The kernel's count of memory kills when the process began.
    pub(super) oom_kills_before: u64,
}

/// A container.
pub(super) struct Container {
    pub(super) bundle: PathBuf,
    pub(super) runtime: Runtime,
    pub(super) init: Process,
    pub(super) execs: BTreeMap<String, Process>,
    pub(super) cgroups: Cgroups,
    pub(super) paused: bool,
    /// Its processes do not end with the first one by themselves.
    pub(super) kill_rest: bool,
    /// The kernel's notices of memory that ran out.
    pub(super) oom: Option<(OwnedFd, u64)>,
    /// Image files that start restores, in place of the program.
    pub(super) checkpoint: Option<PathBuf>,
    /// Kills for want of memory that were told of.
    pub(super) oom_kills: u64,
}

impl Container {
    pub(super) fn process(&self, exec_id: &str) -> Option<&Process> {
        if exec_id.is_empty() { Some(&self.init) } else { self.execs.get(exec_id) }
    }

    pub(super) fn process_mut(&mut self, exec_id: &str) -> Option<&mut Process> {
        if exec_id.is_empty() { Some(&mut self.init) } else { self.execs.get_mut(exec_id) }
    }
}
