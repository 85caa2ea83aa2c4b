//! `config.json` to plans: everything is decided and checked here, before anything is made.
//!
//! ```text
//! Spec ──InitPlan::from_spec──► InitPlan   carried out by init::run in the new process
//! Process ──ProcessPlan::from_spec──► ProcessPlan   part of it, and all that `exec` needs
//! ```

pub(crate) mod devices;
pub(crate) mod execution;
pub(crate) mod list;
mod mount_options;
pub(crate) mod mounts;
pub(crate) mod namespaces;
pub(crate) mod net_devices;
pub(crate) mod process;
mod rootless;
mod sysctl;

use std::ffi::CString;
use std::path::{Path, PathBuf};

use oci::runtime::{Hook, Hooks, Linux, Spec};
use oci::{Context, Error, Result};

use devices::PlannedDevice;
use execution::Execution;
use mounts::PlannedMount;
use namespaces::Namespaces;
use net_devices::PlannedNetDevice;
use process::ProcessPlan;

use crate::hooks::KINDS;
use crate::resctrl;
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
    /// SELinux label of what is mounted.
    pub(crate) mount_label: Option<String>,
    /// Network devices to be moved inside.
    pub(crate) net_devices: Vec<PlannedNetDevice>,
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
    pub(crate) execution: Execution,
    pub(crate) resctrl: Option<resctrl::Plan>,
    pub(crate) create_container: Vec<Hook>,
    pub(crate) start_container: Vec<Hook>,
    pub(crate) seccomp: Option<Filter>,
    pub(crate) process: ProcessPlan,
}

impl InitPlan {
    /// Checks a configuration and prepares it. `bundle` is absolute.
    pub(crate) fn from_spec(spec: &Spec, bundle: &Path) -> Result<Self> {
        check_version(&spec.oci_version)?;
        let foreign = [
            ("solaris", &spec.solaris),
            ("windows", &spec.windows),
            ("vm", &spec.vm),
            ("zos", &spec.zos),
            ("freebsd", &spec.free_bsd),
        ];
        for (name, section) in foreign {
            if section.is_some() && spec.linux.is_none() {
                return Err(Error::unsupported(format!("{name}: this is a configuration for another platform")));
            }
        }
        let empty = Linux::default();
        let linux = spec.linux.as_ref().unwrap_or(&empty);
        let namespaces = Namespaces::from_spec(linux)?;
        if sys::process::user_at_start() != 0 {
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
        let process =
            spec.process.as_ref().ok_or_else(|| Error::invalid("process: process property must not be empty"))?;
        let mut process = ProcessPlan::from_spec(process)?;
        process.make_cwd = true;
        process.confined = linux.resources.as_ref().and_then(|r| r.cpu.as_ref()).is_some_and(|c| c.cpus.is_some());
        let propagation = match linux.rootfs_propagation.as_deref() {
            None | Some("") => None,
            Some(word) => Some(mounts::propagation(word).ok_or_else(|| {
                Error::invalid(format!(
                    "linux.rootfsPropagation: rootfsPropagation={word} is not supported; known are {}",
                    mounts::propagation_names()
                ))
            })?),
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
        let mount_label = linux.mount_label.clone().filter(|l| !l.is_empty());
        if mount_label.is_some() && !crate::selinux::enabled() {
            return Err(Error::unsupported(
                "linux.mountLabel: selinux label is specified in config, but selinux is disabled or not supported",
            ));
        }
        let mut planned: Vec<_> =
            spec.mounts.iter().enumerate().map(|(i, m)| mounts::plan(i, m, bundle, &rootfs)).collect::<Result<_>>()?;
        let own_map = namespaces.own_map(linux);
        for mount in &mut planned {
            mount.complete(mount_label.as_deref(), own_map.as_ref(), &rootfs)?;
        }
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
            mount_label,
            net_devices: net_devices::plan(&linux.net_devices, &namespaces)?,
            devices: devices::plan(&linux.devices, populate_dev)?,
            populate_dev,
            masked_paths: once(absolute("maskedPaths", &linux.masked_paths)?),
            readonly_paths: absolute("readonlyPaths", &linux.readonly_paths)?,
            readonly_root: root.readonly,
            sysctl: sysctl::plan(&linux.sysctl, &namespaces)?,
            execution: Execution::from_spec(linux)?,
            resctrl: linux.intel_rdt.as_ref().map(resctrl::Plan::from_spec).transpose()?,
            hostname,
            domainname,
            create_container: hooks.create_container,
            start_container: hooks.start_container,
            seccomp: linux.seccomp.as_ref().map(Filter::compile).transpose()?.flatten(),
            process,
            time_offsets: !linux.time_offsets.is_empty(),
            namespaces,
        })
    }
}

/// A path that is masked twice would be covered twice.
fn once(paths: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    paths.into_iter().filter(|path| seen.insert(path.clone())).collect()
}

/// 1.x is understood, whatever is behind it; the specification promises compatibility within a major version.
fn check_version(version: &str) -> Result<()> {
    // The specification demands one; runc has never looked, and configurations without one exist.
    if !version.is_empty() && version.split('.').next() != Some("1") {
        return Err(Error::unsupported(format!("ociVersion: {version:?} is not supported; 1.0.0 to 1.x are")));
    }
    Ok(())
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
            if let Some(entry) = hook.env.iter().flatten().find(|e| e.find('=').is_none_or(|at| at == 0)) {
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

    #[test]
    fn versions() {
        assert!(check_version("1.0.2-dev").is_ok());
        assert!(check_version("1.99.0").is_ok());
        assert!(check_version("2.0.0").is_err());
        assert!(check_version("").is_ok());
        assert!(check_version("x").is_err());
    }
}
