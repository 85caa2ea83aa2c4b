//! Bridge networking for containers.
//!
//! - [`Manager`]: networks, addresses, ports, and the records of who has which; what the engine calls
//! - [`files`]: `/etc/hosts`, `/etc/resolv.conf`, `/etc/hostname`
//! - [`plan`], [`helper`]: what the program `sampan-net` is told and does
//! - [`PortReservation`]: host ports held by open sockets
//! - `ipam`, `netlink`, `nft`, `conntrack`: the parts, each usable alone
//!
//! Names of containers are not resolved by DNS yet; the engine may put them into `/etc/hosts`.

mod conntrack;
pub mod files;
pub mod helper;
mod ipam;
mod mac;
mod manager;
mod names;
mod netlink;
mod nft;
pub mod plan;
mod ports;
mod subnet;

pub use mac::Mac;
pub use manager::{
    Attach, Attached, Counters, Endpoint, Manager, Network, NetworkConfig, Options, PortMapping, SweepReport,
};
pub use ports::{PortReservation, Protocol};
pub use subnet::Subnet;
