//! A network's bridge: made when first needed, put right when found otherwise.
//!
//! It is made under a name that says whose it is, gets its alias, and then its final name, so that
//! an interface with a name somebody chose is always known by its alias.

use crate::mac::Mac;
use crate::names;
use crate::netlink::address::{self, Address};
use crate::netlink::link::{self, Link};
use crate::netlink::{Messages, Socket};
use crate::plan::NetworkPlan;
use oci::{Error, Result};
use rustix::io::Errno;

/// Makes sure that the bridge is there, is ours, is up and has exactly the gateway's address.
/// Returns its index.
pub(super) fn ensure(socket: &mut Socket, owner: &str, network: &NetworkPlan) -> Result<u32> {
    let name = &network.bridge;
    let what = || format!("bridge {name}");
    let bridge = match socket.link(name).map_err(|r| r.about(&what()))? {
        Some(found) => found,
        None => create(socket, owner, network)?,
    };
    let alias = names::network_alias(owner, &network.id);
    let half_made = bridge.alias.is_empty() && bridge.name.starts_with(&names::bridge_prefix(owner));
    if bridge.kind != "bridge" || !(bridge.alias == alias || half_made) {
        let whose = if bridge.alias.is_empty() { String::new() } else { format!(" ({})", bridge.alias) };
        return Err(Error::conflict(format!(
            "interface {name} exists and belongs to somebody else{whose}: choose another bridge name or remove it"
        )));
    }
    let present = socket.addresses().map_err(|r| r.about(&what()))?;
    let present: Vec<Address> = present.into_iter().filter(|a| a.index == bridge.index).collect();
    let wanted = Address { index: bridge.index, ip: network.gateway, prefix: network.subnet.prefix() };
    let mut batch = Messages::default();
    if half_made {
        link::push_identity(&mut batch, bridge.index, &alias);
    }
    if bridge.mtu != network.mtu || !bridge.up {
        // Also keeps the bridge from following its ports.
        link::push_mtu(&mut batch, bridge.index, network.mtu);
    }
    for stale in present.iter().filter(|a| **a != wanted) {
        address::push_remove(&mut batch, *stale);
    }
    if !present.contains(&wanted) {
        address::push_add(&mut batch, wanted);
    }
    if !bridge.up {
        link::push_up(&mut batch, bridge.index);
    }
    if batch.count() > 0 {
        socket.execute(batch).map_err(|r| r.about(&format!("set up bridge {name} with {}", network.gateway)))?;
    }
    Ok(bridge.index)
}

/// Makes the bridge with its alias and name; it is down and has no address.
fn create(socket: &mut Socket, owner: &str, network: &NetworkPlan) -> Result<Link> {
    let (first_name, name) = (names::bridge(owner, &network.id), &network.bridge);
    let what = || format!("create bridge {name}");
    match socket.create_bridge(&first_name, Mac::of(network.gateway), network.mtu) {
        // One that we were killed over.
        Err(refusal) if refusal.errno == Errno::EXIST => {}
        result => result.map_err(|r| r.about(&what()))?,
    }
    let find = |socket: &mut Socket, name: &str| {
        let found = socket.link(name).map_err(|r| r.about(&what()))?;
        found.ok_or_else(|| Error::unavailable(format!("{}: it vanished", what())))
    };
    let made = find(socket, &first_name)?;
    let mut batch = Messages::default();
    link::push_identity(&mut batch, made.index, &names::network_alias(owner, &network.id));
    if first_name != *name {
        link::push_name(&mut batch, made.index, name);
    }
    if let Err(refusal) = socket.execute(batch) {
        let error = refusal.about(&what());
        return Err(match socket.delete_link(made.index) {
            Ok(()) => error,
            Err(also) => Error::new(error.kind(), format!("{error}; and {}", also.about("remove it"))),
        });
    }
    find(socket, name)
}
