//! Host ports, held by sockets that are bound and never used: no other program can take a port
//! that is published, and a port that another program has is found out before anything is made.
//! Packets never reach these sockets, since the firewall redirects them first.

use oci::{Error, Kind, Result};
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_reuseaddr};
use rustix::net::{AddressFamily, SocketAddrV4, SocketFlags, SocketType, bind, listen, socket_with};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::str::FromStr;

/// A transport whose ports can be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP
    #[default]
    Tcp,
    /// UDP
    Udp,
}

impl Protocol {
    /// The number in the IP header.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl FromStr for Protocol {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" | "" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Err(Error::unsupported("publishing SCTP ports is not supported")),
            _ => Err(Error::invalid(format!("invalid protocol {text:?}: expected tcp or udp"))),
        }
    }
}

/// A host port that stays taken until this is dropped.
#[derive(Debug)]
pub struct PortReservation {
    ip: Ipv4Addr,
    port: u16,
    protocol: Protocol,
    _socket: OwnedFd,
}

impl PortReservation {
    /// Takes one port, which is not 0.
    ///
    /// # Errors
    /// `Conflict` if another program has it ("address already in use"), `InvalidArgument` if the
    /// address is none of this host's, and the kernel's others.
    pub fn bind(ip: Ipv4Addr, port: u16, protocol: Protocol) -> Result<Self> {
        let socket = take(ip, port, protocol).map_err(|errno| {
            let kind = match errno {
                Errno::ADDRINUSE => Kind::Conflict,
                Errno::ADDRNOTAVAIL => Kind::InvalidArgument,
                Errno::ACCESS | Errno::PERM => Kind::PermissionDenied,
                _ => Kind::Internal,
            };
            let words = match errno {
                Errno::ADDRINUSE => "address already in use".to_owned(),
                Errno::ADDRNOTAVAIL => "cannot assign requested address".to_owned(),
                other => std::io::Error::from(other).to_string(),
            };
            Error::new(kind, format!("failed to bind host port {ip}:{port}/{protocol}: {words}"))
        })?;
        Ok(Self { ip, port, protocol, _socket: socket })
    }

    /// The address, unspecified for all.
    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The transport.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// If both can't be held at once.
    fn collides(&self, ip: Ipv4Addr, port: u16, protocol: Protocol) -> bool {
        (self.port, self.protocol) == (port, protocol)
            && (self.ip == ip || self.ip.is_unspecified() || ip.is_unspecified())
    }
}

fn take(ip: Ipv4Addr, port: u16, protocol: Protocol) -> rustix::io::Result<OwnedFd> {
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let socket = socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)?;
    if protocol == Protocol::Tcp {
        // As servers do: connections of an earlier server that are winding down don't count. It
        // must listen, since a bound port alone could be taken by others that ask for the same.
        set_socket_reuseaddr(&socket, true)?;
    }
    set_socket_recv_buffer_size(&socket, 1)?;
    bind(&socket, &SocketAddrV4::new(ip, port))?;
    if protocol == Protocol::Tcp {
        listen(&socket, 0)?;
    }
    Ok(socket)
}

/// Takes a port while others are held; `port` 0 lets it choose from `range`, starting at `next`,
/// which moves on.
pub(crate) fn reserve<'a>(
    ip: Ipv4Addr,
    port: u16,
    protocol: Protocol,
    held: impl Iterator<Item = &'a PortReservation> + Clone,
    range: (u16, u16),
    next: &mut u16,
) -> Result<PortReservation> {
    let collides = |port| held.clone().any(|other| other.collides(ip, port, protocol));
    if port != 0 {
        if collides(port) {
            return Err(Error::conflict(format!("Bind for {ip}:{port} failed: port is already allocated")));
        }
        return PortReservation::bind(ip, port, protocol);
    }
    let (first, last) = range;
    if !(first..=last).contains(next) {
        *next = first;
    }
    let start = *next;
    for port in (start..=last).chain(first..start) {
        if collides(port) {
            continue;
        }
        match PortReservation::bind(ip, port, protocol) {
            Ok(reservation) => {
                *next = port.checked_add(1).unwrap_or(first);
                return Ok(reservation);
            }
            Err(error) if error.kind() == Kind::Conflict => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::exhausted(format!("Bind for {ip}:0 failed: all {protocol} ports of {first}-{last} are allocated")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn a_held_port_is_nobody_elses() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let held = PortReservation::bind(Ipv4Addr::LOCALHOST, free, Protocol::Tcp).unwrap();
        assert!(TcpListener::bind(("127.0.0.1", free)).is_err());
        let mut next = 0;
        let again = reserve(Ipv4Addr::UNSPECIFIED, free, Protocol::Tcp, [&held].into_iter(), (1, 2), &mut next);
        assert_eq!(
            again.unwrap_err().to_string(),
            format!("Bind for 0.0.0.0:{free} failed: port is already allocated")
        );
        drop(held);
        TcpListener::bind(("127.0.0.1", free)).unwrap();
    }

    #[test]
    fn somebody_elses_port_is_refused() {
        let other = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = other.local_addr().unwrap().port();
        let error = PortReservation::bind(Ipv4Addr::LOCALHOST, port, Protocol::Udp).unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        assert!(error.to_string().contains("address already in use"), "{error}");
        let far = PortReservation::bind(Ipv4Addr::new(203, 0, 113, 7), port, Protocol::Udp).unwrap_err();
        assert!(far.to_string().contains("cannot assign requested address"), "{far}");
    }

    #[test]
    fn a_chosen_port_is_free_and_the_choice_ends() {
        let (a, b) = (UdpSocket::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let (udp, tcp) = (a.local_addr().unwrap().port(), b.local_addr().unwrap().port());
        let mut next = 0;
        let none = std::iter::empty();
        let full = reserve(Ipv4Addr::LOCALHOST, 0, Protocol::Udp, none.clone(), (udp, udp), &mut next);
        assert_eq!(full.unwrap_err().kind(), Kind::ResourceExhausted);
        drop(b);
        let chosen = reserve(Ipv4Addr::LOCALHOST, 0, Protocol::Tcp, none, (tcp, tcp), &mut next).unwrap();
        assert_eq!(chosen.port(), tcp);
    }

    #[test]
    fn protocols_are_read() {
        assert_eq!("UDP".parse::<Protocol>().unwrap(), Protocol::Udp);
        assert_eq!("sctp".parse::<Protocol>().unwrap_err().kind(), Kind::Unsupported);
        assert_eq!("icmp".parse::<Protocol>().unwrap_err().kind(), Kind::InvalidArgument);
    }
}
