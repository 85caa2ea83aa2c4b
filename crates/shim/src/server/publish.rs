//! Events for containerd: one-way calls of `Forward` on the daemon's ttrpc socket. Events are hints; a daemon that is
//! away misses them and asks instead.

use super::process::Key;
use super::shim::{Shim, Source, stamp};
use crate::exits::Exit;
use oci::Timestamp;
use prost::Message;
use rustix::event::epoll::EventFlags;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use wire::task_events::{
    Envelope, ForwardRequest, TaskCheckpointed, TaskCreate, TaskDelete, TaskExecAdded, TaskExecStarted, TaskExit,
    TaskIo, TaskOom, TaskPaused, TaskResumed, TaskStart,
};
use wire::ttrpc::{self, Request};
use wire::well_known::Any;

/// Events that may wait, in bytes; more are dropped.
const LIMIT: usize = 1 << 20;

/// The connection to the daemon.
pub(super) struct Publisher {
    address: Option<PathBuf>,
    namespace: String,
    stream: Option<(UnixStream, u64)>,
    waiting: Vec<u8>,
    next: u32,
}

impl Publisher {
    /// containerd names its socket in `TTRPC_ADDRESS`; without it there is nobody to tell.
    pub(super) fn from_environment(namespace: &str) -> Self {
        let address = std::env::var("TTRPC_ADDRESS").ok().filter(|a| !a.is_empty());
        let address = address.map(|a| PathBuf::from(a.strip_prefix("unix://").unwrap_or(&a)));
        Self { address, namespace: namespace.into(), stream: None, waiting: Vec::new(), next: 1 }
    }
}

impl Shim {
    fn publish(&mut self, topic: &str, name: &str, event: &impl Message) {
        let Some(address) = self.publisher.address.clone() else { return };
        let envelope = Envelope {
            timestamp: Some(stamp(Timestamp::now())),
            namespace: self.publisher.namespace.clone(),
            topic: topic.into(),
            event: Some(Any::pack(name, event)),
        };
        let request = Request {
            service: "containerd.services.events.ttrpc.v1.Events".into(),
            method: "Forward".into(),
            payload: ForwardRequest { envelope: Some(envelope) }.encode_to_vec(),
            ..Request::default()
        };
        let frame = ttrpc::frame(self.publisher.next, ttrpc::REQUEST, &request);
        self.publisher.next = self.publisher.next.wrapping_add(2);
        if self.publisher.stream.is_none() {
            // What was cut in half with the last connection cannot be continued on a new one.
            self.publisher.waiting.clear();
            let connected = UnixStream::connect(&address).and_then(|s| s.set_nonblocking(true).map(|()| s));
            let Ok(stream) = connected else { return };
            let Ok(token) = self.poll.add(&stream, Source::Publisher, EventFlags::IN) else { return };
            self.publisher.stream = Some((stream, token));
        }
        if self.publisher.waiting.len() + frame.len() <= LIMIT {
            self.publisher.waiting.extend_from_slice(&frame);
        }
        self.publisher_ready(EventFlags::OUT);
    }

    pub(super) fn publisher_ready(&mut self, flags: EventFlags) {
        let publisher = &mut self.publisher;
        let Some((stream, token)) = &mut publisher.stream else { return };
        let mut broken = false;
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            // Answers are empty; errors mean that the daemon did not want an event.
            match stream.read(&mut self.scratch) {
                Ok(0) => broken = true,
                Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => broken = true,
                _ => {}
            }
        }
        while !broken && !publisher.waiting.is_empty() {
            match stream.write(&publisher.waiting) {
                Ok(count) => drop(publisher.waiting.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => broken = true,
            }
        }
        if broken {
            self.poll.remove(&*stream, *token);
            publisher.stream = None;
            return;
        }
        let flags = if publisher.waiting.is_empty() { EventFlags::IN } else { EventFlags::IN | EventFlags::OUT };
        self.poll.modify(&*stream, *token, flags);
    }

    pub(super) fn publish_create(&mut self, id: &str) {
        let Some(container) = self.containers.get(id) else { return };
        let [stdin, stdout, stderr] = container.init.uris.clone();
        let event = TaskCreate {
            container_id: id.into(),
            bundle: container.bundle.to_string_lossy().into_owned(),
            io: Some(TaskIo { stdin, stdout, stderr, terminal: container.init.terminal }),
            pid: container.init.pid,
            ..TaskCreate::default()
        };
        self.publish("/tasks/create", "containerd.events.TaskCreate", &event);
    }

    pub(super) fn publish_start(&mut self, key: &Key, pid: u32) {
        if key.exec_id.is_empty() {
            let event = TaskStart { container_id: key.id.clone(), pid };
            self.publish("/tasks/start", "containerd.events.TaskStart", &event);
        } else {
            let event = TaskExecStarted { container_id: key.id.clone(), exec_id: key.exec_id.clone(), pid };
            self.publish("/tasks/exec-started", "containerd.events.TaskExecStarted", &event);
        }
    }

    pub(super) fn publish_exec_added(&mut self, key: &Key) {
        let event = TaskExecAdded { container_id: key.id.clone(), exec_id: key.exec_id.clone() };
        self.publish("/tasks/exec-added", "containerd.events.TaskExecAdded", &event);
    }

    pub(super) fn publish_exit(&mut self, key: &Key, exit: &Exit) {
        // The container's own process goes by the container's id here.
        let id = if key.exec_id.is_empty() { &key.id } else { &key.exec_id };
        let event = TaskExit {
            container_id: key.id.clone(),
            id: id.clone(),
            pid: exit.pid,
            exit_status: exit.status,
            exited_at: Some(stamp(exit.exited_at)),
        };
        self.publish("/tasks/exit", "containerd.events.TaskExit", &event);
    }

    pub(super) fn publish_delete(&mut self, id: &str, exit: &Exit) {
        let event = TaskDelete {
            container_id: id.into(),
            pid: exit.pid,
            exit_status: exit.status,
            exited_at: Some(stamp(exit.exited_at)),
            id: String::new(),
        };
        self.publish("/tasks/delete", "containerd.events.TaskDelete", &event);
    }

    pub(super) fn publish_oom(&mut self, id: &str) {
        self.publish("/tasks/oom", "containerd.events.TaskOOM", &TaskOom { container_id: id.into() });
    }

    pub(super) fn publish_checkpointed(&mut self, id: &str, path: &str) {
        let event = TaskCheckpointed { container_id: id.into(), checkpoint: path.into() };
        self.publish("/tasks/checkpointed", "containerd.events.TaskCheckpointed", &event);
    }

    pub(super) fn publish_paused(&mut self, id: &str, paused: bool) {
        if paused {
            self.publish("/tasks/paused", "containerd.events.TaskPaused", &TaskPaused { container_id: id.into() });
        } else {
            self.publish("/tasks/resumed", "containerd.events.TaskResumed", &TaskResumed { container_id: id.into() });
        }
    }
}
