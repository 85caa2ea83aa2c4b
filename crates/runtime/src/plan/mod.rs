//! `config.json` to plans: everything is decided and checked here, before anything is made.
//!
//! ```text
//! Spec ──InitPlan::from_spec──► InitPlan   carried out by init::run in the new process
//! Process ──ProcessPlan::from_spec──► ProcessPlan   part of it, and all that `exec` needs
//! ```

pub(crate) mod mounts;
pub(crate) mod namespaces;
pub(crate) mod process;
mod rootless;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::{Path, PathBuf};

use oci::runtime::{Hook, Hooks, Linux, Spec};
use oci::{Context, Error, Result};

use mounts::PlannedMount;
use namespaces::Namespaces;
use process::ProcessPlan;

use crate::hooks::KINDS;
use crate::seccomp::Filter;

/// What the new process carries out, in this order of fields.
#[derive(Debug)]
pub(crate) struct InitPlan {
    pub(crate) namespaces: Namespaces,
    /// Whether the new time namespace has offsets.
    pub(crate) time_offsets: bool,
    /// Absolute, symbolic links resolved.
    pub(crate) rootfs: PathBuf,
    /// Root propagation before anything is mounted (`MS_*`).
    pub(crate) root_propagation: Option<u64>,
    pub(crate) mounts: Vec<PlannedMount>,
    pub(crate) devices: Vec<PlannedDevice>,
    /// Whether `/dev` is the container's own, so that the default nodes and links belong into it.
    pub(crate) populate_dev: bool,
    pub(crate) masked_paths: Vec<String>,
    pub(crate) readonly_paths: Vec<String>,
    pub(crate) readonly_root: bool,
    pub(crate) hostname: Option<String>,
    pub(crate) domainname: Option<String>,
    /// Paths below `/proc/sys` and values.
    pub(crate) sysctl: Vec<(String, String)>,
    pub(crate) personality: Option<u64>,
    pub(crate) create_container: Vec<Hook>,
    pub(crate) start_container: Vec<Hook>,
    pub(crate) seccomp: Option<Filter>,
    pub(crate) process: ProcessPlan,
}

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

impl InitPlan {
    /// Checks a configuration and prepares it. `bundle` is absolute.
    pub(crate) fn from_spec(spec: &Spec, bundle: &Path) -> Result<Self> {
        check_version(&spec.oci_version)?;
        for (name, present) in
            [("solaris", spec.solaris.is_some()), ("windows", spec.windows.is_some()), ("vm", spec.vm.is_some())]
        {
            if present && spec.linux.is_none() {
                return Err(Error::unsupported(format!("{name}: this is a configuration for another platform")));
            }
        }
        let empty = Linux::default();
        let linux = spec.linux.as_ref().unwrap_or(&empty);
        refuse_unsupported(linux)?;
        let namespaces = Namespaces::from_spec(linux)?;
        if !rustix::process::geteuid().is_root() {
            rootless::check(spec, linux, &namespaces)?;
        }
        let root = spec.root.as_ref().ok_or_else(|| Error::invalid("root: is missing"))?;
        if root.path.as_os_str().is_empty() {
            return Err(Error::invalid("root.path: is missing"));
        }
        let rootfs = bundle.join(&root.path);
        let rootfs =
            rootfs.canonicalize().context(|| format!("root.path: invalid rootfs: stat {}", rootfs.display()))?;
        if rootfs == Path::new("/") {
            return Err(Error::invalid("root.path: the host's own root cannot be a container's root"));
        }
        let process = spec.process.as_ref().ok_or_else(|| Error::invalid("process: is missing"))?;
        let mut process = ProcessPlan::from_spec(process)?;
        process.make_cwd = true;
        let propagation = match linux.rootfs_propagation.as_deref() {
            None | Some("") => None,
            Some(word) => Some(
                mounts::propagation(word)
                    .ok_or_else(|| Error::invalid(format!("linux.rootfsPropagation: unknown {word:?}")))?,
            ),
        };
        let hostname = spec.hostname.clone().filter(|h| !h.is_empty());
        let domainname = spec.domainname.clone().filter(|d| !d.is_empty());
        if !namespaces.has(namespaces::UTS) {
            if hostname.is_some() {
                return Err(Error::invalid("hostname: unable to set hostname without a private UTS namespace"));
            }
            if domainname.is_some() {
                return Err(Error::invalid("domainname: unable to set domainname without a private UTS namespace"));
            }
        }
        let planned: Vec<_> =
            spec.mounts.iter().enumerate().map(|(i, m)| mounts::plan(i, m, bundle)).collect::<Result<_>>()?;
        let populate_dev =
            !planned.iter().any(|m| m.destination == "/dev" && matches!(m.kind, mounts::MountKind::Bind { .. }));
        let absolute = |what: &str, paths: &[String]| -> Result<Vec<String>> {
            paths
                .iter()
                .map(|p| {
                    if p.starts_with('/') {
                        Ok(mounts::clean(p))
                    } else {
                        Err(Error::invalid(format!("linux.{what}: {p:?} must be an absolute path")))
                    }
                })
                .collect()
        };
        let hooks = spec.hooks.clone().unwrap_or_default();
        check_hooks(&hooks)?;
        Ok(Self {
            rootfs,
            root_propagation: propagation,
            mounts: planned,
            devices: devices(linux, populate_dev)?,
            populate_dev,
            masked_paths: absolute("maskedPaths", &linux.masked_paths)?,
            readonly_paths: absolute("readonlyPaths", &linux.readonly_paths)?,
            readonly_root: root.readonly,
            sysctl: sysctl(&linux.sysctl, &namespaces, hostname.is_some())?,
            personality: personality(linux)?,
            hostname,
            domainname,
            create_container: hooks.create_container,
            start_container: hooks.start_container,
            seccomp: linux.seccomp.as_ref().map(Filter::compile).transpose()?,
            process,
            time_offsets: !linux.time_offsets.is_empty(),
            namespaces,
        })
    }
}

/// 1.x is understood, whatever is behind it; the specification promises compatibility within a major version.
fn check_version(version: &str) -> Result<()> {
    if version.is_empty() {
        return Err(Error::invalid("ociVersion: is missing"));
    }
    if version.split('.').next() != Some("1") {
        return Err(Error::unsupported(format!("ociVersion: {version:?} is not supported; 1.x is")));
    }
    Ok(())
}

fn refuse_unsupported(linux: &Linux) -> Result<()> {
    let refuse = |what: &str| Err(Error::unsupported(format!("linux.{what}: is not supported")));
    if !linux.net_devices.is_empty() {
        return refuse("netDevices");
    }
    if linux.intel_rdt.is_some() {
        return refuse("intelRdt");
    }
    if linux.memory_policy.is_some() {
        return refuse("memoryPolicy");
    }
    if linux.mount_label.as_deref().is_some_and(|l| !l.is_empty()) {
        return refuse("mountLabel");
    }
    Ok(())
}

fn personality(linux: &Linux) -> Result<Option<u64>> {
    let Some(personality) = &linux.personality else { return Ok(None) };
    if !personality.flags.is_empty() {
        return Err(Error::unsupported("linux.personality.flags: none are supported"));
    }
    match personality.domain.as_str() {
        "LINUX" => Ok(Some(0)),
        "LINUX32" => Ok(Some(8)),
        other => Err(Error::invalid(format!("linux.personality.domain: unknown {other:?}"))),
    }
}

fn devices(linux: &Linux, populate_dev: bool) -> Result<Vec<PlannedDevice>> {
    let mut list = Vec::with_capacity(DEFAULT_DEVICES.len() + linux.devices.len());
    // A device of the configuration replaces the default of the same path.
    let given: Vec<String> = linux.devices.iter().map(|d| mounts::clean(&d.path)).collect();
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
                });
            }
        }
    }
    for (device, path) in linux.devices.iter().zip(given) {
        let kind = match device.kind.as_str() {
            "c" | "u" => DeviceKind::Char,
            "b" => DeviceKind::Block,
            "p" => DeviceKind::Fifo,
            other => {
                return Err(Error::invalid(format!(
                    "linux.devices ({path}): unknown type {other:?}; known are c, b, u, p"
                )));
            }
        };
        if !device.path.starts_with('/') {
            return Err(Error::invalid(format!("linux.devices: path {:?} must be absolute", device.path)));
        }
        let number = |what: &str, n: i64| {
            u32::try_from(n).map_err(|_| Error::invalid(format!("linux.devices ({path}): {what} {n} is out of range")))
        };
        let (major, minor) = match kind {
            DeviceKind::Fifo => (0, 0),
            _ => (number("major", device.major)?, number("minor", device.minor)?),
        };
        list.push(PlannedDevice {
            path: path.clone(),
            kind,
            major,
            minor,
            mode: device.file_mode.unwrap_or(0o666) & 0o7777,
            uid: device.uid.unwrap_or(0),
            gid: device.gid.unwrap_or(0),
        });
    }
    Ok(list)
}

/// Only parameters that belong to a namespace of the container may be set; all others are the host's.
fn sysctl(
    wanted: &BTreeMap<String, String>,
    namespaces: &Namespaces,
    sets_hostname: bool,
) -> Result<Vec<(String, String)>> {
    const IPC: [&str; 7] = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
        "kernel.shmmni",
    ];
    let mut list = Vec::new();
    for (key, value) in wanted {
        // Both spellings exist: net.ipv4.conf.eth0/1.forwarding and net/ipv4/conf/eth0.1/forwarding.
        let first_slash = key.find(['.', '/']).is_some_and(|i| key.as_bytes()[i] == b'/');
        let path = if first_slash {
            key.clone()
        } else {
            key.chars()
                .map(|c| match c {
                    '.' => '/',
                    '/' => '.',
                    c => c,
                })
                .collect()
        };
        if path.split('/').any(|p| p.is_empty() || p == "." || p == "..") {
            return Err(Error::invalid(format!("linux.sysctl: {key:?} is not a parameter's name")));
        }
        let dotted = path.replace('/', ".");
        let needs = |bit, name: &str| {
            if namespaces.has(bit) {
                Ok(())
            } else {
                Err(Error::invalid(format!(
                    "linux.sysctl: sysctl {key:?} is not allowed in the hosts {name} namespace"
                )))
            }
        };
        if dotted.starts_with("net.") {
            needs(namespaces::NETWORK, "network")?;
        } else if IPC.contains(&dotted.as_str())
            || dotted == "kernel.shm_rmid_forced"
            || dotted.starts_with("fs.mqueue.")
        {
            needs(namespaces::IPC, "ipc")?;
        } else if dotted == "kernel.domainname" {
            needs(namespaces::UTS, "uts")?;
        } else if dotted == "kernel.hostname" {
            needs(namespaces::UTS, "uts")?;
            if sets_hostname {
                return Err(Error::invalid("linux.sysctl: kernel.hostname is also given as hostname"));
            }
        } else if dotted.starts_with("user.") {
            needs(namespaces::USER, "user")?;
        } else {
            return Err(Error::invalid(format!("linux.sysctl: sysctl {key:?} is not in a separate kernel namespace")));
        }
        list.push((path, value.clone()));
    }
    Ok(list)
}

/// What can be said of hooks before any of them is called.
fn check_hooks(hooks: &Hooks) -> Result<()> {
    let lists = [
        &hooks.prestart,
        &hooks.create_runtime,
        &hooks.create_container,
        &hooks.start_container,
        &hooks.poststart,
        &hooks.poststop,
    ];
    for (kind, list) in KINDS.into_iter().zip(lists) {
        for (index, hook) in list.iter().enumerate() {
            let wrong = |what: String| Err(Error::invalid(format!("hooks.{kind}[{index}].{what}")));
            if !hook.path.is_absolute() {
                return wrong(format!("path: {:?} must be an absolute path", hook.path));
            }
            if let Some(timeout) = hook.timeout.filter(|t| *t <= 0) {
                return wrong(format!("timeout: {timeout} must be more than 0 seconds"));
            }
            if let Some(entry) = hook.env.iter().find(|e| e.find('=').is_none_or(|at| at == 0)) {
                return wrong(format!("env: {entry:?} is not NAME=value"));
            }
        }
    }
    Ok(())
}

/// A C string of a path.
pub(crate) fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_encoded_bytes())
        .map_err(|_| Error::invalid(format!("{}: contains a zero byte", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spaces(bits: u64) -> Namespaces {
        Namespaces { create: bits, ..Default::default() }
    }

    #[test]
    fn sysctl_follows_the_namespaces() {
        let one = |k: &str| BTreeMap::from([(k.to_owned(), "1".to_owned())]);
        let ok = sysctl(&one("net.ipv4.conf.eth0/1.forwarding"), &spaces(namespaces::NETWORK), false).expect("allowed");
        assert_eq!(ok[0].0, "net/ipv4/conf/eth0.1/forwarding");
        assert_eq!(
            sysctl(&one("net/ipv4/ip_forward"), &spaces(namespaces::NETWORK), false).expect("allowed")[0].0,
            "net/ipv4/ip_forward"
        );
        for (key, bits) in [
            ("net.ipv4.ip_forward", 0),
            ("kernel.shmmax", namespaces::NETWORK),
            ("kernel.core_pattern", !0),
            ("net/../kernel/core_pattern", !0),
            ("net..x", !0),
        ] {
            assert!(sysctl(&one(key), &spaces(bits), false).is_err(), "{key}");
        }
        assert!(sysctl(&one("kernel.hostname"), &spaces(namespaces::UTS), true).is_err());
    }

    #[test]
    fn versions() {
        assert!(check_version("1.0.2-dev").is_ok());
        assert!(check_version("1.99.0").is_ok());
        assert!(check_version("2.0.0").is_err());
        assert!(check_version("").is_err());
    }
}
