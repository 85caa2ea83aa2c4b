//! The notification descriptor's way to the policy's listener.
//!
//! ```text
//! process   puts the filter on, gets the descriptor, writes its number to the runtime, waits
//! runtime   takes a copy (pidfd_getfd), sends it to listenerPath beside the container process state, answers
//! process   closes its own and goes on
//! ```
//! The process neither connects nor sends, because the filter may already hold up any call but `write`; whatever else
//! it waits for, the listener has been told by then or is told without its help.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci::runtime::{Seccomp, SeccompListenerState, State, VERSION};
use oci::{Context, Error, Result};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    connect, send, sendmsg, socket_with,
};

use crate::channel::Channel;

/// The name that the specification gives to the descriptor.
const NAME: &str = "seccompFd";

/// The longest path of a socket.
const MAX_PATH: usize = 107;

/// The policy's listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listener {
    /// A socket of the host.
    pub(super) path: PathBuf,
    /// Passed along.
    pub(super) metadata: Option<String>,
}

impl Listener {
    /// The policy's own, or why it has none.
    pub(super) fn from_spec(spec: &Seccomp) -> Result<Self> {
        let Some(path) = spec.listener_path.clone().filter(|p| !p.as_os_str().is_empty()) else {
            return Err(Error::invalid("seccomp listenerPath is not set; SCMP_ACT_NOTIFY needs one"));
        };
        if !path.is_absolute() {
            return Err(Error::invalid(format!("listenerPath: {} must be an absolute path", path.display())));
        }
        if path.as_os_str().len() > MAX_PATH {
            return Err(Error::invalid(format!("listenerPath: {} is longer than {MAX_PATH} bytes", path.display())));
        }
        Ok(Self { path, metadata: spec.listener_metadata.clone() })
    }

    /// The runtime: takes the descriptor from the process, sends it to the listener and lets the process go on.
    pub(crate) fn deliver(
        &self,
        channel: &Channel,
        number: i32,
        process: BorrowedFd<'_>,
        pid: i32,
        state: State,
    ) -> Result<()> {
        let descriptor = channel.take(process, number, "seccomp notification descriptor")?;
        let message = SeccompListenerState {
            oci_version: VERSION.into(),
            fds: vec![NAME.into()],
            pid,
            metadata: self.metadata.clone(),
            state: Some(state),
        };
        let message = serde_json::to_vec(&message).map_err(|e| Error::internal(e.to_string()))?;
        let path = self.path.display();
        let socket = dial(&self.path).context(|| {
            format!("failed to connect with seccomp agent specified in the seccomp profile: dial unix {path}")
        })?;
        pass(socket.as_fd(), &message, &descriptor).context(|| format!("cannot send seccomp fd to {path}"))?;
        channel.answer()
    }
}

fn dial(path: &Path) -> std::io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    // A listener that takes nothing must not hang the runtime.
    rustix::net::sockopt::set_socket_timeout(
        &socket,
        rustix::net::sockopt::Timeout::Send,
        Some(std::time::Duration::from_secs(10)),
    )?;
    Ok(socket)
}

/// The descriptor goes with the message's first byte; a stream may take a long message in parts.
fn pass(socket: BorrowedFd<'_>, message: &[u8], descriptor: &OwnedFd) -> std::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [descriptor.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let mut sent = loop {
        match sendmsg(socket, &[IoSlice::new(message)], &mut control, SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            result => break result?,
        }
    };
    while sent < message.len() {
        match send(socket, &message[sent..], SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            result => sent += result?,
        }
    }
    Ok(())
}
