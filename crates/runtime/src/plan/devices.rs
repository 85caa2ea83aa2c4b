//! Device nodes: the configuration's and those that the specification demands.

use oci::runtime::Device;
use oci::{Error, Result};

use super::mounts;

/// A device node.
#[derive(Debug, Clone)]
pub(crate) struct PlannedDevice {
    /// Cleaned, absolute inside the container.
    pub(crate) path: String,
    pub(crate) kind: DeviceKind,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Whether it is one that every container has, not the configuration's.
    pub(crate) demanded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeviceKind {
    Char,
    Block,
    Fifo,
}

/// The nodes that the specification demands, in `/dev`.
const DEFAULT_DEVICES: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Checks them; with `populate_dev` the specification's own come first.
pub(crate) fn plan(wanted: &[Device], populate_dev: bool) -> Result<Vec<PlannedDevice>> {
    let mut list = Vec::with_capacity(DEFAULT_DEVICES.len() + wanted.len());
    // A device of the configuration replaces the default of the same path.
    let given: Vec<String> = wanted.iter().map(|d| mounts::clean(&d.path)).collect();
    if populate_dev {
        for (path, major, minor) in DEFAULT_DEVICES {
            if !given.iter().any(|g| g == path) {
                list.push(PlannedDevice {
                    path: path.into(),
                    kind: DeviceKind::Char,
                    major,
                    minor,
                    mode: 0o666,
                    uid: 0,
                    gid: 0,
                    demanded: true,
                });
            }
        }
    }
    for (index, (device, path)) in wanted.iter().zip(given).enumerate() {
        let wrong = |what: String| Error::invalid(format!("linux.devices[{index}].{what}"));
        let kind = match device.kind.as_str() {
            "c" | "u" => DeviceKind::Char,
            "b" => DeviceKind::Block,
            "p" => DeviceKind::Fifo,
            other => return Err(wrong(format!("type: invalid device type {other:?}; known are c, b, u, p"))),
        };
        if !device.path.starts_with('/') {
            return Err(wrong(format!("path: {:?} must be an absolute path", device.path)));
        }
        if path == "/" {
            return Err(wrong(format!("path: {:?} is no name for a device", device.path)));
        }
        let number = |what: &str, n: i64| {
            u32::try_from(n).map_err(|_| wrong(format!("{what}: {n} is not between 0 and {}", u32::MAX)))
        };
        let (major, minor) = match kind {
            DeviceKind::Fifo => (0, 0),
            _ => (number("major", device.major)?, number("minor", device.minor)?),
        };
        list.push(PlannedDevice {
            path,
            kind,
            major,
            minor,
            // Some callers write the file's whole mode, with its kind.
            mode: device.file_mode.unwrap_or(0o666) & 0o7777,
            uid: device.uid.unwrap_or(0),
            gid: device.gid.unwrap_or(0),
            demanded: false,
        });
    }
    Ok(list)
}
