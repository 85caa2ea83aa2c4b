//! IPv4 addresses of interfaces.

use super::message::{ACK, CREATE, Messages, attrs, u32_at};
use super::{Refusal, Socket};
use crate::subnet::Subnet;
use std::net::Ipv4Addr;

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const NLM_F_REPLACE: u16 = 0x100;
pub(super) const AF_INET: u8 = 2;

/// An address on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) index: u32,
    pub(crate) ip: Ipv4Addr,
    pub(crate) prefix: u8,
}

impl Address {
    /// The network it is in.
    pub(crate) fn subnet(&self) -> Subnet {
        Subnet::containing(self.ip, self.prefix)
    }
}

fn header(address: &Address) -> [u8; 8] {
    let mut bytes = [AF_INET, address.prefix, 0, 0, 0, 0, 0, 0];
    bytes[4..8].copy_from_slice(&address.index.to_ne_bytes());
    bytes
}

/// Adds an address, or leaves it if it is there.
pub(crate) fn push_add(batch: &mut Messages, address: Address) {
    batch.push(RTM_NEWADDR, CREATE | NLM_F_REPLACE | ACK, |m| {
        m.raw(&header(&address));
        m.attr(IFA_LOCAL, &address.ip.octets());
        m.attr(IFA_ADDRESS, &address.ip.octets());
        m.attr(IFA_BROADCAST, &address.subnet().broadcast().octets());
    });
}

/// Removes an address.
pub(crate) fn push_remove(batch: &mut Messages, address: Address) {
    batch.push(RTM_DELADDR, ACK, |m| {
        m.raw(&header(&address));
        m.attr(IFA_LOCAL, &address.ip.octets());
        m.attr(IFA_ADDRESS, &address.ip.octets());
    });
}

impl Socket {
    /// All IPv4 addresses of the namespace.
    pub(crate) fn addresses(&mut self) -> Result<Vec<Address>, Refusal> {
        let all = Address { index: 0, ip: Ipv4Addr::UNSPECIFIED, prefix: 0 };
        let answers = self.dump(RTM_GETADDR, |m| m.raw(&header(&all)))?;
        Ok(answers.iter().filter_map(|(_, body)| parse(body)).collect())
    }
}

fn parse(body: &[u8]) -> Option<Address> {
    let (family, prefix, index) = (*body.first()?, *body.get(1)?, u32_at(body, 4)?);
    let mut ip = None;
    for (kind, payload) in attrs(body.get(8..)?) {
        // The local end counts; the other attribute is the peer's on point-to-point links.
        if (kind == IFA_LOCAL || (kind == IFA_ADDRESS && ip.is_none())) && payload.len() == 4 {
            ip = <[u8; 4]>::try_from(payload).ok().map(Ipv4Addr::from);
        }
    }
    (family == AF_INET).then_some(Address { index, ip: ip?, prefix })
}
