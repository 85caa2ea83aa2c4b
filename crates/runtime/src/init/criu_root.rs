//! The rootfs as criu wants it for a restore: a mount point with nothing mounted above it, in which every mount point
//! exists. It is made in a mount namespace of criu's own, so that nothing of it is left when criu is gone.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use oci::{Context, Error, Result};
use rustix::fs::{CWD, Mode, OFlags, openat, readlinkat};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use super::mounts::{attach, clone_tree};
use super::root::{Root, is_directory, proc_path};
use crate::plan::mounts::MountKind;
use crate::plan::{InitPlan, c_path};

fn io(error: Errno) -> Error {
    std::io::Error::from(error).into()
}

/// In a process with a mount namespace of its own: makes missing mount points in the rootfs, as `create` would, and
/// puts the rootfs on `place`.
pub(crate) fn prepare(plan: &InitPlan, place: &Path) -> Result<()> {
    super::turn_away(None)?;
    let rootfs = c_path(&plan.rootfs)?;
    let put = || -> Result<OwnedFd> {
        let tree = clone_tree(CWD, &rootfs, true).context(|| format!("open rootfs {}", plan.rootfs.display()))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let place = openat(CWD, place, flags, Mode::empty()).map_err(io)?;
        attach(tree.as_fd(), place.as_fd())?;
        Ok(tree)
    };
    let root = Root::new(put().context(|| format!("mount the rootfs on {}", place.display()))?);
    let tmpfs = |kind: &MountKind| matches!(kind, MountKind::Filesystem { kind, .. } if kind.as_c_str() == c"tmpfs");
    // What lies in a tmpfs comes back with its contents.
    let comes_back = |path: &str| {
        plan.mounts
            .iter()
            .filter(|m| tmpfs(&m.kind))
            .any(|m| path.strip_prefix(&m.destination).is_some_and(|rest| rest.starts_with('/')))
    };
    for mount in plan.mounts.iter().filter(|m| !comes_back(&m.destination)) {
        let result = match &mount.kind {
            // Its mount point is in sysfs.
            MountKind::Cgroup { .. } | MountKind::Remount { .. } | MountKind::Link { .. } => continue,
            MountKind::Filesystem { .. } => root.target(&mount.destination, || Ok(true)).map(drop),
            // Mounted for the sake of mount points in it.
            MountKind::Bind { source, .. } => clone_tree(CWD, source, true).and_then(|tree| {
                let target = root.target(&mount.destination, || is_directory(tree.as_fd()))?;
                attach(tree.as_fd(), target.as_fd())
            }),
        };
        result.context(|| format!("make the mount point {}", mount.destination))?;
    }
    drop(root);
    // A second, plain view replaces the one that was worked in.
    rustix::mount::unmount(place, UnmountFlags::DETACH).map_err(io).context(|| "unmount the rootfs")?;
    put().map(drop).context(|| format!("mount the rootfs on {}", place.display()))
}

/// Where a path leads inside a root, symbolic links resolved; what does not exist is taken as it is written.
pub(crate) fn real_path(root: &OwnedFd, path: &str) -> Result<String> {
    let top = link(root)?;
    let root = Root::new(root.try_clone()?);
    let (mut exists, mut rest) = (path.trim_end_matches('/'), String::new());
    loop {
        match root.resolve(if exists.is_empty() { "/" } else { exists }) {
            Ok(found) => {
                let found = link(&found)?;
                let inside = if top == "/" { &found } else { found.strip_prefix(&top).unwrap_or(&found) };
                let path = format!("{}{rest}", inside.trim_end_matches('/'));
                return Ok(if path.is_empty() { "/".into() } else { path });
            }
            Err(Errno::NOENT | Errno::NOTDIR) if !exists.is_empty() => {
                let (parent, name) = exists.rsplit_once('/').unwrap_or(("", exists));
                rest = format!("/{name}{rest}");
                exists = parent;
            }
            Err(error) => return Err(io(error)).context(|| format!("resolve {path} in the container")),
        }
    }
}

/// The path of a handle, as the kernel knows it.
pub(crate) fn link(fd: &OwnedFd) -> Result<String> {
    let link = readlinkat(CWD, proc_path(fd.as_fd()), Vec::new()).map_err(io).context(|| "read a handle's path")?;
    link.into_string().map_err(|_| Error::unsupported("a path in the container is not valid UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_resolved_as_far_as_they_exist() {
        let dir = tempfile::tempdir().expect("tempdir");
        std::fs::create_dir_all(dir.path().join("real/conf")).expect("mkdir");
        std::os::unix::fs::symlink("/real/conf", dir.path().join("conf")).expect("link");
        std::os::unix::fs::symlink("../../..", dir.path().join("real/up")).expect("link");
        let root: OwnedFd = std::fs::File::open(dir.path()).expect("open").into();
        for (path, real) in [
            ("/conf", "/real/conf"),
            ("/conf/", "/real/conf"),
            ("/conf/a/b", "/real/conf/a/b"),
            ("/real/up/conf/x", "/real/conf/x"),
            ("/none/b", "/none/b"),
            ("/", "/"),
        ] {
            assert_eq!(real_path(&root, path).expect(path), real);
        }
    }
}
