//! Netlink spoken directly: a socket, its messages, and the calls of rtnetlink(7) that bridge
//! networking needs.
//!
//! The bytes are our own (no netlink crate): the same builder serves rtnetlink, nftables and
//! conntrack, and it keeps `sampan-net` small enough to start in a millisecond.

pub(crate) mod address;
pub(crate) mod link;
pub(crate) mod message;
pub(crate) mod route;

pub(crate) use message::{Body, Messages};

use message::{ACK, DUMP, attrs, messages, text, u32_at};
use oci::{Error, Kind, Result};
use rustix::io::Errno;
use rustix::net::sockopt::{
    Timeout, set_socket_recv_buffer_size_force, set_socket_send_buffer_size_force, set_socket_timeout,
};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, netlink::NETFILTER,
    netlink::SocketAddrNetlink, recv, sendto, socket_with,
};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

const ERROR: u16 = 2;
const DONE: u16 = 3;
const CAPPED: u16 = 0x100;
const HAS_TLVS: u16 = 0x200;
const DUMP_INTERRUPTED: u16 = 0x10;
const EXT_ACK_MESSAGE: u16 = 1;
/// The kernel answers at once; this bounds a defect.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A batch of a few thousand rules.
const BUFFER: usize = 8 << 20;
/// The kernel fills at most 32 KiB per read of a dump.
const READ: usize = 64 << 10;
/// A dump that the kernel marks as inconsistent is taken again this often.
const DUMP_ATTEMPTS: u32 = 8;

/// Type and body of a message from the kernel.
pub(crate) type Answer = (u16, Vec<u8>);

/// What the kernel said about one message.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The error number.
    pub(crate) errno: Errno,
    /// The kernel's words, where it has any.
    pub(crate) words: String,
}

impl Refusal {
    fn plain(errno: Errno) -> Self {
        Self { errno, words: String::new() }
    }

    /// As an error about `what`.
    pub(crate) fn about(self, what: &str) -> Error {
        let kind = Error::from(std::io::Error::from(self.errno)).kind();
        let kind = match self.errno {
            Errno::EXIST => Kind::AlreadyExists,
            Errno::NODEV | Errno::NOENT => Kind::NotFound,
            Errno::BUSY => Kind::Conflict,
            Errno::OPNOTSUPP | Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT => Kind::Unsupported,
            _ => kind,
        };
        let words = if self.words.is_empty() { String::new() } else { format!(" ({})", self.words) };
        Error::new(kind, format!("{what}: {}{words}", std::io::Error::from(self.errno)))
    }
}

/// A netlink socket of the network namespace that the thread was in when it was opened.
pub(crate) struct Socket {
    fd: OwnedFd,
    seq: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Interfaces, addresses, routes.
    pub(crate) fn route() -> Result<Self> {
        Self::open(None)
    }

    /// nftables and conntrack.
    pub(crate) fn netfilter() -> Result<Self> {
        Self::open(Some(NETFILTER))
    }

    fn open(protocol: Option<Protocol>) -> Result<Self> {
        let open = || -> std::io::Result<OwnedFd> {
            let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
            sys::netlink::set_strict(fd.as_fd())?;
            set_socket_timeout(&fd, Timeout::Recv, Some(TIMEOUT))?;
            // Without CAP_NET_ADMIN (reading only) the default sizes have to do.
            let _unprivileged = set_socket_send_buffer_size_force(&fd, BUFFER);
            let _unprivileged = set_socket_recv_buffer_size_force(&fd, BUFFER);
            Ok(fd)
        };
        let fd = open().map_err(|error| match Errno::from_io_error(&error) {
            Some(errno) => Refusal::plain(errno).about("netlink socket"),
            None => Error::from(error).prefixed("netlink socket"),
        })?;
        Ok(Self { fd, seq: 1, buffer: vec![0; READ] })
    }

    /// Sends messages that each carry `ACK` and reads every answer. The kernel works on all of
    /// them whatever became of the earlier ones; the first refusal is returned.
    pub(crate) fn execute(&mut self, batch: Messages) -> Result<(), Refusal> {
        let mut waiting = batch.count();
        let first = self.send(batch)?;
        let mut refused = None;
        while waiting > 0 {
            let length = self.receive(RecvFlags::empty())?;
            for message in messages(&self.buffer[..length]) {
                if message.kind != ERROR || message.seq.wrapping_sub(first) >= self.seq.wrapping_sub(first) {
                    continue;
                }
                waiting = waiting.saturating_sub(1);
                if let Err(refusal) = verdict(&message) {
                    refused.get_or_insert(refusal);
                }
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// Sends one message that carries `ACK`.
    pub(crate) fn call(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Body<'_>)) -> Result<(), Refusal> {
        let mut batch = Messages::default();
        batch.push(kind, flags | ACK, fill);
        self.execute(batch)
    }

    /// Sends an nftables transaction, of which only failures (and the last message) are answered.
    /// The kernel has done the work when sending returns, so what there is to read is there.
    pub(crate) fn transact(&mut self, batch: Messages) -> Result<(), Refusal> {
        self.send(batch)?;
        let mut refused = None;
        loop {
            let length = match self.receive(RecvFlags::DONTWAIT) {
                Ok(length) => length,
                Err(refusal) if refusal.errno == Errno::AGAIN => break,
                Err(refusal) => return Err(refused.unwrap_or(refusal)),
            };
            for message in messages(&self.buffer[..length]) {
                if message.kind == ERROR
                    && let Err(refusal) = verdict(&message)
                {
                    refused.get_or_insert(refusal);
                }
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// The answers to a dump request, as type and body.
    pub(crate) fn dump(&mut self, kind: u16, fill: impl Fn(&mut Body<'_>)) -> Result<Vec<Answer>, Refusal> {
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(answers) = self.try_dump(kind, &fill)? {
                return Ok(answers);
            }
        }
        Err(Refusal { errno: Errno::INTR, words: "the list kept changing while it was read".into() })
    }

    /// One attempt; `None` if something changed in between.
    fn try_dump(&mut self, kind: u16, fill: &impl Fn(&mut Body<'_>)) -> Result<Option<Vec<Answer>>, Refusal> {
        let mut batch = Messages::default();
        batch.push(kind, DUMP, fill);
        let seq = self.send(batch)?;
        let mut answers = Vec::new();
        let mut consistent = true;
        loop {
            let length = self.receive(RecvFlags::empty())?;
            for message in messages(&self.buffer[..length]) {
                if message.seq != seq {
                    continue;
                }
                consistent &= message.flags & DUMP_INTERRUPTED == 0;
                match message.kind {
                    DONE => {
                        // Its body is the dump's own error number.
                        let code = u32_at(message.body, 0).unwrap_or(0).cast_signed();
                        return match code {
                            0.. => Ok(consistent.then_some(answers)),
                            _ if Errno::from_raw_os_error(-code) == Errno::INTR => Ok(None),
                            _ => Err(Refusal::plain(Errno::from_raw_os_error(-code))),
                        };
                    }
                    ERROR => verdict(&message)?,
                    kind => answers.push((kind, message.body.to_vec())),
                }
            }
        }
    }

    /// The answer to a request for one object.
    pub(crate) fn get(&mut self, kind: u16, fill: impl FnOnce(&mut Body<'_>)) -> Result<Vec<u8>, Refusal> {
        let mut batch = Messages::default();
        batch.push(kind, 0, fill);
        let seq = self.send(batch)?;
        loop {
            let length = self.receive(RecvFlags::empty())?;
            for message in messages(&self.buffer[..length]) {
                if message.seq != seq {
                    continue;
                }
                if message.kind != ERROR {
                    return Ok(message.body.to_vec());
                }
                verdict(&message)?;
            }
        }
    }

    /// Sends and returns the first message's sequence number.
    fn send(&mut self, batch: Messages) -> Result<u32, Refusal> {
        let first = self.seq;
        self.seq = self.seq.wrapping_add(batch.count());
        let bytes = batch.numbered(first);
        let sent =
            sendto(&self.fd, &bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0)).map_err(Refusal::plain)?;
        if sent != bytes.len() {
            return Err(Refusal::plain(Errno::MSGSIZE));
        }
        Ok(first)
    }

    fn receive(&mut self, flags: RecvFlags) -> Result<usize, Refusal> {
        loop {
            match recv(&self.fd, &mut self.buffer[..], flags | RecvFlags::TRUNC) {
                Ok((_, length)) if length > self.buffer.len() => return Err(Refusal::plain(Errno::MSGSIZE)),
                Ok((_, length)) => return Ok(length),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if !flags.contains(RecvFlags::DONTWAIT) => {
                    return Err(Refusal::plain(Errno::TIMEDOUT));
                }
                Err(errno) => return Err(Refusal::plain(errno)),
            }
        }
    }
}

/// What an `NLMSG_ERROR` says.
fn verdict(message: &message::Message<'_>) -> Result<(), Refusal> {
    let code = u32_at(message.body, 0).unwrap_or(0).cast_signed();
    if code == 0 {
        return Ok(());
    }
    let mut words = String::new();
    if message.flags & HAS_TLVS != 0 {
        // error i32, the request's header, and the rest of the request unless it was left out
        let request =
            if message.flags & CAPPED != 0 { message::HEADER } else { u32_at(message.body, 4).unwrap_or(0) as usize };
        let rest = message.body.get(4 + ((request + 3) & !3)..).unwrap_or_default();
        if let Some((_, payload)) = attrs(rest).find(|(kind, _)| *kind == EXT_ACK_MESSAGE) {
            words = text(payload);
        }
    }
    Err(Refusal { errno: Errno::from_raw_os_error(code.checked_neg().unwrap_or(5)), words })
}
