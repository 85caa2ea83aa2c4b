//! The engine itself: version, information, disk use.

use super::{Map, container, image, is_default, volume};
use serde_json::Value;

model! {
    /// `GET /version`.
    pub struct Version {
        platform: PlatformName,
        version: String,
        api_version: String,
        #[serde(rename = "MinAPIVersion")]
        min_api_version: String,
        os: String,
        arch: String,
        git_commit: String,
        go_version: String,
        kernel_version: String,
        #[serde(skip_serializing_if = "is_default")]
        experimental: bool,
        build_time: String,
        components: Vec<Component>,
    }

    /// The product's name.
    pub struct PlatformName {
        name: String,
    }

    /// A part of the engine with its version.
    pub struct Component {
        name: String,
        version: String,
        details: Option<Map<String>>,
    }

    /// `GET /info`.
    pub struct Info {
        #[serde(rename = "ID")]
        id: String,
        containers: i64,
        containers_running: i64,
        containers_paused: i64,
        containers_stopped: i64,
        images: i64,
        driver: String,
        driver_status: Option<Vec<[String; 2]>>,
        plugins: Plugins,
        memory_limit: bool,
        swap_limit: bool,
        cpu_cfs_period: bool,
        cpu_cfs_quota: bool,
        #[serde(rename = "CPUShares")]
        cpu_shares: bool,
        #[serde(rename = "CPUSet")]
        cpu_set: bool,
        pids_limit: bool,
        #[serde(rename = "IPv4Forwarding")]
        ipv4_forwarding: bool,
        debug: bool,
        n_fd: i64,
        oom_kill_disable: bool,
        n_goroutines: i64,
        system_time: String,
        logging_driver: String,
        cgroup_driver: String,
        cgroup_version: String,
        n_events_listener: i64,
        kernel_version: String,
        operating_system: String,
        #[serde(rename = "OSVersion")]
        os_version: String,
        #[serde(rename = "OSType")]
        os_type: String,
        architecture: String,
        index_server_address: String,
        registry_config: Option<Value>,
        #[serde(rename = "NCPU")]
        n_cpu: i64,
        mem_total: i64,
        generic_resources: Option<Value>,
        docker_root_dir: String,
        http_proxy: String,
        https_proxy: String,
        no_proxy: String,
        name: String,
        labels: Vec<String>,
        experimental_build: bool,
        server_version: String,
        runtimes: Map<Runtime>,
        default_runtime: String,
        swarm: Swarm,
        live_restore_enabled: bool,
        isolation: String,
        init_binary: String,
        containerd_commit: Commit,
        runc_commit: Commit,
        init_commit: Commit,
        security_options: Vec<String>,
        #[serde(rename = "CDISpecDirs", skip_serializing_if = "Option::is_none")]
        cdi_spec_dirs: Option<Vec<String>>,
        warnings: Option<Vec<String>>,
    }

    /// Plugins by kind.
    pub struct Plugins {
        volume: Option<Vec<String>>,
        network: Option<Vec<String>>,
        authorization: Option<Vec<String>>,
        log: Option<Vec<String>>,
    }

    /// The state of swarm mode.
    pub struct Swarm {
        #[serde(rename = "NodeID")]
        node_id: String,
        node_addr: String,
        local_node_state: String,
        control_available: bool,
        error: String,
        remote_managers: Option<Value>,
    }

    /// A part's revision.
    pub struct Commit {
        #[serde(rename = "ID")]
        id: String,
        #[serde(skip_serializing_if = "is_default")]
        expected: String,
    }

    /// `GET /system/df`.
    pub struct DiskUsage {
        layers_size: i64,
        images: Option<Vec<image::Summary>>,
        containers: Option<Vec<container::Summary>>,
        volumes: Option<Vec<volume::Volume>>,
        build_cache: Option<Vec<Value>>,
        /// Up to API 1.41.
        #[serde(skip_serializing_if = "Option::is_none")]
        builder_size: Option<i64>,
    }
}

model! {
    keys "camelCase";

    /// An OCI runtime.
    pub struct Runtime {
        #[serde(skip_serializing_if = "is_default")]
        path: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        runtime_args: Option<Vec<String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<Map<String>>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_acronyms() {
        let value = serde_json::to_value(Info::default()).unwrap();
        for key in ["ID", "NCPU", "NFd", "NGoroutines", "MemTotal", "CpuCfsPeriod", "CPUShares", "OSType", "HttpProxy"]
        {
            assert!(value.get(key).is_some(), "{key}");
        }
    }
}
