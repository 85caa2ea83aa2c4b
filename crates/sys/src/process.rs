//! Attributes of the calling process that rustix has no safe call for.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// Marks every descriptor from `first` on close-on-exec.
///
/// # Errors
/// `ENOSYS` before Linux 5.9, `EINVAL` before 5.11.
pub fn close_range_on_exec(first: u32) -> io::Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: no memory is passed; the flag changes no descriptor's validity.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) };
    check(done as i32)
}

/// Closes every descriptor from `first` to `last` that a caller has left to this process.
///
/// Only for numbers that no value of this program owns: at its start, before it has opened anything there.
///
/// # Errors
/// `ENOSYS` before Linux 5.9.
pub fn close_foreign(first: u32, last: u32) -> io::Result<()> {
    // SAFETY: no memory is passed, and the numbers have no owner in this program, as the documentation demands.
    let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    check(done as i32)
}

/// Whether the number is an open descriptor.
pub fn is_open(fd: RawFd) -> bool {
    // SAFETY: F_GETFD takes nothing and changes nothing.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// The effective user that this program was started as, which needs no system call: for a process that has not changed it.
pub fn user_at_start() -> u32 {
    // SAFETY: no memory is passed.
    unsafe { libc::getauxval(libc::AT_EUID) as u32 }
}

/// Makes a descriptor survive `execve(2)`, or not.
///
/// # Errors
/// `EBADF`.
pub fn set_close_on_exec(fd: RawFd, on: bool) -> io::Result<()> {
    // SAFETY: F_SETFD takes an integer; a number that is no descriptor gives EBADF.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, if on { libc::FD_CLOEXEC } else { 0 }) })
}

/// Takes over a descriptor that this process inherited by number (a listening socket, a terminal).
///
/// # Errors
/// `EBADF` where the number is no descriptor.
pub fn adopt_inherited(fd: RawFd) -> io::Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    set_close_on_exec(fd, true)?;
    // SAFETY: it is open, and numbers passed on the command line by the parent have no other owner in this process.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Starts a session keyring of its own, by name.
///
/// # Errors
/// `ENOSYS` without keyrings, `EDQUOT`, `EACCES`.
pub fn join_session_keyring(name: &std::ffi::CStr) -> io::Result<i32> {
    const KEYCTL_JOIN_SESSION_KEYRING: i32 = 1;
    // SAFETY: the name is a valid C string.
    let key = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) };
    if key < 0 { Err(io::Error::last_os_error()) } else { Ok(key as i32) }
}

/// Sets the execution domain (`personality(2)`).
///
/// # Errors
/// `EINVAL`.
pub fn set_personality(domain: u64) -> io::Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::personality(domain as libc::c_ulong) })
}

/// Arguments of [`set_scheduler`], laid out as the kernel's `struct sched_attr`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scheduler {
    /// Size of this structure; filled in by [`set_scheduler`].
    pub size: u32,
    /// `SCHED_OTHER` and so on.
    pub policy: u32,
    /// `SCHED_FLAG_RESET_ON_FORK` and so on.
    pub flags: u64,
    /// Nice value.
    pub nice: i32,
    /// Static priority.
    pub priority: u32,
    /// Nanoseconds.
    pub runtime: u64,
    /// Nanoseconds.
    pub deadline: u64,
    /// Nanoseconds.
    pub period: u64,
}

/// Sets the scheduling policy of the caller.
///
/// # Errors
/// Those of `sched_setattr(2)`.
pub fn set_scheduler(scheduler: &Scheduler) -> io::Result<()> {
    let attr = Scheduler { size: size_of::<Scheduler>() as u32, ..*scheduler };
    // SAFETY: the structure has the size it says.
    check(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) } as i32)
}

/// Sets the I/O priority of the caller: class 1 (realtime), 2 (best effort) or 3 (idle).
///
/// # Errors
/// Those of `ioprio_set(2)`.
pub fn set_io_priority(class: u16, level: u16) -> io::Result<()> {
    const IOPRIO_WHO_PROCESS: i32 = 1;
    let value = i32::from(class) << 13 | i32::from(level);
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, value) } as i32)
}

/// Restricts a process (0 is the caller) to the processors whose bits are set, the lowest first.
///
/// # Errors
/// Those of `sched_setaffinity(2)`; `EINVAL` where none of them is one that the process may use.
pub fn set_cpu_affinity(pid: i32, mask: &[u64]) -> io::Result<()> {
    // SAFETY: the mask is as long as the call is told.
    check(unsafe { libc::syscall(libc::SYS_sched_setaffinity, pid, size_of_val(mask), mask.as_ptr()) } as i32)
}

/// Sets the memory policy of the caller (`MPOL_*` mode with flags) for the nodes whose bits are set, the lowest first.
///
/// # Errors
/// Those of `set_mempolicy(2)`.
pub fn set_memory_policy(mode: u32, nodes: &[u64]) -> io::Result<()> {
    // The kernel takes the number of bits to be one too many.
    let bits = if nodes.is_empty() { 0 } else { nodes.len() * 64 + 1 };
    let pointer = if nodes.is_empty() { std::ptr::null() } else { nodes.as_ptr() };
    // SAFETY: the kernel reads as many whole words as hold one bit less than it is told: those of the slice.
    check(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, pointer, bits) } as i32)
}

/// Sends a signal by number.
///
/// # Errors
/// Those of `kill(2)`.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::kill(pid, signal) })
}

/// Sends a signal by number to the process behind a handle.
///
/// # Errors
/// Those of `pidfd_send_signal(2)`.
pub fn pidfd_kill(process: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: no signal information is passed, as the null pointer says.
    let done = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, std::ptr::null::<libc::siginfo_t>(), 0)
    };
    check(done as i32)
}

/// Moves the caller into namespaces: of the kind `flags` where `file` is a namespace, of all kinds in `flags` where it
/// is a process handle.
///
/// # Errors
/// Those of `setns(2)`.
pub fn setns(file: BorrowedFd<'_>, flags: u64) -> io::Result<()> {
    // SAFETY: no memory is passed. Only the calling thread moves, and where that is not possible the kernel refuses.
    check(unsafe { libc::setns(file.as_raw_fd(), flags as i32) })
}

/// The kind of a namespace, as its `CLONE_NEW*` bit.
///
/// # Errors
/// `ENOTTY` where the file is no namespace.
pub fn namespace_kind(file: BorrowedFd<'_>) -> io::Result<u64> {
    const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
    // SAFETY: the request takes no argument and returns the bit.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE as _) };
    check(kind).map(|()| kind as u64)
}

/// Ends the process without running anything that the parent registered before a fork.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: does not return.
    unsafe { libc::_exit(status) }
}

fn check(done: i32) -> io::Result<()> {
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
