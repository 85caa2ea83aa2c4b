//! Mounts, on handles.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci::{Context, Error, Result};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use sys::mount_attr::{self, MountAttr, mount_setattr};

use super::root::{Root, is_directory, is_procfs, proc_path};
use crate::cgroups::Location;
use crate::plan::mounts::{AttrChange, MS_REC, MountKind, PlannedMount};
use crate::plan::namespaces;

const MS_RDONLY: u64 = 1;

/// A finished source of each bind mount (in the plan's order), detached: opened while the host's paths are in reach.
pub(crate) fn open_sources(mounts: &[PlannedMount]) -> Result<Vec<Option<OwnedFd>>> {
    let open = |mount: &PlannedMount| {
        let MountKind::Bind { source, recursive, .. } = &mount.kind else { return Ok(None) };
        clone_tree(CWD, source, *recursive)
            .map(Some)
            .context(|| format!("error mounting {:?} to rootfs at {:?}", source.to_string_lossy(), mount.destination))
    };
    mounts.iter().map(open).collect()
}

/// A detached copy of a mount, or of a whole tree.
pub(crate) fn clone_tree(directory: BorrowedFd<'_>, path: &CStr, recursive: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    if path.is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    Ok(open_tree(directory, path, flags).map_err(std::io::Error::from)?)
}

/// Makes a tree receive what is mounted at its origin, and send nothing back.
pub(crate) fn detach_propagation(tree: BorrowedFd<'_>) -> std::io::Result<()> {
    const MS_SLAVE: u64 = 1 << 19;
    mount_setattr(tree, true, &MountAttr { propagation: MS_SLAVE, ..Default::default() })
}

/// Puts a detached mount on a target.
pub(crate) fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(tree, c"", target, c"", flags).map_err(std::io::Error::from)?)
}

/// What a mount needs to know beside its own entry.
pub(crate) struct Surroundings<'a> {
    pub(crate) root: &'a Root,
    pub(crate) cgroup: &'a Location,
    /// All namespaces of the container.
    pub(crate) namespaces: u64,
}

/// Makes one mount. Returns a handle where it must become read-only at the end, when everything in it is made.
pub(crate) fn make(
    mount: &PlannedMount,
    source: Option<OwnedFd>,
    around: &Surroundings<'_>,
) -> Result<Option<OwnedFd>> {
    around.root.cover(&mount.destination);
    let result = match (&mount.kind, source) {
        (MountKind::Bind { attrs, .. }, Some(tree)) => bind(mount, *attrs, &tree, around.root).map(|()| None),
        (MountKind::Bind { .. }, None) => Err(Error::internal("its source was not opened")),
        (MountKind::Filesystem { kind, source, flags, data, copy_up }, _) => {
            filesystem(mount, kind, source, *flags, data, *copy_up, around.root)
        }
        (MountKind::Cgroup { flags }, _) => cgroup(mount, *flags, around),
    };
    result.context(|| {
        let source = match &mount.kind {
            MountKind::Bind { source, .. } | MountKind::Filesystem { source, .. } => source.to_string_lossy(),
            MountKind::Cgroup { .. } => "cgroup".into(),
        };
        format!("error mounting {source:?} to rootfs at {:?}", mount.destination)
    })
}

fn bind(mount: &PlannedMount, attrs: AttrChange, tree: &OwnedFd, root: &Root) -> Result<()> {
    if mount.destination == "/proc" && !is_procfs(tree.as_fd()).map_err(std::io::Error::from)? {
        // An image's volume must not take the place of the real thing (CVE-2019-16884).
        return Err(not_proc(&mount.destination));
    }
    let target = root.target(&mount.destination, || is_directory(tree.as_fd()))?;
    let mut late = AttrChange::default();
    match change(tree.as_fd(), false, attrs) {
        // Linux 5.10 and 5.11: flags of a bind mount can only be set by a remount, once it has a place.
        Err(error) if unknown_call(&error) => late = attrs,
        result => result.context(|| "set the mount's attributes")?,
    }
    change(tree.as_fd(), true, mount.recursive)
        .map_err(Error::from)
        .context(|| "set attributes of the whole tree (mount_setattr, Linux 5.12)")?;
    attach(tree.as_fd(), target.as_fd())?;
    if late != AttrChange::default() {
        remount(&root.resolve(&mount.destination).map_err(std::io::Error::from)?, late)?;
    }
    propagate(tree.as_fd(), &mount.propagation)
}

fn not_proc(destination: &str) -> Error {
    Error::permission_denied(format!("{destination:?} cannot be mounted because it is not of type proc"))
}

fn unknown_call(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(Errno::NOSYS.raw_os_error())
}

fn change(mount: BorrowedFd<'_>, recursive: bool, attrs: AttrChange) -> std::io::Result<()> {
    if attrs == AttrChange::default() {
        return Ok(());
    }
    mount_setattr(mount, recursive, &MountAttr { set: attrs.set, clear: attrs.clear, ..Default::default() })
}

/// The old way to set flags of a mount: the flags that it has, with the change.
fn remount(mount: &OwnedFd, attrs: AttrChange) -> Result<()> {
    use mount_attr as attr;
    let has = rustix::fs::fstatvfs(mount).map_err(std::io::Error::from)?.f_flag.bits();
    // statvfs and mount(2) number the first four flags alike, the access time ones not.
    const PAIRS: [(u64, u64, u32); 6] = [
        (attr::RDONLY, 1, 1),
        (attr::NOSUID, 2, 2),
        (attr::NODEV, 4, 4),
        (attr::NOEXEC, 8, 8),
        (attr::NOATIME, 1024, 1024),
        (attr::NODIRATIME, 2048, 2048),
    ];
    let mut flags = 0;
    for (bit, statvfs, ms) in PAIRS {
        if (has & statvfs != 0 && attrs.clear & bit == 0) || attrs.set & bit != 0 {
            flags |= ms;
        }
    }
    if attrs.set & (attr::STRICTATIME | attr::NOSYMFOLLOW) == attr::STRICTATIME {
        flags |= 1 << 24;
    }
    let flags = MountFlags::from_bits_retain(flags) | MountFlags::BIND;
    Ok(rustix::mount::mount_remount(proc_path(mount.as_fd()), flags, c"").map_err(std::io::Error::from)?)
}

/// Makes a mount read-only, leaving its other flags.
pub(crate) fn make_readonly(mount: &OwnedFd) -> Result<()> {
    let attrs = AttrChange { set: mount_attr::RDONLY, clear: 0 };
    match change(mount.as_fd(), false, attrs) {
        Err(error) if unknown_call(&error) => remount(mount, attrs),
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

fn filesystem(
    mount: &PlannedMount,
    kind: &CStr,
    source: &CStr,
    flags: u64,
    data: &CStr,
    copy_up: bool,
    root: &Root,
) -> Result<Option<OwnedFd>> {
    if mount.destination == "/proc" && kind != c"proc" {
        return Err(not_proc(&mount.destination));
    }
    // Without a mode of its own, a tmpfs gets the mode of what it covers, as runc does it.
    let inherits = kind == c"tmpfs" && !data.to_string_lossy().split(',').any(|o| o.starts_with("mode="));
    let covers = inherits && root.resolve(&mount.destination).is_ok();
    let target = if kind == c"proc" || kind == c"sysfs" {
        root.ordinary_directory(&mount.destination, &kind.to_string_lossy())?
    } else {
        root.target(&mount.destination, || Ok(true))?
    };
    // A tmpfs is filled by later mounts and devices before it can be read-only.
    let tmpfs = kind == c"tmpfs";
    let late = tmpfs && flags & MS_RDONLY != 0;
    let now = if late { flags & !MS_RDONLY } else { flags };
    let old = if copy_up { Some(root.resolve(&mount.destination).map_err(std::io::Error::from)?) } else { None };
    let with_mode;
    let mut data = data;
    if covers {
        let stat = rustix::fs::fstat(&target).map_err(std::io::Error::from)?;
        let mode = format!("mode={:o}", stat.st_mode & 0o7777);
        let all = if data.is_empty() { mode } else { format!("{},{mode}", data.to_string_lossy()) };
        with_mode = std::ffi::CString::new(all).map_err(|_| Error::internal("mount data"))?;
        data = &with_mode;
    }
    let bits = MountFlags::from_bits_retain(now as u32);
    rustix::mount::mount(source, proc_path(target.as_fd()), kind, bits, data).map_err(std::io::Error::from)?;
    drop(target);
    if kind == c"proc" || kind == c"sysfs" {
        root.anchor(&mount.destination)?;
    }
    if !late && old.is_none() && mount.propagation.is_empty() && mount.recursive == AttrChange::default() {
        return Ok(None);
    }
    let new = root.resolve(&mount.destination).map_err(std::io::Error::from)?;
    if let Some(old) = old {
        super::copy_up::copy(&old, &new).context(|| "copy up what the tmpfs covers")?;
    }
    change(new.as_fd(), true, mount.recursive)?;
    propagate(new.as_fd(), &mount.propagation)?;
    Ok(late.then_some(new))
}

/// The container's view of the cgroups: v2 as one filesystem, v1 as a directory of hierarchies.
fn cgroup(mount: &PlannedMount, flags: u64, around: &Surroundings<'_>) -> Result<Option<OwnedFd>> {
    let root = around.root;
    let own_namespace = around.namespaces & namespaces::CGROUP != 0;
    let target = root.target(&mount.destination, || Ok(true))?;
    let bits = MountFlags::from_bits_retain(flags as u32);
    let Location::V1 { paths } = around.cgroup else {
        let result = rustix::mount::mount(c"cgroup", proc_path(target.as_fd()), c"cgroup2", bits, None);
        match result {
            Ok(()) => return Ok(None),
            // In a user namespace without a cgroup namespace of its own.
            Err(Errno::PERM | Errno::BUSY) => {}
            Err(error) => return Err(std::io::Error::from(error).into()),
        }
        // Never to be written to: these are the cgroups of everybody, and a user's container could move and limit what
        // else the user runs (CVE-2023-25809).
        let tree = clone_tree(CWD, c"/sys/fs/cgroup", true)?;
        let attrs = AttrChange { set: mount_attr::RDONLY | flags & (2 | 4 | 8), clear: 0 };
        change(tree.as_fd(), true, attrs)?;
        attach(tree.as_fd(), target.as_fd())?;
        return Ok(None);
    };
    let outer = MountFlags::from_bits_retain((flags & !MS_RDONLY) as u32);
    rustix::mount::mount(c"tmpfs", proc_path(target.as_fd()), c"tmpfs", outer, c"mode=755")
        .map_err(std::io::Error::from)?;
    let directory = root.resolve(&mount.destination).map_err(std::io::Error::from)?;
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
            let tree = clone_tree(CWD, &crate::plan::c_path(Path::new(path))?, false)?;
            let attrs = AttrChange { set: flags & (MS_RDONLY | 2 | 4 | 8), clear: 0 };
            change(tree.as_fd(), false, attrs)?;
            attach(tree.as_fd(), point.as_fd())?;
        }
        // Programs look for each controller by its own name.
        for single in controllers.split(',').filter(|c| *c != controllers.as_str()) {
            rustix::fs::symlinkat(controllers.as_str(), &directory, single).map_err(io)?;
        }
    }
    propagate(directory.as_fd(), &mount.propagation)?;
    Ok((flags & MS_RDONLY != 0).then_some(directory))
}
