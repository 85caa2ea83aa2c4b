//! `attach`: bridge, rules, veth pair, address, route.

use super::{bridge, inside, lock, sysctl};
use crate::conntrack::{Which, forget};
use crate::names;
use crate::netlink::link::{self, VethPair};
use crate::netlink::{Messages, Socket};
use crate::nft::{RuleSet, Table, endpoint_rules, network_rules};
use crate::plan::{AttachPlan, Done};
use oci::{Error, Result};
use rustix::io::Errno;
use std::fs::File;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Longer than the kernel takes for it.
const SETTLE_WAIT: Duration = Duration::from_millis(1500);

pub(super) fn attach(plan: &AttachPlan) -> Result<Done> {
    let namespace = inside::open(&plan.netns)?;
    let guard = lock(&plan.host)?;
    let mut socket = Socket::route()?;
    let bridge = bridge::ensure(&mut socket, &plan.host.owner, &plan.network)?;
    if !plan.network.internal {
        sysctl::enable_forwarding(&plan.host)?;
    }
    if !plan.endpoint.ports.is_empty() {
        sysctl::enable_route_localnet(&plan.network.bridge)?;
    }
    rules(plan)?;
    pair(plan, &mut socket, bridge, &namespace)?;
    let mut done = Done { veth: plan.endpoint.veth.clone(), ..Done::default() };
    if let Err(error) = forget(&Which::PastPorts(&plan.endpoint)) {
        done.problems.push(error.to_string());
    }
    drop(guard);
    inside::enter(&namespace, &plan.netns)?;
    let gateway = plan.default_route.then_some(plan.network.gateway);
    let mut inner = inside::configure(&plan.interface, plan.endpoint.ip, plan.network.subnet.prefix(), gateway)?;
    settle(&mut inner, &plan.interface)?;
    settle(&mut socket, &plan.endpoint.veth)?;
    settle(&mut socket, &plan.network.bridge)?;
    Ok(done)
}

/// Waits until the kernel has noticed that an interface has a carrier, which it does in the
/// background and sometimes only after a second. Before that it drops packets, and a lost ARP
/// request costs another second. Linux 6.8 and newer catch up when asked for the interface.
fn settle(socket: &mut Socket, name: &str) -> Result<()> {
    let deadline = Instant::now() + SETTLE_WAIT;
    loop {
        match socket.link(name).map_err(|r| r.about(&format!("interface {name}")))? {
            None => return Err(Error::unavailable(format!("interface {name} vanished while it was set up"))),
            Some(link) if link.operational || Instant::now() > deadline => return Ok(()),
            Some(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Adds the network's rules unless they are there, and the endpoint's.
fn rules(plan: &AttachPlan) -> Result<()> {
    let mut table = Table::open(&plan.host.owner)?;
    let network = network_rules(&plan.network);
    let mut wanted: Vec<RuleSet> = Vec::new();
    let complete = table.present().filter(|rule| rule.key == network.key).count() == network.rules.len();
    let network_key = names::network_key(&plan.network.id);
    let stale_key = network.key.clone();
    if !complete {
        wanted.push(network);
    }
    let endpoint = endpoint_rules(&plan.endpoint);
    if !endpoint.rules.is_empty() {
        wanted.push(endpoint);
    }
    // Rules of an earlier form of the same network go in the same transaction.
    table.change(|rule| rule.key.starts_with(&network_key) && rule.key != stale_key, &wanted)?;
    Ok(())
}

/// Makes the veth pair and puts the host's end under the bridge.
fn pair(plan: &AttachPlan, socket: &mut Socket, bridge: u32, namespace: &File) -> Result<()> {
    let (name, interface) = (&plan.endpoint.veth, &plan.interface);
    let what = format!("create veth {name} with {interface} for container {}", plan.endpoint.container);
    let made = socket.create_veth(&VethPair {
        name,
        mtu: plan.network.mtu,
        peer_name: interface,
        peer_mac: plan.mac,
        peer_namespace: namespace.as_fd(),
    });
    match made {
        Ok(()) => {}
        Err(refusal) if refusal.errno == Errno::EXIST => {
            // One of the two names is taken, and the kernel doesn't say which.
            return Err(match socket.link(name) {
                Ok(Some(_)) => Error::already_exists(format!("interface {name} exists on the host")),
                _ => Error::conflict(format!("the container's namespace already has an interface {interface}")),
            });
        }
        Err(refusal) => return Err(refusal.about(&what)),
    }
    let index = match socket.link(name) {
        Ok(Some(link)) => link.index,
        Ok(None) => return Err(Error::unavailable(format!("{what}: it vanished"))),
        Err(refusal) => return Err(refusal.about(&what)),
    };
    let mut batch = Messages::default();
    link::push_identity(&mut batch, index, &names::container_alias(&plan.host.owner, &plan.endpoint.container));
    link::push_master(&mut batch, index, bridge);
    // A container that reaches itself by its published port comes back through the same bridge
    // port where netfilter looks into bridges.
    let (hairpin, isolated) = (!plan.endpoint.ports.is_empty(), !plan.network.icc);
    if hairpin || isolated {
        link::push_port(&mut batch, index, hairpin, isolated);
    }
    link::push_up(&mut batch, index);
    socket.execute(batch).map_err(|refusal| refusal.about(&what))
}
