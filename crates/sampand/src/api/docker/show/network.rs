//! Networks and volumes.

use engine::model::{ContainerRecord, Network, NetworkMode, Volume};
use std::collections::BTreeMap;
use std::sync::Arc;
use wire::docker::network::{Ipam, IpamPool, Member, Network as Shown};
use wire::docker::volume::{Usage, Volume as ShownVolume};

/// A network with the containers in it.
pub fn network(network: &Network, containers: &[Arc<ContainerRecord>]) -> Shown {
    let pools = if network.subnet.is_empty() {
        Vec::new()
    } else {
        vec![IpamPool { subnet: network.subnet.clone(), gateway: network.gateway.clone(), ..IpamPool::default() }]
    };
    Shown {
        name: network.name.clone(),
        id: network.id.clone(),
        created: network.created.to_string(),
        scope: "local".into(),
        driver: network.driver.clone(),
        enable_ipv4: true,
        ipam: Ipam { driver: "default".into(), options: None, config: Some(pools) },
        internal: network.internal,
        containers: members(network, containers),
        options: network.options.clone(),
        labels: network.labels.clone(),
        ..Shown::default()
    }
}

fn members(network: &Network, containers: &[Arc<ContainerRecord>]) -> BTreeMap<String, Member> {
    let mut members = BTreeMap::new();
    for record in containers.iter().filter(|record| record.phase.is_running()) {
        let state = record.endpoints.get(&network.name).filter(|state| state.ip.is_some());
        // The networks without addresses have members, too.
        let plain = match record.spec.network {
            NetworkMode::Host => network.driver == "host",
            NetworkMode::None => network.driver == "null",
            _ => false,
        };
        if state.is_none() && !plain {
            continue;
        }
        let member = Member {
            name: record.name.clone(),
            endpoint_id: record.id.clone(),
            mac_address: state.map(|state| state.mac.clone()).unwrap_or_default(),
            ipv4_address: state.and_then(|state| Some(format!("{}/{}", state.ip?, state.prefix))).unwrap_or_default(),
            ipv6_address: String::new(),
        };
        members.insert(record.id.clone(), member);
    }
    members
}

/// A volume; `usage` is its users and its bytes.
pub fn volume(volume: &Volume, usage: Option<(usize, u64)>) -> ShownVolume {
    let map = |map: &BTreeMap<String, String>| (!map.is_empty()).then(|| map.clone());
    let mut labels = volume.labels.clone();
    if volume.anonymous {
        labels.entry("com.docker.volume.anonymous".into()).or_default();
    }
    ShownVolume {
        created_at: volume.created.to_string(),
        driver: volume.driver.clone(),
        labels: map(&labels),
        mountpoint: volume.mountpoint.clone(),
        name: volume.name.clone(),
        options: map(&volume.options),
        scope: "local".into(),
        status: None,
        usage_data: usage.map(|(users, size)| Usage {
            ref_count: i64::try_from(users).unwrap_or(i64::MAX),
            size: i64::try_from(size).unwrap_or(i64::MAX),
        }),
    }
}
