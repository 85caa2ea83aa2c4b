//! Descriptors handed to the caller over its sockets: a terminal's master, a process's pidfd.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};

use oci::{Context, Error, Result};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// Sends one descriptor with its name as the payload, as runc does.
pub(crate) fn send(socket: BorrowedFd<'_>, fd: BorrowedFd<'_>, name: &str) -> Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [fd.as_fd()];
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(Error::internal("no room for a descriptor"));
    }
    sendmsg(socket, &[IoSlice::new(name.as_bytes())], &mut control, SendFlags::NOSIGNAL)
        .map_err(std::io::Error::from)
        .context(|| format!("send {name} over the caller's socket"))?;
    Ok(())
}
