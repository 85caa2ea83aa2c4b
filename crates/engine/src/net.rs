//! Connections of containers: the network crate's manager on blocking threads, and the files for names.

use crate::config::Config;
use crate::engine::Core;
use crate::model::{ContainerRecord, EndpointState, NetworkMode, PortSpec};
use network::files::{ExtraHost, HostsFile, Resolv};
use network::{Attach, Attached, Manager, Options, PortMapping};
use oci::{Context, Error, Kind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

/// How many ports of a range are tried.
const RANGE_LIMIT: usize = 1024;

/// The manager, called from async code.
#[derive(Clone)]
pub(crate) struct Net {
    manager: Arc<Manager>,
}

impl Net {
    /// Opens the network's state. Blocks.
    pub(crate) fn open(config: &Config) -> Result<Self> {
        let mut options = Options::new(&config.net_helper);
        options.bridge_name = config.bridge.name.clone();
        options.bridge_subnet = config.bridge.subnet.as_deref().map(str::parse).transpose()?;
        if let Some(mtu) = config.bridge.mtu {
            options.mtu = mtu;
        }
        options.restore_forwarding = config.bridge.restore_forwarding;
        let manager = Manager::open(&config.state.join("network"), options)?;
        Ok(Self { manager: Arc::new(manager) })
    }

    /// The owner's id.
    pub(crate) fn owner(&self) -> &str {
        self.manager.owner()
    }

    /// The manager, for calls that the caller makes from a blocking thread.
    pub(crate) fn manager(&self) -> &Arc<Manager> {
        &self.manager
    }

    /// Runs something with the manager on a blocking thread.
    pub(crate) async fn with<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Manager) -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let manager = self.manager.clone();
        crate::blocking(move || work(&manager)).await
    }

    /// Disconnects a container from everything; also one that isn't connected.
    pub(crate) async fn detach(&self, container: &str) -> Result<()> {
        if self.manager.endpoints_of(container).is_empty() {
            return Ok(());
        }
        let container = container.to_owned();
        self.with(move |manager| manager.detach(&container)).await
    }
}

/// The network that a container is in; `None` where its mode has none.
pub(crate) fn network_of(record: &ContainerRecord) -> Option<&str> {
    match &record.spec.network {
        NetworkMode::Default => Some("bridge"),
        NetworkMode::Network(name) => Some(name),
        NetworkMode::None => Some("none"),
        NetworkMode::Host => Some("host"),
        NetworkMode::Container(_) => None,
    }
}

impl Core {
    /// The endpoints that a container will have, before it runs.
    pub(crate) async fn planned_endpoints(&self, record: &ContainerRecord) -> Result<Vec<(String, EndpointState)>> {
        let Some(name) = network_of(record).map(str::to_owned) else { return Ok(Vec::new()) };
        let network = self
            .net
            .with(move |manager| manager.inspect(&name))
            .await
            .map_err(|e| if e.kind() == Kind::NotFound { Error::not_found(e.to_string()) } else { e })?;
        let aliases = record.spec.endpoints.values().next().map(|e| e.aliases.clone()).unwrap_or_default();
        let state = EndpointState { network_id: network.id, aliases, ..Default::default() };
        Ok(vec![(network.name, state)])
    }

    /// Writes `hosts`, `resolv.conf` and `hostname` of a container with these addresses. They are written in place:
    /// a running container has the files themselves mounted. Blocks.
    pub(crate) fn write_name_files(
        &self,
        record: &ContainerRecord,
        addresses: &BTreeMap<String, EndpointState>,
    ) -> Result<()> {
        if !crate::spec::wants_files(&record.spec.network) {
            return Ok(());
        }
        let dir = self.container_dir(record);
        let spec = &record.spec;
        let gateway = addresses.values().find_map(|e| e.gateway).or_else(|| self.bridge_gateway());
        let extra = spec
            .extra_hosts
            .iter()
            .map(|(name, address)| ExtraHost::parse(&format!("{name}:{address}")))
            .collect::<Result<Vec<_>>>()?;
        let v4 = |ip: IpAddr| if let IpAddr::V4(ip) = ip { Some(ip) } else { None };
        let text = match (&spec.network, fs::read_to_string("/etc/hosts")) {
            // The host's names and the container's own additions, as Docker does with the host's network.
            (NetworkMode::Host, Ok(mut host)) => {
                if !host.ends_with('\n') {
                    host.push('\n');
                }
                for line in &extra {
                    let ip = line.ip.or(gateway).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
                    host.push_str(&format!("{ip}\t{}\n", line.name));
                }
                host
            }
            _ => network::files::hosts(&HostsFile {
                hostname: record.process.hostname.clone(),
                domainname: spec.domainname.clone(),
                addresses: addresses.values().filter_map(|e| e.ip).collect(),
                extra,
                gateway: gateway.and_then(v4),
                links: Vec::new(),
                ipv6: true,
            })?,
        };
        write_in_place(&dir.join("hosts"), &text)?;
        write_in_place(&dir.join("hostname"), &network::files::hostname(&record.process.hostname)?)?;
        write_in_place(&dir.join("resolv.conf"), &resolv_conf(record)?)
    }

    /// What `host-gateway` stands for where the container's network has none.
    fn bridge_gateway(&self) -> Option<IpAddr> {
        self.net.manager().inspect("bridge").ok()?.gateway.map(IpAddr::V4)
    }
}

fn resolv_conf(record: &ContainerRecord) -> Result<String> {
    let spec = &record.spec;
    let mut host = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    if network::files::wants_systemd_uplink(&host)
        && let Ok(uplink) = fs::read_to_string(network::files::systemd_uplink_path())
    {
        host = uplink;
    }
    let servers = spec
        .dns
        .iter()
        .map(|text| text.parse().map_err(|_| Error::invalid(format!("invalid DNS server address: {text:?}"))))
        .collect::<Result<Vec<IpAddr>>>()?;
    let asked = Resolv { servers, search: spec.dns_search.clone(), options: spec.dns_options.clone() };
    Ok(network::files::resolv(&host, &asked, spec.network == NetworkMode::Host)?.text)
}

fn write_in_place(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let write = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o644).open(path)?;
        file.write_all(text.as_bytes())
    };
    write().context(|| format!("write {}", path.display()))
}

/// One way to publish what was asked for: a port of each range.
fn mappings(record: &ContainerRecord, shift: usize) -> Result<Option<Vec<PortMapping>>> {
    let spec = &record.spec;
    let mut list = Vec::new();
    for port in &spec.ports {
        let host_port = match port.host_port_end {
            Some(end) if end > port.host_port => {
                let Some(candidate) = usize::from(port.host_port).checked_add(shift).filter(|p| *p <= usize::from(end))
                else {
                    return Ok(None);
                };
                candidate as u16
            }
            _ => port.host_port,
        };
        list.push(mapping(port, host_port)?);
    }
    if spec.publish_all {
        let published: BTreeSet<(u16, String)> =
            spec.ports.iter().map(|p| (p.container_port, p.protocol.clone())).collect();
        for exposed in &record.process.exposed_ports {
            for (port, protocol) in exposed_ports(exposed)? {
                if !published.contains(&(port, protocol.clone())) {
                    let port =
                        PortSpec { container_port: port, protocol, host_ip: None, host_port: 0, host_port_end: None };
                    list.push(mapping(&port, 0)?);
                }
            }
        }
    }
    Ok(Some(list))
}

fn mapping(port: &PortSpec, host_port: u16) -> Result<PortMapping> {
    Ok(PortMapping {
        host_ip: port.host_ip,
        host_port,
        container_port: port.container_port,
        protocol: port.protocol.parse()?,
    })
}

/// `80/tcp`, `80`, `8000-8010/udp`.
fn exposed_ports(text: &str) -> Result<Vec<(u16, String)>> {
    let bad = || Error::invalid(format!("invalid exposed port {text:?}"));
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last): (u16, u16) = (first.parse().map_err(|_| bad())?, last.parse().map_err(|_| bad())?);
    if first > last {
        return Err(bad());
    }
    Ok((first..=last).map(|port| (port, protocol.to_owned())).collect())
}

/// Connects the namespace of process `pid` to a container's network. Blocks.
pub(crate) fn attach(manager: &Manager, record: &ContainerRecord, network: &str, pid: u32) -> Result<Attached> {
    let endpoint = record.spec.endpoints.values().next().cloned().unwrap_or_default();
    let mac = endpoint.mac_address.or_else(|| record.spec.mac_address.clone()).filter(|m| !m.is_empty());
    let mut request = Attach {
        container_id: record.id.clone(),
        network: network.to_owned(),
        netns: format!("/proc/{pid}/ns/net").into(),
        interface: String::new(),
        ip: endpoint.ipv4,
        mac: mac.as_deref().map(str::parse).transpose()?,
        ports: Vec::new(),
        aliases: endpoint.aliases,
    };
    let ranged = record.spec.ports.iter().any(|p| p.host_port_end.is_some_and(|end| end > p.host_port));
    let mut last = None;
    for shift in 0..RANGE_LIMIT {
        let Some(ports) = mappings(record, shift)? else { break };
        request.ports = ports;
        match manager.attach(&request) {
            Err(error) if ranged && error.to_string().contains("already allocated") => last = Some(error),
            other => return other,
        }
    }
    Err(last.unwrap_or_else(|| Error::conflict("no port of the range is free")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ContainerSpec;

    #[test]
    fn exposed_ports_are_read() {
        assert_eq!(exposed_ports("80/tcp").unwrap(), [(80, "tcp".to_owned())]);
        assert_eq!(exposed_ports("1-2/udp").unwrap().len(), 2);
        assert!(exposed_ports("2-1").is_err());
        assert!(exposed_ports("x").is_err());
    }

    #[test]
    fn a_range_is_tried_port_by_port() {
        let port = PortSpec {
            container_port: 80,
            protocol: "tcp".into(),
            host_ip: None,
            host_port: 8000,
            host_port_end: Some(8001),
        };
        let record = crate::spec::test_record(ContainerSpec { ports: vec![port], ..Default::default() });
        let port = |shift| mappings(&record, shift).unwrap().map(|list| list[0].host_port);
        assert_eq!([port(0), port(1), port(2)], [Some(8000), Some(8001), None]);
    }
}
