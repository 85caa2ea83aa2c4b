//! Connecting a container to a network.

use super::{Endpoint, Manager, Network, State, choose};
use crate::ipam::{Lease, Pool, Range};
use crate::mac::Mac;
use crate::names;
use crate::netlink::Socket;
use crate::plan::{AttachPlan, PortPlan, Request};
use crate::ports::{PortReservation, Protocol, reserve};
use oci::{Error, Kind, Result};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

/// More ports than this in one call are refused.
const MAX_PORTS: usize = 65_536;
/// Another name for the host's end of the veth pair is tried this often.
const VETH_ATTEMPTS: u32 = 8;

/// A container to connect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attach {
    /// The container's id.
    pub container_id: String,
    /// Network by name, id or unique beginning of an id.
    pub network: String,
    /// The container's network namespace, `/proc/<pid>/ns/net` or a file that pins it.
    pub netns: PathBuf,
    /// Name of the interface inside; empty for the first free of `eth0`, `eth1`, ...
    pub interface: String,
    /// The address; a free one is picked where absent.
    pub ip: Option<IpAddr>,
    /// The MAC address; derived from the IP address where absent.
    pub mac: Option<Mac>,
    /// Ports to publish.
    pub ports: Vec<PortMapping>,
    /// Names of the container in this network, for the record only.
    pub aliases: Vec<String>,
}

/// A port to publish, or published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortMapping {
    /// Address on the host; `None` for the network's default, which is every address.
    pub host_ip: Option<IpAddr>,
    /// Port on the host; 0 lets one be picked.
    pub host_port: u16,
    /// Port in the container.
    pub container_port: u16,
    /// Transport.
    pub protocol: Protocol,
}

/// What a container got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The network's id.
    pub network_id: String,
    /// Interface inside; empty on `none` and `host`.
    pub interface: String,
    /// The host's end of the veth pair.
    pub host_interface: String,
    /// Its address; `None` on `none` and `host`.
    pub ip: Option<Ipv4Addr>,
    /// Length of the subnet's prefix.
    pub prefix: u8,
    /// The gateway; on an internal network the bridge's address, with no route through it.
    pub gateway: Option<Ipv4Addr>,
    /// Its MAC address.
    pub mac: Option<Mac>,
    /// The published ports, all with address and number.
    pub ports: Vec<PortMapping>,
    /// What went wrong without harm to the connection.
    pub warnings: Vec<String>,
}

impl Manager {
    /// Connects a container's namespace to a network: interface, address, route, published ports.
    /// On `none` only the loopback device is set up, on `host` nothing. After an error nothing of it is left.
    ///
    /// # Errors
    /// `NotFound` for network or namespace; `AlreadyExists` if it is connected already;
    /// `Conflict` for an address or port in use; `ResourceExhausted` if all are;
    /// `InvalidArgument`; `Unsupported` for IPv6; the helper's.
    pub fn attach(&self, attach: &Attach) -> Result<Attached> {
        names::check_id(&attach.container_id)?;
        let mut state = self.lock();
        let network = state.find(&attach.network)?.clone();
        if network.driver != "bridge" {
            drop(state);
            return self.attach_without_bridge(attach, &network);
        }
        let network = self.with_subnet(&mut state, network)?;
        let (mut endpoint, reservations) = self.prepare(&mut state, attach, &network)?;
        let key = endpoint.key();
        state.reservations.insert(key.clone(), reservations);
        if let Err(error) = self.directory.put_endpoint(&endpoint) {
            state.reservations.remove(&key);
            return Err(with_cleanup(error, self.release(&endpoint)));
        }
        state.endpoints.insert(key.clone(), endpoint.clone());
        drop(state);
        for attempt in 1.. {
            let Some(plan) = network.plan() else { break };
            let result = self.call(&Request::Attach(Box::new(AttachPlan {
                host: self.host.clone(),
                network: plan,
                endpoint: endpoint.plan(),
                netns: attach.netns.clone(),
                interface: endpoint.interface.clone(),
                mac: endpoint.mac,
                default_route: endpoint.default_route,
            })));
            match result {
                Ok(done) => return Ok(attached(&endpoint, done.problems)),
                Err(error) if error.kind() == Kind::AlreadyExists && attempt < VETH_ATTEMPTS => {
                    // Somebody else's interface has the name; nothing of ours was made under it.
                    let mut state = self.lock();
                    endpoint.veth = state.free_veth(self.owner(), &endpoint, attempt);
                    state.endpoints.insert(key.clone(), endpoint.clone());
                    let written = self.directory.put_endpoint(&endpoint);
                    drop(state);
                    if let Err(error) = written {
                        return Err(with_cleanup(error, self.disconnect(&attach.container_id, &network.id)));
                    }
                }
                Err(error) => {
                    let cleanup = self.disconnect(&attach.container_id, &network.id);
                    return Err(with_cleanup(error, cleanup));
                }
            }
        }
        Err(Error::internal(format!("network {} has no subnet", network.name)))
    }

    /// Sets the loopback device of a namespace up.
    ///
    /// # Errors
    /// The helper's.
    pub fn loopback(&self, netns: PathBuf) -> Result<()> {
        self.call(&Request::Loopback { netns }).map(drop)
    }

    fn attach_without_bridge(&self, attach: &Attach, network: &Network) -> Result<Attached> {
        if !attach.ports.is_empty() || attach.ip.is_some() || attach.mac.is_some() {
            return Err(Error::invalid(format!(
                "network {} has no ports, addresses or MAC addresses of its own",
                network.name
            )));
        }
        if network.driver == "null" {
            self.loopback(attach.netns.clone())?;
        }
        Ok(Attached {
            network_id: network.id.clone(),
            interface: String::new(),
            host_interface: String::new(),
            ip: None,
            prefix: 0,
            gateway: None,
            mac: None,
            ports: Vec::new(),
            warnings: Vec::new(),
        })
    }

    /// The network with its subnet. The default one gets it with its first use, and another if the
    /// host has come to use it since, as long as nothing is connected.
    fn with_subnet(&self, state: &mut State, mut network: Network) -> Result<Network> {
        let fixed =
            network.subnet.is_some() && (!network.builtin || !network.picked || state.has_endpoints(&network.id));
        if fixed {
            return Ok(network);
        }
        if let Some(subnet) = network.subnet {
            let there = Socket::route()?.link(&network.bridge).map_err(|r| r.about("look up the bridge"))?.is_some();
            if there || !choose::known_to_host(&network.bridge)?.iter().any(|used| used.overlaps(&subnet)) {
                return Ok(network);
            }
        }
        let subnet = self.pick_subnet(state, &network.id, &network.bridge)?;
        Pool::new(self.directory.leases(&network.id)).destroy()?;
        (network.subnet, network.gateway) = (Some(subnet), Some(subnet.first_host()));
        self.directory.put_network(&network)?;
        state.networks.insert(network.id.clone(), network.clone());
        Ok(network)
    }

    /// Decides everything, takes address and ports; nothing is made yet.
    fn prepare(
        &self,
        state: &mut State,
        attach: &Attach,
        network: &Network,
    ) -> Result<(Endpoint, Vec<PortReservation>)> {
        let container = &attach.container_id;
        let (Some(subnet), Some(gateway)) = (network.subnet, network.gateway) else {
            return Err(Error::internal(format!("network {} has no subnet", network.name)));
        };
        if state.endpoints.contains_key(&(container.clone(), network.id.clone())) {
            return Err(Error::already_exists(format!(
                "container {} is already attached to network {}",
                names::short(container),
                network.name
            )));
        }
        if network.internal && !attach.ports.is_empty() {
            return Err(Error::invalid(format!(
                "network {} is internal: ports can't be published on it",
                network.name
            )));
        }
        let interface = state.interface(attach)?;
        let wanted = match attach.ip {
            None => None,
            Some(IpAddr::V4(ip)) => Some(ip),
            Some(IpAddr::V6(ip)) => {
                return Err(Error::unsupported(format!("address {ip}: IPv6 networks are not supported")));
            }
        };
        let lease = Lease { owner: container.clone(), interface: interface.clone() };
        let pool = Pool::new(self.directory.leases(&network.id));
        let ip = pool.allocate(&Range { subnet, part: network.ip_range, gateway }, wanted, &lease)?;
        let reservations = match self.reserve_ports(state, attach, network) {
            Ok(reservations) => reservations,
            Err(error) => return Err(with_cleanup(error, pool.release(ip, &lease))),
        };
        let ports = reservations
            .iter()
            .zip(&attach.ports)
            .map(|(held, asked)| PortPlan {
                host_ip: held.ip(),
                host_port: held.port(),
                container_port: asked.container_port,
                protocol: held.protocol(),
            })
            .collect();
        let mut endpoint = Endpoint {
            container: container.clone(),
            network: network.id.clone(),
            netns: attach.netns.clone(),
            interface,
            veth: String::new(),
            ip,
            prefix: subnet.prefix(),
            gateway,
            mac: attach.mac.unwrap_or_else(|| Mac::of(ip)),
            default_route: !network.internal && !state.endpoints_of(container).any(|e| e.default_route),
            ports,
            aliases: attach.aliases.clone(),
        };
        endpoint.veth = state.free_veth(self.owner(), &endpoint, 0);
        Ok((endpoint, reservations))
    }

    fn reserve_ports(&self, state: &mut State, attach: &Attach, network: &Network) -> Result<Vec<PortReservation>> {
        if attach.ports.len() > MAX_PORTS {
            return Err(Error::invalid(format!("more than {MAX_PORTS} published ports")));
        }
        let range = self.port_range();
        let mut taken: Vec<PortReservation> = Vec::new();
        for port in &attach.ports {
            let ip = match port.host_ip {
                None => network.host_ip,
                Some(IpAddr::V4(ip)) => ip,
                Some(IpAddr::V6(ip)) => {
                    return Err(Error::unsupported(format!(
                        "publishing ports on IPv6 address [{ip}] is not supported: name an IPv4 address or none"
                    )));
                }
            };
            if port.container_port == 0 {
                return Err(Error::invalid("invalid container port 0"));
            }
            let State { reservations, next_port, .. } = &mut *state;
            let held = reservations.values().flatten().chain(&taken);
            taken.push(reserve(ip, port.host_port, port.protocol, held, range, next_port)?);
        }
        Ok(taken)
    }

    /// Gives an endpoint's address back.
    pub(super) fn release(&self, endpoint: &Endpoint) -> Result<()> {
        let lease = Lease { owner: endpoint.container.clone(), interface: endpoint.interface.clone() };
        Pool::new(self.directory.leases(&endpoint.network)).release(endpoint.ip, &lease)
    }
}

impl State {
    /// The name of the interface inside.
    fn interface(&self, attach: &Attach) -> Result<String> {
        let used = |name: &str| self.endpoints_of(&attach.container_id).any(|e| e.interface == name);
        if attach.interface.is_empty() {
            let free = (0..100).map(|n| format!("eth{n}")).find(|name| !used(name));
            return free.ok_or_else(|| Error::exhausted("a container can be in at most 100 networks"));
        }
        names::check_interface(&attach.interface)?;
        if used(&attach.interface) {
            return Err(Error::conflict(format!("the container already has an interface {}", attach.interface)));
        }
        Ok(attach.interface.clone())
    }

    /// A name for the host's end of the pair that no endpoint has, from attempt `first` on.
    fn free_veth(&self, owner: &str, endpoint: &Endpoint, first: u32) -> String {
        let key = endpoint.key();
        let mut attempt = first;
        loop {
            let name = names::veth(owner, &endpoint.container, &endpoint.interface, attempt);
            if !self.endpoints.iter().any(|(k, e)| *k != key && e.veth == name) {
                return name;
            }
            attempt += 1;
        }
    }
}

fn attached(endpoint: &Endpoint, warnings: Vec<String>) -> Attached {
    let mapping = |port: &PortPlan| PortMapping {
        host_ip: Some(port.host_ip.into()),
        host_port: port.host_port,
        container_port: port.container_port,
        protocol: port.protocol,
    };
    Attached {
        network_id: endpoint.network.clone(),
        interface: endpoint.interface.clone(),
        host_interface: endpoint.veth.clone(),
        ip: Some(endpoint.ip),
        prefix: endpoint.prefix,
        gateway: Some(endpoint.gateway),
        mac: Some(endpoint.mac),
        ports: endpoint.ports.iter().map(mapping).collect(),
        warnings,
    }
}

/// The first error, and what went wrong in cleaning up after it.
pub(super) fn with_cleanup(error: Error, cleanup: Result<()>) -> Error {
    match cleanup {
        Ok(()) => error,
        Err(also) => Error::new(error.kind(), format!("{error}; and cleaning up failed: {also}")),
    }
}
