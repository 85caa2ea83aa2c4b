//! Socket options of netlink(7) that rustix lacks.

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
