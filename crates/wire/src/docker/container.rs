//! Containers as the API shows them.

use super::config::{Config, EndpointSettings};
use super::host_config::{HostConfig, PortBinding, Resources, RestartPolicy};
use super::{Map, is_default};
use serde::{Deserialize, Serialize};

model! {
    /// The answer to `POST /containers/create`.
    pub struct CreateResponse {
        id: String,
        warnings: Vec<String>,
    }

    /// An entry of `GET /containers/json`.
    pub struct Summary {
        id: String,
        names: Vec<String>,
        image: String,
        #[serde(rename = "ImageID")]
        image_id: String,
        command: String,
        /// Seconds since the epoch.
        created: i64,
        ports: Vec<Port>,
        #[serde(skip_serializing_if = "is_default")]
        size_rw: i64,
        #[serde(skip_serializing_if = "is_default")]
        size_root_fs: i64,
        labels: Option<Map<String>>,
        state: String,
        status: String,
        host_config: SummaryHostConfig,
        network_settings: SummaryNetworks,
        mounts: Vec<MountPoint>,
    }

    /// The part of the host configuration that lists show.
    pub struct SummaryHostConfig {
        network_mode: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        annotations: Option<Map<String>>,
    }

    /// The part of the network settings that lists show.
    pub struct SummaryNetworks {
        networks: Map<EndpointSettings>,
    }

    /// A port of a container and where the host publishes it.
    pub struct Port {
        #[serde(rename = "IP", skip_serializing_if = "is_default")]
        ip: String,
        private_port: u16,
        #[serde(skip_serializing_if = "is_default")]
        public_port: u16,
        /// `tcp`, `udp` or `sctp`.
        #[serde(rename = "Type")]
        kind: String,
    }

    /// A mount of a container, as made.
    pub struct MountPoint {
        #[serde(rename = "Type", skip_serializing_if = "is_default")]
        kind: String,
        #[serde(skip_serializing_if = "is_default")]
        name: String,
        source: String,
        destination: String,
        #[serde(skip_serializing_if = "is_default")]
        driver: String,
        mode: String,
        #[serde(rename = "RW")]
        rw: bool,
        propagation: String,
    }

    /// `GET /containers/{id}/json`.
    pub struct Inspect {
        id: String,
        created: String,
        path: String,
        args: Vec<String>,
        state: State,
        image: String,
        resolv_conf_path: String,
        hostname_path: String,
        hosts_path: String,
        log_path: String,
        name: String,
        restart_count: i64,
        driver: String,
        platform: String,
        mount_label: String,
        process_label: String,
        app_armor_profile: String,
        #[serde(rename = "ExecIDs")]
        exec_ids: Option<Vec<String>>,
        host_config: HostConfig,
        graph_driver: GraphDriver,
        #[serde(skip_serializing_if = "Option::is_none")]
        size_rw: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        size_root_fs: Option<i64>,
        mounts: Vec<MountPoint>,
        config: Config,
        network_settings: NetworkSettings,
        /// Our own addition: how long each stage of the last start took.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        timeline: Vec<Stage>,
    }

    /// A stage of a start and its length in milliseconds.
    pub struct Stage {
        stage: String,
        ms: f64,
    }

    /// A container's state.
    pub struct State {
        /// `created`, `running`, `paused`, `restarting`, `removing`, `exited`, `dead`.
        status: String,
        running: bool,
        paused: bool,
        restarting: bool,
        #[serde(rename = "OOMKilled")]
        oom_killed: bool,
        dead: bool,
        pid: i64,
        exit_code: i64,
        error: String,
        started_at: String,
        finished_at: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        health: Option<Health>,
    }

    /// A container's health.
    pub struct Health {
        status: String,
        failing_streak: i64,
    }

    /// A snapshotter and its directories.
    pub struct GraphDriver {
        data: Option<Map<String>>,
        name: String,
    }

    /// A container's networks. The fields that Docker deprecated are those of the default bridge.
    pub struct NetworkSettings {
        bridge: String,
        #[serde(rename = "SandboxID")]
        sandbox_id: String,
        sandbox_key: String,
        ports: Map<Option<Vec<PortBinding>>>,
        hairpin_mode: bool,
        #[serde(rename = "LinkLocalIPv6Address")]
        link_local_ipv6_address: String,
        #[serde(rename = "LinkLocalIPv6PrefixLen")]
        link_local_ipv6_prefix_len: i64,
        #[serde(rename = "SecondaryIPAddresses")]
        secondary_ip_addresses: Option<Vec<Map<serde_json::Value>>>,
        #[serde(rename = "SecondaryIPv6Addresses")]
        secondary_ipv6_addresses: Option<Vec<Map<serde_json::Value>>>,
        #[serde(rename = "EndpointID")]
        endpoint_id: String,
        gateway: String,
        #[serde(rename = "GlobalIPv6Address")]
        global_ipv6_address: String,
        #[serde(rename = "GlobalIPv6PrefixLen")]
        global_ipv6_prefix_len: i64,
        #[serde(rename = "IPAddress")]
        ip_address: String,
        #[serde(rename = "IPPrefixLen")]
        ip_prefix_len: i64,
        #[serde(rename = "IPv6Gateway")]
        ipv6_gateway: String,
        mac_address: String,
        networks: Map<EndpointSettings>,
    }

    /// The answer to `POST /containers/{id}/wait`.
    pub struct WaitResponse {
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<WaitError>,
        status_code: i64,
    }

    /// Why waiting failed.
    pub struct WaitError {
        message: String,
    }

    /// `GET /containers/{id}/top`.
    pub struct Top {
        processes: Vec<Vec<String>>,
        titles: Vec<String>,
    }

    /// An entry of `GET /containers/{id}/changes`: 0 modified, 1 added, 2 deleted.
    pub struct Change {
        path: String,
        kind: u8,
    }

    /// The body of `POST /containers/{id}/update`; zero values change nothing.
    pub struct UpdateRequest {
        restart_policy: RestartPolicy,
        @flatten resources: Resources,
        @flatten
        /// Keys this model does not know.
        other: Map<serde_json::Value>,
    }

    /// Warnings, the answer to an update.
    pub struct UpdateResponse {
        warnings: Option<Vec<String>>,
    }

    /// The answer to `POST /containers/prune`.
    pub struct PruneReport {
        containers_deleted: Option<Vec<String>>,
        space_reclaimed: u64,
    }
}

/// The header `X-Docker-Container-Path-Stat` (base64 of this JSON).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PathStat {
    pub name: String,
    pub size: i64,
    /// Go's `os.FileMode`, not the kernel's mode.
    pub mode: u32,
    pub mtime: String,
    #[serde(rename = "linkTarget")]
    pub link_target: String,
}

/// Go's `os.FileMode` of a kernel's `st_mode`.
pub fn go_file_mode(st_mode: u32) -> u32 {
    let kind = match st_mode & 0o170_000 {
        0o040_000 => 1 << 31,
        0o120_000 => 1 << 27,
        0o060_000 => 1 << 26,
        0o010_000 => 1 << 25,
        0o140_000 => 1 << 24,
        0o020_000 => (1 << 26) | (1 << 21),
        _ => 0,
    };
    let bit = |unix: u32, go: u32| if st_mode & unix != 0 { 1 << go } else { 0 };
    kind | bit(0o4000, 23) | bit(0o2000, 22) | bit(0o1000, 20) | (st_mode & 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_as_go_writes_them() {
        assert_eq!(go_file_mode(0o100_644), 0o644);
        assert_eq!(go_file_mode(0o040_755), (1 << 31) | 0o755);
        assert_eq!(go_file_mode(0o120_777), (1 << 27) | 0o777);
        assert_eq!(go_file_mode(0o041_777), (1 << 31) | (1 << 20) | 0o777);
        assert_eq!(go_file_mode(0o104_755), (1 << 23) | 0o755);
    }
}
