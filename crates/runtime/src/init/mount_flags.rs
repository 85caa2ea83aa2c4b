//! Flags of mounts that exist: by `mount_setattr(2)`, or the old way where the kernel has no such call.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use oci::{Context, Error, Result};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags};
use sys::mount_attr::{self, MountAttr, mount_setattr};

use super::root::proc_path;
use crate::plan::mounts::{
    AttrChange, FlagWords, MS_ATIMES, MS_NOATIME, MS_NODEV, MS_NODIRATIME, MS_NOEXEC, MS_NOSUID, MS_NOSYMFOLLOW,
    MS_RDONLY, MS_REC, MS_RELATIME, MS_STRICTATIME,
};

/// Flags that a mount keeps for good when it enters a user namespace with fewer rights than its own.
const LOCKABLE: u64 = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_ATIMES;

/// Flags of statfs(2) and of mount(2).
const STATFS: [(u64, u64); 8] = [
    (1, MS_RDONLY),
    (2, MS_NOSUID),
    (4, MS_NODEV),
    (8, MS_NOEXEC),
    (1024, MS_NOATIME),
    (2048, MS_NODIRATIME),
    (4096, MS_RELATIME),
    (8192, MS_NOSYMFOLLOW),
];

pub(super) fn unknown_call(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(Errno::NOSYS.raw_os_error())
}

/// Changes attributes of one mount or of a tree; nothing to change costs nothing.
pub(super) fn change(mount: BorrowedFd<'_>, recursive: bool, attrs: AttrChange) -> std::io::Result<()> {
    if attrs == AttrChange::default() {
        return Ok(());
    }
    mount_setattr(mount, recursive, &MountAttr { set: attrs.set, clear: attrs.clear, ..Default::default() })
}

/// The flags that a mount has, as `MS_*` bits.
fn present(mount: BorrowedFd<'_>) -> Result<u64> {
    let has = rustix::fs::fstatvfs(mount).map_err(std::io::Error::from)?.f_flag.bits();
    let bits = STATFS.iter().filter(|(bit, _)| has & bit != 0).fold(0, |bits, (_, ms)| bits | ms);
    let strict = bits & (MS_NOATIME | MS_RELATIME) == 0;
    Ok(if strict { bits | MS_STRICTATIME } else { bits })
}

/// Gives a mount the flags of its options and no others.
///
/// Where the kernel refuses because some of those it has are locked (the mount came from a user namespace with more
/// rights), they stay, unless an option asked for their opposite: then the wish cannot be met and that is an error. (`atime` and
/// the like ask for nothing: see [`FlagWords::exact`].)
/// `locked` treats them as locked from the start: the tree was cloned with more rights than the container has, and
/// must not lose by that what the host has put on it.
///
/// False where it can only be done once the mount is `placed` (before Linux 5.12).
pub(super) fn set_exactly(mount: BorrowedFd<'_>, flags: FlagWords, locked: bool, placed: bool) -> Result<bool> {
    let apply = |flags: FlagWords| match change(mount, false, flags.exact()) {
        Err(error) if placed && unknown_call(&error) => {
            let bits = flags.set & (LOCKABLE | MS_NOSYMFOLLOW);
            let bits = MountFlags::from_bits_retain(bits as u32) | MountFlags::BIND;
            rustix::mount::mount_remount(proc_path(mount), bits, c"").map_err(std::io::Error::from)
        }
        result => result,
    };
    if !locked {
        match apply(flags) {
            Err(error) if error.raw_os_error() == Some(Errno::PERM.raw_os_error()) => {}
            Err(error) if unknown_call(&error) => return Ok(false),
            result => return Ok(result.map(|()| true)?),
        }
    }
    let has = present(mount)?;
    let refuse = |what: &str| Err(Error::permission_denied(format!("operation not permitted: {what} of the source")));
    if has & flags.cleared & LOCKABLE & !MS_ATIMES != 0 {
        return refuse("an option would take away a locked flag");
    }
    if flags.set & MS_ATIMES != 0 && flags.set & MS_ATIMES != has & MS_ATIMES {
        return refuse("an option would change the locked access time mode");
    }
    match apply(FlagWords { set: flags.set | has & LOCKABLE, ..flags }) {
        Err(error) if unknown_call(&error) => Ok(false),
        result => Ok(result.map(|()| true)?),
    }
}

/// Makes a mount read-only, leaving its other flags.
pub(crate) fn make_readonly(mount: &OwnedFd) -> Result<()> {
    let attrs = AttrChange { set: mount_attr::RDONLY, clear: 0 };
    match change(mount.as_fd(), false, attrs) {
        Err(error) if unknown_call(&error) => {
            let bits = MS_RDONLY | present(mount.as_fd())? & (LOCKABLE | MS_NOSYMFOLLOW);
            let bits = MountFlags::from_bits_retain(bits as u32) | MountFlags::BIND;
            Ok(rustix::mount::mount_remount(proc_path(mount.as_fd()), bits, c"").map_err(std::io::Error::from)?)
        }
        result => Ok(result?),
    }
}

/// Sets propagation types in order.
pub(crate) fn propagate(mount: BorrowedFd<'_>, types: &[u64]) -> Result<()> {
    for bits in types {
        let attr = MountAttr { propagation: bits & !MS_REC, ..Default::default() };
        match mount_setattr(mount, bits & MS_REC != 0, &attr) {
            Err(error) if unknown_call(&error) => {
                let flags = MountPropagationFlags::from_bits_retain(*bits as u32);
                rustix::mount::mount_change(proc_path(mount), flags).map_err(std::io::Error::from)
            }
            result => result,
        }
        .context(|| "set mount propagation")?;
    }
    Ok(())
}

/// Makes a tree receive what is mounted at its origin, and send nothing back.
pub(crate) fn detach_propagation(tree: BorrowedFd<'_>) -> std::io::Result<()> {
    const MS_SLAVE: u64 = 1 << 19;
    mount_setattr(tree, true, &MountAttr { propagation: MS_SLAVE, ..Default::default() })
}
