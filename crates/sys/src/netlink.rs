//! Socket options of netlink(7) and requests of netdevice(7) that rustix lacks.

use std::os::fd::{AsRawFd, BorrowedFd};

/// Asks for error messages in words (`NETLINK_EXT_ACK`), acknowledgements without a copy of the
/// request (`NETLINK_CAP_ACK`), and dumps that honour the request's filters
/// (`NETLINK_GET_STRICT_CHK`).
///
/// # Errors
/// The kernel's; none of the three can fail on Linux 4.20 or newer unless `fd` isn't netlink.
pub fn set_strict(fd: BorrowedFd<'_>) -> std::io::Result<()> {
    for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK, libc::NETLINK_GET_STRICT_CHK] {
        let on: libc::c_int = 1;
        // SAFETY: the pointer and length describe `on`, which lives through the call; the kernel only reads it.
        let result = unsafe {
            libc::setsockopt(
                fd.as_raw_fd(),
                libc::SOL_NETLINK,
                option,
                (&raw const on).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if result != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Brings the loopback device up, in the network namespace that `socket` was made in. The socket can be of any family.
///
/// # Errors
/// The kernel's, `EPERM` without CAP_NET_ADMIN there.
pub fn loopback_up(socket: BorrowedFd<'_>) -> std::io::Result<()> {
    /// The kernel's `struct ifreq`, where its union holds flags.
    #[repr(C)]
    struct Request {
        name: [u8; 16],
        flags: libc::c_short,
        rest: [u8; 22],
    }
    let mut request = Request { name: [0; 16], flags: libc::IFF_UP as libc::c_short, rest: [0; 22] };
    request.name[..2].copy_from_slice(b"lo");
    // SAFETY: the structure has the size and layout that this request reads, and lives through the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
