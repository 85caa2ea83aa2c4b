//! The few words of rtnetlink(7) that moving a network device takes: one request, its answer, one list.
//!
//! ```text
//! message    length(4) type(2) flags(2) sequence(4) port(4)   body   attributes
//! attribute  length(2) type(2) value, filled up to 4 bytes
//! ```

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use oci::{Error, Result};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, sendto, socket_with};

const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const DUMP_INTERRUPTED: u16 = 0x10;
/// The kernel fills at most 32 KiB per read.
const READ: usize = 32 << 10;
/// The kernel answers at once; this bounds a defect.
const PATIENCE: Duration = Duration::from_secs(10);
/// A list that changed while it was read is read again this often.
const ATTEMPTS: u32 = 8;
/// More objects than this are nothing a container starts with.
const MAX_OBJECTS: usize = 65536;

/// A request under construction.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    kind: u16,
    body: Vec<u8>,
}

impl Request {
    /// `body` is the fixed structure of this type of message.
    pub(crate) fn new(kind: u16, body: &[u8]) -> Self {
        Self { kind, body: body.to_vec() }
    }

    /// Adds an attribute.
    pub(crate) fn with(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.body.extend_from_slice(&length.to_ne_bytes());
        self.body.extend_from_slice(&kind.to_ne_bytes());
        self.body.extend_from_slice(value);
        self.body.resize(self.body.len().next_multiple_of(4), 0);
        self
    }

    fn bytes(&self, flags: u16, sequence: u32) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(16 + self.body.len());
        bytes.extend_from_slice(&(16 + self.body.len() as u32).to_ne_bytes());
        bytes.extend_from_slice(&self.kind.to_ne_bytes());
        bytes.extend_from_slice(&(REQUEST | flags).to_ne_bytes());
        bytes.extend_from_slice(&sequence.to_ne_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// Attributes behind the fixed structure of a message, as type and value.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let value = bytes.get(4..length)?;
        let kind = u16_at(bytes, 2)? & 0x3fff;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// A number of a message.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// A socket of the network namespace that the process was in when it was opened.
pub(crate) struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    pub(crate) fn open() -> Result<Self> {
        let open = || -> std::io::Result<OwnedFd> {
            // Protocol 0 is rtnetlink.
            let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
            sys::netlink::set_strict(fd.as_fd())?;
            set_socket_timeout(&fd, Timeout::Recv, Some(PATIENCE))?;
            Ok(fd)
        };
        Ok(Self { fd: open().map_err(|e| Error::from(e).prefixed("open a netlink socket"))?, sequence: 0 })
    }

    /// A request without an answer but whether it was done.
    pub(crate) fn call(&mut self, request: &Request) -> Result<(), Errno> {
        self.exchange(request, ACK).map(drop)
    }

    /// A request for one object.
    pub(crate) fn get(&mut self, request: &Request) -> Result<Vec<u8>, Errno> {
        self.exchange(request, 0)?.into_iter().next().ok_or(Errno::NODEV)
    }

    /// A request for all objects.
    pub(crate) fn list(&mut self, request: &Request) -> Result<Vec<Vec<u8>>, Errno> {
        for _ in 0..ATTEMPTS {
            match self.exchange(request, DUMP) {
                Err(Errno::INTR) => {}
                result => return result,
            }
        }
        Err(Errno::INTR)
    }

    /// The bodies of the answers.
    fn exchange(&mut self, request: &Request, flags: u16) -> Result<Vec<Vec<u8>>, Errno> {
        self.sequence += 1;
        let kernel = netlink::SocketAddrNetlink::new(0, 0);
        sendto(&self.fd, &request.bytes(flags, self.sequence), SendFlags::empty(), &kernel)?;
        let mut bodies = Vec::new();
        let mut consistent = true;
        let mut buffer = vec![0; READ];
        loop {
            let length = match recv(&self.fd, &mut buffer, RecvFlags::empty()) {
                Ok((length, _)) => length,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error),
            };
            let mut rest = buffer.get(..length).unwrap_or_default();
            while let (Some(size), Some(kind)) = (u32_at(rest, 0), u16_at(rest, 4)) {
                let Some(message) = rest.get(..size as usize).filter(|m| m.len() >= 16) else { break };
                rest = rest.get((size as usize).next_multiple_of(4)..).unwrap_or_default();
                if u32_at(message, 8) != Some(self.sequence) {
                    continue; // of an earlier request that was given up
                }
                let body = &message[16..];
                consistent &= u16_at(message, 6).unwrap_or(0) & DUMP_INTERRUPTED == 0;
                match kind {
                    ERROR | DONE => {
                        let code = u32_at(body, 0).unwrap_or(0).cast_signed();
                        if code < 0 {
                            return Err(Errno::from_raw_os_error(-code));
                        }
                        return if consistent { Ok(bodies) } else { Err(Errno::INTR) };
                    }
                    _ if bodies.len() == MAX_OBJECTS => return Err(Errno::TOOBIG),
                    _ => bodies.push(body.to_vec()),
                }
            }
            if flags == 0 && !bodies.is_empty() {
                return Ok(bodies);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_aligned_and_read_back() {
        let request = Request::new(16, &[0; 16]).with(3, b"eth0\0").with(28, &7u32.to_ne_bytes());
        let bytes = request.bytes(ACK, 9);
        assert_eq!(u32_at(&bytes, 0), Some(bytes.len() as u32));
        assert_eq!(u32_at(&bytes, 8), Some(9));
        let read: Vec<_> = attributes(&bytes[32..]).collect();
        assert_eq!(read, [(3, b"eth0\0".as_slice()), (28, 7u32.to_ne_bytes().as_slice())]);
        // Lengths that lie end the list.
        assert_eq!(attributes(&[2, 0, 1, 0]).count(), 0);
        assert_eq!(attributes(&[40, 0, 1, 0, 9]).count(), 0);
    }

    #[test]
    fn the_kernel_answers() {
        let mut socket = Socket::open().expect("socket");
        let loopback = Request::new(18, &[0; 16]).with(3, b"lo\0");
        let body = socket.get(&loopback).expect("every namespace has one");
        assert_eq!(u32_at(&body, 4), Some(1), "its index");
        let missing = Request::new(18, &[0; 16]).with(3, b"no-such-device\0");
        assert_eq!(socket.get(&missing), Err(Errno::NODEV));
        assert!(!socket.list(&Request::new(18, &[0; 16])).expect("list").is_empty());
    }
}
