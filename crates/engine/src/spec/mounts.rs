//! What is mounted where: the defaults, the container's own, and the files for names.

use super::Facts;
use super::host::Host;
use crate::model::{ContainerRecord, MountKind, MountPoint, NamespaceMode, NetworkMode};
use oci::runtime::Mount;
use std::path::Path;

const SHM_SIZE: u64 = 64 << 20;
/// Where the init program appears, as in Docker's containers.
pub(super) const INIT_PATH: &str = "/sbin/docker-init";

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.into(),
        kind: Some(kind.into()),
        source: Some(source.into()),
        options: options.iter().map(|&o| o.to_owned()).collect(),
        ..Default::default()
    }
}

fn bind(source: &Path, target: &str, options: &[&str]) -> Mount {
    mount(target, "bind", &source.to_string_lossy(), options)
}

/// All mounts in the order in which they are made.
pub(super) fn all(record: &ContainerRecord, facts: &Facts, host: &Host) -> Vec<Mount> {
    let spec = &record.spec;
    let access = if spec.privileged { "rw" } else { "ro" };
    let shm = format!("size={}", spec.shm_size.filter(|s| *s > 0).unwrap_or(SHM_SIZE));
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        ),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", access]),
        mount("/sys/fs/cgroup", "cgroup", "cgroup", &[access, "nosuid", "noexec", "nodev"]),
    ];
    match spec.ipc_mode {
        NamespaceMode::Host => {
            mounts.push(bind(Path::new("/dev/mqueue"), "/dev/mqueue", &["rbind", "nosuid", "noexec", "nodev"]));
            mounts.push(bind(Path::new("/dev/shm"), "/dev/shm", &["rbind", "nosuid", "noexec", "nodev"]));
        }
        NamespaceMode::None => {
            mounts.push(mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]));
        }
        _ => {
            mounts.push(mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]));
            mounts.push(mount("/dev/shm", "tmpfs", "shm", &["nosuid", "noexec", "nodev", "mode=1777", &shm]));
        }
    }
    let mut own: Vec<&MountPoint> = record.mounts.iter().collect();
    // A mount point above another has to be made before it.
    own.sort_by_key(|m| m.target.split('/').filter(|part| !part.is_empty()).count());
    // Who mounts on one of the defaults, or below one that the container brings itself, replaces it.
    mounts.retain(|m| {
        !own.iter().any(|o| o.target == m.destination || (o.target == "/dev" && m.destination.starts_with("/dev/")))
    });
    if let Some(files) = &facts.files {
        for (name, target) in
            [("resolv.conf", "/etc/resolv.conf"), ("hostname", "/etc/hostname"), ("hosts", "/etc/hosts")]
        {
            if !own.iter().any(|m| m.target == target) {
                let mut options = vec!["rbind", "rprivate"];
                if spec.readonly_rootfs {
                    options.push("ro");
                }
                mounts.push(bind(&files.join(name), target, &options));
            }
        }
    }
    mounts.extend(own.into_iter().map(|m| own_mount(m, host)));
    if let (true, Some(init)) = (spec.init, &facts.init) {
        mounts.push(bind(init, INIT_PATH, &["rbind", "rprivate", "ro"]));
    }
    mounts
}

fn own_mount(point: &MountPoint, host: &Host) -> Mount {
    let mut options = point.options.clone();
    if !point.rw {
        options.push("ro".into());
    }
    match point.kind {
        MountKind::Tmpfs => Mount {
            destination: point.target.clone(),
            kind: Some("tmpfs".into()),
            source: Some("tmpfs".into()),
            options,
            ..Default::default()
        },
        MountKind::Bind | MountKind::Volume => {
            let recursive = !options.iter().any(|o| o == "bind" || o == "rbind");
            if recursive {
                options.insert(0, "rbind".into());
            }
            let has_propagation = options.iter().any(|o| PROPAGATION.contains(&o.as_str()));
            if !has_propagation {
                options.push("rprivate".into());
            }
            // mount_setattr(2), which makes mounts below read-only too, came with Linux 5.12.
            if !point.rw && host.kernel >= (5, 12) && recursive {
                options.push("rro".into());
            }
            Mount {
                destination: point.target.clone(),
                kind: Some("bind".into()),
                source: Some(point.source.clone()),
                options,
                ..Default::default()
            }
        }
    }
}

/// The words for mount propagation.
pub(crate) const PROPAGATION: &[&str] = &["private", "rprivate", "shared", "rshared", "slave", "rslave"];

/// Propagation that the root needs so that its mounts can have theirs.
pub(super) fn root_propagation(record: &ContainerRecord) -> Option<String> {
    let any = |words: &[&str]| record.mounts.iter().any(|m| m.options.iter().any(|o| words.contains(&o.as_str())));
    if any(&["shared", "rshared"]) {
        Some("shared".into())
    } else if any(&["slave", "rslave"]) {
        Some("rslave".into())
    } else {
        None
    }
}

/// Whether the engine's files for names are shown inside.
pub(crate) fn wants_files(network: &NetworkMode) -> bool {
    // With the host's network and without one, too: Docker writes them in each case.
    !matches!(network, NetworkMode::Container(_))
}
