//! `features`: what this runtime can do, as the specification's features structure.

use oci::runtime::{
    CgroupFeatures, Enabled, Features, IntelRdtFeatures, LinuxFeatures, MemoryPolicyFeatures, MountExtensions, VERSION,
};
use oci::{Error, Result};

use super::Command;
use crate::cli::{Args, Count, Failure, Global};
use crate::plan::{execution, mounts, namespaces};
use crate::{capabilities, hooks, seccomp};

pub(super) static COMMAND: Command = Command {
    name: "features",
    about: "show the enabled features",
    usage: "",
    flags: &[],
    arguments: Count::Exactly(0),
    command_after: None,
    makes: false,
    run,
};

/// Annotations of `config.json` that make this runtime do something else; one that ends with a dot is a prefix.
const UNSAFE_ANNOTATIONS: [&str; 2] = ["org.systemd.property.", crate::criu::CONFIG_ANNOTATION];

fn run(_: &Global, _: &Args) -> Result<i32, Failure> {
    let text = serde_json::to_string_pretty(&features()).map_err(|e| Error::internal(e.to_string()))?;
    say!("{text}");
    Ok(0)
}

fn features() -> Features {
    let strings = |list: &[&str]| list.iter().map(|s| s.to_string()).collect::<Vec<_>>();
    let on = || Some(Enabled { enabled: Some(true) });
    let mut kinds: Vec<String> = namespaces::KINDS.iter().map(|k| k.0.to_owned()).collect();
    kinds.sort();
    Features {
        oci_version_min: "1.0.0".into(),
        oci_version_max: VERSION.into(),
        hooks: strings(&hooks::KINDS),
        mount_options: mounts::option_names(),
        linux: Some(LinuxFeatures {
            namespaces: kinds,
            capabilities: strings(&capabilities::NAMES),
            cgroup: Some(CgroupFeatures {
                v1: Some(true),
                v2: Some(true),
                systemd: Some(true),
                systemd_user: Some(true),
                rdma: Some(true),
            }),
            seccomp: Some(seccomp::features()),
            apparmor: on(),
            selinux: on(),
            intel_rdt: Some(IntelRdtFeatures { enabled: Some(true), schemata: Some(true), monitoring: Some(true) }),
            net_devices: on(),
            memory_policy: Some(MemoryPolicyFeatures {
                modes: strings(&execution::MODES),
                flags: strings(&execution::FLAGS.map(|(name, _)| name)),
            }),
            mount_extensions: Some(MountExtensions { idmap: on() }),
        }),
        annotations: [
            ("io.sampan.version", env!("CARGO_PKG_VERSION")),
            // The name by which callers ask any runtime whether it can.
            ("org.opencontainers.runc.checkpoint.enabled", "true"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        potentially_unsafe_config_annotations: strings(&UNSAFE_ANNOTATIONS),
    }
}
