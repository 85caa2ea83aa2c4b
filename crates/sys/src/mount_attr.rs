//! `mount_setattr(2)`: flags, propagation and id mapping of a mount or a whole tree, by handle.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

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

impl Raw {
    fn new(attr: &MountAttr<'_>) -> Self {
        Self {
            set: attr.set,
            clear: attr.clear,
            propagation: attr.propagation,
            userns: attr.userns.map_or(0, |fd| fd.0.as_raw_fd() as u64),
        }
    }
}

/// A detached copy of the mount at a path (of the directory itself where the path is empty), or of the whole tree, with
/// its attributes changed: `open_tree_attr(2)`, in one call.
///
/// # Errors
/// Those of `open_tree(2)` and `mount_setattr(2)`; `ENOSYS` before Linux 6.15.
pub fn open_tree_attr(
    directory: BorrowedFd<'_>,
    path: &CStr,
    recursive: bool,
    attr: &MountAttr<'_>,
) -> io::Result<OwnedFd> {
    // Not in libc yet; the number is the same on every architecture.
    const SYS_OPEN_TREE_ATTR: libc::c_long = 467;
    const OPEN_TREE_CLONE: libc::c_uint = 1;
    let raw = Raw::new(attr);
    let mut flags = OPEN_TREE_CLONE | libc::O_CLOEXEC as libc::c_uint;
    if recursive {
        flags |= libc::AT_RECURSIVE as libc::c_uint;
    }
    if path.is_empty() {
        flags |= libc::AT_EMPTY_PATH as libc::c_uint;
    }
    // SAFETY: the structure and its size match, the path is a valid string.
    let fd = unsafe {
        libc::syscall(SYS_OPEN_TREE_ATTR, directory.as_raw_fd(), path.as_ptr(), flags, &raw const raw, size_of::<Raw>())
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has made a new descriptor that nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Changes the mount that `mount` is a handle of; with `recursive`, everything below too.
///
/// # Errors
/// Those of `mount_setattr(2)`; `ENOSYS` before Linux 5.12.
pub fn mount_setattr(mount: BorrowedFd<'_>, recursive: bool, attr: &MountAttr<'_>) -> io::Result<()> {
    let raw = Raw::new(attr);
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the structure and its size match, the path is an empty string as the flag demands.
    let done = unsafe {
        libc::syscall(libc::SYS_mount_setattr, mount.as_raw_fd(), c"".as_ptr(), flags, &raw const raw, size_of::<Raw>())
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
