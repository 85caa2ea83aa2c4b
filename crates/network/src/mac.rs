//! MAC addresses.

use oci::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// A MAC address, written `02:42:ac:11:00:02`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// The address that belongs to an IP address, as docker derives it: `02:42` and the four
    /// octets. An IP address that is given out again thus never meets a stale ARP entry.
    pub fn of(ip: Ipv4Addr) -> Self {
        let [a, b, c, d] = ip.octets();
        Self([0x02, 0x42, a, b, c, d])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |why: &str| Error::invalid(format!("invalid MAC address {text:?}: {why}"));
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|p| p.len() == 2).ok_or_else(|| bad("expected six pairs of hex digits"))?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| bad("expected six pairs of hex digits"))?;
        }
        if parts.next().is_some() {
            return Err(bad("expected six pairs of hex digits"));
        }
        if bytes[0] & 1 != 0 || bytes == [0; 6] {
            return Err(bad("it is not the address of one interface"));
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Mac {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_as_docker_does() {
        assert_eq!(Mac::of(Ipv4Addr::new(172, 17, 0, 2)).to_string(), "02:42:ac:11:00:02");
    }

    #[test]
    fn only_unicast_addresses_are_taken() {
        assert_eq!("92-d0-c6-0a-29-33".parse::<Mac>().unwrap().to_string(), "92:d0:c6:0a:29:33");
        for wrong in
            ["", "1:2:3:4:5:6", "01:00:5e:00:00:01", "00:00:00:00:00:00", "02:42:ac:11:00:02:03", "02:42:ac:11:00:zz"]
        {
            assert!(wrong.parse::<Mac>().is_err(), "{wrong}");
        }
    }
}
