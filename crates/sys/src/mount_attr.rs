//! `mount_setattr(2)`: flags, propagation and id mapping of a mount or a whole tree, by handle.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Read-only.
pub const RDONLY: u64 = 0x1;
/// Set-user-id bits are ignored.
pub const NOSUID: u64 = 0x2;
/// Device nodes are ignored.
pub const NODEV: u64 = 0x4;
/// Nothing can be executed.
pub const NOEXEC: u64 = 0x8;
/// The bits in which the access time mode is kept; `relatime` is none of them.
pub const ATIME: u64 = 0x70;
/// Access times are not kept.
pub const NOATIME: u64 = 0x10;
/// Access times are always kept.
pub const STRICTATIME: u64 = 0x20;
/// Access times of directories are not kept.
pub const NODIRATIME: u64 = 0x80;
/// Id-mapped.
pub const IDMAP: u64 = 0x0010_0000;
/// Symbolic links are not followed.
pub const NOSYMFOLLOW: u64 = 0x0020_0000;

/// What to change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MountAttr<'a> {
    /// Bits to set.
    pub set: u64,
    /// Bits to clear.
    pub clear: u64,
    /// `MS_SHARED`, `MS_SLAVE`, `MS_PRIVATE` or `MS_UNBINDABLE`; 0 leaves it.
    pub propagation: u64,
    /// The user namespace of [`IDMAP`].
    pub userns: Option<BorrowedFdKey<'a>>,
}

/// A borrowed descriptor that can be compared.
#[derive(Debug, Clone, Copy)]
pub struct BorrowedFdKey<'a>(pub BorrowedFd<'a>);

impl PartialEq for BorrowedFdKey<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_raw_fd() == other.0.as_raw_fd()
    }
}
impl Eq for BorrowedFdKey<'_> {}

#[repr(C)]
struct Raw {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

/// Changes the mount that `mount` is a handle of; with `recursive`, everything below too.
///
/// # Errors
/// Those of `mount_setattr(2)`; `ENOSYS` before Linux 5.12.
pub fn mount_setattr(mount: BorrowedFd<'_>, recursive: bool, attr: &MountAttr<'_>) -> io::Result<()> {
    let raw = Raw {
        set: attr.set,
        clear: attr.clear,
        propagation: attr.propagation,
        userns: attr.userns.map_or(0, |fd| fd.0.as_raw_fd() as u64),
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the structure and its size match, the path is an empty string as the flag demands.
    let done = unsafe {
        libc::syscall(libc::SYS_mount_setattr, mount.as_raw_fd(), c"".as_ptr(), flags, &raw const raw, size_of::<Raw>())
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
