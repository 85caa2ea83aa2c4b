//! The server's state, and the few operations that everything else is made of.

use super::args::Args;
use super::connection::{Connection, Reply};
use super::jobs::Job;
use super::process::{Container, Key, Process};
use super::publish::Publisher;
use oci::{Context, Error, Result, Timestamp};
use rustix::event::epoll::{self, EventData, EventFlags};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::Instant;
use sys::frugal::Code;

/// What a readiness event is about.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Listener,
    Signals,
    Connection,
    Publisher,
    Stream(Key, Port),
    /// A container's memory ran out.
    Memory(String),
}

/// Which end of a process's streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Port {
    /// The process's standard input, for writing.
    Stdin,
    /// A foreign client's FIFO that feeds it.
    Feed,
    /// Standard output (0, or a terminal) and standard error (1), for reading.
    Out(usize),
    /// The FIFO that an output goes to.
    Sink(usize),
}

/// epoll, and what its tokens mean.
pub(super) struct Poll {
    pub(super) epoll: OwnedFd,
    pub(super) sources: BTreeMap<u64, Source>,
    next: u64,
}

impl Poll {
    pub(super) fn new() -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(std::io::Error::from).context(|| "epoll")?;
        Ok(Self { epoll, sources: BTreeMap::new(), next: 1 })
    }

    /// Watches `fd`; gives its token.
    pub(super) fn add(&mut self, fd: impl AsFd, source: Source, flags: EventFlags) -> Result<u64> {
        let token = self.next;
        self.next += 1;
        epoll::add(&self.epoll, fd, EventData::new_u64(token), flags)
            .map_err(std::io::Error::from)
            .context(|| "epoll: add")?;
        self.sources.insert(token, source);
        Ok(token)
    }

    /// Watches for something else. The descriptor was added before.
    pub(super) fn modify(&self, fd: impl AsFd, token: u64, flags: EventFlags) {
        // It can only fail for a descriptor that was not added, which would be a defect here.
        let _ = epoll::modify(&self.epoll, fd, EventData::new_u64(token), flags);
    }

    /// Stops watching for a while; `resume` with the same token goes on. Needed because epoll always reports a
    /// hang-up, whatever was asked for.
    pub(super) fn pause(&self, fd: impl AsFd) {
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Watches again after `pause`.
    pub(super) fn resume(&self, fd: impl AsFd, token: u64, flags: EventFlags) {
        let _ = epoll::add(&self.epoll, fd, EventData::new_u64(token), flags);
    }

    /// Forgets a descriptor that is about to be closed.
    pub(super) fn remove(&mut self, fd: impl AsFd, token: u64) {
        let _ = epoll::delete(&self.epoll, fd);
        self.sources.remove(&token);
    }
}

/// The server.
pub(super) struct Shim {
    pub(super) poll: Poll,
    pub(super) args: Args,
    pub(super) socket: PathBuf,
    pub(super) connections: BTreeMap<u64, Connection>,
    pub(super) containers: BTreeMap<String, Container>,
    pub(super) jobs: Vec<Job>,
    pub(super) publisher: Publisher,
    /// No tasks, and someone asked for the end: leave once the answers are out.
    pub(super) ending: bool,
    /// To be given back when there is nothing to do.
    pub(super) code: Code,
    /// Work was done since that happened last.
    pub(super) warm: bool,
    /// Since when there has been neither a container nor a client.
    pub(super) idle_since: Option<Instant>,
    pub(super) scratch: Box<[u8]>,
}

/// A timestamp as protobuf has it.
pub(super) fn stamp(at: Timestamp) -> wire::well_known::Timestamp {
    wire::well_known::Timestamp { seconds: at.seconds(), nanos: at.subsec_nanos() as i32 }
}

impl Shim {
    pub(super) fn container(&mut self, id: &str) -> Result<&mut Container> {
        self.containers.get_mut(id).ok_or_else(|| Error::not_found(format!("container {id} not found in this shim")))
    }

    pub(super) fn process(&mut self, key: &Key) -> Result<&mut Process> {
        let container = self.container(&key.id)?;
        container
            .process_mut(&key.exec_id)
            .ok_or_else(|| Error::not_found(format!("process {} not found in container {}", key.exec_id, key.id)))
    }

    /// Answers a call.
    pub(super) fn answer<M: prost::Message>(&mut self, reply: Reply, result: Result<M>) {
        let response = match result {
            Ok(message) => wire::ttrpc::Response { status: None, payload: message.encode_to_vec() },
            Err(error) => {
                let status = wire::ttrpc::Status {
                    code: super::service::code_of(error.kind()),
                    message: error.to_string(),
                    details: Vec::new(),
                };
                wire::ttrpc::Response { status: Some(status), payload: Vec::new() }
            }
        };
        let frame = wire::ttrpc::frame(reply.stream, wire::ttrpc::RESPONSE, &response);
        self.send(reply.connection, &frame);
    }

    /// A line in the shim's log, for what nobody asked about.
    pub(super) fn note(&self, what: &str) {
        eprintln!("{} {} {what}", Timestamp::now(), self.args.id);
    }
}
