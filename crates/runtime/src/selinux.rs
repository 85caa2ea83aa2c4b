//! Whether SELinux is there, and labels of files.

use std::os::fd::{AsFd, BorrowedFd};

use oci::{Context, Result};
use rustix::fs::{StatVfsMountFlags, XattrFlags};

/// Whether this kernel enforces or logs by SELinux, and lets it be spoken to.
pub(crate) fn enabled() -> bool {
    const SELINUX_MAGIC: u32 = 0xf97c_ff8c;
    const FILES: &str = "/sys/fs/selinux";
    rustix::fs::statfs(FILES).is_ok_and(|s| s.f_type as u32 == SELINUX_MAGIC)
        && rustix::fs::statvfs(FILES).is_ok_and(|s| !s.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Gives a file, by a handle of it, a label.
pub(crate) fn label_file(file: BorrowedFd<'_>, label: &str) -> Result<()> {
    // The handle may be one that can do nothing but name a place.
    let path = crate::init::proc_path(file.as_fd());
    rustix::fs::setxattr(path, "security.selinux", label.as_bytes(), XattrFlags::empty())
        .map_err(std::io::Error::from)
        .context(|| format!("set label {label:?}"))
}
