//! `features`: what this runtime can do, as the specification's features structure.

use oci::runtime::{CgroupFeatures, Enabled, Features, LinuxFeatures, MountExtensions, VERSION};
use oci::{Error, Result};

use super::Command;
use crate::cli::{Args, Count, Failure, Global};
use crate::plan::{mounts, namespaces};
use crate::{capabilities, seccomp};

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

fn run(_: &Global, _: &Args) -> Result<i32, Failure> {
    let text = serde_json::to_string_pretty(&features()).map_err(|e| Error::internal(e.to_string()))?;
    say!("{text}");
    Ok(0)
}

fn features() -> Features {
    let strings = |list: &[&str]| list.iter().map(|s| s.to_string()).collect::<Vec<_>>();
    let on = || Some(Enabled { enabled: Some(true) });
    let off = || Some(Enabled { enabled: Some(false) });
    let mut kinds: Vec<String> = namespaces::KINDS.iter().map(|k| k.0.to_owned()).collect();
    kinds.sort();
    Features {
        oci_version_min: "1.0.0".into(),
        oci_version_max: VERSION.into(),
        hooks: strings(&["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]),
        mount_options: mounts::option_names(),
        linux: Some(LinuxFeatures {
            namespaces: kinds,
            capabilities: strings(&capabilities::NAMES),
            cgroup: Some(CgroupFeatures {
                v1: Some(true),
                v2: Some(true),
                systemd: Some(false),
                systemd_user: Some(false),
                rdma: Some(true),
            }),
            seccomp: Some(seccomp::features()),
            apparmor: off(),
            selinux: off(),
            intel_rdt: off(),
            net_devices: on(),
            memory_policy: None,
            mount_extensions: Some(MountExtensions { idmap: on() }),
        }),
        ..Default::default()
    }
}
