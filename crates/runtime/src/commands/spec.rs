//! `spec`: writes a configuration to start from, the same as runc's.

use std::io::Write;

use oci::runtime::{
    Capabilities, DeviceRule, IdMapping, Linux, Mount, Namespace, Process, Resources, Rlimit, Root, Spec, VERSION,
};
use oci::{Error, Result};

use super::Command;
use crate::cli::{self, Args, Count, Failure, Flag, Global, switch, value};

static FLAGS: [Flag; 2] = [
    value(&["bundle", "b"], "path to the root of the bundle directory"),
    switch(&["rootless"], "generate a configuration for a rootless container"),
];

pub(super) static COMMAND: Command = Command {
    name: "spec",
    about: "create a new specification file",
    usage: "",
    flags: &FLAGS,
    arguments: Count::Exactly(0),
    command_after: None,
    makes: false,
    run,
};

fn run(_: &Global, args: &Args) -> Result<i32, Failure> {
    let path = cli::bundle(args)?.join("config.json");
    let mut spec = default_spec();
    if args.on("rootless") {
        make_rootless(&mut spec);
    }
    let mut text = serde_json::to_string_pretty(&spec).map_err(|e| Error::internal(e.to_string()))?;
    text.push('\n');
    // Never over one that exists: it may be somebody's work.
    std::fs::File::options()
        .write(true)
        .create_new(true)
        .open(&path)
        .and_then(|mut f| f.write_all(text.as_bytes()))
        .map_err(|e| {
            if e.kind() == std::io::ErrorKind::AlreadyExists {
                Error::already_exists("File config.json exists. Remove it first")
            } else {
                Error::from(e).prefixed(format!("write {}", path.display()))
            }
        })?;
    Ok(0)
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|s| s.to_string()).collect()
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.into(),
        kind: Some(kind.into()),
        source: Some(source.into()),
        options: strings(options),
        ..Default::default()
    }
}

fn default_spec() -> Spec {
    let capabilities = strings(&["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let namespace = |kind: &str| Namespace { kind: kind.into(), path: None };
    Spec {
        oci_version: VERSION.into(),
        process: Some(Process {
            terminal: true,
            args: strings(&["sh"]),
            env: strings(&["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"]),
            cwd: "/".into(),
            no_new_privileges: true,
            capabilities: Some(Capabilities {
                bounding: capabilities.clone(),
                permitted: capabilities.clone(),
                effective: capabilities,
                ..Default::default()
            }),
            rlimits: vec![Rlimit { kind: "RLIMIT_NOFILE".into(), hard: 1024, soft: 1024 }],
            ..Default::default()
        }),
        root: Some(Root { path: "rootfs".into(), readonly: true }),
        hostname: Some("runc".into()),
        mounts: vec![
            mount("/proc", "proc", "proc", &[]),
            mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount(
                "/dev/pts",
                "devpts",
                "devpts",
                &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
            ),
            mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "relatime", "ro"]),
        ],
        linux: Some(Linux {
            resources: Some(Resources {
                devices: vec![DeviceRule { allow: false, access: Some("rwm".into()), ..Default::default() }],
                ..Default::default()
            }),
            // As runc has it: on cgroup v1 a container sees the whole path of its cgroup.
            namespaces: ["pid", "network", "ipc", "uts", "mount"]
                .into_iter()
                .chain(crate::cgroups::unified().then_some("cgroup"))
                .map(namespace)
                .collect(),
            masked_paths: strings(&[
                "/proc/acpi",
                "/proc/asound",
                "/proc/kcore",
                "/proc/keys",
                "/proc/latency_stats",
                "/proc/timer_list",
                "/proc/timer_stats",
                "/proc/sched_debug",
                "/sys/firmware",
                "/proc/scsi",
            ]),
            readonly_paths: strings(&["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// What an unprivileged user can have: a user namespace of one user, the host's network, no limits.
fn make_rootless(spec: &mut Spec) {
    let own = |host_id| vec![IdMapping { container_id: 0, host_id, size: 1 }];
    for m in &mut spec.mounts {
        if m.destination == "/sys" {
            // A sysfs belongs to a network namespace, and that is the host's.
            *m = mount("/sys", "none", "/sys", &["rbind", "nosuid", "noexec", "nodev", "ro"]);
        }
        m.options.retain(|o| !o.starts_with("gid=") && !o.starts_with("uid="));
    }
    if let Some(linux) = &mut spec.linux {
        linux.namespaces.retain(|n| n.kind != "network");
        linux.namespaces.push(Namespace { kind: "user".into(), path: None });
        linux.uid_mappings = own(rustix::process::geteuid().as_raw());
        linux.gid_mappings = own(rustix::process::getegid().as_raw());
        linux.resources = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::mounts::plan;

    #[test]
    fn every_mount_of_it_is_understood() {
        for rootless in [false, true] {
            let mut spec = default_spec();
            if rootless {
                make_rootless(&mut spec);
            }
            for (i, m) in spec.mounts.iter().enumerate() {
                plan(i, m, std::path::Path::new("/b"), std::path::Path::new("/b/rootfs")).expect("valid");
            }
        }
        assert!(default_spec().process.expect("process").terminal);
    }
}
