//! Signals as something to read (signalfd(2)).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Signals that are blocked for the calling thread and read from a descriptor instead.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

/// The signals a long-lived single-threaded process waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGCHLD
    Child,
    /// SIGTERM
    Terminate,
    /// SIGINT
    Interrupt,
    /// SIGPIPE
    Pipe,
    /// SIGHUP
    HangUp,
}

impl Signal {
    fn raw(self) -> libc::c_int {
        match self {
            Self::Child => libc::SIGCHLD,
            Self::Terminate => libc::SIGTERM,
            Self::Interrupt => libc::SIGINT,
            Self::Pipe => libc::SIGPIPE,
            Self::HangUp => libc::SIGHUP,
        }
    }
}

impl SignalFd {
    /// Blocks `signals` for the calling thread and opens a descriptor that reads them. Programs
    /// started by the standard library begin with an empty mask all the same.
    ///
    /// # Errors
    /// The kernel's.
    pub fn new(signals: &[Signal]) -> io::Result<Self> {
        // SAFETY: a zeroed sigset_t is valid storage; sigemptyset, sigaddset and sigprocmask only
        // write to it and to the thread's own mask.
        let set = unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            for signal in signals {
                libc::sigaddset(&mut set, signal.raw());
            }
            if libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) != 0 {
                return Err(io::Error::last_os_error());
            }
            set
        };
        // SAFETY: the set is initialized above; -1 asks for a new descriptor.
        let fd = unsafe { libc::signalfd(-1, &set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave this descriptor to us alone.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The numbers of the signals that have arrived since the last call; each at most once.
    ///
    /// # Errors
    /// The kernel's, other than "none yet".
    pub fn read(&self) -> io::Result<Vec<i32>> {
        let mut seen = Vec::new();
        loop {
            // SAFETY: a signalfd_siginfo is plain integers, valid when zeroed.
            let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
            let size = size_of::<libc::signalfd_siginfo>();
            // SAFETY: the buffer is `size` bytes long and lives through the call.
            let count = unsafe { libc::read(self.0.as_raw_fd(), (&raw mut info).cast(), size) };
            if count == size as isize {
                seen.push(info.ssi_signo as i32);
                continue;
            }
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::WouldBlock => return Ok(seen),
                io::ErrorKind::Interrupted => {}
                _ => return Err(error),
            }
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
