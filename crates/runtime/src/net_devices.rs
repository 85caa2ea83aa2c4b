//! Moves the host's network devices into a container, and gives them back when it does not come to be.
//!
//! ```text
//! host:       find → note addresses and state → down → move and rename in one request
//! container:  addresses → up
//! ```
//! After that they belong to the network namespace: the specification forbids to take them out of it again when the
//! container ends.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use oci::{Context, Error, Kind, Result};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::log;
use crate::netlink::{Request, Socket, attributes, u32_at};
use crate::plan::namespaces::NETWORK;
use crate::plan::net_devices::PlannedNetDevice;

const NEWLINK: u16 = 16;
const GETLINK: u16 = 18;
const NEWADDR: u16 = 20;
const GETADDR: u16 = 22;
const IFLA_IFNAME: u16 = 3;
const IFLA_NET_NS_FD: u16 = 28;
const IFF_UP: u32 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const IFA_RT_PRIORITY: u16 = 9;
const IFA_F_PERMANENT: u32 = 0x80;
/// Flags that whoever made the address has chosen: no duplicate detection, home address, temporary ones derived from
/// it, no route for its prefix, joining multicast groups.
const CHOSEN: u32 = 0x02 | 0x10 | 0x100 | 0x200 | 0x400;

/// Devices that are in a container now.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    /// The container's network namespace, kept alive until the devices are safe.
    namespace: Option<OwnedFd>,
    devices: Vec<Device>,
}

#[derive(Debug)]
struct Device {
    name: String,
    /// In the container.
    index: u32,
    up: bool,
    /// Requests that give it its addresses, but for its index.
    addresses: Vec<Address>,
}

#[derive(Debug, Clone)]
struct Address {
    family: u8,
    prefix: u8,
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Moved {
    /// Moves devices into the network namespace of a process; on failure those moved so far are given back.
    pub(crate) fn move_to_process(&mut self, pid: i32, planned: &[PlannedNetDevice]) -> Result<()> {
        let path = format!("/proc/{pid}/ns/net");
        let namespace: OwnedFd = File::open(&path).context(|| format!("open {path}"))?.into();
        let mut host = Socket::open()?;
        let mut inside = socket_in(&namespace)?;
        self.namespace = Some(namespace);
        for device in planned {
            if let Err(error) = self.bring(device, &mut host, &mut inside) {
                self.give_back();
                return Err(error.prefixed(format!("linux.netDevices[{:?}]", device.host)));
            }
        }
        Ok(())
    }

    fn bring(&mut self, planned: &PlannedNetDevice, host: &mut Socket, inside: &mut Socket) -> Result<()> {
        let PlannedNetDevice { host: name, inside: new_name } = planned;
        let (index, flags) = find(host, name).map_err(|error| {
            let kind = if error == Errno::NODEV { Kind::NotFound } else { Kind::Internal };
            Error::new(kind, format!("link not found for interface {name} on runtime namespace: {}", words(error)))
        })?;
        // Before it goes down, which makes the kernel forget those of IPv6.
        let addresses = addresses(host, index).map_err(|e| io(e, "fail to get ip addresses"))?;
        let up = flags & IFF_UP != 0;
        let before = if new_name.contains("%d") {
            Some(indexes(inside).map_err(|e| io(e, "list the container's network devices"))?)
        } else {
            // The kernel moves first and renames then, so it would find out when the device is over there.
            if find(inside, new_name).is_ok() {
                return Err(Error::already_exists(format!(
                    "fail to move network device {name}: the container's network namespace has a {new_name} already: \
                     file exists"
                )));
            }
            None
        };
        set_up(host, index, false).map_err(|e| io(e, "fail to set link down"))?;
        let Some(namespace) = &self.namespace else { return Err(Error::internal("no network namespace")) };
        if let Err(error) = move_to(host, index, new_name, namespace) {
            if find(host, name).is_ok() {
                restore(host, index, up, &addresses, name);
            } else if let Ok((inner, _)) = find(inside, name) {
                // Moved and not renamed.
                self.devices.push(Device { name: name.clone(), index: inner, up, addresses });
            }
            let what = format!("fail to move network device {name} to the container's network namespace as {new_name}");
            return Err(io(error, &what));
        }
        let found = match &before {
            None => find(inside, new_name).map(|(index, _)| index),
            Some(before) => {
                indexes(inside).and_then(|now| now.into_iter().find(|i| !before.contains(i)).ok_or(Errno::NODEV))
            }
        };
        let inner = found.map_err(|e| io(e, &format!("link not found for interface {new_name} in the container")))?;
        self.devices.push(Device { name: name.clone(), index: inner, up, addresses: addresses.clone() });
        for address in &addresses {
            add_address(inside, inner, address).map_err(|e| io(e, "fail to set up an address in the container"))?;
        }
        set_up(inside, inner, true).map_err(|e| io(e, &format!("fail to set up interface {new_name}")))
    }

    /// Moves all devices back, as they were. Goes on past errors, which can only be told.
    pub(crate) fn give_back(&mut self) {
        let Some(namespace) = self.namespace.take() else { return };
        if self.devices.is_empty() {
            return;
        }
        let sockets = || Ok::<_, Error>((Socket::open()?, socket_in(&namespace)?, own_namespace()?));
        let (mut host, mut inside, own) = match sockets() {
            Ok(sockets) => sockets,
            Err(error) => return log::warn(format_args!("give network devices back: {error}")),
        };
        for device in self.devices.drain(..).rev() {
            let back = || -> Result<u32, Errno> {
                set_up(&mut inside, device.index, false)?;
                move_to(&mut inside, device.index, &device.name, &own)?;
                Ok(find(&mut host, &device.name)?.0)
            };
            match { back }() {
                Ok(index) => restore(&mut host, index, device.up, &device.addresses, &device.name),
                Err(error) => log::warn(format_args!("give network device {} back: {}", device.name, words(error))),
            }
        }
    }
}

/// Brings up the loopback device of a new network namespace, in which this process must be.
pub(crate) fn loopback_up() -> Result<()> {
    // The cheapest socket there is; what matters is where it is made.
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)
        .map_err(words)
        .context(|| "make a socket for the loopback device")?;
    sys::netlink::loopback_up(socket.as_fd()).context(|| "bring the loopback device up")
}

fn words(error: Errno) -> Error {
    std::io::Error::from(error).into()
}

fn io(error: Errno, what: &str) -> Error {
    words(error).prefixed(what)
}

fn own_namespace() -> Result<OwnedFd> {
    Ok(File::open("/proc/self/ns/net").context(|| "open the own network namespace")?.into())
}

/// A socket of another network namespace. This process is back in its own when it returns.
fn socket_in(namespace: &OwnedFd) -> Result<Socket> {
    let own = own_namespace()?;
    sys::process::setns(namespace.as_fd(), NETWORK).context(|| "enter the container's network namespace")?;
    let socket = Socket::open();
    sys::process::setns(own.as_fd(), NETWORK).context(|| "return to the own network namespace")?;
    socket
}

/// `struct ifinfomsg`.
fn link(index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..].copy_from_slice(&change.to_ne_bytes());
    bytes
}

fn name_value(name: &str) -> Vec<u8> {
    let mut value = name.as_bytes().to_vec();
    value.push(0);
    value
}

/// Index and flags of a device.
fn find(socket: &mut Socket, name: &str) -> Result<(u32, u32), Errno> {
    let body = socket.get(&Request::new(GETLINK, &link(0, 0, 0)).with(IFLA_IFNAME, &name_value(name)))?;
    Ok((u32_at(&body, 4).ok_or(Errno::BADMSG)?, u32_at(&body, 8).ok_or(Errno::BADMSG)?))
}

fn indexes(socket: &mut Socket) -> Result<Vec<u32>, Errno> {
    let all = socket.list(&Request::new(GETLINK, &link(0, 0, 0)))?;
    Ok(all.iter().filter_map(|body| u32_at(body, 4)).collect())
}

fn set_up(socket: &mut Socket, index: u32, up: bool) -> Result<(), Errno> {
    socket.call(&Request::new(NEWLINK, &link(index, if up { IFF_UP } else { 0 }, IFF_UP)))
}

/// Moves and renames at once, so that its old name cannot collide with one over there.
fn move_to(socket: &mut Socket, index: u32, name: &str, namespace: &OwnedFd) -> Result<(), Errno> {
    let fd = namespace.as_raw_fd().cast_unsigned().to_ne_bytes();
    let request = Request::new(NEWLINK, &link(index, 0, 0)).with(IFLA_IFNAME, &name_value(name));
    socket.call(&request.with(IFLA_NET_NS_FD, &fd))
}

/// The permanent addresses of global scope; others depend on where the device was.
fn addresses(socket: &mut Socket, index: u32) -> Result<Vec<Address>, Errno> {
    let mut request = [0; 8];
    request[4..].copy_from_slice(&index.to_ne_bytes());
    let mut found = Vec::new();
    for body in socket.list(&Request::new(GETADDR, &request))? {
        let [family, prefix, flags, scope] = body.get(..4).and_then(|b| b.try_into().ok()).ok_or(Errno::BADMSG)?;
        let all = body.get(8..).unwrap_or_default();
        let wide = attributes(all).find(|(kind, _)| *kind == IFA_FLAGS).and_then(|(_, value)| u32_at(value, 0));
        let flags = wide.unwrap_or(u32::from(flags));
        if u32_at(&body, 4) != Some(index) || flags & IFA_F_PERMANENT == 0 || scope != 0 {
            continue;
        }
        let mut kept: Vec<(u16, Vec<u8>)> = attributes(all)
            .filter(|(kind, _)| [IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_RT_PRIORITY].contains(kind))
            .map(|(kind, value)| (kind, value.to_vec()))
            .collect();
        if flags & CHOSEN != 0 {
            kept.push((IFA_FLAGS, (flags & CHOSEN).to_ne_bytes().to_vec()));
        }
        found.push(Address { family, prefix, attributes: kept });
    }
    Ok(found)
}

/// An address that is there already counts as added.
fn add_address(socket: &mut Socket, index: u32, address: &Address) -> Result<(), Errno> {
    let mut body = [address.family, address.prefix, 0, 0, 0, 0, 0, 0];
    body[4..].copy_from_slice(&index.to_ne_bytes());
    let request = address
        .attributes
        .iter()
        .fold(Request::new(NEWADDR, &body), |request, (kind, value)| request.with(*kind, value));
    match socket.call(&request) {
        Err(Errno::EXIST) => Ok(()),
        result => result,
    }
}

/// Gives a device on the host its addresses and state again.
fn restore(host: &mut Socket, index: u32, up: bool, addresses: &[Address], name: &str) {
    let mut first = Ok(());
    for address in addresses {
        first = first.and(add_address(host, index, address));
    }
    if up {
        first = first.and(set_up(host, index, true));
    }
    if let Err(error) = first {
        log::warn(format_args!("restore network device {name}: {}", words(error)));
    }
}
