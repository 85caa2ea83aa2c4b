//! `seccomp(2)`: puts a filter on the calling process; and the side of a listener that answers for filtered calls.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

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
    // Alone it says nothing, and the kernel refuses it.
    const WAIT_KILLABLE_RECV: u64 = 1 << 5;
    let flag = if flag == WAIT_KILLABLE_RECV { flag | NEW_LISTENER } else { flag };
    // SAFETY: a null program makes the call fail in any case: EFAULT when the flag is known, EINVAL when not.
    unsafe { libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, flag, std::ptr::null::<Program>()) };
    io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

/// Whether this kernel knows the filter action (`SECCOMP_RET_*`).
pub fn action_supported(action: u32) -> bool {
    // SAFETY: the third argument is a valid pointer to a u32, which the kernel only reads.
    unsafe { libc::syscall(libc::SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) == 0 }
}

/// A call that waits for its listener, laid out as the kernel's `struct seccomp_notif`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Notification {
    /// To be named in the answer.
    pub id: u64,
    /// The caller, in the listener's PID namespace.
    pub pid: u32,
    flags: u32,
    /// Number of the call.
    pub number: i32,
    /// `AUDIT_ARCH_*`.
    pub arch: u32,
    instruction_pointer: u64,
    /// Its arguments.
    pub args: [u64; 6],
}

/// A listener's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The call is not made and returns this.
    Value(i64),
    /// The call is not made and fails with this error number.
    Failure(i32),
    /// The call is made.
    Continue,
}

#[repr(C)]
struct Response {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

// _IOWR('!', 0, struct seccomp_notif), _IOWR('!', 1, struct seccomp_notif_resp)
const NOTIF_RECV: libc::c_ulong = 0xc050_2100;
const NOTIF_SEND: libc::c_ulong = 0xc018_2101;
const _: () = assert!(size_of::<Notification>() == 0x50 && size_of::<Response>() == 0x18);

/// The listener's side: waits for the next call.
///
/// # Errors
/// `ENOENT` when the caller has gone in the meantime.
pub fn receive(listener: BorrowedFd<'_>) -> io::Result<Notification> {
    let mut notification = Notification::default();
    // SAFETY: the kernel writes one `struct seccomp_notif`, which the type is laid out as; it is zero as demanded.
    match unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_RECV as _, &raw mut notification) } {
        0 => Ok(notification),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The listener's side: answers a call.
///
/// # Errors
/// `ENOENT` when the caller has gone in the meantime.
pub fn respond(listener: BorrowedFd<'_>, id: u64, answer: Answer) -> io::Result<()> {
    let mut response = Response { id, value: 0, error: 0, flags: 0 };
    match answer {
        Answer::Value(value) => response.value = value,
        Answer::Failure(number) => response.error = -number,
        Answer::Continue => response.flags = 1,
    }
    // SAFETY: the kernel reads one `struct seccomp_notif_resp`, which the type is laid out as.
    match unsafe { libc::ioctl(listener.as_raw_fd(), NOTIF_SEND as _, &raw mut response) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
