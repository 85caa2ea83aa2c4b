//! The `linux` object of `config.json`.

use std::collections::BTreeMap;
use std::path::PathBuf;

object! {
    /// What is particular to Linux.
    pub struct Linux {
        /// User ids of the user namespace.
        pub uid_mappings: Vec<IdMapping>,
        /// Group ids of the user namespace.
        pub gid_mappings: Vec<IdMapping>,
        /// Kernel parameters (`net.ipv4.ip_forward`) and their values.
        pub sysctl: BTreeMap<String, String>,
        /// Limits.
        pub resources: Option<Resources>,
        /// Where the container's cgroup is; for the systemd driver `slice:prefix:name`.
        pub cgroups_path: Option<String>,
        /// Namespaces to create or to join.
        pub namespaces: Vec<Namespace>,
        /// Device nodes to make.
        pub devices: Vec<Device>,
        /// Network devices to move inside, by their name on the host.
        pub net_devices: BTreeMap<String, NetDevice>,
        /// System call filter.
        pub seccomp: Option<Seccomp>,
        /// `private`, `slave`, `shared`, `unbindable` or an `r` form.
        pub rootfs_propagation: Option<String>,
        /// Paths that cannot be read inside.
        pub masked_paths: Vec<String>,
        /// Paths that cannot be written inside.
        pub readonly_paths: Vec<String>,
        /// SELinux label of the mounts.
        pub mount_label: Option<String>,
        /// Cache and bandwidth allocation.
        pub intel_rdt: Option<IntelRdt>,
        /// NUMA policy.
        pub memory_policy: Option<MemoryPolicy>,
        /// Execution domain.
        pub personality: Option<Personality>,
        /// Offsets of a new time namespace, by clock (`monotonic`, `boottime`).
        pub time_offsets: BTreeMap<String, TimeOffset>,
    }
}

object! {
    /// One range of a user namespace's mapping.
    pub struct IdMapping {
        /// First id inside.
        #[serde(rename = "containerID")]
        pub container_id: u32,
        /// First id outside.
        #[serde(rename = "hostID")]
        pub host_id: u32,
        /// How many.
        pub size: u32,
    }
}

object! {
    /// One namespace.
    pub struct Namespace {
        /// `pid`, `network`, `mount`, `ipc`, `uts`, `user`, `cgroup` or `time`.
        #[serde(rename = "type")]
        pub kind: String,
        /// The file of a namespace to join; absent means a new one.
        pub path: Option<PathBuf>,
    }
}

object! {
    /// One device node.
    pub struct Device {
        /// Absolute inside the container.
        pub path: String,
        /// `c`, `u`, `b` or `p`.
        #[serde(rename = "type")]
        pub kind: String,
        /// Major number; not for `p`.
        pub major: i64,
        /// Minor number; not for `p`.
        pub minor: i64,
        /// Permission bits.
        pub file_mode: Option<u32>,
        /// Owner inside the container.
        pub uid: Option<u32>,
        /// Group inside the container.
        pub gid: Option<u32>,
    }
}

object! {
    /// A network device to move inside.
    pub struct NetDevice {
        /// Its name inside; absent means the same.
        pub name: Option<String>,
    }
}

object! {
    /// Limits.
    pub struct Resources {
        /// Device access rules, applied in this order.
        pub devices: Vec<DeviceRule>,
        /// Memory.
        pub memory: Option<MemoryLimits>,
        /// Processor time.
        pub cpu: Option<CpuLimits>,
        /// Number of tasks.
        pub pids: Option<PidsLimit>,
        /// Block I/O.
        #[serde(rename = "blockIO")]
        pub block_io: Option<BlockIo>,
        /// Huge pages.
        pub hugepage_limits: Vec<HugepageLimit>,
        /// `net_cls` and `net_prio`.
        pub network: Option<NetworkLimits>,
        /// RDMA, by device.
        pub rdma: BTreeMap<String, RdmaLimit>,
        /// Files of a v2 cgroup, written as they are.
        pub unified: BTreeMap<String, String>,
    }
}

object! {
    /// One device access rule.
    pub struct DeviceRule {
        /// Allow or deny.
        pub allow: bool,
        /// `a`, `c` or `b`; absent means `a`.
        #[serde(rename = "type")]
        pub kind: Option<String>,
        /// Absent means all.
        pub major: Option<i64>,
        /// Absent means all.
        pub minor: Option<i64>,
        /// Any of `r`, `w`, `m`.
        pub access: Option<String>,
    }
}

object! {
    /// Memory limits in bytes; -1 is unlimited.
    pub struct MemoryLimits {
        /// Hard limit.
        pub limit: Option<i64>,
        /// Soft limit.
        pub reservation: Option<i64>,
        /// Memory and swap together.
        pub swap: Option<i64>,
        /// Kernel memory; without effect on today's kernels.
        pub kernel: Option<i64>,
        /// Kernel TCP memory; v1 only.
        #[serde(rename = "kernelTCP")]
        pub kernel_tcp: Option<i64>,
        /// 0 to 100; v1 only.
        pub swappiness: Option<u64>,
        /// Processes over the limit wait instead of being killed; v1 only.
        #[serde(rename = "disableOOMKiller")]
        pub disable_oom_killer: Option<bool>,
        /// Hierarchical accounting; v1 only.
        pub use_hierarchy: Option<bool>,
        /// `update` refuses a limit below the present use.
        pub check_before_update: Option<bool>,
    }
}

object! {
    /// Processor limits.
    pub struct CpuLimits {
        /// Relative weight in v1 units (1024 is normal).
        pub shares: Option<u64>,
        /// Microseconds per period; -1 is unlimited.
        pub quota: Option<i64>,
        /// Microseconds that may be saved up.
        pub burst: Option<u64>,
        /// Microseconds.
        pub period: Option<u64>,
        /// Microseconds of realtime scheduling per period.
        pub realtime_runtime: Option<i64>,
        /// Microseconds.
        pub realtime_period: Option<u64>,
        /// CPU list.
        pub cpus: Option<String>,
        /// Memory node list.
        pub mems: Option<String>,
        /// 1 makes the cgroup idle-scheduled.
        pub idle: Option<i64>,
    }
}

object! {
    /// Number of tasks.
    pub struct PidsLimit {
        /// Negative is unlimited.
        pub limit: Option<i64>,
    }
}

impl PidsLimit {
    /// The limit as every driver can keep it, as runc 1.4 does: systemd has no limit of 0, and since the first task is
    /// there already, 1 allows no more of them.
    pub fn tasks(&self) -> Option<i64> {
        self.limit.map(|limit| if limit == 0 { 1 } else { limit })
    }
}

object! {
    /// Block I/O limits.
    pub struct BlockIo {
        /// 10 to 1000.
        pub weight: Option<u16>,
        /// v1 with CFQ only.
        pub leaf_weight: Option<u16>,
        /// Weight per device.
        pub weight_device: Vec<WeightDevice>,
        /// Bytes per second.
        pub throttle_read_bps_device: Vec<ThrottleDevice>,
        /// Bytes per second.
        pub throttle_write_bps_device: Vec<ThrottleDevice>,
        /// Operations per second.
        #[serde(rename = "throttleReadIOPSDevice")]
        pub throttle_read_iops_device: Vec<ThrottleDevice>,
        /// Operations per second.
        #[serde(rename = "throttleWriteIOPSDevice")]
        pub throttle_write_iops_device: Vec<ThrottleDevice>,
    }
}

object! {
    /// Weight of one block device.
    pub struct WeightDevice {
        /// Major number.
        pub major: i64,
        /// Minor number.
        pub minor: i64,
        /// 10 to 1000.
        pub weight: Option<u16>,
        /// v1 with CFQ only.
        pub leaf_weight: Option<u16>,
    }
}

object! {
    /// Rate of one block device.
    pub struct ThrottleDevice {
        /// Major number.
        pub major: i64,
        /// Minor number.
        pub minor: i64,
        /// Per second.
        pub rate: u64,
    }
}

object! {
    /// Limit for one size of huge pages.
    pub struct HugepageLimit {
        /// `2MB`, `1GB`. In runc's tests also written the way that only Go's reader forgives.
        #[serde(alias = "pagesize")]
        pub page_size: String,
        /// Bytes.
        pub limit: u64,
    }
}

object! {
    /// `net_cls` and `net_prio`.
    pub struct NetworkLimits {
        /// Class identifier for packets.
        #[serde(rename = "classID")]
        pub class_id: Option<u32>,
        /// Priority per interface.
        pub priorities: Vec<InterfacePriority>,
    }
}

object! {
    /// Priority of one interface.
    pub struct InterfacePriority {
        /// Interface name.
        pub name: String,
        /// Priority.
        pub priority: u32,
    }
}

object! {
    /// RDMA limits of one device.
    pub struct RdmaLimit {
        /// Handles.
        pub hca_handles: Option<u32>,
        /// Objects.
        pub hca_objects: Option<u32>,
    }
}

object! {
    /// System call filter.
    pub struct Seccomp {
        /// For calls that no rule names.
        pub default_action: String,
        /// Error number of the default action.
        pub default_errno_ret: Option<u32>,
        /// `SCMP_ARCH_X86_64` and so on.
        pub architectures: Vec<String>,
        /// `SECCOMP_FILTER_FLAG_LOG` and so on; an empty list is not the same as none.
        pub flags: Option<Vec<String>>,
        /// Socket that gets the notification descriptor.
        pub listener_path: Option<PathBuf>,
        /// Passed along to the listener.
        pub listener_metadata: Option<String>,
        /// Rules.
        pub syscalls: Vec<SyscallRule>,
    }
}

object! {
    /// One rule of a filter.
    pub struct SyscallRule {
        /// System calls; unknown ones are skipped.
        pub names: Vec<String>,
        /// `SCMP_ACT_ALLOW` and so on.
        pub action: String,
        /// Error number, or data for a tracer.
        pub errno_ret: Option<u32>,
        /// All must hold.
        pub args: Vec<SyscallArg>,
    }
}

object! {
    /// One comparison of a rule.
    pub struct SyscallArg {
        /// 0 to 5.
        pub index: u32,
        /// Operand; the mask with `SCMP_CMP_MASKED_EQ`.
        pub value: u64,
        /// Operand with `SCMP_CMP_MASKED_EQ`.
        pub value_two: u64,
        /// `SCMP_CMP_EQ` and so on.
        pub op: String,
    }
}

object! {
    /// What a seccomp listener gets beside the descriptor.
    pub struct SeccompListenerState {
        /// Version of the specification.
        pub oci_version: String,
        /// Names of the descriptors sent.
        pub fds: Vec<String>,
        /// Process the filter was put on.
        pub pid: i32,
        /// `listenerMetadata` of the configuration.
        pub metadata: Option<String>,
        /// The container's state.
        pub state: Option<super::State>,
    }
}

object! {
    /// Cache and bandwidth allocation.
    pub struct IntelRdt {
        /// Class of service.
        #[serde(rename = "closID")]
        pub clos_id: Option<String>,
        /// Lines of the schemata file.
        pub schemata: Vec<String>,
        /// L3 cache lines.
        pub l3_cache_schema: Option<String>,
        /// Memory bandwidth lines.
        pub mem_bw_schema: Option<String>,
        /// Makes a monitoring group.
        pub enable_monitoring: Option<bool>,
        /// Cache monitoring.
        #[serde(rename = "enableCMT")]
        pub enable_cmt: Option<bool>,
        /// Bandwidth monitoring.
        #[serde(rename = "enableMBM")]
        pub enable_mbm: Option<bool>,
    }
}

object! {
    /// Arguments of `set_mempolicy(2)`.
    pub struct MemoryPolicy {
        /// `MPOL_BIND` and so on.
        pub mode: String,
        /// Node list.
        pub nodes: Option<String>,
        /// `MPOL_F_STATIC_NODES` and so on.
        pub flags: Vec<String>,
    }
}

object! {
    /// Execution domain.
    pub struct Personality {
        /// `LINUX` or `LINUX32`.
        pub domain: String,
        /// None are defined.
        pub flags: Vec<String>,
    }
}

object! {
    /// Offset of one clock of a time namespace.
    pub struct TimeOffset {
        /// Seconds.
        pub secs: i64,
        /// Nanoseconds.
        pub nanosecs: u32,
    }
}
