//! IPv4 subnets.

use oci::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An IPv4 network address with its prefix, written `172.17.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    base: u32,
    prefix: u8,
}

impl Subnet {
    /// The subnet of that prefix length (at most 32) that contains `ip`.
    pub fn containing(ip: Ipv4Addr, prefix: u8) -> Self {
        let prefix = prefix.min(32);
        Self { base: ip.to_bits() & mask(prefix), prefix }
    }

    /// The network address.
    pub fn network(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base)
    }

    /// The broadcast address, which is the last one.
    pub fn broadcast(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base | !mask(self.prefix))
    }

    /// The netmask.
    pub fn mask(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(mask(self.prefix))
    }

    /// The prefix's length.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The first address after the network address.
    pub fn first_host(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base | 1)
    }

    /// If `ip` is in it.
    pub fn contains(&self, ip: Ipv4Addr) -> bool {
        ip.to_bits() & mask(self.prefix) == self.base
    }

    /// If `ip` is in it and may be given to an interface.
    pub fn contains_host(&self, ip: Ipv4Addr) -> bool {
        self.contains(ip) && ip != self.network() && ip != self.broadcast()
    }

    /// If the other lies within it.
    pub fn covers(&self, other: &Self) -> bool {
        other.prefix >= self.prefix && self.contains(other.network())
    }

    /// If they share an address.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.covers(other) || other.covers(self)
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network(), self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = Error;

    /// Reads CIDR notation; bits behind the prefix are cleared, as docker does.
    fn from_str(text: &str) -> Result<Self> {
        let bad =
            || Error::invalid(format!("invalid subnet {text:?}: expected IPv4 in CIDR form such as 172.20.0.0/16"));
        let (ip, prefix) = text.split_once('/').ok_or_else(bad)?;
        if ip.contains(':') {
            return Err(Error::unsupported(format!("IPv6 subnet {text:?}: IPv6 networks are not supported")));
        }
        let ip: Ipv4Addr = ip.parse().map_err(|_| bad())?;
        let prefix: u8 = prefix.parse().map_err(|_| bad())?;
        if prefix > 32 {
            return Err(bad());
        }
        Ok(Self::containing(ip, prefix))
    }
}

impl TryFrom<String> for Subnet {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn cidr_is_read_and_printed() {
        assert_eq!(subnet("10.1.2.3/16").to_string(), "10.1.0.0/16");
        assert_eq!(subnet("0.0.0.0/0").mask(), Ipv4Addr::UNSPECIFIED);
        assert_eq!(subnet("10.0.0.1/32").broadcast(), Ipv4Addr::new(10, 0, 0, 1));
        for wrong in ["10.0.0.0", "10.0.0.0/33", "10.0.0/8", "x/8", "/8", "10.0.0.0/"] {
            assert!(wrong.parse::<Subnet>().is_err(), "{wrong}");
        }
        assert_eq!("fd00::/64".parse::<Subnet>().unwrap_err().kind(), oci::Kind::Unsupported);
    }

    #[test]
    fn overlap_is_symmetric() {
        let (wide, narrow, other) = (subnet("10.0.0.0/8"), subnet("10.9.0.0/16"), subnet("11.0.0.0/8"));
        assert!(wide.overlaps(&narrow) && narrow.overlaps(&wide));
        assert!(wide.covers(&narrow) && !narrow.covers(&wide));
        assert!(!other.overlaps(&narrow) && !narrow.overlaps(&other));
    }

    #[test]
    fn hosts_exclude_both_ends() {
        let net = subnet("192.168.7.0/30");
        assert!(!net.contains_host(Ipv4Addr::new(192, 168, 7, 0)));
        assert!(net.contains_host(net.first_host()));
        assert!(!net.contains_host(Ipv4Addr::new(192, 168, 7, 3)));
        assert!(!net.contains(Ipv4Addr::new(192, 168, 7, 4)));
    }
}
