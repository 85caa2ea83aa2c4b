//! Mounts, on handles.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use oci::{Context, Error, Result};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use sys::mount_attr;

use super::mount_flags::{change, propagate, set_exactly};
use super::root::{Root, is_directory, is_procfs, proc_path};
use super::sources::Source;
use crate::cgroups::Location;
use crate::channel::Channel;
use crate::plan::mounts::{AttrChange, FlagWords, MS_RDONLY, MS_REMOUNT, MountKind, PlannedMount};
use crate::plan::namespaces;

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

/// As [`clone_tree`], with attributes of the copy changed. `ENOSYS` where the kernel can't change them (before 5.12).
pub(super) fn clone_tree_with(
    directory: BorrowedFd<'_>,
    path: &CStr,
    recursive: bool,
    attrs: AttrChange,
) -> Result<OwnedFd, std::io::Error> {
    let attr = mount_attr::MountAttr { set: attrs.set, clear: attrs.clear, ..Default::default() };
    match mount_attr::open_tree_attr(directory, path, recursive, &attr) {
        // Before Linux 6.15, or a filter that does not know the call.
        Err(error) if matches!(error.raw_os_error(), Some(ENOSYS | EPERM)) => {}
        result => return result,
    }
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    flags.set(OpenTreeFlags::AT_EMPTY_PATH, path.is_empty());
    let tree = open_tree(directory, path, flags)?;
    change(tree.as_fd(), recursive, attrs)?;
    Ok(tree)
}

const ENOSYS: i32 = Errno::NOSYS.raw_os_error();
const EPERM: i32 = Errno::PERM.raw_os_error();

/// Puts a detached mount on a target.
pub(crate) fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    match move_mount(tree, c"", target, c"", flags) {
        // The kernel has another word for it than for mount(2), and callers look for that one: dockerd then asks
        // whether a directory is to be mounted onto a file.
        Err(Errno::INVAL) if is_directory(tree)? != is_directory(target)? => {
            Err(std::io::Error::from(Errno::NOTDIR).into())
        }
        result => Ok(result.map_err(std::io::Error::from)?),
    }
}

/// What a mount needs to know beside its own entry.
pub(crate) struct Surroundings<'a> {
    pub(crate) root: &'a Root,
    pub(crate) channel: &'a Channel,
    pub(crate) cgroup: &'a Location,
    /// All namespaces of the container.
    pub(crate) namespaces: u64,
    /// SELinux label of what is mounted.
    pub(crate) label: Option<&'a str>,
}

/// Makes one mount. Returns a handle where it must become read-only at the end, when everything in it is made.
/// `index` is its place in the plan.
pub(crate) fn make(
    index: usize,
    mount: &PlannedMount,
    source: Option<Source>,
    around: &Surroundings<'_>,
) -> Result<Option<OwnedFd>> {
    around.root.cover(&mount.destination);
    let source = match (&mount.inside, &mount.kind) {
        (Some(path), MountKind::Bind { recursive, .. }) => {
            Some(from_inside(path, *recursive, around.root).and_then(|source| {
                let mapped = mount.id_map.is_some();
                if mapped { around.channel.map_mount(index, source.tree.as_fd()) } else { Ok(()) }.map(|()| source)
            }))
        }
        _ => source.map(Ok),
    };
    let source = source.transpose().context(|| format!("error mounting to rootfs at {:?}", mount.destination))?;
    let result = match (&mount.kind, source) {
        (MountKind::Bind { flags, .. }, Some(source)) => bind(mount, *flags, &source, around.root).map(|()| None),
        (MountKind::Bind { .. }, None) => Err(Error::internal("its source was not opened")),
        (MountKind::Link { target }, _) => link(mount, target, around.root).map(|()| None),
        (MountKind::Remount { flags }, _) => remount(mount, *flags, around.root).map(|()| None),
        (MountKind::Filesystem { kind, source, flags, data, copy_up }, _) => {
            filesystem(mount, &Filesystem { kind, source, flags: *flags, data, copy_up: *copy_up }, around)
        }
        (MountKind::Cgroup { flags }, _) => super::cgroup_mounts::make(mount, *flags, around),
    };
    result.context(|| {
        let source = match &mount.kind {
            MountKind::Bind { source, .. } | MountKind::Filesystem { source, .. } => source.to_string_lossy(),
            MountKind::Cgroup { .. } => "cgroup".into(),
            MountKind::Link { target } => target.to_string_lossy(),
            MountKind::Remount { .. } => "".into(),
        };
        format!("error mounting {source:?} to rootfs at {:?}", mount.destination)
    })
}

/// A bind source in the rootfs, with what earlier mounts have put there.
fn from_inside(path: &str, recursive: bool, root: &Root) -> Result<Source> {
    let at = root.resolve(path).map_err(std::io::Error::from).context(|| format!("open {path} in the rootfs"))?;
    Ok(Source { tree: clone_tree(at.as_fd(), c"", recursive)?, foreign: false })
}

fn bind(mount: &PlannedMount, flags: FlagWords, source: &Source, root: &Root) -> Result<()> {
    let tree = source.tree.as_fd();
    if mount.destination == "/proc" && !is_procfs(tree).map_err(std::io::Error::from)? {
        // An image's volume must not take the place of the real thing (CVE-2019-16884).
        return Err(Error::permission_denied("\"/proc\" cannot be mounted because it is not of type proc"));
    }
    let target = if mount.links.destination {
        root.unfollowed_target(&mount.destination)?
    } else {
        root.target(&mount.destination, || is_directory(tree))?
    };
    // Without any word about flags the mount keeps those of its source.
    let named = flags != FlagWords::default();
    // Before Linux 5.12 flags can only be set by a remount, once the mount has a place.
    let set = |mount: BorrowedFd<'_>, placed: bool| {
        set_exactly(mount, flags, source.foreign, placed).context(|| "set the mount's flags")
    };
    let late = named && !set(tree, false)?;
    change(tree, true, mount.recursive)
        .map_err(Error::from)
        .context(|| "set attributes of the whole tree (mount_setattr, Linux 5.12)")?;
    attach(tree, target.as_fd())?;
    if late {
        let placed = root.mounted(&mount.destination)?;
        set(placed.as_fd(), true)?;
    }
    propagate(tree, &mount.propagation)
}

/// Makes a symbolic link; one that leads to the same is as good.
fn link(mount: &PlannedMount, target: &CStr, root: &Root) -> Result<()> {
    let (parent, name) = root.parent(&mount.destination)?;
    match rustix::fs::symlinkat(target, &parent, name) {
        Err(Errno::EXIST) => match rustix::fs::readlinkat(&parent, name, Vec::new()) {
            Ok(present) if present.as_c_str() == target => Ok(()),
            _ => Err(Error::already_exists("something else is there already")),
        },
        result => Ok(result.map_err(std::io::Error::from)?),
    }
}

/// Changes the flags of what is mounted at the destination.
fn remount(mount: &PlannedMount, flags: FlagWords, root: &Root) -> Result<()> {
    let placed = root.resolve(&mount.destination).map_err(std::io::Error::from)?;
    set_exactly(placed.as_fd(), flags, false, true).context(|| "remount")?;
    change(placed.as_fd(), true, mount.recursive)?;
    propagate(placed.as_fd(), &mount.propagation)
}

/// A filesystem to be mounted.
struct Filesystem<'a> {
    kind: &'a CStr,
    source: &'a CStr,
    flags: u64,
    data: &'a CStr,
    copy_up: bool,
}

fn filesystem(mount: &PlannedMount, wanted: &Filesystem<'_>, around: &Surroundings<'_>) -> Result<Option<OwnedFd>> {
    let (root, flags) = (around.root, wanted.flags);
    let tmpfs = wanted.kind == c"tmpfs";
    // Without a mode of its own, a tmpfs gets the mode of what it covers, as runc does it.
    let inherits = tmpfs && !wanted.data.to_string_lossy().split(',').any(|o| o.starts_with("mode="));
    let covers = inherits && flags & MS_REMOUNT == 0 && root.resolve(&mount.destination).is_ok();
    let target = if wanted.kind == c"proc" || wanted.kind == c"sysfs" {
        root.ordinary_directory(&mount.destination, &wanted.kind.to_string_lossy())?
    } else {
        root.target(&mount.destination, || Ok(true))?
    };
    // A tmpfs, and whatever is at /dev, is filled by later mounts and devices before it can be read-only.
    let late = (tmpfs || mount.destination == "/dev") && flags & MS_RDONLY != 0;
    let now = if late { flags & !MS_RDONLY } else { flags };
    let old = if wanted.copy_up { Some(root.resolve(&mount.destination).map_err(std::io::Error::from)?) } else { None };
    let with_mode;
    let mut data = wanted.data;
    if covers {
        let stat = rustix::fs::fstat(&target).map_err(std::io::Error::from)?;
        let mode = format!("mode={:o}", stat.st_mode & 0o7777);
        let all = if data.is_empty() { mode } else { format!("{},{mode}", data.to_string_lossy()) };
        with_mode = std::ffi::CString::new(all).map_err(|_| Error::internal("mount data"))?;
        data = &with_mode;
    }
    let bits = MountFlags::from_bits_retain(now as u32);
    match rustix::mount::mount(wanted.source, proc_path(target.as_fd()), wanted.kind, bits, data) {
        Ok(()) => {}
        // A sysfs belongs to a network namespace, and one of the host cannot be shown anew in a user namespace.
        Err(Errno::PERM) if wanted.kind == c"sysfs" && flags & MS_RDONLY != 0 && lacks_own_network(around) => {
            bind_host_sysfs(&target, flags)?;
        }
        Err(Errno::INVAL) if wanted.kind == c"devpts" && around.namespaces & namespaces::USER != 0 => {
            return Err(Error::from(std::io::Error::from(Errno::INVAL)))
                .context(|| format!("{data:?}: is its gid mapped in the user namespace?"));
        }
        Err(error) => return Err(std::io::Error::from(error).into()),
    }
    drop(target);
    if wanted.kind == c"proc" || wanted.kind == c"sysfs" {
        root.anchor(&mount.destination)?;
    }
    let labelled = wanted.kind == c"mqueue" && around.label.is_some();
    if !late && !labelled && old.is_none() && mount.propagation.is_empty() && mount.recursive == AttrChange::default() {
        return Ok(None);
    }
    let new = root.mounted(&mount.destination)?;
    if let (true, Some(label)) = (labelled, around.label) {
        crate::selinux::label_file(new.as_fd(), label)?;
    }
    if let Some(old) = old {
        super::copy_up::copy(&old, &new).context(|| "tmpcopyup: copy what the tmpfs covers")?;
    }
    change(new.as_fd(), true, mount.recursive)?;
    propagate(new.as_fd(), &mount.propagation)?;
    Ok(late.then_some(new))
}

fn lacks_own_network(around: &Surroundings<'_>) -> bool {
    around.namespaces & namespaces::USER != 0 && around.namespaces & namespaces::NETWORK == 0
}

/// The host's `/sys` with all that is below, read-only.
fn bind_host_sysfs(target: &OwnedFd, flags: u64) -> Result<()> {
    let tree = clone_tree(CWD, c"/sys", true).context(|| "bind the host's /sys")?;
    let plain = AttrChange { clear: 0, ..FlagWords { set: flags, cleared: 0 }.exact() };
    change(tree.as_fd(), false, plain)?;
    change(tree.as_fd(), true, AttrChange { set: mount_attr::RDONLY, clear: 0 })?;
    attach(tree.as_fd(), target.as_fd())
}
