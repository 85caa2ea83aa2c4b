//! Work inside a container's network namespace.

use crate::netlink::address::{self, Address};
use crate::netlink::{Messages, Socket, link, route};
use crate::plan::Done;
use oci::{Context, Error, Result};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Index of the loopback device in every namespace.
const LOOPBACK: u32 = 1;

/// Opens a namespace that isn't the caller's own: a mistake in the path must not change the host.
pub(super) fn open(path: &Path) -> Result<File> {
    let what = || format!("network namespace {}", path.display());
    let file = File::open(path).context(what)?;
    let own = File::open("/proc/self/ns/net").context(|| "open /proc/self/ns/net")?;
    let (given, own) = (file.metadata().context(what)?, own.metadata().context(what)?);
    if (given.dev(), given.ino()) == (own.dev(), own.ino()) {
        return Err(Error::invalid(format!("{}: it is the host's", what())));
    }
    if given.dev() != own.dev() {
        return Err(Error::invalid(format!("{}: it is no namespace", what())));
    }
    Ok(file)
}

/// Moves the process, for good.
pub(super) fn enter(namespace: &File, path: &Path) -> Result<()> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(std::io::Error::from)
        .context(|| format!("join network namespace {}", path.display()))
}

/// Sets the loopback device up.
pub(super) fn loopback(path: &Path) -> Result<Done> {
    enter(&open(path)?, path)?;
    let mut batch = Messages::default();
    link::push_up(&mut batch, LOOPBACK);
    Socket::route()?.execute(batch).map_err(|r| r.about("set the loopback device up"))?;
    Ok(Done::default())
}

/// Adds a default route.
pub(super) fn default_route(path: &Path, gateway: Ipv4Addr, interface: &str) -> Result<Done> {
    enter(&open(path)?, path)?;
    let mut socket = Socket::route()?;
    let what = format!("default route via {gateway} on {interface}");
    let found = socket.link(interface).map_err(|r| r.about(&what))?;
    let found = found.ok_or_else(|| Error::not_found(format!("{what}: no such interface")))?;
    let mut batch = Messages::default();
    route::push_default(&mut batch, gateway, found.index);
    match socket.execute(batch) {
        Err(refusal) if refusal.errno != Errno::EXIST => Err(refusal.about(&what)),
        _ => Ok(Done::default()),
    }
}

/// Gives the interface its address, sets it and the loopback device up, and adds the default route.
/// Returns the namespace's socket.
pub(super) fn configure(interface: &str, ip: Ipv4Addr, prefix: u8, gateway: Option<Ipv4Addr>) -> Result<Socket> {
    let mut socket = Socket::route()?;
    let what = format!("configure {interface} with {ip}/{prefix}");
    let found = socket.link(interface).map_err(|r| r.about(&what))?;
    let index = found.ok_or_else(|| Error::not_found(format!("{what}: no such interface")))?.index;
    super::sysctl::disable_ipv6(interface)?;
    let mut batch = Messages::default();
    link::push_up(&mut batch, LOOPBACK);
    address::push_add(&mut batch, Address { index, ip, prefix });
    link::push_up(&mut batch, index);
    if let Some(gateway) = gateway {
        route::push_default(&mut batch, gateway, index);
    }
    socket.execute(batch).map_err(|r| r.about(&what))?;
    Ok(socket)
}
