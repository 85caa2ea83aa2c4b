//! `clone3(2)` used as a fork: the child goes on with a copy of the memory.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// What the new process gets.
#[derive(Debug, Default)]
pub struct Fork<'a> {
    /// `CLONE_NEW*` and `CLONE_PARENT` bits.
    pub flags: u64,
    /// A v2 cgroup to be born in (a directory handle).
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// Which side of the fork this is.
#[derive(Debug)]
pub enum Forked {
    /// The caller: the new process's id in the caller's PID namespace, and a handle that cannot be recycled.
    Parent {
        /// Process id.
        pid: i32,
        /// Process handle, close-on-exec.
        pidfd: OwnedFd,
    },
    /// The new process.
    Child,
}

/// The argument of `clone3(2)`, version 2 (Linux 5.7).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

impl Fork<'_> {
    /// Forks. Only for processes with a single thread: another thread's locks would stay locked in the child.
    ///
    /// # Errors
    /// Those of `clone3(2)`; `EBUSY`, `EACCES` or `EOPNOTSUPP` come from the cgroup.
    pub fn fork(&self) -> io::Result<Forked> {
        let mut pidfd: i32 = -1;
        let mut args = CloneArgs {
            flags: self.flags | libc::CLONE_PIDFD as u64,
            pidfd: &raw mut pidfd as u64,
            // With CLONE_PARENT the signal is the caller's own and must be given as 0.
            exit_signal: if self.flags & libc::CLONE_PARENT as u64 == 0 { libc::SIGCHLD as u64 } else { 0 },
            ..Default::default()
        };
        if let Some(cgroup) = self.cgroup {
            args.flags |= CLONE_INTO_CGROUP;
            args.cgroup = cgroup.as_raw_fd() as u64;
        }
        // SAFETY: the structure and its size match; no stack is given, so the child runs on its own copy of this one;
        // without CLONE_VM nothing the child does reaches the caller's memory.
        let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
        match pid {
            -1 => Err(io::Error::last_os_error()),
            0 => Ok(Forked::Child),
            pid => Ok(Forked::Parent {
                pid: pid as i32,
                // SAFETY: the kernel has stored a new descriptor that nobody else knows.
                pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
            }),
        }
    }
}
