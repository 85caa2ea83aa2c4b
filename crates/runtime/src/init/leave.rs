//! How the container's process lets go of the host's root.
//!
//! ```text
//! pivot_root         the ordinary way
//! --no-pivot         the rootfs is moved on top of /, for a host whose root is the initial ramfs
//! no mount namespace chroot only: the mounts are the host's
//! ```

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use oci::{Context, Error, Result};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use super::root::Root;
use crate::mountinfo;

/// The way for this container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    Pivot,
    Move,
    Chroot,
}

const MAX_MOUNTINFO: u64 = 16 << 20;

fn io(error: Errno) -> Error {
    std::io::Error::from(error).into()
}

/// Makes the container's root this process's root, and lets go of the old one.
pub(super) fn enter_root(root: &Root, how: Leave, rootfs: &Path) -> Result<()> {
    if how == Leave::Move {
        hide_host_views(rootfs)?;
    }
    rustix::process::fchdir(root.as_fd()).map_err(io).context(|| "chdir to the rootfs")?;
    match how {
        Leave::Pivot => {
            // Old and new root in one place: the old one is then the mount on top and can be dropped without a
            // directory to put it in.
            rustix::process::pivot_root(".", ".").map_err(io).context(|| "pivot_root")?;
            rustix::mount::unmount(".", UnmountFlags::DETACH).map_err(io).context(|| "unmount the old root")?;
        }
        Leave::Move => {
            rustix::mount::mount_move(".", "/").map_err(io).context(|| "move the rootfs to /")?;
            rustix::process::chroot(".").map_err(io).context(|| "chroot to the rootfs")?;
        }
        Leave::Chroot => rustix::process::chroot(".").map_err(io).context(|| "chroot to the rootfs")?,
    }
    rustix::process::chdir("/").map_err(io).context(|| "chdir to /")
}

/// Takes every whole procfs and sysfs of the host out of the mount namespace. It stays below the container's root, and
/// while one is there the kernel lets a user namespace mount another, without the masks.
fn hide_host_views(rootfs: &Path) -> Result<()> {
    let mut text = Vec::new();
    File::open("/proc/self/mountinfo")
        .and_then(|f| f.take(MAX_MOUNTINFO).read_to_end(&mut text))
        .context(|| "read /proc/self/mountinfo")?;
    let text = String::from_utf8_lossy(&text);
    for point in text.lines().filter_map(whole_view).filter(|p| !p.starts_with(rootfs)) {
        let shown = || format!("take {} away from the container", point.display());
        let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        match rustix::mount::mount_change(&point, slave) {
            Err(Errno::NOENT) => continue, // below another that is gone already
            // Of a mount on top of it that is gone already.
            Err(Errno::INVAL) => continue,
            result => result.map_err(io).context(shown)?,
        }
        match rustix::mount::unmount(&point, UnmountFlags::DETACH) {
            // Locked, because this is a user namespace: then it is covered.
            Err(Errno::INVAL | Errno::PERM) => {
                rustix::mount::mount(c"tmpfs", &point, c"tmpfs", MountFlags::RDONLY, c"nr_blocks=1,nr_inodes=1")
                    .map_err(io)
                    .context(shown)?;
            }
            result => result.map_err(io).context(shown)?,
        }
    }
    Ok(())
}

/// The mount point of a line of mountinfo, where the whole of a procfs or sysfs is mounted.
fn whole_view(line: &str) -> Option<PathBuf> {
    let mount = mountinfo::parse(line)?;
    (mount.root == Path::new("/") && matches!(mount.kind.as_str(), "proc" | "sysfs")).then_some(mount.point)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_views_are_found() {
        let view = |line: &str| whole_view(line).map(|p| p.to_string_lossy().into_owned());
        assert_eq!(view("22 1 0:20 / /a\\040b\\134 rw shared:5 - proc proc rw").as_deref(), Some("/a b\\"));
        assert_eq!(view("23 1 0:21 / /sys rw - sysfs sysfs rw").as_deref(), Some("/sys"));
        assert_eq!(view("24 1 0:20 /sys /x/proc/sys ro - proc proc rw"), None);
        assert_eq!(view("25 1 0:22 / /tmp rw - tmpfs tmpfs rw"), None);
        assert_eq!(view("garbage"), None);
    }
}
