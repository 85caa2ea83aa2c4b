//! The files about names that a container gets: pure functions from what is known to their text.

mod hostname;
mod hosts;
mod resolv;

pub use hostname::hostname;
pub use hosts::{ExtraHost, HostsFile, hosts};
pub use resolv::{Resolv, ResolvFile, resolv, systemd_uplink_path, wants_systemd_uplink};
