//! Picking a subnet that nobody uses.

use super::State;
use crate::netlink::Socket;
use crate::subnet::Subnet;
use oci::{Error, Result};
use std::net::Ipv4Addr;

/// 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/20 to 192.168.240.0/20, as docker has them.
pub(super) fn default_pools() -> Vec<Subnet> {
    let wide = (17..=31).map(|n| Subnet::containing(Ipv4Addr::new(172, n, 0, 0), 16));
    let narrow = (0..16).map(|n| Subnet::containing(Ipv4Addr::new(192, 168, n * 16, 0), 20));
    wide.chain(narrow).collect()
}

/// The subnets that this host's routes and interfaces know, without those of interface `except`.
pub(super) fn known_to_host(except: &str) -> Result<Vec<Subnet>> {
    let mut socket = Socket::route()?;
    let own = socket.link(except).map_err(|r| r.about("look up the bridge"))?.map(|link| link.index);
    let routes = socket.routes().map_err(|r| r.about("list routes"))?;
    let addresses = socket.addresses().map_err(|r| r.about("list addresses"))?;
    let routes = routes.into_iter().filter(|r| Some(r.interface) != own).map(|r| r.destination);
    let addresses = addresses.into_iter().filter(|a| Some(a.index) != own).map(|a| a.subnet());
    Ok(routes.chain(addresses).collect())
}

impl State {
    /// The subnets of our networks, without that of network `except`.
    pub(super) fn subnets<'a>(&'a self, except: &'a str) -> impl Iterator<Item = Subnet> + 'a {
        self.networks.values().filter(move |n| n.id != except).filter_map(|n| n.subnet)
    }
}

/// The first of `pools` that overlaps none of `used`.
pub(super) fn pick(pools: &[Subnet], used: &[Subnet]) -> Result<Subnet> {
    pools.iter().copied().find(|pool| !used.iter().any(|subnet| subnet.overlaps(pool))).ok_or_else(|| {
        Error::exhausted(
            "could not find an available, non-overlapping IPv4 address pool: name a subnet for the network",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_free_pool_is_picked() {
        let pools = default_pools();
        let used: Vec<Subnet> = ["172.17.3.0/24", "172.18.0.0/15", "10.0.0.0/8"].map(|s| s.parse().unwrap()).into();
        assert_eq!(pick(&pools, &used).unwrap().to_string(), "172.20.0.0/16");
        let all: Subnet = "172.16.0.0/12".parse().unwrap();
        assert_eq!(pick(&pools, &[all]).unwrap().to_string(), "192.168.0.0/20");
        assert_eq!(
            pick(&pools, &["0.0.0.0/1", "128.0.0.0/1"].map(|s| s.parse().unwrap())).unwrap_err().kind(),
            oci::Kind::ResourceExhausted
        );
    }
}
