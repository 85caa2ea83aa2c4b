//! The container's terminal: opened from the container's own devpts, its master sent to whoever asked for it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use oci::{Context, Error, Result};
use rustix::fs::{FileType, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::root::{Root, proc_path};

fn io(error: Errno) -> Error {
    std::io::Error::from(error).into()
}

/// Opens a new terminal below `/dev/pts`. Returns master and slave.
pub(crate) fn open(root: &Root, size: Option<(u16, u16)>) -> Result<(OwnedFd, OwnedFd)> {
    const DEVPTS_MAGIC: i64 = 0x1cd1;
    let pts = root.resolve("/dev/pts").map_err(io).context(|| "open /dev/pts of the container")?;
    if rustix::fs::fstatfs(&pts).map_err(io)?.f_type as i64 != DEVPTS_MAGIC {
        return Err(Error::invalid("process.terminal: /dev/pts in the container is no devpts; add that mount"));
    }
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let master = openat(&pts, "ptmx", flags, Mode::empty()).map_err(io).context(|| "open /dev/pts/ptmx")?;
    unlockpt(&master).map_err(io).context(|| "unlock the terminal")?;
    // Not by path: a path could be made to lead elsewhere.
    let slave = ioctl_tiocgptpeer(&master, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
        .map_err(io)
        .context(|| "open the terminal's other end")?;
    if let Some((ws_row, ws_col)) = size {
        let size = Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).map_err(io).context(|| "set the terminal's size")?;
    }
    Ok((master, slave))
}

/// Puts the terminal on `/dev/console`.
pub(crate) fn mount_console(root: &Root, slave: BorrowedFd<'_>) -> Result<()> {
    let (directory, name) = root.parent("/dev/console")?;
    // A symbolic link of that name would be followed by whoever opens the console; it must be a plain file.
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = match statat(&directory, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => openat(&directory, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()),
        Err(_) => openat(&directory, name, flags, 0o666.into()),
    }
    .map_err(io)
    .context(|| "make /dev/console")?;
    // Nor may the terminal be put on anything else that the image calls so (CVE-2025-52565, CVE-2026-88264).
    let kind = FileType::from_raw_mode(fstat(&target).map_err(io)?.st_mode);
    if !kind.is_file() && !kind.is_char_device() {
        return Err(Error::permission_denied("/dev/console in the container is neither a file nor a device"));
    }
    rustix::mount::mount_bind(proc_path(slave), proc_path(target.as_fd()))
        .map_err(io)
        .context(|| "mount the terminal on /dev/console")
}

/// Sends the master over the console socket.
pub(crate) fn send(socket: BorrowedFd<'_>, master: &OwnedFd) -> Result<()> {
    crate::handover::send(socket, master.as_fd(), "/dev/ptmx")
}

/// Makes the slave the controlling terminal and all three standard descriptors.
pub(crate) fn take(slave: &OwnedFd) -> Result<()> {
    rustix::process::ioctl_tiocsctty(slave).map_err(io).context(|| "take the controlling terminal")?;
    let duplicate = || -> Result<(), Errno> {
        rustix::stdio::dup2_stdin(slave)?;
        rustix::stdio::dup2_stdout(slave)?;
        rustix::stdio::dup2_stderr(slave)
    };
    duplicate().map_err(io).context(|| "attach the terminal")
}
