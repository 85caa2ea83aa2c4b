//! The host's side of a container: mounts, networks, limits, privileges.

use super::{Map, is_default};
use serde_json::Value;

model! {
    /// `container.HostConfig`.
    pub struct HostConfig {
        binds: Option<Vec<String>>,
        #[serde(rename = "ContainerIDFile")]
        container_id_file: String,
        log_config: LogConfig,
        network_mode: String,
        port_bindings: Option<Map<Option<Vec<PortBinding>>>>,
        restart_policy: RestartPolicy,
        auto_remove: bool,
        volume_driver: String,
        volumes_from: Option<Vec<String>>,
        console_size: [u32; 2],
        #[serde(skip_serializing_if = "Option::is_none")]
        annotations: Option<Map<String>>,
        cap_add: Option<Vec<String>>,
        cap_drop: Option<Vec<String>>,
        cgroupns_mode: String,
        dns: Option<Vec<String>>,
        dns_options: Option<Vec<String>>,
        dns_search: Option<Vec<String>>,
        extra_hosts: Option<Vec<String>>,
        group_add: Option<Vec<String>>,
        ipc_mode: String,
        cgroup: String,
        links: Option<Vec<String>>,
        oom_score_adj: i64,
        pid_mode: String,
        privileged: bool,
        publish_all_ports: bool,
        readonly_rootfs: bool,
        security_opt: Option<Vec<String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        storage_opt: Option<Map<String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        tmpfs: Option<Map<String>>,
        #[serde(rename = "UTSMode")]
        uts_mode: String,
        userns_mode: String,
        shm_size: i64,
        #[serde(skip_serializing_if = "Option::is_none")]
        sysctls: Option<Map<String>>,
        runtime: String,
        isolation: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        mounts: Option<Vec<Mount>>,
        masked_paths: Option<Vec<String>>,
        readonly_paths: Option<Vec<String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        init: Option<bool>,
        @flatten resources: Resources,
        @flatten
        /// Keys this model does not know.
        other: Map<Value>,
    }

    /// The part of [`HostConfig`] that can be changed on a running container.
    pub struct Resources {
        cpu_shares: i64,
        memory: i64,
        nano_cpus: i64,
        cgroup_parent: String,
        blkio_weight: u16,
        blkio_weight_device: Option<Vec<WeightDevice>>,
        blkio_device_read_bps: Option<Vec<ThrottleDevice>>,
        blkio_device_write_bps: Option<Vec<ThrottleDevice>>,
        #[serde(rename = "BlkioDeviceReadIOps")]
        blkio_device_read_iops: Option<Vec<ThrottleDevice>>,
        #[serde(rename = "BlkioDeviceWriteIOps")]
        blkio_device_write_iops: Option<Vec<ThrottleDevice>>,
        cpu_period: i64,
        cpu_quota: i64,
        cpu_realtime_period: i64,
        cpu_realtime_runtime: i64,
        cpuset_cpus: String,
        cpuset_mems: String,
        devices: Option<Vec<DeviceMapping>>,
        device_cgroup_rules: Option<Vec<String>>,
        device_requests: Option<Vec<DeviceRequest>>,
        #[serde(skip_serializing_if = "is_default")]
        kernel_memory: i64,
        #[serde(rename = "KernelMemoryTCP", skip_serializing_if = "is_default")]
        kernel_memory_tcp: i64,
        memory_reservation: i64,
        memory_swap: i64,
        memory_swappiness: Option<i64>,
        oom_kill_disable: Option<bool>,
        pids_limit: Option<i64>,
        ulimits: Option<Vec<Ulimit>>,
        cpu_count: i64,
        cpu_percent: i64,
        #[serde(rename = "IOMaximumIOps")]
        io_maximum_iops: u64,
        #[serde(rename = "IOMaximumBandwidth")]
        io_maximum_bandwidth: u64,
    }

    /// A log driver and its options.
    pub struct LogConfig {
        #[serde(rename = "Type")]
        kind: String,
        config: Option<Map<String>>,
    }

    /// A host address and port; both may be empty.
    pub struct PortBinding {
        host_ip: String,
        host_port: String,
    }

    /// What to do when the container ends: `no` (or empty), `always`, `unless-stopped`, `on-failure`.
    pub struct RestartPolicy {
        name: String,
        maximum_retry_count: i64,
    }

    /// One limit, as in `setrlimit`, by its name without `RLIMIT_`.
    pub struct Ulimit {
        name: String,
        hard: i64,
        soft: i64,
    }

    /// A host's device in the container.
    pub struct DeviceMapping {
        path_on_host: String,
        path_in_container: String,
        cgroup_permissions: String,
    }

    /// Devices from a device driver.
    pub struct DeviceRequest {
        driver: String,
        count: i64,
        #[serde(rename = "DeviceIDs")]
        device_ids: Option<Vec<String>>,
        capabilities: Option<Vec<Vec<String>>>,
        options: Option<Map<String>>,
    }

    /// A block device's weight.
    pub struct WeightDevice {
        path: String,
        weight: u16,
    }

    /// A block device's rate, per second.
    pub struct ThrottleDevice {
        path: String,
        rate: u64,
    }

    /// A mount, in the form of `--mount`.
    pub struct Mount {
        /// `bind`, `volume`, `tmpfs`, `npipe`, `cluster`, `image`.
        #[serde(rename = "Type", skip_serializing_if = "is_default")]
        kind: String,
        #[serde(skip_serializing_if = "is_default")]
        source: String,
        #[serde(skip_serializing_if = "is_default")]
        target: String,
        #[serde(skip_serializing_if = "is_default")]
        read_only: bool,
        #[serde(skip_serializing_if = "is_default")]
        consistency: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        bind_options: Option<BindOptions>,
        #[serde(skip_serializing_if = "Option::is_none")]
        volume_options: Option<VolumeOptions>,
        #[serde(skip_serializing_if = "Option::is_none")]
        image_options: Option<ImageOptions>,
        #[serde(skip_serializing_if = "Option::is_none")]
        tmpfs_options: Option<TmpfsOptions>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cluster_options: Option<Map<Value>>,
    }

    /// Options of a bind mount.
    pub struct BindOptions {
        #[serde(skip_serializing_if = "is_default")]
        propagation: String,
        #[serde(skip_serializing_if = "is_default")]
        non_recursive: bool,
        #[serde(skip_serializing_if = "is_default")]
        create_mountpoint: bool,
        #[serde(skip_serializing_if = "is_default")]
        read_only_non_recursive: bool,
        #[serde(skip_serializing_if = "is_default")]
        read_only_force_recursive: bool,
    }

    /// Options of a volume mount.
    pub struct VolumeOptions {
        #[serde(skip_serializing_if = "is_default")]
        no_copy: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        labels: Option<Map<String>>,
        #[serde(skip_serializing_if = "is_default")]
        subpath: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        driver_config: Option<Driver>,
    }

    /// A driver by name, with options.
    pub struct Driver {
        #[serde(skip_serializing_if = "is_default")]
        name: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        options: Option<Map<String>>,
    }

    /// Options of an image mount.
    pub struct ImageOptions {
        #[serde(skip_serializing_if = "is_default")]
        subpath: String,
    }

    /// Options of a tmpfs: bytes, mode bits, and further flags.
    pub struct TmpfsOptions {
        #[serde(skip_serializing_if = "is_default")]
        size_bytes: i64,
        #[serde(skip_serializing_if = "is_default")]
        mode: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        options: Option<Vec<Vec<String>>>,
    }
}
