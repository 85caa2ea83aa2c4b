//! What the kernel tells of a socket's queues.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Whether everything that was written to a Unix stream socket has been read by its peer (`SIOCOUTQ`, unix(7)).
///
/// # Errors
/// `ENOTTY` for something that is no socket.
pub fn taken_by_peer(socket: BorrowedFd<'_>) -> io::Result<bool> {
    let mut queued: libc::c_int = 0;
    // SAFETY: the request stores one int behind the pointer. (TIOCOUTQ is the number's other name.)
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut queued) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(queued == 0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_peer_that_has_read_leaves_nothing() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        assert!(taken_by_peer(ours.as_fd()).unwrap());
        ours.write_all(b"head").unwrap();
        assert!(!taken_by_peer(ours.as_fd()).unwrap());
        theirs.read_exact(&mut [0; 4]).unwrap();
        assert!(taken_by_peer(ours.as_fd()).unwrap());
    }
}
