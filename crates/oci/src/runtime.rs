//! runtime-spec 1.3 as plain types: `config.json` ([`Spec`]) and `state.json` ([`State`]).
//!
//! Reading is tolerant, as the specification asks: unknown fields are ignored, every field may be missing, and Go's
//! `null` for an empty list reads as empty. Writing leaves out what is absent, but always writes plain numbers, booleans
//! and strings, because other runtimes demand some of them (`rlimits[].soft`, `devices[].allow`).
//! Values that the specification names by word (`"SCMP_ACT_ERRNO"`, `"pid"`) stay strings here: whoever acts on them
//! decides what it supports and can refuse the rest by name.

#[macro_use]
mod object;
mod features;
mod foreign;
mod linux;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use features::*;
pub use foreign::Foreign;
pub use linux::*;

/// The version of the specification these types follow, and what `ociVersion` of a generated `config.json` says.
pub const VERSION: &str = "1.3.0";

object! {
    /// `config.json`.
    pub struct Spec {
        /// Version of the specification the file follows.
        pub oci_version: String,
        /// The process to run.
        pub process: Option<Process>,
        /// The root filesystem.
        pub root: Option<Root>,
        /// Host name inside the UTS namespace.
        pub hostname: Option<String>,
        /// NIS domain name inside the UTS namespace.
        pub domainname: Option<String>,
        /// Mounts, made in this order.
        pub mounts: Vec<Mount>,
        /// Programs to call at points of the lifecycle.
        pub hooks: Option<Hooks>,
        /// Free key-value pairs.
        pub annotations: BTreeMap<String, String>,
        /// What is particular to Linux.
        pub linux: Option<Linux>,
        /// Present only in a configuration for Solaris.
        pub solaris: Option<Foreign>,
        /// Present only in a configuration for Windows.
        pub windows: Option<Foreign>,
        /// Present only in a configuration for virtual machines.
        pub vm: Option<Foreign>,
        /// Present only in a configuration for z/OS.
        pub zos: Option<Foreign>,
        /// Present only in a configuration for FreeBSD.
        #[serde(rename = "freebsd")]
        pub free_bsd: Option<Foreign>,
    }
}

object! {
    /// The container's root filesystem.
    pub struct Root {
        /// Absolute, or relative to the bundle.
        pub path: PathBuf,
        /// Whether it is read-only inside.
        pub readonly: bool,
    }
}

object! {
    /// A process: the container's own, or one that `exec` adds.
    pub struct Process {
        /// Whether a pseudo-terminal is attached.
        pub terminal: bool,
        /// The terminal's first size.
        pub console_size: Option<ConsoleSize>,
        /// Whom it runs as.
        pub user: User,
        /// The program and its arguments.
        pub args: Vec<String>,
        /// Windows only.
        pub command_line: Option<String>,
        /// `NAME=value` pairs.
        pub env: Vec<String>,
        /// Working directory, absolute inside the container.
        pub cwd: String,
        /// Capability sets; absent means "leave as they are".
        pub capabilities: Option<Capabilities>,
        /// Resource limits.
        pub rlimits: Vec<Rlimit>,
        /// Sets `PR_SET_NO_NEW_PRIVS`.
        pub no_new_privileges: bool,
        /// AppArmor profile to run under.
        pub apparmor_profile: Option<String>,
        /// Value for `/proc/self/oom_score_adj`.
        pub oom_score_adj: Option<i32>,
        /// Scheduling policy.
        pub scheduler: Option<Scheduler>,
        /// SELinux process label.
        pub selinux_label: Option<String>,
        /// I/O priority.
        pub io_priority: Option<IoPriority>,
        /// CPU affinity of a process started by `exec`.
        #[serde(rename = "execCPUAffinity")]
        pub exec_cpu_affinity: Option<CpuAffinity>,
    }
}

object! {
    /// Terminal size in characters.
    pub struct ConsoleSize {
        /// Rows.
        pub height: u32,
        /// Columns.
        pub width: u32,
    }
}

object! {
    /// Numeric identity of a process.
    pub struct User {
        /// User id inside the container.
        pub uid: u32,
        /// Group id inside the container.
        pub gid: u32,
        /// File mode creation mask.
        pub umask: Option<u32>,
        /// Supplementary groups.
        pub additional_gids: Vec<u32>,
        /// Windows only.
        pub username: Option<String>,
    }
}

object! {
    /// Capability sets by name (`CAP_KILL`).
    pub struct Capabilities {
        /// Upper bound for everything executed later.
        pub bounding: Vec<String>,
        /// Checked by the kernel now.
        pub effective: Vec<String>,
        /// Kept across an execution of a file that asks for them.
        pub inheritable: Vec<String>,
        /// What the process may raise.
        pub permitted: Vec<String>,
        /// Kept across every ordinary execution.
        pub ambient: Vec<String>,
    }
}

object! {
    /// One resource limit.
    pub struct Rlimit {
        /// `RLIMIT_NOFILE` and so on.
        #[serde(rename = "type")]
        pub kind: String,
        /// Hard limit; `u64::MAX` is unlimited.
        pub hard: u64,
        /// Soft limit; `u64::MAX` is unlimited.
        pub soft: u64,
    }
}

object! {
    /// Arguments of `sched_setattr(2)`.
    pub struct Scheduler {
        /// `SCHED_OTHER` and so on.
        pub policy: String,
        /// Nice value, for `SCHED_OTHER` and `SCHED_BATCH`.
        pub nice: Option<i32>,
        /// Static priority, for `SCHED_FIFO` and `SCHED_RR`.
        pub priority: Option<i32>,
        /// `SCHED_FLAG_RESET_ON_FORK` and so on.
        pub flags: Vec<String>,
        /// Nanoseconds, for `SCHED_DEADLINE`.
        pub runtime: Option<u64>,
        /// Nanoseconds, for `SCHED_DEADLINE`.
        pub deadline: Option<u64>,
        /// Nanoseconds, for `SCHED_DEADLINE`.
        pub period: Option<u64>,
    }
}

object! {
    /// Arguments of `ioprio_set(2)`.
    pub struct IoPriority {
        /// `IOPRIO_CLASS_RT`, `_BE` or `_IDLE`.
        pub class: String,
        /// 0 (highest) to 7.
        pub priority: i32,
    }
}

object! {
    /// CPU lists (`0-3,7`) for a process started by `exec`.
    pub struct CpuAffinity {
        /// Until it is moved to the container's cgroup.
        pub initial: Option<String>,
        /// Afterwards.
        #[serde(rename = "final")]
        pub last: Option<String>,
    }
}

object! {
    /// One mount.
    pub struct Mount {
        /// Absolute inside the container.
        pub destination: String,
        /// Filesystem type; `bind` or absent with a `bind` option is a bind mount.
        #[serde(rename = "type")]
        pub kind: Option<String>,
        /// Device, or the path to bind, relative to the bundle where not absolute.
        pub source: Option<String>,
        /// As in fstab, and the specification's own.
        pub options: Vec<String>,
        /// Id mapping of the mount.
        pub uid_mappings: Vec<IdMapping>,
        /// Id mapping of the mount.
        pub gid_mappings: Vec<IdMapping>,
    }
}

object! {
    /// Programs to call at points of the lifecycle.
    pub struct Hooks {
        /// Deprecated form of `createRuntime`, called first.
        pub prestart: Vec<Hook>,
        /// During `create`, namespaces made, before `pivot_root`; in the runtime's namespaces.
        pub create_runtime: Vec<Hook>,
        /// During `create`, before `pivot_root`; in the container's namespaces.
        pub create_container: Vec<Hook>,
        /// During `start`, before the program; in the container's namespaces and root.
        pub start_container: Vec<Hook>,
        /// After `start`; in the runtime's namespaces.
        pub poststart: Vec<Hook>,
        /// After `delete`; in the runtime's namespaces.
        pub poststop: Vec<Hook>,
    }
}

object! {
    /// One program; it gets the container's [`State`] on standard input.
    pub struct Hook {
        /// Absolute.
        pub path: PathBuf,
        /// With `argv[0]`; absent means `[path]`.
        pub args: Vec<String>,
        /// The whole environment; absent is that of its place.
        pub env: Option<Vec<String>>,
        /// Seconds until it is killed.
        pub timeout: Option<i64>,
    }
}

object! {
    /// What `state` prints and hooks read.
    pub struct State {
        /// Version of the specification.
        pub oci_version: String,
        /// The container's id.
        pub id: String,
        /// `creating`, `created`, `running`, `paused` (runc's addition) or `stopped`.
        pub status: String,
        /// Host pid of the container's process; 0 when stopped.
        pub pid: i32,
        /// Absolute path of the bundle.
        pub bundle: PathBuf,
        /// Those of the configuration.
        pub annotations: BTreeMap<String, String>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_unknown_fields_and_nulls() {
        let text = r#"{"ociVersion":"1.0.2-dev","future":1,"mounts":null,
            "process":{"args":["sh"],"cwd":"/","user":{"uid":1,"gid":2,"additionalGids":null},"rlimits":[{"type":"RLIMIT_NOFILE","hard":1024,"soft":512}]},
            "linux":{"resources":{"devices":[{"allow":false,"access":"rwm"}],"memory":{"limit":-1,"disableOOMKiller":true},"blockIO":{"weight":10}},
                     "uidMappings":[{"containerID":0,"hostID":1000,"size":1}]}}"#;
        let spec: Spec = serde_json::from_str(text).expect("parses");
        assert!(spec.mounts.is_empty());
        let process = spec.process.as_ref().expect("process");
        assert_eq!((process.user.uid, process.user.gid), (1, 2));
        let linux = spec.linux.as_ref().expect("linux");
        assert_eq!(linux.uid_mappings[0].host_id, 1000);
        let resources = linux.resources.as_ref().expect("resources");
        assert_eq!(resources.memory.as_ref().and_then(|m| m.limit), Some(-1));
        assert_eq!(resources.memory.as_ref().and_then(|m| m.disable_oom_killer), Some(true));
        assert_eq!(resources.block_io.as_ref().and_then(|b| b.weight), Some(10));
    }

    #[test]
    fn writes_required_scalars_and_omits_the_rest() {
        let spec = Spec {
            oci_version: VERSION.into(),
            linux: Some(Linux {
                resources: Some(Resources { devices: vec![DeviceRule::default()], ..Default::default() }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let text = serde_json::to_string(&spec).expect("writes");
        assert_eq!(text, r#"{"ociVersion":"1.3.0","linux":{"resources":{"devices":[{"allow":false}]}}}"#);
    }

    #[test]
    fn a_written_spec_reads_back_the_same() {
        let spec = Spec {
            process: Some(Process { args: vec!["a".into()], cwd: "/".into(), ..Default::default() }),
            hooks: Some(Hooks {
                poststop: vec![Hook { timeout: Some(3), ..Default::default() }],
                ..Default::default()
            }),
            ..Default::default()
        };
        let again: Spec = serde_json::from_str(&serde_json::to_string(&spec).expect("writes")).expect("reads");
        assert_eq!(spec, again);
    }
}
