//! Connections: calls over ttrpc, and attached clients. The first byte tells which.

use super::process::{Key, Status};
use super::shim::{Shim, Source};
use crate::attach::{Answer, HELLO_LIMIT, Hello, MAGIC, STALL};
use oci::{Kind, Result};
use prost::Message;
use rustix::event::epoll::EventFlags;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;
use wire::ttrpc::{self, Header, Request};

/// Output that may wait for one attached client before its process is held up.
pub(super) const CLIENT_BUFFER: usize = 256 * 1024;
/// Input that may wait for a process before its client is held up.
const INPUT_BUFFER: usize = 64 * 1024;
/// Connections at a time.
const CONNECTIONS: usize = 1024;
/// Answers that may wait for a client that does not read them.
const ANSWER_BUFFER: usize = 8 << 20;

/// Where an answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) connection: u64,
    pub(super) stream: u32,
}

/// What a connection turned out to be.
pub(super) enum Role {
    Unknown,
    Caller,
    Attached(Attached),
}

/// An attached client.
pub(super) struct Attached {
    pub(super) key: Key,
    pub(super) hello: Hello,
    /// It sends no more input.
    pub(super) input_ended: bool,
    /// Its input waits for the process.
    pub(super) held: bool,
}

/// A connection.
pub(super) struct Connection {
    stream: UnixStream,
    pub(super) role: Role,
    input: Vec<u8>,
    output: Vec<u8>,
    sent: usize,
    /// When output last moved, or began to wait.
    progress: Instant,
    /// Close when everything is sent.
    closing: bool,
    /// Not watched for the moment.
    parked: bool,
}

impl Connection {
    pub(super) fn waiting(&self) -> usize {
        self.output.len() - self.sent
    }

    fn interest(&self) -> EventFlags {
        let mut flags = EventFlags::empty();
        let reads = match &self.role {
            Role::Attached(client) => !client.input_ended && !client.held,
            _ => !self.closing,
        };
        if reads {
            flags |= EventFlags::IN;
        }
        if self.waiting() > 0 {
            flags |= EventFlags::OUT;
        }
        flags
    }

    /// When it must have made progress.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (self.waiting() > 0).then(|| self.progress + STALL)
    }
}

impl Shim {
    pub(super) fn accept(&mut self, listener: &std::os::unix::net::UnixListener) {
        while let Ok((stream, _)) = listener.accept() {
            if self.connections.len() >= CONNECTIONS || stream.set_nonblocking(true).is_err() {
                continue;
            }
            let Ok(token) = self.poll.add(&stream, Source::Connection, EventFlags::IN) else { continue };
            let connection = Connection {
                stream,
                role: Role::Unknown,
                input: Vec::new(),
                output: Vec::new(),
                sent: 0,
                progress: Instant::now(),
                closing: false,
                parked: false,
            };
            self.connections.insert(token, connection);
        }
    }

    pub(super) fn connection_ready(&mut self, token: u64, flags: EventFlags) {
        if flags.contains(EventFlags::OUT) {
            self.flush(token);
        }
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            self.receive(token, flags.intersects(EventFlags::HUP | EventFlags::ERR));
        }
    }

    fn receive(&mut self, token: u64, hung_up: bool) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        let reads = connection.interest().contains(EventFlags::IN);
        if !reads {
            if let Role::Attached(Attached { held: true, input_ended: false, .. }) = &connection.role {
                // It left, and what it wrote is still to be read. epoll would tell of its leaving over and over.
                connection.parked = true;
                self.poll.pause(&connection.stream);
                return;
            }
            // Both directions are closed: nobody is there any more.
            if hung_up {
                self.drop_connection(token);
            }
            return;
        }
        let count = match connection.stream.read(&mut self.scratch) {
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return,
            Err(_) => 0,
        };
        let bytes = self.scratch[..count].to_vec();
        match &mut connection.role {
            Role::Attached(client) if count == 0 => {
                client.input_ended = true;
                let (key, close) = (client.key.clone(), client.hello.close_stdin && client.hello.stdin);
                if close {
                    self.end_stdin(&key);
                }
                if hung_up {
                    self.drop_connection(token);
                } else {
                    self.rearm(token);
                }
            }
            Role::Attached(client) => {
                let key = client.key.clone();
                if client.hello.stdin {
                    self.feed_stdin(&key, &bytes);
                    let held = self.process(&key).is_ok_and(|p| p.streams.stdin_waiting() > INPUT_BUFFER);
                    if held
                        && let Some(Connection { role: Role::Attached(client), .. }) = self.connections.get_mut(&token)
                    {
                        client.held = true;
                        self.rearm(token);
                    }
                }
            }
            _ if count == 0 => self.drop_connection(token),
            _ => {
                connection.input.extend_from_slice(&bytes);
                self.take_input(token);
            }
        }
    }

    /// Takes whole requests off a connection's input.
    fn take_input(&mut self, token: u64) {
        loop {
            let Some(connection) = self.connections.get_mut(&token) else { return };
            if matches!(connection.role, Role::Unknown) {
                match connection.input.first() {
                    None => return,
                    Some(&MAGIC) => {
                        let Some(end) = connection.input.iter().position(|b| *b == b'\n') else {
                            if connection.input.len() > HELLO_LIMIT {
                                self.drop_connection(token);
                            }
                            return;
                        };
                        let line: Vec<u8> = connection.input.drain(..=end).collect();
                        let rest = std::mem::take(&mut connection.input);
                        self.attach(token, &line[1..end], &rest);
                        return;
                    }
                    Some(_) => connection.role = Role::Caller,
                }
            }
            let Some(head) = connection.input.first_chunk::<{ ttrpc::HEADER }>() else { return };
            let header = Header::decode(head);
            if header.length > ttrpc::LIMIT {
                self.note("a client sent a frame over the limit");
                self.drop_connection(token);
                return;
            }
            let total = ttrpc::HEADER + header.length;
            if connection.input.len() < total {
                return;
            }
            let frame: Vec<u8> = connection.input.drain(..total).collect();
            if connection.input.is_empty() {
                connection.input = Vec::new();
            }
            // Data frames belong to streaming calls, of which the task service has none.
            if header.kind != ttrpc::REQUEST {
                continue;
            }
            let reply = Reply { connection: token, stream: header.stream };
            match Request::decode(&frame[ttrpc::HEADER..]) {
                Ok(request) => super::service::dispatch(self, reply, &request),
                Err(error) => {
                    let error = oci::Error::invalid("malformed request").with_source(error);
                    self.answer::<wire::well_known::Empty>(reply, Err(error));
                }
            }
        }
    }

    fn attach(&mut self, token: u64, line: &[u8], rest: &[u8]) {
        let accepted = self.attach_checked(token, line);
        let (answer, key) = match accepted {
            Ok((key, tty)) => (Answer { tty, ..Answer::default() }, Some(key)),
            Err(error) => {
                let kind = if error.kind() == Kind::NotFound { "not_found" } else { "conflict" };
                (Answer { tty: false, error: Some(error.to_string()), kind: Some(kind.into()) }, None)
            }
        };
        // A struct of strings and a flag is always JSON.
        let mut text = serde_json::to_vec(&answer).unwrap_or_default();
        text.push(b'\n');
        self.send(token, &text);
        match key {
            Some(key) => {
                if let Ok(process) = self.process(&key) {
                    process.streams.clients.push(token);
                }
                if !rest.is_empty() {
                    self.feed_stdin(&key, rest);
                }
            }
            None => self.close_when_sent(token),
        }
    }

    fn attach_checked(&mut self, token: u64, line: &[u8]) -> Result<(Key, bool)> {
        let hello: Hello = serde_json::from_slice(line)
            .map_err(|error| oci::Error::invalid("malformed attach request").with_source(error))?;
        let key = Key::new(&hello.id, &hello.exec_id);
        let process = self.process(&key)?;
        if process.status == Status::Stopped || process.ended.is_some() {
            return Err(oci::Error::conflict(format!("process of {} has ended", key.id)));
        }
        let terminal = process.terminal;
        if let Some(connection) = self.connections.get_mut(&token) {
            let attached = Attached { key: key.clone(), hello, input_ended: false, held: false };
            connection.role = Role::Attached(attached);
        }
        Ok((key, terminal))
    }

    /// Sends bytes on a connection, now or when it takes them.
    pub(super) fn send(&mut self, token: u64, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        if connection.waiting() == 0 {
            connection.output.clear();
            connection.sent = 0;
            connection.progress = Instant::now();
        }
        if matches!(connection.role, Role::Caller) && connection.waiting() + bytes.len() > ANSWER_BUFFER {
            self.drop_connection(token);
            return;
        }
        connection.output.extend_from_slice(bytes);
        self.flush(token);
    }

    fn flush(&mut self, token: u64) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        while connection.waiting() > 0 {
            match connection.stream.write(&connection.output[connection.sent..]) {
                Ok(count) => {
                    connection.sent += count;
                    connection.progress = Instant::now();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.drop_connection(token);
                    return;
                }
            }
        }
        if connection.waiting() == 0 {
            connection.output = Vec::new();
            connection.sent = 0;
            if connection.closing {
                self.drop_connection(token);
                return;
            }
        } else if connection.sent > CLIENT_BUFFER {
            connection.output.drain(..connection.sent);
            connection.sent = 0;
        }
        let freed = match &connection.role {
            Role::Attached(client) if connection.waiting() < CLIENT_BUFFER / 2 => Some(client.key.clone()),
            _ => None,
        };
        self.rearm(token);
        if let Some(key) = freed {
            self.release_output(&key);
        }
    }

    fn rearm(&mut self, token: u64) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        if std::mem::take(&mut connection.parked) {
            self.poll.resume(&connection.stream, token, connection.interest());
        } else {
            self.poll.modify(&connection.stream, token, connection.interest());
        }
    }

    /// The process took input: clients that were held up may go on.
    pub(super) fn release_input(&mut self, key: &Key) {
        let tokens = self.process(key).map(|p| p.streams.clients.clone()).unwrap_or_default();
        for token in tokens {
            if let Some(Connection { role: Role::Attached(client), .. }) = self.connections.get_mut(&token)
                && client.held
            {
                client.held = false;
                self.rearm(token);
            }
        }
    }

    /// Closes a connection after what waits was sent.
    pub(super) fn close_when_sent(&mut self, token: u64) {
        let Some(connection) = self.connections.get_mut(&token) else { return };
        connection.closing = true;
        if connection.waiting() == 0 {
            self.drop_connection(token);
        }
    }

    pub(super) fn drop_connection(&mut self, token: u64) {
        let Some(connection) = self.connections.remove(&token) else { return };
        self.poll.remove(&connection.stream, token);
        match connection.role {
            Role::Attached(client) => {
                if client.hello.close_stdin && client.hello.stdin && !client.input_ended {
                    self.end_stdin(&client.key);
                }
                if let Ok(process) = self.process(&client.key) {
                    process.streams.clients.retain(|c| *c != token);
                }
                self.release_output(&client.key);
            }
            _ => {
                for container in self.containers.values_mut() {
                    for process in std::iter::once(&mut container.init).chain(container.execs.values_mut()) {
                        process.waiters.retain(|w| w.connection != token);
                    }
                }
            }
        }
    }

    /// Cuts off the clients that have taken nothing for too long.
    pub(super) fn cut_stalled(&mut self, now: Instant) {
        let stalled: Vec<u64> = self
            .connections
            .iter()
            .filter(|(_, c)| c.deadline().is_some_and(|d| d <= now))
            .map(|(token, _)| *token)
            .collect();
        for token in stalled {
            self.note("an attached client takes nothing and is cut off");
            self.drop_connection(token);
        }
    }

    /// What an attached client gets of `bytes` from output `out`: framed, raw from a terminal, or nothing.
    pub(super) fn offer(&mut self, token: u64, out: usize, terminal: bool, bytes: &[u8]) {
        let Some(Connection { role: Role::Attached(client), .. }) = self.connections.get(&token) else { return };
        let wanted = if out == 0 { client.hello.stdout || terminal } else { client.hello.stderr };
        if !wanted {
            return;
        }
        if terminal {
            self.send(token, bytes);
            return;
        }
        let mut frame = Vec::with_capacity(8 + bytes.len());
        frame.extend_from_slice(&crate::attach::frame_header(out as u8 + 1, bytes.len() as u32));
        frame.extend_from_slice(bytes);
        self.send(token, &frame);
    }
}
