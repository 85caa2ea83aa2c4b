//! A snapshot's root filesystem as a handle, mounted nowhere.

use crate::Result;
use crate::fs::Sys;
use crate::snapshots::Mount;
use oci::Error;
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen, open_tree,
};
use std::os::fd::OwnedFd;

/// The kernel takes no longer value for one option of a new mount.
const MAX_VALUE: usize = 255;

/// Opens what [`Snapshotter::mounts`](crate::Snapshotter::mounts) gave. The mount is detached: it is in no table,
/// and goes away with the handle, whatever becomes of the process. With `read_only` nothing can be
/// changed through it, and it may be opened while a container runs on the same snapshot.
pub fn open_rootfs(mounts: &[Mount], read_only: bool) -> Result<OwnedFd> {
    let [mount] = mounts else {
        return Err(Error::unsupported(format!("a root filesystem of {} mounts", mounts.len())));
    };
    match mount.kind.as_str() {
        "bind" => bind(mount, read_only),
        "overlay" => overlay(mount, read_only),
        other => Err(Error::unsupported(format!("a root filesystem of type {other:?}"))),
    }
}

fn bind(mount: &Mount, read_only: bool) -> Result<OwnedFd> {
    if read_only || mount.options.iter().any(|o| o == "ro") {
        // A plain handle would let writes through; nobody writes by one that is only read from.
        return crate::fs::open_root(std::path::Path::new(&mount.source));
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(CWD, mount.source.as_str(), flags).what(|| format!("open {}", mount.source))
}

fn overlay(mount: &Mount, read_only: bool) -> Result<OwnedFd> {
    let option = |name: &str| {
        let value = |o: &'_ String| o.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')).map(str::to_owned);
        mount.options.iter().find_map(value)
    };
    let mut lower: Vec<String> =
        option("lowerdir").unwrap_or_default().split(':').filter(|dir| !dir.is_empty()).map(str::to_owned).collect();
    let (upper, work) = (option("upperdir"), option("workdir"));
    let fs = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).what(|| "open overlayfs")?;
    let set = |key: &str, value: &str| {
        fsconfig_set_string(&fs, key, value).what(|| format!("overlayfs option {key}={value}"))
    };
    set("source", "overlay")?;
    set("index", "off")?;
    match (upper, work) {
        (Some(upper), Some(work)) if !read_only => {
            set("upperdir", &upper)?;
            set("workdir", &work)?;
        }
        // The upper directory, read as one more layer, shows the same.
        (Some(upper), _) => lower.insert(0, upper),
        (None, _) => {}
    }
    if lower.len() == 1 && read_only {
        return crate::fs::open_root(std::path::Path::new(&lower[0]));
    }
    add_lower(&fs, &lower)?;
    if read_only {
        fsconfig_set_flag(&fs, "ro").what(|| "overlayfs option ro")?;
    }
    fsconfig_create(&fs).what(|| "make an overlay mount")?;
    let attrs = if read_only { MountAttrFlags::MOUNT_ATTR_RDONLY } else { MountAttrFlags::empty() };
    fsmount(&fs, FsMountFlags::FSMOUNT_CLOEXEC, attrs).what(|| "make an overlay mount")
}

fn add_lower(fs: &OwnedFd, lower: &[String]) -> Result<()> {
    // One by one since Linux 6.5; before, all in one value of limited length.
    for (at, dir) in lower.iter().enumerate() {
        match fsconfig_set_string(fs, "lowerdir+", dir.as_str()) {
            Ok(()) => {}
            Err(Errno::INVAL) if at == 0 => {
                let all = lower.join(":");
                if all.len() > MAX_VALUE {
                    return Err(Error::unsupported(format!(
                        "this kernel mounts no overlay of {} layers by handle; Linux 6.5 does",
                        lower.len()
                    )));
                }
                return fsconfig_set_string(fs, "lowerdir", all.as_str()).what(|| "overlayfs option lowerdir");
            }
            Err(e) => return Err(e).what(|| format!("overlayfs option lowerdir+={dir}")),
        }
    }
    Ok(())
}
