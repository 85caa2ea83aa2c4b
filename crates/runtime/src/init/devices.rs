//! Device nodes and the links of `/dev`.

use std::os::fd::{AsFd, OwnedFd};

use oci::{Context, Error, Result};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, Uid, chownat, fstat, major, makedev, minor, mknodat, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::mounts::{attach, clone_tree};
use super::root::Root;
use crate::plan::c_path;
use crate::plan::devices::{DeviceKind, PlannedDevice};

/// Links that the specification demands; their targets are inside the container.
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];

fn io(error: Errno) -> Error {
    std::io::Error::from(error).into()
}

/// Makes the nodes. Where that is forbidden (a user namespace), or an ordinary file has the name of one that every
/// container has, the host's nodes are bound instead.
pub(crate) fn make(devices: &[PlannedDevice], root: &Root) -> Result<()> {
    // Almost all are in one directory.
    let mut last: Option<(&str, OwnedFd)> = None;
    for device in devices {
        let result = (|| {
            let directory = device.path.rsplit_once('/').map_or("", |(d, _)| d);
            if last.as_ref().is_none_or(|(path, _)| *path != directory) {
                last = Some((directory, root.parent(&device.path)?.0));
            }
            let Some((_, parent)) = &last else { return Err(Error::internal("no directory")) };
            node(device, parent, root)
        })();
        result.context(|| format!("make device {}", device.path))?;
    }
    Ok(())
}

fn node(device: &PlannedDevice, parent: &OwnedFd, root: &Root) -> Result<()> {
    let name = device.path.rsplit('/').next().unwrap_or_default();
    let kind = match device.kind {
        DeviceKind::Char => FileType::CharacterDevice,
        DeviceKind::Block => FileType::BlockDevice,
        DeviceKind::Fifo => FileType::Fifo,
    };
    let number = if device.kind == DeviceKind::Fifo { 0 } else { makedev(device.major, device.minor) };
    // The creation mask is 0 here, so the mode is exact.
    match mknodat(parent, name, kind, Mode::from_raw_mode(device.mode), number) {
        Ok(()) => {}
        Err(Errno::EXIST) => {
            let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(io)?;
            if FileType::from_raw_mode(stat.st_mode) == kind && (number == 0 || stat.st_rdev == number) {
                return Ok(());
            }
            // Images that were built in a user namespace have ordinary files in these places.
            if device.demanded && FileType::from_raw_mode(stat.st_mode).is_file() {
                return bind_host(device, kind, number, root);
            }
            if FileType::from_raw_mode(stat.st_mode) != kind {
                let path = &device.path;
                return Err(Error::already_exists(format!("something else is there: {path} has incorrect ftype")));
            }
            return Err(Error::already_exists(format!(
                "another device is there: {} has incorrect major:minor: {}:{} doesn't match expected {}:{}",
                device.path,
                major(stat.st_rdev),
                minor(stat.st_rdev),
                device.major,
                device.minor
            )));
        }
        Err(Errno::PERM) => return bind_host(device, kind, number, root),
        Err(error) => return Err(io(error)),
    }
    if device.uid != 0 || device.gid != 0 {
        let (uid, gid) = (Uid::from_raw(device.uid), Gid::from_raw(device.gid));
        chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(io)?;
    }
    Ok(())
}

/// Shows the host's node in the place of the device.
fn bind_host(device: &PlannedDevice, kind: FileType, number: u64, root: &Root) -> Result<()> {
    let host = clone_tree(CWD, &c_path(device.path.as_ref())?, false).context(|| "bind the host's node")?;
    let stat = fstat(&host).map_err(io)?;
    if FileType::from_raw_mode(stat.st_mode) != kind || stat.st_rdev != number {
        return Err(Error::permission_denied("it cannot be made here, and the host's node is another device"));
    }
    let target = root.target(&device.path, || Ok(false))?;
    attach(host.as_fd(), target.as_fd())
}

/// Makes the links of `/dev`. One that exists stays, but `ptmx` must lead to the container's own terminals.
pub(crate) fn links(root: &Root) -> Result<()> {
    let dev = match root.resolve("/dev") {
        Ok(dev) => dev,
        Err(_) => root.make_directories("/dev", 0o755)?,
    };
    // What runc gives, where the kernel has it; masked as a rule, but the link is there.
    let exists = rustix::fs::access("/proc/kcore", rustix::fs::Access::EXISTS).is_ok();
    let core = exists.then_some(("/proc/kcore", "core"));
    for (target, name) in LINKS.into_iter().chain(core) {
        match symlinkat(target, &dev, name) {
            Err(Errno::EXIST) if name == "ptmx" => {
                let replace = || {
                    unlinkat(&dev, name, AtFlags::empty())?;
                    symlinkat(target, &dev, name)
                };
                // A read-only rootfs without a /dev of its own brings its own link.
                match replace() {
                    Ok(()) | Err(Errno::ROFS | Errno::BUSY) => {}
                    Err(error) => return Err(io(error)).context(|| "make link /dev/ptmx"),
                }
            }
            Ok(()) | Err(Errno::EXIST | Errno::ROFS) => {}
            Err(error) => return Err(io(error)).context(|| format!("make link /dev/{name}")),
        }
    }
    Ok(())
}
