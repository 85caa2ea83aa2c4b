//! The mounts of a container that has no mount namespace of its own: they are the host's, and somebody must remove them.
//!
//! Its rootfs is bound onto itself, privately; everything else is mounted inside of that, so taking the one away takes
//! all. The record notes, before it is made, which mount the rootfs was on: one on top of it is the container's.

use std::path::Path;

use oci::{Context, Result};
use rustix::fs::{AtFlags, CWD, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags};

fn io(error: Errno) -> oci::Error {
    std::io::Error::from(error).into()
}

/// The id of the mount that a path is on.
pub(crate) fn id(rootfs: &Path) -> Result<u64> {
    let stat = rustix::fs::statx(CWD, rootfs, AtFlags::NO_AUTOMOUNT, StatxFlags::MNT_ID)
        .map_err(io)
        .context(|| format!("look at the rootfs {}", rootfs.display()))?;
    Ok(stat.stx_mnt_id)
}

/// Makes the mount that all others go into.
pub(crate) fn make(rootfs: &Path) -> Result<()> {
    let shown = || format!("mount rootfs {}", rootfs.display());
    rustix::mount::mount_bind_recursive(rootfs, rootfs).map_err(io).context(shown)?;
    // What is mounted in it shall appear nowhere else.
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change(rootfs, private).map_err(io).context(shown)
}

/// Takes it away with all that is in it; `below` is the mount that the rootfs was on before.
pub(crate) fn remove(rootfs: &Path, below: u64) -> Result<()> {
    match id(rootfs) {
        Ok(now) if now != below => {}
        // Never made, or gone already, or the whole rootfs is gone.
        _ => return Ok(()),
    }
    match rustix::mount::unmount(rootfs, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
        Ok(()) | Err(Errno::INVAL | Errno::NOENT) => Ok(()),
        Err(error) => Err(io(error)).context(|| format!("unmount the rootfs {}", rootfs.display())),
    }
}
