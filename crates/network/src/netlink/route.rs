//! IPv4 routes.

use super::address::AF_INET;
use super::message::{ACK, CREATE, EXCL, Messages, attrs, u32_at};
use super::{Refusal, Socket};
use crate::subnet::Subnet;
use std::net::Ipv4Addr;

const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_TABLE: u16 = 15;
const RTN_UNICAST: u8 = 1;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RTPROT_STATIC: u8 = 4;
const RT_TABLE_MAIN: u8 = 254;
const RT_TABLE_LOCAL: u32 = 255;

/// A route to a subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) destination: Subnet,
    /// Index of the interface, 0 where it has none.
    pub(crate) interface: u32,
}

fn header(prefix: u8, table: u8) -> [u8; 12] {
    [AF_INET, prefix, 0, 0, table, RTPROT_STATIC, RT_SCOPE_UNIVERSE, RTN_UNICAST, 0, 0, 0, 0]
}

/// Adds a default route; refused with `EEXIST` where there is one.
pub(crate) fn push_default(batch: &mut Messages, gateway: Ipv4Addr, interface: u32) {
    batch.push(RTM_NEWROUTE, CREATE | EXCL | ACK, |m| {
        m.raw(&header(0, RT_TABLE_MAIN));
        m.attr(RTA_GATEWAY, &gateway.octets());
        m.word(RTA_OIF, interface);
    });
}

impl Socket {
    /// The IPv4 routes to subnets in every table but the local one; default routes are left out.
    pub(crate) fn routes(&mut self) -> Result<Vec<Route>, Refusal> {
        let mut request = [0; 12];
        request[0] = AF_INET;
        let answers = self.dump(RTM_GETROUTE, |m| m.raw(&request))?;
        Ok(answers.iter().filter_map(|(_, body)| parse(body)).collect())
    }
}

fn parse(body: &[u8]) -> Option<Route> {
    let prefix = *body.get(1)?;
    let (mut table, mut interface, mut destination) = (u32::from(*body.get(4)?), 0, None);
    for (kind, payload) in attrs(body.get(12..)?) {
        match kind {
            RTA_TABLE => table = u32_at(payload, 0)?,
            RTA_OIF => interface = u32_at(payload, 0)?,
            RTA_DST => destination = <[u8; 4]>::try_from(payload).ok().map(Ipv4Addr::from),
            _ => {}
        }
    }
    if table == RT_TABLE_LOCAL || prefix == 0 || prefix > 32 {
        return None;
    }
    Some(Route { destination: Subnet::containing(destination?, prefix), interface })
}
