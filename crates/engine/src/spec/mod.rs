//! From a container's record to the runtime's `config.json`: [`generate`] is a pure function of the record, of facts
//! looked up for it, and of the machine.

mod caps;
mod host;
mod mounts;
mod process;
mod resources;
mod seccomp;
mod seccomp_table;
mod user;

pub(crate) use caps::sets as capability_sets;
pub(crate) use host::Host;
pub(crate) use mounts::{PROPAGATION, wants_files};
pub(crate) use process::{environment, overlay, resolve as resolve_process};
pub(crate) use resources::{check as check_resources, limits as resource_limits, merge as merge_resources};
pub(crate) use user::{ResolvedUser, resolve as resolve_user};

use crate::model::{ContainerRecord, ContainerSpec, NamespaceMode, NetworkMode};
use oci::runtime::{ConsoleSize, Device, DeviceRule, Linux, Namespace, Process, Resources, Rlimit, Root, Spec, User};
use oci::{Error, Result};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The specification version that a bundle claims. Nothing in it needs a newer one, and older runtimes (crun 1.8) refuse
/// what they do not know.
const SPEC_VERSION: &str = "1.0.2";

/// What has to be looked up before a `config.json` can be written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    /// From the container's own passwd and group files.
    pub(crate) user: ResolvedUser,
    /// Directory of `hosts`, `resolv.conf`, `hostname`.
    pub(crate) files: Option<PathBuf>,
    /// The init program on the host.
    pub(crate) init: Option<PathBuf>,
    /// Host pids of containers whose namespaces are joined, by their ids.
    pub(crate) pids: BTreeMap<String, u32>,
    /// Devices to pass in, with the permissions in the device cgroup.
    pub(crate) devices: Vec<(Device, String)>,
    /// Numbers of devices with throttled input and output, by path.
    pub(crate) throttled: BTreeMap<String, (i64, i64)>,
    /// Path of the cgroup, in the form that the runtime's cgroup driver wants.
    pub(crate) cgroup: String,
}

/// Paths hidden inside (Docker's list).
#[rustfmt::skip]
const MASKED: &[&str] = &[
    "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Paths read-only inside (Docker's list).
const READONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Kinds of ulimits, by setrlimit(2).
#[rustfmt::skip]
const RLIMITS: &[&str] = &[
    "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio",
    "rttime", "sigpending", "stack",
];

/// The capabilities of a container.
pub(crate) fn capabilities(spec: &ContainerSpec, host: &Host) -> Result<Vec<String>> {
    caps::choose(&spec.cap_add, &spec.cap_drop, spec.privileged, &host.capabilities)
}

/// The `config.json`.
///
/// # Errors
/// For values that can't be expressed or that this machine can't carry out; the message names them.
pub(crate) fn generate(record: &ContainerRecord, facts: &Facts, host: &Host) -> Result<Spec> {
    let spec = &record.spec;
    let caps = capabilities(spec, host)?;
    let unmasked = spec.privileged || spec.security.unconfined_paths;
    let paths = |given: &Option<Vec<String>>, default: &[&str]| match given {
        Some(list) => list.clone(),
        None if unmasked => Vec::new(),
        None => default.iter().map(|&p| p.to_owned()).collect(),
    };
    let mut args = record.process.args.clone();
    if spec.init {
        args.splice(0..0, [mounts::INIT_PATH.to_owned(), "--".to_owned()]);
    }
    let host_uts = spec.uts_mode == NamespaceMode::Host;
    Ok(Spec {
        oci_version: SPEC_VERSION.into(),
        process: Some(Process {
            terminal: spec.tty,
            console_size: spec
                .console_size
                .map(|(rows, columns)| ConsoleSize { height: rows.into(), width: columns.into() }),
            user: User {
                uid: facts.user.uid,
                gid: facts.user.gid,
                additional_gids: additional_gids(&facts.user),
                ..Default::default()
            },
            args,
            env: environment(&record.process, spec.tty),
            cwd: record.process.cwd.clone(),
            capabilities: Some(capability_sets(caps.clone(), facts.user.uid)),
            rlimits: rlimits(spec)?,
            no_new_privileges: spec.security.no_new_privileges,
            apparmor_profile: apparmor(spec, host)?,
            oom_score_adj: Some(spec.oom_score_adj.unwrap_or(0).max(host.oom_score_adj_min)),
            ..Default::default()
        }),
        root: Some(Root { path: "rootfs".into(), readonly: spec.readonly_rootfs }),
        hostname: (!host_uts).then(|| record.process.hostname.clone()),
        domainname: (!host_uts && !spec.domainname.is_empty()).then(|| spec.domainname.clone()),
        mounts: mounts::all(record, facts, host),
        annotations: spec.annotations.clone(),
        linux: Some(Linux {
            sysctl: sysctls(spec)?,
            resources: Some(resources_of(spec, facts)?),
            cgroups_path: Some(facts.cgroup.clone()),
            namespaces: namespaces(spec, facts, host)?,
            devices: facts.devices.iter().map(|(device, _)| device.clone()).collect(),
            seccomp: seccomp::filter(&spec.security.seccomp, spec.privileged, &caps, host)?,
            rootfs_propagation: mounts::root_propagation(record),
            masked_paths: paths(&spec.masked_paths, MASKED),
            readonly_paths: paths(&spec.readonly_paths, READONLY),
            ..Default::default()
        }),
        ..Default::default()
    })
}

/// Docker lists the primary group among the supplementary ones as well.
pub(crate) fn additional_gids(user: &ResolvedUser) -> Vec<u32> {
    let mut gids = vec![user.gid];
    gids.extend(user.groups.iter().filter(|g| **g != user.gid));
    gids
}

fn rlimits(spec: &ContainerSpec) -> Result<Vec<Rlimit>> {
    let value = |v: i64| u64::try_from(v).unwrap_or(u64::MAX);
    spec.ulimits
        .iter()
        .map(|limit| {
            if !RLIMITS.contains(&limit.name.as_str()) {
                return Err(Error::invalid(format!("invalid ulimit type: {}", limit.name)));
            }
            if value(limit.soft) > value(limit.hard) {
                return Err(Error::invalid(format!(
                    "ulimit soft limit must be less than or equal to hard limit: {} > {}",
                    limit.soft, limit.hard
                )));
            }
            let kind = format!("RLIMIT_{}", limit.name.to_ascii_uppercase());
            Ok(Rlimit { kind, soft: value(limit.soft), hard: value(limit.hard) })
        })
        .collect()
}

fn apparmor(spec: &ContainerSpec, host: &Host) -> Result<Option<String>> {
    match spec.security.apparmor.as_deref() {
        None | Some("" | "unconfined") => Ok(None),
        Some(name) if host.apparmor => Ok(Some(name.to_owned())),
        Some(name) => {
            Err(Error::unsupported(format!("apparmor profile {name:?}: AppArmor is not enabled on this host")))
        }
    }
}

fn sysctls(spec: &ContainerSpec) -> Result<BTreeMap<String, String>> {
    let own_net = !matches!(spec.network, NetworkMode::Host | NetworkMode::Container(_));
    let mut sysctls = spec.sysctls.clone();
    for name in sysctls.keys() {
        let of_net = name.starts_with("net.");
        let of_ipc = name.starts_with("fs.mqueue.")
            || matches!(
                name.as_str(),
                "kernel.msgmax"
                    | "kernel.msgmnb"
                    | "kernel.msgmni"
                    | "kernel.sem"
                    | "kernel.shmall"
                    | "kernel.shmmax"
                    | "kernel.shmmni"
                    | "kernel.shm_rmid_forced"
            );
        let of_uts = matches!(name.as_str(), "kernel.domainname");
        if of_net && spec.network == NetworkMode::Host {
            return Err(Error::invalid(format!("sysctl {name:?} not allowed in host network namespace")));
        }
        if of_ipc && spec.ipc_mode == NamespaceMode::Host {
            return Err(Error::invalid(format!("sysctl {name:?} not allowed in host ipc namespace")));
        }
        if !of_net && !of_ipc && !of_uts {
            return Err(Error::invalid(format!("sysctl {name:?} is not in a separate kernel namespace")));
        }
    }
    if own_net {
        // So that ordinary users inside may use low ports and ping.
        sysctls.entry("net.ipv4.ip_unprivileged_port_start".into()).or_insert_with(|| "0".into());
        sysctls.entry("net.ipv4.ping_group_range".into()).or_insert_with(|| "0 2147483647".into());
    }
    Ok(sysctls)
}

fn namespaces(spec: &ContainerSpec, facts: &Facts, host: &Host) -> Result<Vec<Namespace>> {
    let new = |kind: &str| Namespace { kind: kind.into(), path: None };
    let join = |kind: &str, file: &str, id: &str| {
        let pid = facts.pids.get(id).ok_or_else(|| {
            Error::conflict(format!("cannot join the {kind} namespace of container {id}: it is not running"))
        })?;
        Ok::<_, Error>(Namespace { kind: kind.into(), path: Some(format!("/proc/{pid}/ns/{file}").into()) })
    };
    let mut list = vec![new("mount")];
    match &spec.network {
        NetworkMode::Host => {}
        NetworkMode::Container(id) => list.push(join("network", "net", id)?),
        _ => list.push(new("network")),
    }
    for (kind, file, mode) in
        [("uts", "uts", &spec.uts_mode), ("pid", "pid", &spec.pid_mode), ("ipc", "ipc", &spec.ipc_mode)]
    {
        match mode {
            NamespaceMode::Host => {}
            NamespaceMode::Container(id) => list.push(join(kind, file, id)?),
            _ => list.push(new(kind)),
        }
    }
    match spec.cgroupns_mode {
        Some(NamespaceMode::Host) => {}
        None if !host.cgroup_v2 || spec.privileged => {}
        None | Some(NamespaceMode::Private) => list.push(new("cgroup")),
        Some(_) => return Err(Error::invalid("invalid cgroup namespace mode: expected host or private")),
    }
    Ok(list)
}

/// Devices that every container may use: the numbers of those that the runtime makes in `/dev`, and of terminals.
const DEVICE_RULES: &[(&str, Option<i64>, Option<i64>, &str)] = &[
    ("c", None, None, "m"),
    ("b", None, None, "m"),
    ("c", Some(1), Some(3), "rwm"),
    ("c", Some(1), Some(5), "rwm"),
    ("c", Some(1), Some(7), "rwm"),
    ("c", Some(1), Some(8), "rwm"),
    ("c", Some(1), Some(9), "rwm"),
    ("c", Some(5), Some(0), "rwm"),
    ("c", Some(5), Some(1), "rwm"),
    ("c", Some(5), Some(2), "rwm"),
    ("c", Some(136), None, "rwm"),
];

fn resources_of(spec: &ContainerSpec, facts: &Facts) -> Result<Resources> {
    let number = |path: &str| {
        let found = facts.throttled.get(path).copied();
        found.ok_or_else(|| Error::invalid(format!("device {path} was not looked up")))
    };
    let mut resources = resource_limits(&spec.resources, &number)?;
    let everything = |allow| DeviceRule { allow, access: Some("rwm".into()), ..Default::default() };
    if spec.privileged {
        resources.devices = vec![everything(true)];
        return Ok(resources);
    }
    resources.devices = vec![everything(false)];
    resources.devices.extend(DEVICE_RULES.iter().map(|&(kind, major, minor, access)| DeviceRule {
        allow: true,
        kind: Some(kind.into()),
        major,
        minor,
        access: Some(access.into()),
    }));
    resources.devices.extend(facts.devices.iter().map(|(device, access)| DeviceRule {
        allow: true,
        kind: Some(device.kind.clone()),
        major: Some(device.major),
        minor: Some(device.minor),
        access: Some(access.clone()),
    }));
    for rule in &spec.device_cgroup_rules {
        resources.devices.push(device_rule(rule)?);
    }
    Ok(resources)
}

/// `c 42:* rmw`.
fn device_rule(text: &str) -> Result<DeviceRule> {
    let bad = || Error::invalid(format!("invalid device cgroup rule format: '{text}'"));
    let mut words = text.split_ascii_whitespace();
    let (Some(kind), Some(numbers), Some(access), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(bad());
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(bad)?;
    let number = |n: &str| if n == "*" { Ok(None) } else { n.parse::<i64>().map(Some).map_err(|_| bad()) };
    if !matches!(kind, "a" | "b" | "c") || access.is_empty() || !access.chars().all(|c| "rwm".contains(c)) {
        return Err(bad());
    }
    Ok(DeviceRule {
        allow: true,
        kind: Some(kind.into()),
        major: number(major)?,
        minor: number(minor)?,
        access: Some(access.into()),
    })
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::record as test_record;
