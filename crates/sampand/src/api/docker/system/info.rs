//! `GET /version` and `GET /info`

use crate::api::docker::call::Call;
use crate::api::docker::reply::{self, Reply};
use crate::api::docker::version::{MAX, MIN};
use oci::{Result, Timestamp};
use serde_json::json;
use std::collections::BTreeMap;
use wire::docker::system::{Component, Info, PlatformName, Plugins, Runtime, Swarm, Version};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Go's word for the machine's architecture.
fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// What serves, in which versions.
pub async fn version(call: Call) -> Result<Reply> {
    let kernel = call.door.machine.kernel.clone();
    let details = [
        ("ApiVersion", MAX.to_string()),
        ("MinAPIVersion", MIN.to_string()),
        ("Arch", go_arch().into()),
        ("Os", "linux".into()),
        ("KernelVersion", kernel.clone()),
        ("Experimental", "false".into()),
    ];
    let details = details.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Ok(reply::json(&Version {
        platform: PlatformName { name: "Sampan Engine".into() },
        version: VERSION.into(),
        api_version: MAX.to_string(),
        min_api_version: MIN.to_string(),
        os: "linux".into(),
        arch: go_arch().into(),
        kernel_version: kernel,
        components: vec![Component { name: "Engine".into(), version: VERSION.into(), details: Some(details) }],
        ..Version::default()
    }))
}

/// Numbers and names about engine and machine.
pub async fn info(call: Call) -> Result<Reply> {
    let engine = call.engine().info().await?;
    let images = call.engine().images().list().await?.len();
    let machine = &call.door.machine;
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let mut security = Vec::new();
    if engine.apparmor {
        security.push("name=apparmor".to_owned());
    }
    if engine.seccomp {
        security.push("name=seccomp,profile=builtin".to_owned());
    }
    if engine.cgroup_v2 {
        security.push("name=cgroupns".to_owned());
    }
    let runtimes: BTreeMap<String, Runtime> = engine
        .runtimes
        .iter()
        .map(|(name, path)| (name.clone(), Runtime { path: path.display().to_string(), ..Runtime::default() }))
        .collect();
    let list = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    let flag = |path: &str| std::fs::read_to_string(path).is_ok_and(|text| text.trim() == "1");
    Ok(reply::json(&Info {
        id: engine.id,
        containers: count(engine.containers),
        containers_running: count(engine.running),
        containers_paused: count(engine.paused),
        containers_stopped: count(engine.stopped),
        images: count(images),
        driver: engine.snapshotter,
        driver_status: Some(Vec::new()),
        plugins: Plugins {
            volume: list(&["local"]),
            network: list(&["bridge", "host", "null"]),
            authorization: None,
            log: list(&["json-file", "none"]),
        },
        memory_limit: true,
        swap_limit: true,
        cpu_cfs_period: true,
        cpu_cfs_quota: true,
        cpu_shares: true,
        cpu_set: true,
        pids_limit: true,
        ipv4_forwarding: flag("/proc/sys/net/ipv4/ip_forward"),
        oom_kill_disable: !engine.cgroup_v2,
        n_fd: std::fs::read_dir("/proc/self/fd").map_or(0, |dir| count(dir.count())),
        system_time: Timestamp::now().to_string(),
        logging_driver: "json-file".into(),
        cgroup_driver: "cgroupfs".into(),
        cgroup_version: if engine.cgroup_v2 { "2" } else { "1" }.into(),
        kernel_version: machine.kernel.clone(),
        operating_system: machine.system.clone(),
        os_version: machine.system_version.clone(),
        os_type: "linux".into(),
        architecture: std::env::consts::ARCH.into(),
        index_server_address: "https://index.docker.io/v1/".into(),
        registry_config: Some(registries(&call)),
        n_cpu: machine.processors,
        mem_total: machine.memory,
        docker_root_dir: engine.root.display().to_string(),
        name: std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned(),
        server_version: VERSION.into(),
        runtimes,
        default_runtime: engine.default_runtime,
        swarm: Swarm { local_node_state: "inactive".into(), ..Swarm::default() },
        // Containers outlive the daemon always.
        live_restore_enabled: true,
        init_binary: "sampan-init".into(),
        security_options: security,
        ..Info::default()
    }))
}

fn registries(call: &Call) -> serde_json::Value {
    let hosts = &call.engine().engine().config().registry.hosts;
    let shown = |name: &str| {
        let host = hosts.get(name).cloned().unwrap_or_default();
        json!({
            "Name": name,
            "Mirrors": host.mirrors,
            "Secure": !(host.plain_http || host.skip_verify),
            "Official": name == "docker.io",
        })
    };
    let mut index: BTreeMap<&str, serde_json::Value> = hosts.keys().map(|name| (name.as_str(), shown(name))).collect();
    index.entry("docker.io").or_insert_with(|| shown("docker.io"));
    json!({
        "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8"],
        "IndexConfigs": index,
        "Mirrors": hosts.get("docker.io").map(|host| host.mirrors.clone()).unwrap_or_default(),
    })
}
