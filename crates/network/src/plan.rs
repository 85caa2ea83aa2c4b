//! What the manager and `sampan-net` say to each other: one request as JSON on standard input,
//! one response as JSON on standard output. Everything is decided before; the helper only carries
//! it out. Carrying out a plan twice is the same as once, except that interfaces inside a
//! container are never taken over.

use crate::mac::Mac;
use crate::ports::Protocol;
use crate::subnet::Subnet;
use oci::{Error, Kind};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// The longest request that is read.
pub const MAX_REQUEST: u64 = 64 << 20;

/// One request.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Request {
    /// Connects a container's namespace to a network.
    Attach(Box<AttachPlan>),
    /// Removes endpoints of containers; what is gone already counts as removed.
    Detach(DetachPlan),
    /// Removes everything of the owner's that no live container or network stands for, and puts
    /// back rules that are missing.
    Sweep(SweepPlan),
    /// Sets the loopback device of a namespace up.
    Loopback {
        /// The namespace.
        netns: PathBuf,
    },
    /// Adds a default route in a container's namespace.
    DefaultRoute {
        /// The namespace.
        netns: PathBuf,
        /// The gateway.
        gateway: Ipv4Addr,
        /// Interface inside.
        interface: String,
    },
}

/// What every change of the host's side needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Host {
    /// The owner's id, which is in the name of everything that is made.
    pub owner: String,
    /// File that is locked while the host's side is changed.
    pub lock: PathBuf,
    /// File that remembers the value of `ip_forward` before it was changed.
    pub forwarding_memo: PathBuf,
}

/// A network as the kernel is to have it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NetworkPlan {
    /// The network's id.
    pub id: String,
    /// Name of its bridge.
    pub bridge: String,
    /// Its subnet.
    pub subnet: Subnet,
    /// The bridge's address.
    pub gateway: Ipv4Addr,
    /// Largest packet.
    pub mtu: u32,
    /// No way to the outside.
    pub internal: bool,
    /// Packets to the outside get the host's address.
    pub masquerade: bool,
    /// Containers may talk to each other.
    pub icc: bool,
}

/// A published port, resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PortPlan {
    /// Address on the host; unspecified for all.
    pub host_ip: Ipv4Addr,
    /// Port on the host.
    pub host_port: u16,
    /// Port in the container.
    pub container_port: u16,
    /// Transport.
    pub protocol: Protocol,
}

/// A container in a network, as the firewall sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointPlan {
    /// The container's id.
    pub container: String,
    /// The network's id.
    pub network: String,
    /// The host's end of the veth pair.
    pub veth: String,
    /// Address in the container.
    pub ip: Ipv4Addr,
    /// Published ports.
    pub ports: Vec<PortPlan>,
}

/// See [`Request::Attach`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AttachPlan {
    /// The host.
    pub host: Host,
    /// The network.
    pub network: NetworkPlan,
    /// The endpoint.
    pub endpoint: EndpointPlan,
    /// The container's namespace.
    pub netns: PathBuf,
    /// Interface inside.
    pub interface: String,
    /// Its MAC address.
    pub mac: Mac,
    /// Also adds a default route through the gateway.
    pub default_route: bool,
}

/// See [`Request::Detach`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DetachPlan {
    /// The host.
    pub host: Host,
    /// What to remove.
    pub endpoints: Vec<EndpointPlan>,
    /// No endpoint is left: give the host back what was changed about it.
    pub restore_forwarding: bool,
}

/// See [`Request::Sweep`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SweepPlan {
    /// The host.
    pub host: Host,
    /// Networks whose bridge and rules stay, if they have any.
    pub networks: Vec<NetworkPlan>,
    /// Endpoints that stay and whose rules are put back where missing.
    pub endpoints: Vec<EndpointPlan>,
    /// Endpoints known to be dead, whose connections are forgotten.
    pub dead: Vec<EndpointPlan>,
    /// Gives the host back what was changed about it, if no endpoint is left.
    pub restore_forwarding: bool,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Name of the host's end of the veth pair, after an attach.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub veth: String,
    /// Interfaces removed by a sweep.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed_interfaces: Vec<String>,
    /// Rules removed by a sweep.
    #[serde(default)]
    pub removed_rules: usize,
    /// Rules put back by a sweep.
    #[serde(default)]
    pub restored_rules: usize,
    /// What went wrong without stopping the rest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// The answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// It was done.
    Ok(Done),
    /// It was not.
    Error {
        /// Name of an [`oci::Kind`].
        kind: String,
        /// One sentence.
        message: String,
    },
}

/// The kinds that cross the pipe, by name.
const KINDS: &[Kind] = &[
    Kind::InvalidArgument,
    Kind::NotFound,
    Kind::AlreadyExists,
    Kind::Conflict,
    Kind::PermissionDenied,
    Kind::Unauthorized,
    Kind::Unavailable,
    Kind::DeadlineExceeded,
    Kind::ResourceExhausted,
    Kind::Unsupported,
    Kind::Corrupt,
    Kind::Cancelled,
    Kind::Internal,
];

impl From<Result<Done, Error>> for Response {
    fn from(result: Result<Done, Error>) -> Self {
        match result {
            Ok(done) => Self::Ok(done),
            Err(error) => Self::Error { kind: format!("{:?}", error.kind()), message: error.to_string() },
        }
    }
}

impl From<Response> for Result<Done, Error> {
    fn from(response: Response) -> Self {
        match response {
            Response::Ok(done) => Ok(done),
            Response::Error { kind, message } => {
                let kind = KINDS.iter().find(|k| format!("{k:?}") == kind).copied().unwrap_or(Kind::Internal);
                Err(Error::new(kind, message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_keep_their_kind_across_the_pipe() {
        for &kind in KINDS {
            let response = Response::from(Err(Error::new(kind, "why")));
            let text = serde_json::to_string(&response).unwrap();
            let back: Result<Done, Error> = serde_json::from_str::<Response>(&text).unwrap().into();
            let error = back.unwrap_err();
            assert_eq!((error.kind(), error.message()), (kind, "why"));
        }
    }
}
