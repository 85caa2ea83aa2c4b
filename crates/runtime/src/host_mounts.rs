//! The mounts of a container that has no mount namespace of its own: they are the host's, and somebody must remove them.
//!
//! Its rootfs is bound onto itself, privately; everything else is mounted inside of that, so taking the one away takes
//! all. The record notes, before it is made, which mount the rootfs was on: one on top of it is the container's.
//!
//! Where the rootfs is a mount itself, and a peer of the one below (a bind of it that is shared, as mounts are under
//! systemd), what is mounted on it comes to lie beneath it as well, and takes it along when it goes. So it leaves its peers
//! for as long as the container lives.

use std::fs;
use std::path::{Path, PathBuf};

use oci::{Context, Result};
use rustix::fs::{AtFlags, CWD, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, MoveMountFlags, UnmountFlags, move_mount};
use serde::{Deserialize, Serialize};

use crate::mountinfo::{self, Mount};

/// What the rootfs was before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Before {
    /// The id of the mount that it was on.
    below: u64,
    /// Where that is the rootfs alone: the mount point of its peer below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    peer: Option<PathBuf>,
}

fn io(error: Errno) -> oci::Error {
    std::io::Error::from(error).into()
}

/// The id of the mount that a path is on, and whether it is that mount's root.
fn id(rootfs: &Path) -> Result<(u64, bool)> {
    const STATX_ATTR_MOUNT_ROOT: u64 = 0x2000;
    let stat = rustix::fs::statx(CWD, rootfs, AtFlags::NO_AUTOMOUNT, StatxFlags::MNT_ID)
        .map_err(io)
        .context(|| format!("look at the rootfs {}", rootfs.display()))?;
    Ok((stat.stx_mnt_id, stat.stx_attributes.bits() & STATX_ATTR_MOUNT_ROOT != 0))
}

fn mounts() -> Result<Vec<Mount>> {
    let text = fs::read_to_string("/proc/self/mountinfo").context(|| "read /proc/self/mountinfo")?;
    Ok(text.lines().filter_map(mountinfo::parse).collect())
}

/// Where the peer of a mount is that it lies on.
fn peer_below(mounts: &[Mount], id: u64) -> Option<PathBuf> {
    let mount = mounts.iter().find(|mount| mount.id == id)?;
    let below = mounts.iter().find(|below| below.id == mount.parent)?;
    (mount.group.is_some() && mount.group == below.group).then(|| below.point.clone())
}

/// Looks at what there is.
pub(crate) fn look(rootfs: &Path) -> Result<Before> {
    let (below, is_mount) = id(rootfs)?;
    let peer = if is_mount { peer_below(&mounts()?, below) } else { None };
    Ok(Before { below, peer })
}

/// Makes the mount that all others go into.
pub(crate) fn make(rootfs: &Path, before: &Before) -> Result<()> {
    let shown = || format!("mount rootfs {}", rootfs.display());
    if before.peer.is_some() {
        rustix::mount::mount_change(rootfs, MountPropagationFlags::PRIVATE).map_err(io).context(shown)?;
    }
    rustix::mount::mount_bind_recursive(rootfs, rootfs).map_err(io).context(shown)?;
    // What is mounted in it shall appear nowhere else.
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change(rootfs, private).map_err(io).context(shown)
}

/// Takes it away with all that is in it.
pub(crate) fn remove(rootfs: &Path, before: &Before) -> Result<()> {
    // Never made, or gone already, or the whole rootfs is gone.
    let made = id(rootfs).is_ok_and(|(now, _)| now != before.below);
    if made {
        match rustix::mount::unmount(rootfs, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) | Err(Errno::INVAL | Errno::NOENT) => {}
            Err(error) => return Err(io(error)).context(|| format!("unmount the rootfs {}", rootfs.display())),
        }
    }
    match &before.peer {
        Some(peer) if id(rootfs).is_ok_and(|(now, is_mount)| is_mount && now == before.below) => rejoin(rootfs, peer),
        _ => Ok(()),
    }
}

/// Makes a mount a peer of the one below again.
fn rejoin(rootfs: &Path, peer: &Path) -> Result<()> {
    // Since Linux 5.15.
    const MOVE_MOUNT_SET_GROUP: u32 = 0x100;
    let flags = MoveMountFlags::from_bits_retain(MOVE_MOUNT_SET_GROUP);
    match move_mount(CWD, peer, CWD, rootfs, flags) {
        // It is one already.
        Err(Errno::INVAL)
            if id(rootfs).is_ok_and(|(id, _)| mounts().is_ok_and(|all| peer_below(&all, id).is_some())) =>
        {
            Ok(())
        }
        result => result.map_err(io).context(|| {
            format!("make the rootfs {} a peer of the mount at {} again", rootfs.display(), peer.display())
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_lie_on_each_other() {
        let text = "20 1 8:1 / / rw shared:1 - ext4 d rw\n21 20 8:1 /r /r rw shared:1 - ext4 d rw\n\
                    22 20 8:1 /s /s rw shared:2 - ext4 d rw\n23 20 8:1 /t /t rw - ext4 d rw\n";
        let mounts: Vec<Mount> = text.lines().filter_map(mountinfo::parse).collect();
        assert_eq!(peer_below(&mounts, 21), Some("/".into()));
        for other in [20, 22, 23, 24] {
            assert_eq!(peer_below(&mounts, other), None);
        }
    }
}
