//! Making, finding and removing networks.

use super::{ANY, Manager, Network, State, choose};
use crate::ipam::Pool;
use crate::names;
use crate::plan::{Request, SweepPlan};
use crate::subnet::Subnet;
use oci::{Error, Kind, Result, Timestamp};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// A network to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Its name, unique among networks.
    pub name: String,
    /// 64 hex digits; made up where absent.
    pub id: Option<String>,
    /// `bridge`, which is also the default.
    pub driver: Option<String>,
    /// The subnet; a free one is picked where absent.
    pub subnet: Option<Subnet>,
    /// The bridge's address; the subnet's first where absent.
    pub gateway: Option<Ipv4Addr>,
    /// The part of the subnet that addresses are picked from.
    pub ip_range: Option<Subnet>,
    /// Name of the bridge; derived where absent.
    pub bridge_name: Option<String>,
    /// Docker's options of the bridge driver: `com.docker.network.bridge.{name, enable_icc,
    /// enable_ip_masquerade, host_binding_ipv4}` and `com.docker.network.driver.mtu`.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// No way to the outside: no default route, no masquerading, no published ports.
    pub internal: bool,
}

/// The options of the bridge driver, read.
struct BridgeOptions {
    name: Option<String>,
    mtu: Option<u32>,
    icc: bool,
    masquerade: bool,
    host_ip: Ipv4Addr,
}

impl BridgeOptions {
    fn read(options: &BTreeMap<String, String>) -> Result<Self> {
        let mut out = Self { name: None, mtu: None, icc: true, masquerade: true, host_ip: ANY };
        for (key, value) in options {
            let bad = |expected: &str| Error::invalid(format!("invalid value {value:?} of {key}: expected {expected}"));
            let flag = || match value.to_ascii_lowercase().as_str() {
                "true" | "1" => Ok(true),
                "false" | "0" => Ok(false),
                _ => Err(bad("true or false")),
            };
            match key.as_str() {
                "com.docker.network.bridge.name" => out.name = Some(value.clone()),
                "com.docker.network.driver.mtu" => out.mtu = Some(value.parse().map_err(|_| bad("a number"))?),
                "com.docker.network.bridge.enable_icc" => out.icc = flag()?,
                "com.docker.network.bridge.enable_ip_masquerade" => out.masquerade = flag()?,
                "com.docker.network.bridge.host_binding_ipv4" => {
                    out.host_ip = value.parse().map_err(|_| bad("an IPv4 address"))?;
                }
                _ => return Err(Error::unsupported(format!("option {key} of driver bridge is not supported"))),
            }
        }
        Ok(out)
    }
}

/// Refuses subnets too small for a gateway and a container, or that no host can be in.
pub(super) fn check_subnet(subnet: Subnet) -> Result<()> {
    if !(8..=30).contains(&subnet.prefix()) {
        return Err(Error::invalid(format!("invalid subnet {subnet}: its prefix must be from 8 to 30")));
    }
    let first = subnet.network();
    if first.is_loopback() || first.is_multicast() || first.octets()[0] == 0 || first.octets()[0] >= 240 {
        return Err(Error::invalid(format!("invalid subnet {subnet}: no host can be in it")));
    }
    Ok(())
}

/// Refuses what the kernel refuses for a bridge with IPv4.
pub(super) fn check_mtu(mtu: u32) -> Result<()> {
    if (68..=65535).contains(&mtu) {
        return Ok(());
    }
    Err(Error::invalid(format!("invalid MTU {mtu}: expected 68 to 65535")))
}

fn check_name(name: &str) -> Result<()> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if first && name.len() <= 128 && name.bytes().all(fine) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "invalid network name {name:?}: expected letters, digits, '_', '.', '-', beginning with a letter or digit"
    )))
}

fn new_id() -> Result<String> {
    let mut bytes = [0; 32];
    let mut filled = 0;
    while filled < bytes.len() {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
            .map_err(std::io::Error::from)?;
    }
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

fn check_network_id(id: &str) -> Result<()> {
    if id.len() == 64 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return Ok(());
    }
    Err(Error::invalid(format!("invalid network id {id:?}: expected 64 hex digits")))
}

impl Manager {
    /// All networks, the built-in `bridge`, `host` and `none` among them, ordered by name.
    pub fn networks(&self) -> Vec<Network> {
        let mut all: Vec<Network> = self.lock().networks.values().cloned().collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The network with that name, id, or unique beginning of an id.
    ///
    /// # Errors
    /// `NotFound`; `InvalidArgument` if several ids begin so.
    pub fn inspect(&self, name: &str) -> Result<Network> {
        self.lock().find(name).cloned()
    }

    /// The endpoints in a network.
    ///
    /// # Errors
    /// As [`inspect`](Self::inspect).
    pub fn endpoints(&self, network: &str) -> Result<Vec<super::Endpoint>> {
        let state = self.lock();
        let id = state.find(network)?.id.clone();
        Ok(state.endpoints.values().filter(|e| e.network == id).cloned().collect())
    }

    /// The endpoints of a container; the one with the default route comes first.
    pub fn endpoints_of(&self, container: &str) -> Vec<super::Endpoint> {
        self.lock().endpoints_of(container).cloned().collect()
    }

    /// Makes a network. Its bridge and rules are made with its first container.
    ///
    /// # Errors
    /// `AlreadyExists` for a name, id or bridge name in use, `PermissionDenied` for a subnet that
    /// overlaps another network's, `Unsupported` for another driver or an unknown option,
    /// `InvalidArgument`, and `ResourceExhausted` if no subnet is free.
    pub fn create(&self, config: &NetworkConfig) -> Result<Network> {
        check_name(&config.name)?;
        let driver = config.driver.as_deref().unwrap_or("bridge");
        if driver != "bridge" {
            return Err(Error::unsupported(format!("network driver {driver:?} is not supported: only bridge is")));
        }
        let options = BridgeOptions::read(&config.options)?;
        let id = config.id.clone().map_or_else(new_id, Ok)?;
        check_network_id(&id)?;
        let mtu = options.mtu.unwrap_or(self.options.mtu);
        check_mtu(mtu)?;
        let bridge = config.bridge_name.clone().or(options.name);
        let bridge = bridge.unwrap_or_else(|| names::bridge(self.owner(), &id));
        names::check_interface(&bridge)?;

        let mut state = self.lock();
        if state.networks.values().any(|n| n.name == config.name) {
            return Err(Error::already_exists(format!("network with name {} already exists", config.name)));
        }
        if state.networks.contains_key(&id) {
            return Err(Error::already_exists(format!("network with id {id} already exists")));
        }
        if let Some(other) = state.networks.values().find(|n| n.bridge == bridge) {
            return Err(Error::already_exists(format!("bridge name {bridge} is used by network {}", other.name)));
        }
        let subnet = match config.subnet {
            Some(subnet) => {
                check_subnet(subnet)?;
                if state.subnets("").any(|other| other.overlaps(&subnet)) {
                    return Err(Error::permission_denied(format!(
                        "invalid pool request: Pool overlaps with other one on this address space ({subnet})"
                    )));
                }
                subnet
            }
            None if config.gateway.is_some() || config.ip_range.is_some() => {
                return Err(Error::invalid("a gateway or an address range needs a subnet"));
            }
            None => self.pick_subnet(&state, &id, &bridge)?,
        };
        let gateway = config.gateway.unwrap_or_else(|| subnet.first_host());
        if !subnet.contains_host(gateway) {
            return Err(Error::invalid(format!("no matching subnet for gateway {gateway}: the subnet is {subnet}")));
        }
        if let Some(range) = config.ip_range.filter(|range| !subnet.covers(range)) {
            return Err(Error::invalid(format!("address range {range} is not within subnet {subnet}")));
        }
        let network = Network {
            id,
            name: config.name.clone(),
            driver: driver.into(),
            created: Timestamp::now(),
            subnet: Some(subnet),
            gateway: Some(gateway),
            ip_range: config.ip_range,
            bridge,
            mtu,
            internal: config.internal,
            masquerade: options.masquerade,
            icc: options.icc,
            host_ip: options.host_ip,
            options: config.options.clone(),
            labels: config.labels.clone(),
            builtin: false,
            picked: config.subnet.is_none(),
        };
        self.directory.put_network(&network)?;
        state.networks.insert(network.id.clone(), network.clone());
        Ok(network)
    }

    /// Removes a network with its bridge and rules.
    ///
    /// # Errors
    /// `NotFound`; `PermissionDenied` for a built-in one; `Conflict` while it has endpoints; the
    /// helper's.
    pub fn remove(&self, name: &str) -> Result<()> {
        let mut state = self.lock();
        let network = state.find(name)?.clone();
        if network.builtin {
            return Err(Error::permission_denied(format!(
                "{} is a pre-defined network and cannot be removed",
                network.name
            )));
        }
        if state.has_endpoints(&network.id) {
            return Err(Error::conflict(format!(
                "error while removing network: network {} id {} has active endpoints",
                network.name, network.id
            )));
        }
        // The record goes last: killed in between, the next removal or sweep finishes it.
        let mut plan = self.sweep_plan(&state);
        plan.networks.retain(|n| n.id != network.id);
        let done = self.call(&Request::Sweep(plan))?;
        if let Some(problem) = done.problems.first() {
            return Err(Error::internal(format!("remove network {}: {problem}", network.name)));
        }
        Pool::new(self.directory.leases(&network.id)).destroy()?;
        self.directory.remove_network(&network.id)?;
        state.networks.remove(&network.id);
        Ok(())
    }

    /// What stays when everything else is swept.
    pub(super) fn sweep_plan(&self, state: &State) -> SweepPlan {
        SweepPlan {
            host: self.host.clone(),
            networks: state.networks.values().filter_map(Network::plan).collect(),
            endpoints: state.endpoints.values().map(super::Endpoint::plan).collect(),
            dead: Vec::new(),
            restore_forwarding: false,
        }
    }

    /// A subnet that neither the host nor another network has.
    pub(super) fn pick_subnet(&self, state: &State, network: &str, bridge: &str) -> Result<Subnet> {
        let mut used = choose::known_to_host(bridge)?;
        used.extend(state.subnets(network));
        choose::pick(&self.options.pools, &used)
    }

    /// Writes the records of `bridge`, `host` and `none` unless they are there, and takes over
    /// changed options of the default network while nothing is connected to it.
    pub(super) fn make_builtin_networks(&self) -> Result<()> {
        let mut state = self.lock();
        for (name, driver) in [("bridge", "bridge"), ("host", "host"), ("none", "null")] {
            let existing = state.networks.values().find(|n| n.builtin && n.name == name).cloned();
            let mut network = match &existing {
                Some(network) => network.clone(),
                None => builtin(name, driver)?,
            };
            if driver == "bridge" && !state.has_endpoints(&network.id) {
                let derived = || names::bridge_prefix(self.owner());
                network.bridge = self.options.bridge_name.clone().unwrap_or_else(derived);
                network.mtu = self.options.mtu;
                if let Some(subnet) = self.options.bridge_subnet {
                    (network.subnet, network.gateway) = (Some(subnet), Some(subnet.first_host()));
                    network.picked = false;
                } else if !network.picked {
                    (network.subnet, network.gateway, network.picked) = (None, None, true);
                }
            }
            if existing.as_ref() != Some(&network) {
                self.directory.put_network(&network)?;
                state.networks.insert(network.id.clone(), network);
            }
        }
        Ok(())
    }
}

fn builtin(name: &str, driver: &str) -> Result<Network> {
    Ok(Network {
        id: new_id()?,
        name: name.into(),
        driver: driver.into(),
        created: Timestamp::now(),
        subnet: None,
        gateway: None,
        ip_range: None,
        bridge: String::new(),
        mtu: 0,
        internal: false,
        masquerade: true,
        icc: true,
        host_ip: ANY,
        options: BTreeMap::new(),
        labels: BTreeMap::new(),
        builtin: true,
        picked: true,
    })
}

impl State {
    /// The network with that name, id, or unique beginning of an id.
    pub(super) fn find(&self, name: &str) -> Result<&Network> {
        if let Some(network) = self.networks.values().find(|n| n.name == name).or_else(|| self.networks.get(name)) {
            return Ok(network);
        }
        let mut matching = self.networks.values().filter(|n| !name.is_empty() && n.id.starts_with(name));
        match (matching.next(), matching.next()) {
            (Some(network), None) => Ok(network),
            (Some(_), Some(_)) => {
                let count = 2 + matching.count();
                Err(Error::invalid(format!("network {name} is ambiguous ({count} matches found on ID prefix)")))
            }
            (None, _) => Err(Error::new(Kind::NotFound, format!("network {name} not found"))),
        }
    }
}
