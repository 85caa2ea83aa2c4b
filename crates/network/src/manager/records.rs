//! The records of networks and endpoints, and their files.

use crate::mac::Mac;
use crate::plan::{EndpointPlan, NetworkPlan, PortPlan};
use crate::subnet::Subnet;
use oci::{Context, Error, Result, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// 64 hex digits.
    pub id: String,
    /// Unique.
    pub name: String,
    /// `bridge`, `host` or `null`.
    pub driver: String,
    /// When it was made.
    pub created: Timestamp,
    /// The subnet; `None` for `host` and `none`, and for the default network before its first use.
    pub subnet: Option<Subnet>,
    /// The bridge's address, with [`subnet`](Self::subnet).
    pub gateway: Option<Ipv4Addr>,
    /// The part of the subnet that addresses are picked from.
    pub ip_range: Option<Subnet>,
    /// Name of the bridge; empty for `host` and `none`.
    pub bridge: String,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// No way to the outside.
    pub internal: bool,
    /// Packets to the outside get the host's address.
    pub masquerade: bool,
    /// Containers may talk to each other.
    pub icc: bool,
    /// Where ports are published that name no address.
    pub host_ip: Ipv4Addr,
    /// Options as given.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// One of `bridge`, `host`, `none`, which can't be removed.
    pub builtin: bool,
    /// The subnet was picked, not given.
    pub picked: bool,
}

impl Network {
    /// As the helper needs it, once it has a subnet.
    pub(super) fn plan(&self) -> Option<NetworkPlan> {
        Some(NetworkPlan {
            id: self.id.clone(),
            bridge: self.bridge.clone(),
            subnet: self.subnet?,
            gateway: self.gateway?,
            mtu: self.mtu,
            internal: self.internal,
            masquerade: self.masquerade,
            icc: self.icc,
        })
    }
}

/// A container's connection to a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The container's id.
    pub container: String,
    /// The network's id.
    pub network: String,
    /// The container's namespace as it was given.
    pub netns: PathBuf,
    /// Interface inside.
    pub interface: String,
    /// The host's end of the veth pair.
    pub veth: String,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Length of the subnet's prefix.
    pub prefix: u8,
    /// The gateway.
    pub gateway: Ipv4Addr,
    /// Its MAC address.
    pub mac: Mac,
    /// The container's default route goes through here.
    pub default_route: bool,
    /// Published ports, resolved.
    pub ports: Vec<PortPlan>,
    /// Names in this network.
    pub aliases: Vec<String>,
}

impl Endpoint {
    /// As the helper needs it.
    pub(super) fn plan(&self) -> EndpointPlan {
        EndpointPlan {
            container: self.container.clone(),
            network: self.network.clone(),
            veth: self.veth.clone(),
            ip: self.ip,
            ports: self.ports.clone(),
        }
    }

    /// What it is known by.
    pub(super) fn key(&self) -> (String, String) {
        (self.container.clone(), self.network.clone())
    }
}

/// The state directory.
pub(super) struct Directory {
    root: PathBuf,
}

impl Directory {
    pub(super) fn open(root: PathBuf) -> Result<Self> {
        for name in ["networks", "endpoints", "leases"] {
            let path = root.join(name);
            std::fs::create_dir_all(&path).context(|| format!("create {}", path.display()))?;
        }
        Ok(Self { root })
    }

    /// Where a network's addresses are kept.
    pub(super) fn leases(&self, network: &str) -> PathBuf {
        self.root.join("leases").join(network)
    }

    /// The networks whose addresses are kept.
    pub(super) fn leased_networks(&self) -> Result<Vec<String>> {
        let path = self.root.join("leases");
        let what = || format!("list {}", path.display());
        let mut out = Vec::new();
        for entry in std::fs::read_dir(&path).context(what)? {
            out.extend(entry.context(what)?.file_name().into_string().ok());
        }
        Ok(out)
    }

    fn network_path(&self, id: &str) -> PathBuf {
        self.root.join("networks").join(format!("{id}.json"))
    }

    fn endpoint_path(&self, container: &str, network: &str) -> PathBuf {
        self.root.join("endpoints").join(format!("{container}@{network}.json"))
    }

    /// All networks by id. An unreadable record is an error: dropping it would orphan its bridge.
    pub(super) fn networks(&self) -> Result<BTreeMap<String, Network>> {
        let mut out = BTreeMap::new();
        for path in self.files("networks")? {
            let network: Network = read(&path)?.ok_or_else(|| {
                Error::corrupt(format!("{}: malformed; remove it to lose that network", path.display()))
            })?;
            out.insert(network.id.clone(), network);
        }
        Ok(out)
    }

    /// All endpoints. Their records are not synced to disk, since they mean nothing after a
    /// reboot; one that a power cut mangled is removed.
    pub(super) fn endpoints(&self) -> Result<BTreeMap<(String, String), Endpoint>> {
        let mut out = BTreeMap::new();
        for path in self.files("endpoints")? {
            match read::<Endpoint>(&path)? {
                Some(endpoint) => drop(out.insert(endpoint.key(), endpoint)),
                None => remove(&path)?,
            }
        }
        Ok(out)
    }

    pub(super) fn put_network(&self, network: &Network) -> Result<()> {
        write(&self.network_path(&network.id), network, true)
    }

    pub(super) fn remove_network(&self, id: &str) -> Result<()> {
        remove(&self.network_path(id))
    }

    pub(super) fn put_endpoint(&self, endpoint: &Endpoint) -> Result<()> {
        write(&self.endpoint_path(&endpoint.container, &endpoint.network), endpoint, false)
    }

    pub(super) fn remove_endpoint(&self, endpoint: &Endpoint) -> Result<()> {
        remove(&self.endpoint_path(&endpoint.container, &endpoint.network))
    }

    /// The records in a folder. What a crash left of writing one is removed.
    fn files(&self, folder: &str) -> Result<Vec<PathBuf>> {
        let dir = self.root.join(folder);
        let what = || format!("list {}", dir.display());
        let mut out = Vec::new();
        for entry in std::fs::read_dir(&dir).context(what)? {
            let path = entry.context(what)?.path();
            match path.extension().and_then(|e| e.to_str()) {
                Some("json") => out.push(path),
                Some("new") => remove(&path)?,
                _ => {}
            }
        }
        Ok(out)
    }
}

/// The record in a file, `None` if it is malformed.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let bytes = std::fs::read(path).context(|| format!("read {}", path.display()))?;
    Ok(serde_json::from_slice(&bytes).ok())
}

/// Replaces a file in one step; with `durable` it also survives a power cut.
fn write<T: Serialize>(path: &Path, record: &T, durable: bool) -> Result<()> {
    let text = serde_json::to_vec(record).map_err(|error| Error::internal(format!("{}: {error}", path.display())))?;
    let new = path.with_extension("new");
    let what = || format!("write {}", path.display());
    let mut file = File::create(&new).context(what)?;
    file.write_all(&text).context(what)?;
    if durable {
        file.sync_all().context(what)?;
    }
    std::fs::rename(&new, path).context(what)?;
    if durable && let Some(parent) = path.parent() {
        File::open(parent).and_then(|dir| dir.sync_all()).context(what)?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::from(error).prefixed(format!("remove {}", path.display())))
        }
        _ => Ok(()),
    }
}
