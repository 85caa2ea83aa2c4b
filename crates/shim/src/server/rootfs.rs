//! Mounting what a create request names as the container's root filesystem.

use oci::{Context, Error, Result};
use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, mount_remount, move_mount, unmount,
};
use std::path::Path;
use wire::task::Mount;

/// Mounts `mounts`, in order, on `target`; all or nothing.
pub(super) fn mount_all(mounts: &[Mount], target: &Path) -> Result<()> {
    for (done, one) in mounts.iter().enumerate() {
        // containerd may mount below the root filesystem, never beside it.
        let inner = Path::new(&one.target);
        if inner.components().any(|c| !matches!(c, std::path::Component::Normal(_) | std::path::Component::RootDir)) {
            return Err(Error::invalid(format!("rootfs mount target {:?}", one.target)));
        }
        let point = target.join(inner.strip_prefix("/").unwrap_or(inner));
        let made = mount_one(one, &point).context(|| format!("mount {} on {}", one.r#type, point.display()));
        if let Err(error) = made {
            for _ in 0..done {
                let _ = unmount(target, UnmountFlags::DETACH);
            }
            return Err(error);
        }
    }
    Ok(())
}

fn mount_one(one: &Mount, point: &Path) -> Result<()> {
    let mut flags = MountFlags::empty();
    let mut data = Vec::new();
    let mut bind = one.r#type == "bind";
    for option in &one.options {
        match option.as_str() {
            "ro" => flags |= MountFlags::RDONLY,
            "rw" | "defaults" => {}
            "nosuid" => flags |= MountFlags::NOSUID,
            "nodev" => flags |= MountFlags::NODEV,
            "noexec" => flags |= MountFlags::NOEXEC,
            "noatime" => flags |= MountFlags::NOATIME,
            "relatime" => flags |= MountFlags::RELATIME,
            "bind" => bind = true,
            "rbind" => {
                bind = true;
                flags |= MountFlags::REC;
            }
            other => data.push(other),
        }
    }
    if bind {
        let rec = flags & MountFlags::REC;
        mount(&one.source, point, "", MountFlags::BIND | rec, None).map_err(std::io::Error::from)?;
        let attributes = flags - MountFlags::REC;
        if !attributes.is_empty() {
            mount_remount(point, MountFlags::BIND | attributes, "").map_err(std::io::Error::from)?;
        }
        return Ok(());
    }
    if one.r#type == "overlay" {
        // Layer by layer: no limit of one page for all the options together (Linux 6.5).
        match overlay(one, &data, flags, point) {
            Err(Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP) => {}
            other => return Ok(other.map_err(std::io::Error::from)?),
        }
    }
    let text = std::ffi::CString::new(data.join(",")).map_err(|_| Error::invalid("a mount option has a zero byte"))?;
    mount(&one.source, point, &one.r#type, flags, Some(text.as_c_str())).map_err(std::io::Error::from)?;
    Ok(())
}

fn overlay(one: &Mount, data: &[&str], flags: MountFlags, point: &Path) -> rustix::io::Result<()> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(context.as_fd(), "source", if one.source.is_empty() { "overlay" } else { &one.source })?;
    for option in data {
        match option.split_once('=') {
            Some(("lowerdir", lower)) => {
                // A backslash hides a colon that belongs to a name; leave such lists to mount(2).
                if lower.contains('\\') || lower.contains("::") {
                    return Err(Errno::INVAL);
                }
                for layer in lower.split(':') {
                    fsconfig_set_string(context.as_fd(), "lowerdir+", layer)?;
                }
            }
            Some((key, value)) => fsconfig_set_string(context.as_fd(), key, value)?,
            None => fsconfig_set_flag(context.as_fd(), *option)?,
        }
    }
    fsconfig_create(context.as_fd())?;
    let mut attributes = MountAttrFlags::empty();
    for (flag, attribute) in [
        (MountFlags::RDONLY, MountAttrFlags::MOUNT_ATTR_RDONLY),
        (MountFlags::NOSUID, MountAttrFlags::MOUNT_ATTR_NOSUID),
        (MountFlags::NODEV, MountAttrFlags::MOUNT_ATTR_NODEV),
        (MountFlags::NOEXEC, MountAttrFlags::MOUNT_ATTR_NOEXEC),
        (MountFlags::NOATIME, MountAttrFlags::MOUNT_ATTR_NOATIME),
    ] {
        if flags.contains(flag) {
            attributes |= attribute;
        }
    }
    let mounted = fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    move_mount(mounted.as_fd(), "", rustix::fs::CWD, point, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// Takes everything off `target`. Nothing mounted there is success.
pub(super) fn unmount_all(target: &Path) -> Result<()> {
    for _ in 0..16 {
        match unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
            Err(error) => return Err(std::io::Error::from(error)).context(|| format!("unmount {}", target.display())),
        }
    }
    Ok(())
}
