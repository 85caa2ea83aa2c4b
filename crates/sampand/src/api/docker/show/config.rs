//! `Config` and `HostConfig` as inspection shows them: what was asked for, with what image and engine added to it.

use engine::model::{ContainerRecord, ContainerSpec, NamespaceMode, NetworkMode, RestartPolicy};
use wire::docker::Empty;
use wire::docker::config::{Config, CreateRequest};
use wire::docker::host_config::HostConfig;

/// The size of `/dev/shm` where nothing was said.
const SHM_SIZE: i64 = 64 << 20;
/// What Docker hides in a container that asks for nothing else.
const MASKED: &[&str] = &[
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
/// What is read-only in such a container.
const READONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The request that a container was made with; made up from the spec for a container that came through another door.
pub fn request(record: &ContainerRecord) -> CreateRequest {
    serde_json::from_value(record.spec.door.clone()).unwrap_or_else(|_| from_spec(&record.spec))
}

fn from_spec(spec: &ContainerSpec) -> CreateRequest {
    let config = Config {
        tty: spec.tty,
        open_stdin: spec.open_stdin,
        stdin_once: spec.stdin_once,
        image: spec.image.clone(),
        ..Config::default()
    };
    CreateRequest { config, host_config: Some(HostConfig::default()), ..CreateRequest::default() }
}

/// `Config`: the request's, with the image's taken in.
pub fn config(record: &ContainerRecord, request: &CreateRequest) -> Config {
    let process = &record.process;
    let words = |list: &[String]| (!list.is_empty()).then(|| list.to_vec().into());
    let (entrypoint, command) = process.args.split_at(process.entrypoint_len.min(process.args.len()));
    let ports: std::collections::BTreeMap<_, _> = process.exposed_ports.iter().map(|p| (p.clone(), Empty {})).collect();
    Config {
        hostname: process.hostname.clone(),
        user: process.user.clone(),
        env: Some(process.env.clone()),
        cmd: words(command),
        entrypoint: words(entrypoint),
        working_dir: process.cwd.clone(),
        labels: Some(process.labels.clone()),
        exposed_ports: (!ports.is_empty()).then_some(ports),
        volumes: request.config.volumes.clone().filter(|volumes| !volumes.is_empty()),
        stop_signal: record.spec.stop_signal.clone().unwrap_or_default(),
        ..request.config.clone()
    }
}

/// `HostConfig`: the request's, with defaults filled in as dockerd does.
pub fn host_config(record: &ContainerRecord, request: &CreateRequest, default_runtime: &str) -> HostConfig {
    let spec = &record.spec;
    let mut host = request.host_config.clone().unwrap_or_default();
    let fill = |field: &mut String, default: &str| {
        if field.is_empty() {
            default.clone_into(field);
        }
    };
    fill(&mut host.log_config.kind, &spec.log.driver);
    host.log_config.config.get_or_insert_default();
    host.network_mode = network_mode(&spec.network);
    host.port_bindings.get_or_insert_default();
    (host.restart_policy.name, host.restart_policy.maximum_retry_count) = restart(spec.restart);
    fill(&mut host.runtime, default_runtime);
    fill(&mut host.ipc_mode, "private");
    if let NamespaceMode::Container(id) = &spec.ipc_mode {
        host.ipc_mode = format!("container:{id}");
    }
    if let NamespaceMode::Container(id) = &spec.pid_mode {
        host.pid_mode = format!("container:{id}");
    }
    fill(&mut host.cgroupns_mode, if spec.cgroupns_mode == Some(NamespaceMode::Private) { "private" } else { "host" });
    for list in [&mut host.dns, &mut host.dns_options, &mut host.dns_search] {
        list.get_or_insert_default();
    }
    if host.shm_size == 0 {
        host.shm_size = spec.shm_size.and_then(|n| i64::try_from(n).ok()).unwrap_or(SHM_SIZE);
    }
    limits(&mut host, spec);
    let paths = |given: Option<Vec<String>>, default: &[&str]| match given {
        Some(paths) => Some(paths),
        None if spec.privileged || spec.security.unconfined_paths => None,
        None => Some(default.iter().map(|path| (*path).to_owned()).collect()),
    };
    host.masked_paths = paths(host.masked_paths, MASKED);
    host.readonly_paths = paths(host.readonly_paths, READONLY);
    host
}

/// Limits as they are now, updates included.
fn limits(host: &mut HostConfig, spec: &ContainerSpec) {
    let (r, now) = (&mut host.resources, &spec.resources);
    let signed = |n: Option<u64>| n.and_then(|n| i64::try_from(n).ok()).unwrap_or(0);
    r.memory = now.memory.unwrap_or(0);
    r.memory_reservation = now.memory_reservation.unwrap_or(0);
    r.memory_swap = now.memory_swap.unwrap_or(if r.memory > 0 { r.memory * 2 } else { 0 });
    r.memory_swappiness = now.memory_swappiness.and_then(|n| i64::try_from(n).ok());
    r.cpu_shares = signed(now.cpu_shares);
    r.cpu_quota = now.cpu_quota.unwrap_or(0);
    r.cpu_period = signed(now.cpu_period);
    r.nano_cpus = now.nano_cpus.unwrap_or(0);
    r.cpuset_cpus = now.cpuset_cpus.clone().unwrap_or_default();
    r.cpuset_mems = now.cpuset_mems.clone().unwrap_or_default();
    r.pids_limit = now.pids_limit;
    r.blkio_weight = now.blkio_weight.unwrap_or(0);
    r.devices.get_or_insert_default();
    r.ulimits.get_or_insert_default();
    r.blkio_weight_device.get_or_insert_default();
    for list in [
        &mut r.blkio_device_read_bps,
        &mut r.blkio_device_write_bps,
        &mut r.blkio_device_read_iops,
        &mut r.blkio_device_write_iops,
    ] {
        list.get_or_insert_default();
    }
}

/// Docker's word for a network mode.
pub(super) fn network_mode(mode: &NetworkMode) -> String {
    match mode {
        NetworkMode::Default => "bridge".into(),
        NetworkMode::None => "none".into(),
        NetworkMode::Host => "host".into(),
        NetworkMode::Container(id) => format!("container:{id}"),
        NetworkMode::Network(name) => name.clone(),
    }
}

fn restart(policy: RestartPolicy) -> (String, i64) {
    let (name, count) = match policy {
        RestartPolicy::No => ("no", 0),
        RestartPolicy::Always => ("always", 0),
        RestartPolicy::UnlessStopped => ("unless-stopped", 0),
        RestartPolicy::OnFailure { max } => ("on-failure", i64::from(max)),
    };
    (name.into(), count)
}
