//! What a door asks for: a container, in nobody's wire format.

use oci::Platform;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// A container to be made. Everything has a default except [`image`](Self::image).
///
/// `None` and empty mean "not said": the image's configuration, then the engine's defaults apply.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerSpec {
    /// The name; one is made up where there is none. Without a leading slash.
    pub name: Option<String>,
    /// The image as the caller wrote it: a reference, or an image id or a unique beginning of one.
    pub image: String,
    /// The platform to choose from an index.
    pub platform: Option<Platform>,
    /// Replaces the image's entrypoint. `Some(vec![])` and `Some(vec![""])` remove it; giving one also drops
    /// the image's command.
    pub entrypoint: Option<Vec<String>>,
    /// Replaces the image's command.
    pub command: Option<Vec<String>>,
    /// `NAME=value` adds or replaces; `NAME` alone removes what the image sets.
    pub env: Vec<String>,
    /// Labels, over the image's.
    pub labels: BTreeMap<String, String>,
    /// `user[:group]` by name or number; the image's where empty.
    pub user: String,
    /// Supplementary groups, by name or number.
    pub groups: Vec<String>,
    /// Absolute working directory; the image's, then `/`, where empty.
    pub cwd: String,
    /// A pseudo-terminal instead of pipes.
    pub tty: bool,
    /// The terminal's first size: rows, columns.
    pub console_size: Option<(u16, u16)>,
    /// Keep standard input open for attached clients; otherwise it is `/dev/null`.
    pub open_stdin: bool,
    /// Close standard input when the first attached client leaves.
    pub stdin_once: bool,
    /// Host name; the first twelve digits of the id where empty.
    pub hostname: String,
    /// NIS domain name.
    pub domainname: String,
    /// Bind mounts, volumes and tmpfs, on top of what the image declares.
    pub mounts: Vec<MountSpec>,
    /// Containers whose mounts are taken over: `container[:ro|rw]`.
    pub volumes_from: Vec<String>,
    /// Mount the root filesystem read-only.
    pub readonly_rootfs: bool,
    /// How it is connected.
    pub network: NetworkMode,
    /// Settings per network, by the network's name or id.
    pub endpoints: BTreeMap<String, EndpointSpec>,
    /// The MAC address of the first interface.
    pub mac_address: Option<String>,
    /// Ports to publish on the host.
    pub ports: Vec<PortSpec>,
    /// Publish every exposed port at a port that the kernel picks.
    pub publish_all: bool,
    /// Exposed ports, as in `80/tcp`, beside the image's.
    pub exposed_ports: BTreeSet<String>,
    /// Lines for `/etc/hosts`: name and address (`host-gateway` for the bridge's gateway).
    pub extra_hosts: Vec<(String, String)>,
    /// Name servers instead of the host's.
    pub dns: Vec<String>,
    /// Search domains instead of the host's.
    pub dns_search: Vec<String>,
    /// Resolver options instead of the host's.
    pub dns_options: Vec<String>,
    /// Cgroup limits.
    pub resources: ResourceSpec,
    /// Capabilities to add (`ALL`, `NET_ADMIN` or `CAP_NET_ADMIN`).
    pub cap_add: Vec<String>,
    /// Capabilities to drop.
    pub cap_drop: Vec<String>,
    /// All capabilities, all devices, no seccomp, nothing masked.
    pub privileged: bool,
    /// Seccomp, AppArmor, no-new-privileges.
    pub security: SecuritySpec,
    /// Host devices to pass in.
    pub devices: Vec<DeviceSpec>,
    /// More rules for the device cgroup, as in `c 42:* rmw`.
    pub device_cgroup_rules: Vec<String>,
    /// Resource limits.
    pub ulimits: Vec<Ulimit>,
    /// Kernel parameters of the container's namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// Process ids.
    pub pid_mode: NamespaceMode,
    /// System V IPC and POSIX message queues, and `/dev/shm`.
    pub ipc_mode: NamespaceMode,
    /// Host and domain name.
    pub uts_mode: NamespaceMode,
    /// View of the cgroup tree. `None`: private with cgroup v2, the host's otherwise.
    pub cgroupns_mode: Option<NamespaceMode>,
    /// Bytes of `/dev/shm`; 64 MiB where absent.
    pub shm_size: Option<u64>,
    /// Adjustment of the out-of-memory score.
    pub oom_score_adj: Option<i32>,
    /// When to start again.
    pub restart: RestartPolicy,
    /// Where output goes.
    pub log: LogSpec,
    /// Run the command below a small init that forwards signals and reaps.
    pub init: bool,
    /// Remove the container once it has ended.
    pub auto_remove: bool,
    /// What `stop` sends first; the image's, then `SIGTERM`, where absent. By name or number.
    pub stop_signal: Option<String>,
    /// Seconds from that signal to `SIGKILL`; 10 where absent, negative for never.
    pub stop_timeout: Option<i64>,
    /// A periodic check. Only "none" (the image's is switched off) can be carried out so far.
    pub healthcheck: Option<Healthcheck>,
    /// The OCI runtime by its configured name; the default where absent.
    pub runtime: Option<String>,
    /// Parent of the container's cgroup; the engine's where absent.
    pub cgroup_parent: Option<String>,
    /// Paths hidden inside; Docker's where absent.
    pub masked_paths: Option<Vec<String>>,
    /// Paths read-only inside; Docker's where absent.
    pub readonly_paths: Option<Vec<String>>,
    /// Free annotations for the runtime.
    pub annotations: BTreeMap<String, String>,
    /// The door's own request, kept for its `inspect`; the engine doesn't look into it.
    pub door: serde_json::Value,
}

/// One mount asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountSpec {
    /// Absolute path inside.
    pub target: String,
    /// What is mounted there.
    pub source: MountSource,
    /// Read-only, recursively where the kernel can.
    pub readonly: bool,
}

/// What a mount shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountSource {
    /// A path of the host.
    Bind {
        /// Absolute.
        path: String,
        /// Make a directory where nothing is, as `-v` does; otherwise that is an error, as `--mount` does.
        create: bool,
        /// `private`, `rprivate` (default), `shared`, `rshared`, `slave`, `rslave`.
        propagation: Option<String>,
        /// Leave mounts below the path out.
        non_recursive: bool,
    },
    /// A volume. It is made if it does not exist.
    Volume {
        /// `None` makes an anonymous one, which `remove(.., volumes = true)` removes.
        name: Option<String>,
        /// Don't copy what the image has at the target into an empty volume.
        no_copy: bool,
        /// Driver; only `local`.
        driver: Option<String>,
        /// Driver's options for a new volume.
        options: BTreeMap<String, String>,
        /// Labels for a new volume.
        labels: BTreeMap<String, String>,
        /// A directory inside the volume.
        subpath: Option<String>,
    },
    /// An empty filesystem in memory.
    Tmpfs {
        /// Bytes.
        size: Option<u64>,
        /// Permission bits of its root.
        mode: Option<u32>,
        /// Other options as mount(8) takes them (`noexec`, `uid=1`).
        options: Vec<String>,
    },
}

/// How a container is connected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkMode {
    /// The engine's `bridge` network.
    #[default]
    Default,
    /// A namespace of its own with only a loopback device.
    None,
    /// The host's namespace.
    Host,
    /// The namespace of another container, by name or id (stored: its id).
    Container(String),
    /// A network by name or id.
    Network(String),
}

/// Settings for one network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointSpec {
    /// More names for the container in this network.
    pub aliases: Vec<String>,
    /// A fixed address.
    pub ipv4: Option<IpAddr>,
    /// A fixed IPv6 address.
    pub ipv6: Option<IpAddr>,
    /// A fixed MAC address.
    pub mac_address: Option<String>,
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSpec {
    /// Inside.
    pub container_port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// Address on the host; every address where `None`.
    pub host_ip: Option<IpAddr>,
    /// First port on the host, 0 for one that the kernel picks.
    pub host_port: u16,
    /// Last port of a range to pick from; the first where `None`.
    pub host_port_end: Option<u16>,
}

/// Where a namespace comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NamespaceMode {
    /// One of its own.
    #[default]
    Private,
    /// The host's.
    Host,
    /// One that others may join (IPC only).
    Shareable,
    /// Private and without `/dev/shm` (IPC only).
    None,
    /// That of another container, by name or id (stored: its id).
    Container(String),
}

/// Cgroup limits. `None`: no limit, or unchanged in an update.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceSpec {
    /// Bytes of memory.
    pub memory: Option<i64>,
    /// Bytes below which memory is not reclaimed first.
    pub memory_reservation: Option<i64>,
    /// Bytes of memory and swap together; -1 for unlimited swap. Twice the memory where absent.
    pub memory_swap: Option<i64>,
    /// 0 to 100.
    pub memory_swappiness: Option<u64>,
    /// Don't kill on running out of memory, wait (cgroup v1).
    pub oom_kill_disable: Option<bool>,
    /// Relative weight, 2 to 262144.
    pub cpu_shares: Option<u64>,
    /// Microseconds of processor time in a period.
    pub cpu_quota: Option<i64>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    /// Billionths of a processor; excludes quota and period.
    pub nano_cpus: Option<i64>,
    /// Real-time budget in microseconds.
    pub cpu_rt_runtime: Option<i64>,
    /// Real-time period in microseconds.
    pub cpu_rt_period: Option<u64>,
    /// Processors, as in `0-2,4`.
    pub cpuset_cpus: Option<String>,
    /// Memory nodes.
    pub cpuset_mems: Option<String>,
    /// Processes and threads; 0 and negative for unlimited.
    pub pids_limit: Option<i64>,
    /// Relative weight, 10 to 1000.
    pub blkio_weight: Option<u16>,
    /// Device path and bytes a second.
    pub device_read_bps: Vec<(String, u64)>,
    /// Device path and bytes a second.
    pub device_write_bps: Vec<(String, u64)>,
    /// Device path and operations a second.
    pub device_read_iops: Vec<(String, u64)>,
    /// Device path and operations a second.
    pub device_write_iops: Vec<(String, u64)>,
}

/// Seccomp, AppArmor, no-new-privileges.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SecuritySpec {
    /// The system call filter.
    pub seccomp: SeccompProfile,
    /// AppArmor profile; `None` for the engine's choice.
    pub apparmor: Option<String>,
    /// No gain of privileges by executing a file.
    pub no_new_privileges: bool,
    /// Neither masked nor read-only paths (`systempaths=unconfined`).
    pub unconfined_paths: bool,
}

/// A system call filter.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeccompProfile {
    /// Docker's, built in. None for a privileged container.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// A profile in Docker's JSON (with `archMap`, `includes`, `excludes`) or the runtime specification's.
    Custom(String),
}

/// A host device to pass in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceSpec {
    /// Path on the host: a device, or a directory of devices.
    pub host_path: String,
    /// Path inside.
    pub container_path: String,
    /// Some of `rwm`.
    pub permissions: String,
}

/// One resource limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// As in `nofile`.
    pub name: String,
    /// -1 is unlimited.
    pub soft: i64,
    /// -1 is unlimited.
    pub hard: i64,
}

/// When to start a container again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// After an exit code other than 0, at most `max` times in a row (0: without end).
    OnFailure {
        /// How often.
        max: u32,
    },
    /// Always, and with the daemon if it was not stopped by hand during the daemon's life.
    Always,
    /// Always, unless it was stopped by hand.
    UnlessStopped,
}

/// Where output goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogSpec {
    /// `json-file` (default), or `none`.
    pub driver: String,
    /// `max-size`, `max-file`, `labels`, `env`, `tag`, ...; an unknown one is refused by name.
    pub options: BTreeMap<String, String>,
}

impl Default for LogSpec {
    fn default() -> Self {
        Self { driver: "json-file".into(), options: BTreeMap::new() }
    }
}

/// A periodic check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", ..]`, `["CMD-SHELL", ..]`.
    pub test: Vec<String>,
    /// Nanoseconds between checks.
    pub interval: i64,
    /// Nanoseconds for one check.
    pub timeout: i64,
    /// Nanoseconds in which failures don't count.
    pub start_period: i64,
    /// Nanoseconds between checks in the start period.
    pub start_interval: i64,
    /// Failures in a row until it counts as unhealthy.
    pub retries: i64,
}
