//! Interfaces: look up, list, make, change, delete.

use super::message::{ACK, CREATE, EXCL, Messages, attrs, text, u32_at, u64_at};
use super::{Body, Refusal, Socket};
use crate::mac::Mac;
use rustix::io::Errno;
use std::os::fd::{AsRawFd, BorrowedFd};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_PROTINFO: u16 = 12;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_STATS64: u16 = 23;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_BR_STP_STATE: u16 = 5;
const IFLA_BRPORT_HAIRPIN: u16 = 4;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const ADDR_GEN_NONE: u8 = 1;

const AF_UNSPEC: u8 = 0;
const AF_BRIDGE: u8 = 7;
const AF_INET6: u16 = 10;
const IFF_UP: u32 = 1;
const IF_OPER_UP: u8 = 6;

/// What is known of an interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// `veth`, `bridge`, ...; empty for physical ones.
    pub(crate) kind: String,
    /// The free text that says whose it is.
    pub(crate) alias: String,
    pub(crate) up: bool,
    /// RFC 2863's operational state.
    pub(crate) operational: bool,
    pub(crate) mtu: u32,
    pub(crate) counters: Counters,
}

/// The kernel's counters of an interface, as seen from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) rx_packets: u64,
    pub(crate) tx_packets: u64,
    pub(crate) rx_bytes: u64,
    pub(crate) tx_bytes: u64,
    pub(crate) rx_errors: u64,
    pub(crate) tx_errors: u64,
    pub(crate) rx_dropped: u64,
    pub(crate) tx_dropped: u64,
}

/// A veth pair to be made.
pub(crate) struct VethPair<'a> {
    pub(crate) name: &'a str,
    pub(crate) mtu: u32,
    pub(crate) peer_name: &'a str,
    pub(crate) peer_mac: Mac,
    pub(crate) peer_namespace: BorrowedFd<'a>,
}

/// `ifinfomsg`
fn header(family: u8, index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[0] = family;
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..16].copy_from_slice(&change.to_ne_bytes());
    bytes
}

fn parse(body: &[u8]) -> Option<Link> {
    let mut link = Link { index: u32_at(body, 4)?, ..Link::default() };
    let flags = u32_at(body, 8)?;
    link.up = flags & IFF_UP != 0;
    for (kind, payload) in attrs(body.get(16..)?) {
        match kind {
            IFLA_IFNAME => link.name = text(payload),
            IFLA_IFALIAS => link.alias = text(payload),
            IFLA_OPERSTATE => link.operational = payload == [IF_OPER_UP],
            IFLA_MTU => link.mtu = u32_at(payload, 0).unwrap_or(0),
            IFLA_LINKINFO => {
                for (kind, payload) in attrs(payload) {
                    if kind == IFLA_INFO_KIND {
                        link.kind = text(payload);
                    }
                }
            }
            IFLA_STATS64 => {
                let at = |n: usize| u64_at(payload, n * 8).unwrap_or(0);
                link.counters = Counters {
                    rx_packets: at(0),
                    tx_packets: at(1),
                    rx_bytes: at(2),
                    tx_bytes: at(3),
                    rx_errors: at(4),
                    tx_errors: at(5),
                    rx_dropped: at(6),
                    tx_dropped: at(7),
                };
            }
            _ => {}
        }
    }
    Some(link)
}

impl Socket {
    /// The interface with that name.
    pub(crate) fn link(&mut self, name: &str) -> Result<Option<Link>, Refusal> {
        let answer = self.get(RTM_GETLINK, |m| {
            m.raw(&header(AF_UNSPEC, 0, 0, 0));
            m.text(IFLA_IFNAME, name);
        });
        match answer {
            Ok(body) => Ok(parse(&body)),
            Err(refusal) if refusal.errno == Errno::NODEV => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// All interfaces.
    pub(crate) fn links(&mut self) -> Result<Vec<Link>, Refusal> {
        let answers = self.dump(RTM_GETLINK, |m| m.raw(&header(AF_UNSPEC, 0, 0, 0)))?;
        Ok(answers.iter().filter_map(|(_, body)| parse(body)).collect())
    }

    /// Deletes the interface with that index; one that is gone already is fine.
    pub(crate) fn delete_link(&mut self, index: u32) -> Result<(), Refusal> {
        match self.call(RTM_DELLINK, 0, |m| m.raw(&header(AF_UNSPEC, index, 0, 0))) {
            Err(refusal) if refusal.errno == Errno::NODEV => Ok(()),
            other => other,
        }
    }

    /// Makes a bridge without spanning tree. It is down and has no alias yet.
    pub(crate) fn create_bridge(&mut self, name: &str, mac: Mac, mtu: u32) -> Result<(), Refusal> {
        self.call(RTM_NEWLINK, CREATE | EXCL, |m| {
            m.raw(&header(AF_UNSPEC, 0, 0, 0));
            m.text(IFLA_IFNAME, name);
            m.word(IFLA_MTU, mtu);
            m.attr(IFLA_ADDRESS, &mac.0);
            m.nest(IFLA_LINKINFO, |m| {
                m.text(IFLA_INFO_KIND, "bridge");
                m.nest(IFLA_INFO_DATA, |m| {
                    m.word(IFLA_BR_FORWARD_DELAY, 0);
                    m.word(IFLA_BR_STP_STATE, 0);
                });
            });
        })
    }

    /// Makes a veth pair, both ends at once in their namespaces and down.
    pub(crate) fn create_veth(&mut self, pair: &VethPair<'_>) -> Result<(), Refusal> {
        self.call(RTM_NEWLINK, CREATE | EXCL, |m| {
            m.raw(&header(AF_UNSPEC, 0, 0, 0));
            m.text(IFLA_IFNAME, pair.name);
            m.word(IFLA_MTU, pair.mtu);
            m.nest(IFLA_LINKINFO, |m| {
                m.text(IFLA_INFO_KIND, "veth");
                m.nest(IFLA_INFO_DATA, |m| {
                    m.nest(VETH_INFO_PEER, |m| {
                        m.raw(&header(AF_UNSPEC, 0, 0, 0));
                        m.text(IFLA_IFNAME, pair.peer_name);
                        m.word(IFLA_MTU, pair.mtu);
                        m.attr(IFLA_ADDRESS, &pair.peer_mac.0);
                        m.word(IFLA_NET_NS_FD, pair.peer_namespace.as_raw_fd().cast_unsigned());
                    });
                });
            });
        })
    }
}

/// Writes the owner into the alias and keeps IPv6 from inventing a link-local address.
pub(crate) fn push_identity(batch: &mut Messages, index: u32, alias: &str) {
    batch.push(RTM_SETLINK, ACK, |m| {
        m.raw(&header(AF_UNSPEC, index, 0, 0));
        m.attr(IFLA_IFALIAS, alias.as_bytes());
    });
    batch.push(RTM_SETLINK, ACK, |m| {
        m.raw(&header(AF_UNSPEC, index, 0, 0));
        m.nest(IFLA_AF_SPEC, |m| m.nest(AF_INET6, |m| m.byte(IFLA_INET6_ADDR_GEN_MODE, ADDR_GEN_NONE)));
    });
}

/// Changes the name of an interface that is down.
pub(crate) fn push_name(batch: &mut Messages, index: u32, name: &str) {
    batch.push(RTM_SETLINK, ACK, |m| {
        m.raw(&header(AF_UNSPEC, index, 0, 0));
        m.text(IFLA_IFNAME, name);
    });
}

/// Sets the largest packet.
pub(crate) fn push_mtu(batch: &mut Messages, index: u32, mtu: u32) {
    batch.push(RTM_SETLINK, ACK, |m| {
        m.raw(&header(AF_UNSPEC, index, 0, 0));
        m.word(IFLA_MTU, mtu);
    });
}

/// Sets the interface up.
pub(crate) fn push_up(batch: &mut Messages, index: u32) {
    batch.push(RTM_SETLINK, ACK, |m| m.raw(&header(AF_UNSPEC, index, IFF_UP, IFF_UP)));
}

/// Puts an interface under a bridge.
pub(crate) fn push_master(batch: &mut Messages, index: u32, bridge: u32) {
    batch.push(RTM_SETLINK, ACK, |m| {
        m.raw(&header(AF_UNSPEC, index, 0, 0));
        m.word(IFLA_MASTER, bridge);
    });
}

/// Sets whether a bridge's port sends back what came from it, and whether it is kept apart from
/// other ports of the kind.
pub(crate) fn push_port(batch: &mut Messages, index: u32, hairpin: bool, isolated: bool) {
    batch.push(RTM_SETLINK, ACK, |m| {
        m.raw(&header(AF_BRIDGE, index, 0, 0));
        m.nest(IFLA_PROTINFO, |m: &mut Body<'_>| {
            m.byte(IFLA_BRPORT_HAIRPIN, hairpin.into());
            m.byte(IFLA_BRPORT_ISOLATED, isolated.into());
        });
    });
}
