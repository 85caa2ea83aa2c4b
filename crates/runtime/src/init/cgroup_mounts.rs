//! The container's view of the cgroups: v2 as one filesystem, v1 as a directory of hierarchies.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci::{Error, Result};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::MountFlags;
use sys::batch::Batch;

use super::mount_flags::{change, propagate};
use super::mounts::{Surroundings, attach, clone_tree, clone_tree_with};
use super::root::proc_path;
use crate::cgroups::Location;
use crate::plan::mounts::{AttrChange, FlagWords, MS_RDONLY, PlannedMount};
use crate::plan::namespaces;

/// Makes the mount. Returns a handle where it must become read-only at the end.
pub(super) fn make(mount: &PlannedMount, flags: u64, around: &Surroundings<'_>) -> Result<Option<OwnedFd>> {
    let target = around.root.target(&mount.destination, || Ok(true))?;
    let Location::V1 { paths } = around.cgroup else {
        let tree = v2(mount, &target, flags, around)?;
        if let Some(tree) = tree {
            change(tree.as_fd(), true, mount.recursive)?;
            propagate(tree.as_fd(), &mount.propagation)?;
        }
        return Ok(None);
    };
    let directory = v1(mount, &target, flags, paths, around)?;
    change(directory.as_fd(), true, mount.recursive)?;
    propagate(directory.as_fd(), &mount.propagation)?;
    Ok((flags & MS_RDONLY != 0).then_some(directory))
}

/// Returns a handle of the mount where something is still to be done with it.
fn v2(mount: &PlannedMount, target: &OwnedFd, flags: u64, around: &Surroundings<'_>) -> Result<Option<OwnedFd>> {
    let bits = MountFlags::from_bits_retain(flags as u32);
    match rustix::mount::mount(c"cgroup", proc_path(target.as_fd()), c"cgroup2", bits, None) {
        Ok(()) if mount.recursive == AttrChange::default() && mount.propagation.is_empty() => return Ok(None),
        Ok(()) => {
            return Ok(Some(around.root.mounted(&mount.destination)?));
        }
        // In a user namespace without a cgroup namespace of its own.
        Err(Errno::PERM | Errno::BUSY) => {}
        Err(error) => return Err(std::io::Error::from(error).into()),
    }
    // The container's own cgroup stands for a cgroup namespace where it was to have one. Else these are the cgroups of
    // everybody and never to be written to: a user's container could move and limit what else the user runs
    // (CVE-2023-25809).
    let (source, flags) = match around.cgroup {
        Location::V2 { path } if around.namespaces & namespaces::CGROUP != 0 => (path.as_path(), flags),
        _ => (Path::new("/sys/fs/cgroup"), flags | MS_RDONLY),
    };
    let tree = clone_tree(CWD, &crate::plan::c_path(source)?, true)?;
    let plain = AttrChange { clear: 0, ..FlagWords { set: flags, cleared: 0 }.exact() };
    change(tree.as_fd(), true, plain)?;
    attach(tree.as_fd(), target.as_fd())?;
    Ok(Some(tree))
}

fn v1(
    mount: &PlannedMount,
    target: &OwnedFd,
    flags: u64,
    paths: &[(String, std::path::PathBuf)],
    around: &Surroundings<'_>,
) -> Result<OwnedFd> {
    let own_namespace = around.namespaces & namespaces::CGROUP != 0;
    let bits = MountFlags::from_bits_retain(flags as u32);
    let outer = MountFlags::from_bits_retain((flags & !MS_RDONLY) as u32);
    let data = crate::plan::mounts::labelled("mode=755", around.label)?;
    rustix::mount::mount(c"tmpfs", proc_path(target.as_fd()), c"tmpfs", outer, data.as_c_str())
        .map_err(std::io::Error::from)?;
    let directory = around.root.mounted(&mount.destination)?;
    let mut done = Batch::default();
    // The v2 hierarchy of a hybrid machine has no name here, as under runc.
    for (controllers, path) in paths.iter().filter(|(controllers, _)| !controllers.is_empty()) {
        let name = controllers.strip_prefix("name=").unwrap_or(controllers);
        let io = |e: Errno| Error::from(std::io::Error::from(e)).prefixed(format!("cgroup {controllers}"));
        rustix::fs::mkdirat(&directory, name, 0o755.into()).map_err(io)?;
        let point = rustix::fs::openat(
            &directory,
            name,
            rustix::fs::OFlags::PATH | rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )
        .map_err(io)?;
        if own_namespace {
            let data =
                if controllers.starts_with("name=") { format!("none,{controllers}") } else { controllers.clone() };
            let data = std::ffi::CString::new(data).map_err(|_| Error::internal("cgroup name"))?;
            rustix::mount::mount(c"cgroup", proc_path(point.as_fd()), c"cgroup", bits, data.as_c_str()).map_err(io)?;
        } else {
            let plain = AttrChange { clear: 0, ..FlagWords { set: flags, cleared: 0 }.exact() };
            let tree = clone_tree_with(CWD, &crate::plan::c_path(path)?, false, plain)?;
            attach(tree.as_fd() as BorrowedFd<'_>, point.as_fd())?;
            done.add(tree);
        }
        done.add(point);
        // Programs look for each controller by its own name.
        for single in controllers.split(',').filter(|c| *c != controllers.as_str()) {
            rustix::fs::symlinkat(controllers.as_str(), &directory, single).map_err(io)?;
        }
    }
    Ok(directory)
}
