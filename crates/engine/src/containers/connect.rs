//! A created process's namespace is connected to its network.

use super::supervisor::Supervisor;
use crate::model::PublishedPort;
use crate::net::{attach, network_of};
use oci::Result;
use std::net::{IpAddr, Ipv4Addr};

impl Supervisor {
    /// Connects the created process's namespace. Says whether there was anything to do.
    pub(super) async fn connect_network(&mut self, pid: u32) -> Result<bool> {
        let Some(network) = network_of(&self.record).map(str::to_owned) else { return Ok(false) };
        if network == "host" {
            return Ok(false);
        }
        let record = self.record.clone();
        let attached =
            self.core.net.with(move |manager| attach(manager, &record, &network, pid)).await.map_err(|e| {
                e.prefixed(format!("failed to set up container networking of {}", self.record.short_id()))
            })?;
        for warning in &attached.warnings {
            tracing::warn!(container = %self.record.id, %warning, "network");
        }
        for (name, endpoint) in &mut self.record.endpoints {
            endpoint.network_id = attached.network_id.clone();
            endpoint.interface = attached.interface.clone();
            endpoint.ip = attached.ip.map(IpAddr::V4);
            endpoint.prefix = attached.prefix;
            endpoint.gateway = attached.gateway.map(IpAddr::V4);
            endpoint.mac = attached.mac.map(|m| m.to_string()).unwrap_or_default();
            self.core.network_event(name, &endpoint.network_id, "connect", &self.record.id);
        }
        self.record.ports = attached
            .ports
            .iter()
            .map(|port| PublishedPort {
                container_port: port.container_port,
                protocol: port.protocol.to_string(),
                host_ip: port.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
                host_port: port.host_port,
            })
            .collect();
        let (core, record) = (self.core.clone(), self.record.clone());
        crate::blocking(move || core.write_name_files(&record, &record.endpoints)).await?;
        Ok(true)
    }
}
