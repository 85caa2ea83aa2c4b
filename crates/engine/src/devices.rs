//! Devices of the host, looked up for containers that get them.

use crate::model::{ContainerSpec, ResourceSpec};
use oci::runtime::Device;
use oci::{Context, Error, Result};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// How many devices one container may get, and how deep a directory of them is read.
const MOST: usize = 4096;
const DEPTH: usize = 8;

/// Entries of `/dev` that a privileged container doesn't get from the host: its own are made for it.
const OWN: &[&str] = &["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console", "ptmx"];

/// The devices that a container gets, with their permissions.
pub(crate) fn look_up(spec: &ContainerSpec) -> Result<Vec<(Device, String)>> {
    let mut found = Vec::new();
    if spec.privileged {
        walk(Path::new("/dev"), "/dev", "rwm", 0, &mut found)?;
    }
    for wanted in &spec.devices {
        let permissions = if wanted.permissions.is_empty() { "rwm" } else { &wanted.permissions };
        if !permissions.chars().all(|c| "rwm".contains(c)) {
            return Err(Error::invalid(format!("invalid device permissions: {permissions:?}")));
        }
        let inside = if wanted.container_path.is_empty() { &wanted.host_path } else { &wanted.container_path };
        if !inside.starts_with('/') {
            return Err(Error::invalid(format!("{inside:?} is not an absolute path")));
        }
        let path = Path::new(&wanted.host_path);
        let gathering =
            || format!("error gathering device information while adding custom device {:?}", wanted.host_path);
        let meta = fs::metadata(path).context(gathering)?;
        if meta.is_dir() {
            let before = found.len();
            walk(path, inside, permissions, 0, &mut found)?;
            if found.len() == before {
                return Err(Error::invalid("not a device node").prefixed(gathering()));
            }
        } else {
            let device =
                device(&meta, inside).ok_or_else(|| Error::invalid("not a device node").prefixed(gathering()))?;
            found.retain(|(other, _): &(Device, String)| other.path != device.path);
            found.push((device, permissions.to_owned()));
        }
    }
    Ok(found)
}

fn walk(dir: &Path, inside: &str, permissions: &str, depth: usize, found: &mut Vec<(Device, String)>) -> Result<()> {
    let entries = fs::read_dir(dir).context(|| format!("read {}", dir.display()))?;
    for entry in entries {
        let entry = entry.context(|| format!("read {}", dir.display()))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if depth == 0 && dir == Path::new("/dev") && OWN.contains(&name) {
            continue;
        }
        // Not through links: they lead to devices that are found by their own names.
        let Ok(meta) = entry.metadata() else { continue };
        let target = format!("{}/{name}", inside.trim_end_matches('/'));
        if meta.is_dir() && depth < DEPTH {
            walk(&entry.path(), &target, permissions, depth + 1, found)?;
        } else if let Some(device) = device(&meta, &target) {
            if found.len() >= MOST {
                return Err(Error::exhausted(format!("more than {MOST} devices below {}", dir.display())));
            }
            found.push((device, permissions.to_owned()));
        }
    }
    Ok(())
}

/// `None` for what is no device.
fn device(meta: &fs::Metadata, path: &str) -> Option<Device> {
    let kind = meta.file_type();
    let kind = match () {
        () if kind.is_block_device() => "b",
        () if kind.is_char_device() => "c",
        () => return None,
    };
    let (major, minor) = numbers(meta.rdev());
    Some(Device {
        path: path.into(),
        kind: kind.into(),
        major,
        minor,
        file_mode: Some(meta.mode() & 0o7777),
        uid: Some(meta.uid()),
        gid: Some(meta.gid()),
    })
}

/// Major and minor number in glibc's `dev_t`.
fn numbers(dev: u64) -> (i64, i64) {
    let major = (dev >> 32 & 0xffff_f000) | (dev >> 8 & 0xfff);
    let minor = (dev >> 12 & 0xffff_ff00) | (dev & 0xff);
    (major as i64, minor as i64)
}

/// Numbers of the devices whose input and output is limited.
pub(crate) fn throttled(spec: &ResourceSpec) -> Result<BTreeMap<String, (i64, i64)>> {
    let lists = [&spec.device_read_bps, &spec.device_write_bps, &spec.device_read_iops, &spec.device_write_iops];
    let mut found = BTreeMap::new();
    for (path, _) in lists.into_iter().flatten() {
        let meta = fs::metadata(path).context(|| format!("look at device {path}"))?;
        if !meta.file_type().is_block_device() {
            return Err(Error::invalid(format!("{path} is not a block device")));
        }
        found.insert(path.clone(), numbers(meta.rdev()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DeviceSpec;

    #[test]
    fn a_device_is_found_by_its_numbers() {
        let wanted = DeviceSpec {
            host_path: "/dev/null".into(),
            container_path: "/dev/nothing".into(),
            permissions: "r".into(),
        };
        let found = look_up(&ContainerSpec { devices: vec![wanted], ..Default::default() }).unwrap();
        let (device, permissions) = &found[0];
        assert_eq!((device.kind.as_str(), device.major, device.minor), ("c", 1, 3));
        assert_eq!((device.path.as_str(), permissions.as_str()), ("/dev/nothing", "r"));
    }

    #[test]
    fn what_is_no_device_is_refused_by_name() {
        for path in ["/etc/passwd", "/nonexistent"] {
            let wanted = DeviceSpec { host_path: path.into(), container_path: path.into(), permissions: String::new() };
            let error = look_up(&ContainerSpec { devices: vec![wanted], ..Default::default() }).unwrap_err();
            assert!(error.to_string().contains(path), "{error}");
        }
    }

    #[test]
    fn large_numbers() {
        assert_eq!(numbers(0x8801), (136, 1));
        assert_eq!(numbers((5 << 8) | (0x123 << 12 << 8) | 7), (5, 0x12307));
    }
}
