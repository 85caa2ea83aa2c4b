//! Connections that the kernel remembers (ctnetlink), and forgetting those that lead to a container
//! that is gone or that went past a port before it was published.
//!
//! Only UDP's: a client that keeps sending would keep its old translation for as long as it sends.
//! TCP clients notice, and reading the kernel's table takes longer than the rest of a detach.

use crate::netlink::message::{attrs, u16_at};
use crate::netlink::{Refusal, Socket};
use crate::nft::nfgenmsg;
use crate::plan::{EndpointPlan, PortPlan};
use crate::ports::Protocol;
use oci::Result;
use rustix::io::Errno;
use std::net::Ipv4Addr;

const SUBSYSTEM: u16 = 1 << 8;
const CT_NEW: u16 = SUBSYSTEM;
const CT_GET: u16 = SUBSYSTEM | 1;
const CT_DELETE: u16 = SUBSYSTEM | 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
const NFPROTO_IPV4: u8 = 2;

/// One direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tuple {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    destination_port: u16,
}

fn tuple(bytes: &[u8]) -> Option<Tuple> {
    let mut out =
        Tuple { source: Ipv4Addr::UNSPECIFIED, destination: Ipv4Addr::UNSPECIFIED, protocol: 0, destination_port: 0 };
    for (kind, payload) in attrs(bytes) {
        for (inner, value) in attrs(payload) {
            match (kind, inner) {
                (CTA_TUPLE_IP, CTA_IP_V4_SRC) => out.source = <[u8; 4]>::try_from(value).ok()?.into(),
                (CTA_TUPLE_IP, CTA_IP_V4_DST) => out.destination = <[u8; 4]>::try_from(value).ok()?.into(),
                (CTA_TUPLE_PROTO, CTA_PROTO_NUM) => out.protocol = *value.first()?,
                (CTA_TUPLE_PROTO, CTA_PROTO_DST_PORT) => out.destination_port = u16::from_be(u16_at(value, 0)?),
                _ => {}
            }
        }
    }
    Some(out)
}

/// What to forget.
pub(crate) enum Which<'a> {
    /// Packets that were redirected to one of these endpoints.
    LeadingTo(&'a [EndpointPlan]),
    /// Packets to this endpoint's host ports that weren't redirected.
    PastPorts(&'a EndpointPlan),
}

impl Which<'_> {
    fn endpoints(&self) -> &[EndpointPlan] {
        match self {
            Self::LeadingTo(endpoints) => endpoints,
            Self::PastPorts(endpoint) => std::slice::from_ref(endpoint),
        }
    }

    fn takes(&self, original: &Tuple, reply: &Tuple) -> bool {
        self.endpoints().iter().any(|endpoint| {
            let answered_by = match self {
                Self::LeadingTo(_) => reply.source == endpoint.ip,
                Self::PastPorts(_) => reply.source == original.destination,
            };
            answered_by
                && udp(endpoint).any(|port| {
                    original.protocol == port.protocol.number()
                        && original.destination_port == port.host_port
                        && (port.host_ip.is_unspecified() || port.host_ip == original.destination)
                })
        })
    }
}

fn udp(endpoint: &EndpointPlan) -> impl Iterator<Item = &PortPlan> {
    endpoint.ports.iter().filter(|port| port.protocol == Protocol::Udp)
}

/// Forgets connections. A kernel without ctnetlink remembers them until they time out.
pub(crate) fn forget(which: &Which<'_>) -> Result<usize> {
    if which.endpoints().iter().all(|endpoint| udp(endpoint).next().is_none()) {
        return Ok(0);
    }
    let mut socket = Socket::netfilter()?;
    let listed = match socket.dump(CT_GET, |m| m.raw(&nfgenmsg(NFPROTO_IPV4, 0))) {
        Ok(listed) => listed,
        Err(refusal) if lacks_ctnetlink(&refusal) => return Ok(0),
        Err(refusal) => return Err(refusal.about("list connections")),
    };
    let mut count = 0;
    for (_, body) in listed.iter().filter(|(kind, _)| *kind == CT_NEW) {
        let (mut original, mut reply) = (None, None);
        for (kind, payload) in attrs(body.get(4..).unwrap_or_default()) {
            match kind {
                CTA_TUPLE_ORIG => original = tuple(payload).map(|t| (t, payload)),
                CTA_TUPLE_REPLY => reply = tuple(payload),
                _ => {}
            }
        }
        let (Some((original, bytes)), Some(reply)) = (original, reply) else { continue };
        if !which.takes(&original, &reply) {
            continue;
        }
        let deleted = socket.call(CT_DELETE, 0, |m| {
            m.raw(&nfgenmsg(NFPROTO_IPV4, 0));
            m.nest(CTA_TUPLE_ORIG, |m| m.raw(bytes));
        });
        match deleted {
            Ok(()) => count += 1,
            Err(refusal) if refusal.errno == Errno::NOENT => {}
            Err(refusal) => return Err(refusal.about("forget a connection")),
        }
    }
    Ok(count)
}

fn lacks_ctnetlink(refusal: &Refusal) -> bool {
    matches!(refusal.errno, Errno::INVAL | Errno::OPNOTSUPP | Errno::PROTONOSUPPORT)
}
