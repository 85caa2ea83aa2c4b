//! `seccomp(2)`: puts a filter on the calling process.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// One instruction of classic BPF, laid out as the kernel's `struct sock_filter`.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip when the test holds.
    pub jump_true: u8,
    /// Instructions to skip when it does not.
    pub jump_false: u8,
    /// Operand.
    pub k: u32,
}

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER`.
pub const NEW_LISTENER: u64 = 1 << 3;

#[repr(C)]
struct Program {
    len: u16,
    filter: *const Instruction,
}

const SECCOMP_SET_MODE_FILTER: u32 = 1;
const SECCOMP_GET_ACTION_AVAIL: u32 = 2;

/// Installs the filter. Needs `no_new_privs` or `CAP_SYS_ADMIN`. With [`NEW_LISTENER`] returns the notification handle.
///
/// # Errors
/// Those of `seccomp(2)`; `EINVAL` also for a program the kernel's checker rejects or a flag it does not know.
pub fn install(filter: &[Instruction], flags: u64) -> io::Result<Option<OwnedFd>> {
    let len = u16::try_from(filter.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let program = Program { len, filter: filter.as_ptr() };
    // SAFETY: the program points at `len` instructions that live until the call returns; the kernel copies them.
    let done = unsafe { libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    match done {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: with this flag the result is a new descriptor that nobody else knows.
        fd if flags & NEW_LISTENER != 0 => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd as i32) })),
        0 => Ok(None),
        // With SECCOMP_FILTER_FLAG_TSYNC: the thread that could not be synchronised.
        thread => Err(io::Error::other(format!("thread {thread} cannot take the filter"))),
    }
}

/// Whether this kernel knows the filter flag. Nothing is installed.
pub fn flag_supported(flag: u64) -> bool {
    // SAFETY: a null program makes the call fail in any case: EFAULT when the flag is known, EINVAL when not.
    unsafe { libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, flag, std::ptr::null::<Program>()) };
    io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

/// Whether this kernel knows the filter action (`SECCOMP_RET_*`).
pub fn action_supported(action: u32) -> bool {
    // SAFETY: the third argument is a valid pointer to a u32, which the kernel only reads.
    unsafe { libc::syscall(libc::SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) == 0 }
}
