//! A container in inspection and in lists.

use super::config::{self, network_mode};
use super::status::status;
use crate::api::docker::spec::port_key;
use engine::model::{ContainerRecord, ContainerSize, EndpointState, MountKind, MountPoint, NetworkMode, Phase};
use oci::Timestamp;
use std::collections::BTreeMap;
use std::path::Path;
use wire::docker::config::{EndpointIpam, EndpointSettings};
use wire::docker::container::{
    GraphDriver, Inspect, MountPoint as Mount, NetworkSettings, Port, Stage, State, Summary, SummaryHostConfig,
    SummaryNetworks,
};
use wire::docker::host_config::{HostConfig, PortBinding};

/// `GET /containers/{id}/json`.
pub fn inspect(
    record: &ContainerRecord,
    execs: Vec<String>,
    size: Option<ContainerSize>,
    default_runtime: &str,
    directory: &Path,
) -> Inspect {
    // Written at the first start.
    let file = |name: &str| match record.started_at.is_zero() {
        true => String::new(),
        false => directory.join(name).display().to_string(),
    };
    let request = config::request(record);
    let host_config = config::host_config(record, &request, default_runtime);
    let (path, args) = record.process.args.split_first().map(|(p, a)| (p.clone(), a.to_vec())).unwrap_or_default();
    Inspect {
        id: record.id.clone(),
        created: record.created.to_string(),
        path,
        args,
        state: state(record),
        image: record.image.id.to_string(),
        resolv_conf_path: file("resolv.conf"),
        hostname_path: file("hostname"),
        hosts_path: file("hosts"),
        log_path: record.log_path.clone(),
        name: format!("/{}", record.name),
        restart_count: i64::from(record.restart_count),
        driver: record.snapshotter.clone(),
        platform: "linux".into(),
        app_armor_profile: record.spec.security.apparmor.clone().unwrap_or_default(),
        exec_ids: (!execs.is_empty()).then_some(execs),
        graph_driver: GraphDriver { data: None, name: record.snapshotter.clone() },
        size_rw: size.map(|size| signed(size.rw)),
        size_root_fs: size.map(|size| signed(size.total)),
        mounts: mounts(record, &host_config),
        config: config::config(record, &request),
        host_config,
        network_settings: network_settings(record),
        timeline: record.timeline.iter().map(|s| Stage { stage: s.stage.clone(), ms: s.ms }).collect(),
        ..Inspect::default()
    }
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn state(record: &ContainerRecord) -> State {
    State {
        status: record.phase.word().into(),
        // Docker's own rule: a container between two runs of its policy counts as running.
        running: record.phase.is_running() || record.phase == Phase::Restarting,
        paused: record.phase == Phase::Paused,
        restarting: record.phase == Phase::Restarting,
        oom_killed: record.oom_killed,
        dead: record.phase == Phase::Dead,
        pid: i64::from(record.pid),
        exit_code: i64::from(record.exit_code),
        error: record.error.clone(),
        started_at: record.started_at.to_string(),
        finished_at: record.finished_at.to_string(),
        health: None,
    }
}

fn mounts(record: &ContainerRecord, host: &HostConfig) -> Vec<Mount> {
    let short_tmpfs = |m: &MountPoint| {
        m.kind == MountKind::Tmpfs && host.tmpfs.as_ref().is_some_and(|tmpfs| tmpfs.contains_key(&m.target))
    };
    let show = |m: &MountPoint| Mount {
        kind: m.kind.word().into(),
        name: m.name.clone(),
        source: m.source.clone(),
        destination: m.target.clone(),
        driver: if m.kind == MountKind::Volume { "local".into() } else { String::new() },
        mode: if m.kind == MountKind::Volume { "z".into() } else { String::new() },
        rw: m.rw,
        propagation: match m.kind {
            MountKind::Bind => m
                .options
                .iter()
                .find(|o| o.ends_with("private") || o.ends_with("shared") || o.ends_with("slave"))
                .cloned()
                .unwrap_or_else(|| "rprivate".into()),
            _ => String::new(),
        },
    };
    record.mounts.iter().filter(|m| !short_tmpfs(m)).map(show).collect()
}

fn endpoint(record: &ContainerRecord, name: &str, state: &EndpointState) -> EndpointSettings {
    let text = |ip: Option<std::net::IpAddr>| ip.map(|ip| ip.to_string()).unwrap_or_default();
    let asked = record.spec.endpoints.get(name);
    EndpointSettings {
        ipam_config: asked.filter(|a| a.ipv4.is_some() || a.ipv6.is_some()).map(|a| EndpointIpam {
            ipv4_address: text(a.ipv4),
            ipv6_address: text(a.ipv6),
            link_local_ips: None,
        }),
        aliases: (!state.aliases.is_empty()).then(|| state.aliases.clone()),
        mac_address: state.mac.clone(),
        network_id: state.network_id.clone(),
        // An endpoint is one container in one network; the container's id names it.
        endpoint_id: if state.ip.is_some() { record.id.clone() } else { String::new() },
        gateway: text(state.gateway),
        ip_address: text(state.ip),
        ip_prefix_len: i64::from(state.prefix),
        ..EndpointSettings::default()
    }
}

/// A container's networks by name.
pub fn endpoints(record: &ContainerRecord) -> BTreeMap<String, EndpointSettings> {
    let mut map: BTreeMap<_, _> =
        record.endpoints.iter().map(|(name, state)| (name.clone(), endpoint(record, name, state))).collect();
    if map.is_empty() && !matches!(record.spec.network, NetworkMode::Container(_)) {
        map.insert(network_mode(&record.spec.network), EndpointSettings::default());
    }
    map
}

/// Where each port is published, by Docker's key; `None` for one that is only exposed.
pub fn published(record: &ContainerRecord) -> BTreeMap<String, Option<Vec<PortBinding>>> {
    let mut map: BTreeMap<String, Option<Vec<PortBinding>>> = BTreeMap::new();
    if record.phase.is_running() {
        map.extend(record.process.exposed_ports.iter().map(|port| (port.clone(), None)));
    }
    for port in &record.ports {
        let binding = PortBinding { host_ip: port.host_ip.to_string(), host_port: port.host_port.to_string() };
        map.entry(port_key(port.container_port, &port.protocol)).or_default().get_or_insert_default().push(binding);
    }
    map
}

fn network_settings(record: &ContainerRecord) -> NetworkSettings {
    let networks = endpoints(record);
    let bridge = networks.get("bridge").cloned().unwrap_or_default();
    NetworkSettings {
        sandbox_id: if record.pid > 0 { record.id.clone() } else { String::new() },
        sandbox_key: if record.pid > 0 { format!("/proc/{}/ns/net", record.pid) } else { String::new() },
        ports: published(record),
        endpoint_id: bridge.endpoint_id,
        gateway: bridge.gateway,
        ip_address: bridge.ip_address,
        ip_prefix_len: bridge.ip_prefix_len,
        mac_address: bridge.mac_address,
        networks,
        ..NetworkSettings::default()
    }
}

/// An entry of `GET /containers/json`.
pub fn summary(record: &ContainerRecord, size: Option<ContainerSize>, now: Timestamp) -> Summary {
    let request = config::request(record);
    let host = request.host_config.unwrap_or_default();
    let mut ports: Vec<Port> = record
        .ports
        .iter()
        .map(|port| Port {
            ip: port.host_ip.to_string(),
            private_port: port.container_port,
            public_port: port.host_port,
            kind: port.protocol.clone(),
        })
        .collect();
    for (key, bindings) in published(record) {
        if let (None, Some((port, protocol))) = (bindings, key.split_once('/')) {
            let private_port = port.parse().unwrap_or(0);
            ports.push(Port { private_port, kind: protocol.into(), ..Port::default() });
        }
    }
    Summary {
        id: record.id.clone(),
        names: vec![format!("/{}", record.name)],
        image: record.image.given.clone(),
        image_id: record.image.id.to_string(),
        command: command(&record.process.args),
        created: record.created.seconds(),
        ports,
        size_rw: size.map_or(0, |size| signed(size.rw)),
        size_root_fs: size.map_or(0, |size| signed(size.total)),
        labels: Some(record.process.labels.clone()),
        state: record.phase.word().into(),
        status: status(record, now),
        host_config: SummaryHostConfig {
            network_mode: network_mode(&record.spec.network),
            annotations: (!record.spec.annotations.is_empty()).then(|| record.spec.annotations.clone()),
        },
        network_settings: SummaryNetworks { networks: endpoints(record) },
        mounts: mounts(record, &host),
    }
}

/// The command line as `docker ps` shows it: arguments with a space are quoted.
fn command(args: &[String]) -> String {
    let (path, rest) = args.split_first().map(|(p, r)| (p.clone(), r)).unwrap_or_default();
    let quote = |word: &String| if word.contains(' ') { format!("'{word}'") } else { word.clone() };
    std::iter::once(path).chain(rest.iter().map(quote)).collect::<Vec<_>>().join(" ")
}
