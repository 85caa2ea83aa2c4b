//! Traffic of containers, read at the host's end of their veth pairs.

use super::Manager;
use crate::netlink::Socket;
use oci::Result;

/// Traffic of one interface, as seen from inside the container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Interface inside.
    pub interface: String,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Receive errors.
    pub rx_errors: u64,
    /// Packets dropped on receiving.
    pub rx_dropped: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Send errors.
    pub tx_errors: u64,
    /// Packets dropped on sending.
    pub tx_dropped: u64,
}

impl Manager {
    /// The traffic of a container's interfaces so far; empty if it has none.
    ///
    /// # Errors
    /// The kernel's.
    pub fn stats(&self, container: &str) -> Result<Vec<Counters>> {
        let endpoints = self.endpoints_of(container);
        if endpoints.is_empty() {
            return Ok(Vec::new());
        }
        let mut socket = Socket::route()?;
        let mut out = Vec::new();
        for endpoint in endpoints {
            let link = socket.link(&endpoint.veth).map_err(|r| r.about(&format!("interface {}", endpoint.veth)))?;
            // What one end sends, the other receives.
            let Some(host) = link.map(|link| link.counters) else { continue };
            out.push(Counters {
                interface: endpoint.interface,
                rx_bytes: host.tx_bytes,
                rx_packets: host.tx_packets,
                rx_errors: host.tx_errors,
                rx_dropped: host.tx_dropped,
                tx_bytes: host.rx_bytes,
                tx_packets: host.rx_packets,
                tx_errors: host.rx_errors,
                tx_dropped: host.rx_dropped,
            });
        }
        out.sort_by(|a, b| a.interface.cmp(&b.interface));
        Ok(out)
    }
}
