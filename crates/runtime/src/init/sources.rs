//! The host's side of mounts: bind sources and the rootfs, as detached trees that only need a place.
//!
//! ```text
//! before the fork   Opened::open     what the container's process could not: paths it has no rights on, id mappings
//! in the process    open             everything else, from its own mount namespace
//! ```

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use oci::{Context, Error, Result};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use sys::mount_attr::{self, BorrowedFdKey, MountAttr, mount_setattr};

use super::mount_flags::{detach_propagation, unknown_call};
use super::mounts::clone_tree;
use crate::plan::mounts::{IdMap, MS_SHARED, Mappings, MountKind, PlannedMount};
use crate::plan::{InitPlan, c_path, namespaces};

/// The finished source of a bind mount.
pub(crate) struct Source {
    pub(crate) tree: OwnedFd,
    /// Whether it was made with more rights than the container's: see `mount_flags::set_exactly`.
    pub(crate) foreign: bool,
}

/// What is opened before the fork, with the host's rights.
#[derive(Default)]
pub(crate) struct Opened {
    /// Of a container in a user namespace.
    pub(crate) rootfs: Option<OwnedFd>,
    /// In the order of the plan's mounts.
    pub(crate) sources: Vec<Option<OwnedFd>>,
    /// For sources that earlier mounts put into the rootfs, which can only be opened there.
    pub(crate) maps: MountMaps,
}

/// The user namespaces of id mappings that are left for later: the mount's place in the plan, whether it is for the whole
/// tree.
pub(crate) type MountMaps = Vec<(usize, OwnedFd, bool)>;

impl Opened {
    /// Opens what this container needs. `None` where that is nothing, and for a user namespace before Linux 5.12: then
    /// the process tries itself.
    pub(crate) fn open(plan: &InitPlan) -> Result<Option<Self>> {
        let mapped = plan.mounts.iter().any(|m| m.id_map.is_some());
        let privileged = rustix::process::geteuid().is_root();
        if mapped && !privileged {
            return Err(Error::unsupported(
                "mounts: uidMappings: id-mapped mounts are not supported for rootless containers",
            ));
        }
        // An unprivileged user's process has all the rights that its maker has.
        let rootfs = if privileged && plan.namespaces.has(namespaces::USER) { open_rootfs(plan)? } else { None };
        let user = rootfs.is_some();
        if !user && !mapped {
            return Ok(None);
        }
        let mut carriers = Carriers::default();
        let shared = plan.root_propagation.is_some_and(|p| p & MS_SHARED != 0);
        let mut sources = Vec::with_capacity(plan.mounts.len());
        let mut maps = Vec::new();
        for (index, mount) in plan.mounts.iter().enumerate() {
            let MountKind::Bind { source, recursive, .. } = &mount.kind else {
                sources.push(None);
                continue;
            };
            if let (Some(_), Some(map)) = (&mount.inside, &mount.id_map) {
                maps.push((index, carriers.of(map, plan)?.try_clone_to_owned()?, map.recursive));
            }
            if mount.inside.is_some() || !user && mount.id_map.is_none() {
                sources.push(None);
                continue;
            }
            let tree = clone_source(mount, source, *recursive)?;
            if let Some(map) = &mount.id_map {
                map_ids(tree.as_fd(), carriers.of(map, plan)?, map.recursive)
                    .context(|| source.to_string_lossy().into_owned())?;
            }
            // A copy of a shared mount is shared too: what the container mounts in it would appear on the host.
            if !shared && !detach(tree.as_fd())? {
                return Ok(None);
            }
            sources.push(Some(tree));
        }
        Ok(Some(Self { rootfs, sources, maps }))
    }
}

/// `None` without the right to, and where the kernel cannot.
fn open_rootfs(plan: &InitPlan) -> Result<Option<OwnedFd>> {
    let tree = match clone_tree(CWD, &c_path(&plan.rootfs)?, true) {
        // Root of a user namespace in somebody else's mount namespace.
        Err(error) if error.kind() == oci::Kind::PermissionDenied => return Ok(None),
        result => result.context(|| format!("open rootfs {}", plan.rootfs.display()))?,
    };
    Ok(detach(tree.as_fd())?.then_some(tree))
}

/// False where the kernel cannot.
fn detach(tree: BorrowedFd<'_>) -> Result<bool> {
    match detach_propagation(tree) {
        Err(error) if unknown_call(&error) => Ok(false),
        result => result.map(|()| true).context(|| "detach a mount from the host's"),
    }
}

fn clone(mount: &PlannedMount, source: &std::ffi::CStr, recursive: bool) -> Result<OwnedFd> {
    if !mount.links.source {
        return clone_tree(CWD, source, recursive);
    }
    // A link has nothing below it.
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    Ok(open_tree(CWD, source, flags).map_err(std::io::Error::from)?)
}

fn clone_source(mount: &PlannedMount, source: &std::ffi::CStr, recursive: bool) -> Result<OwnedFd> {
    clone(mount, source, recursive)
        .context(|| format!("error mounting {:?} to rootfs at {:?}", source.to_string_lossy(), mount.destination))
}

/// The source of each bind mount, in the plan's order, but for those in the rootfs, which may not be there yet. `handed`
/// are those of [`Opened`], or nothing.
pub(crate) fn open(plan: &InitPlan, handed: Vec<Option<OwnedFd>>) -> Result<Vec<Option<Source>>> {
    let user = plan.namespaces.has(namespaces::USER);
    let mut handed = handed.into_iter();
    let open = |mount: &PlannedMount| {
        let tree = handed.next().flatten();
        let MountKind::Bind { source, recursive, .. } = &mount.kind else { return Ok(None) };
        if mount.inside.is_some() {
            return Ok(None);
        }
        let Some(handed) = tree else {
            return clone_source(mount, source, *recursive).map(|tree| Some(Source { tree, foreign: false }));
        };
        // A tree from the container's own mount namespace has the kernel guard what the host has set on it. Only where
        // that cannot be had, the one made with the host's rights is taken.
        if user
            && mount.id_map.is_none()
            && let Ok(tree) = clone(mount, source, *recursive)
        {
            return Ok(Some(Source { tree, foreign: false }));
        }
        Ok(Some(Source { tree: handed, foreign: user }))
    };
    plan.mounts.iter().map(open).collect()
}

/// User namespaces that carry the mappings of mounts; mounts with the same mapping share one.
#[derive(Default)]
struct Carriers<'a>(Vec<(&'a Mappings, OwnedFd)>);

impl<'a> Carriers<'a> {
    fn of(&mut self, map: &'a IdMap, plan: &'a InitPlan) -> Result<BorrowedFd<'_>> {
        let Some(maps) = &map.maps else {
            let joined = plan.namespaces.join.iter().find(|j| j.bit == namespaces::USER);
            return Ok(joined.ok_or_else(|| Error::internal("an id mapping of nobody"))?.file.as_fd());
        };
        let index = match self.0.iter().position(|(known, _)| *known == maps) {
            Some(index) => index,
            None => {
                let made = crate::user_namespace::carrier(&maps.0, &maps.1)
                    .context(|| "failed to create userns for the id-mapping")?;
                self.0.push((maps, made));
                self.0.len() - 1
            }
        };
        Ok(self.0[index].1.as_fd())
    }
}

/// Maps the ids of a tree as a user namespace does.
pub(crate) fn map_ids(tree: BorrowedFd<'_>, carrier: BorrowedFd<'_>, recursive: bool) -> Result<()> {
    let attr = MountAttr { set: mount_attr::IDMAP, userns: Some(BorrowedFdKey(carrier)), ..Default::default() };
    mount_setattr(tree, recursive, &attr).map_err(|error| {
        let hint = if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) {
            " (maybe the filesystem used doesn't support idmap mounts on this kernel?)"
        } else {
            ""
        };
        Error::unsupported(format!("failed to set MOUNT_ATTR_IDMAP: {}{hint}", Error::from(error)))
    })
}
