//! `/etc/hosts`.

use super::hostname;
use oci::{Error, Result};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

/// More lines than this are refused.
const MAX_EXTRA: usize = 4096;

/// A line that was asked for (`--add-host`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraHost {
    /// The name.
    pub name: String,
    /// Its address; `None` stands for the host's gateway (`host-gateway`).
    pub ip: Option<IpAddr>,
}

impl ExtraHost {
    /// Reads docker's `name:address` (also `name=address`), where the address may be an IPv6 one,
    /// with or without brackets, or `host-gateway`.
    ///
    /// # Errors
    /// `InvalidArgument`.
    pub fn parse(text: &str) -> Result<Self> {
        let bad = || Error::invalid(format!("bad format for add-host: {text:?}: expected name:address"));
        let at = text.find(['=', ':']).ok_or_else(bad)?;
        let (name, address) = (&text[..at], &text[at + 1..]);
        if name.is_empty() || name.len() > 253 || name.bytes().any(|b| !b.is_ascii_graphic() || b == b'#') {
            return Err(bad());
        }
        if address == "host-gateway" {
            return Ok(Self { name: name.into(), ip: None });
        }
        let address = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
        let ip = address.parse().map_err(|_| Error::invalid(format!("invalid IP address in add-host: {address:?}")))?;
        Ok(Self { name: name.into(), ip: Some(ip) })
    }
}

/// What goes into the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostsFile {
    /// The container's host name.
    pub hostname: String,
    /// Its domain name, or empty.
    pub domainname: String,
    /// The container's addresses, each of which gets a line with its names.
    pub addresses: Vec<IpAddr>,
    /// More names and addresses.
    pub extra: Vec<ExtraHost>,
    /// What `host-gateway` stands for.
    pub gateway: Option<Ipv4Addr>,
    /// Names of other containers and their addresses.
    pub links: Vec<(String, IpAddr)>,
    /// Also the names of IPv6's loopback and multicast addresses.
    pub ipv6: bool,
}

/// The file's text.
///
/// # Errors
/// `InvalidArgument` for bad names, too many lines, or `host-gateway` without a gateway.
pub fn hosts(file: &HostsFile) -> Result<String> {
    if file.extra.len() + file.links.len() > MAX_EXTRA {
        return Err(Error::invalid(format!("more than {MAX_EXTRA} extra hosts")));
    }
    let mut out = String::from("127.0.0.1\tlocalhost\n");
    if file.ipv6 {
        out.push_str("::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\nff00::\tip6-mcastprefix\n");
        out.push_str("ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n");
    }
    // Writing to a String can't fail.
    for extra in &file.extra {
        let ip = match (extra.ip, file.gateway) {
            (Some(ip), _) => ip,
            (None, Some(gateway)) => gateway.into(),
            (None, None) => {
                return Err(Error::invalid(format!("extra host {}: this network has no host-gateway", extra.name)));
            }
        };
        let _ = writeln!(out, "{ip}\t{}", extra.name);
    }
    for (name, ip) in &file.links {
        let _ = writeln!(out, "{ip}\t{name}");
    }
    if !file.hostname.is_empty() {
        hostname::check(&file.hostname)?;
        let names = if file.domainname.is_empty() {
            file.hostname.clone()
        } else {
            format!("{0}.{1} {0}", file.hostname, file.domainname)
        };
        for ip in &file.addresses {
            let _ = writeln!(out, "{ip}\t{names}");
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extra_hosts_are_read() {
        let read = |text| ExtraHost::parse(text).unwrap();
        assert_eq!(read("db:10.0.0.2").ip, Some("10.0.0.2".parse().unwrap()));
        assert_eq!(read("db=[fd00::1]").ip, Some("fd00::1".parse().unwrap()));
        assert_eq!(read("db:fd00::1").ip, Some("fd00::1".parse().unwrap()));
        assert_eq!(read("host.docker.internal:host-gateway").ip, None);
        for wrong in ["", "db", "db:", ":1.2.3.4", "a b:1.2.3.4", "db:10.0.0", "x\ny:1.2.3.4"] {
            assert!(ExtraHost::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_file_reads_as_dockers() {
        let file = HostsFile {
            hostname: "web".into(),
            addresses: vec!["172.17.0.2".parse().unwrap()],
            extra: vec![ExtraHost::parse("up:host-gateway").unwrap()],
            gateway: Some(Ipv4Addr::new(172, 17, 0, 1)),
            ..HostsFile::default()
        };
        assert_eq!(hosts(&file).unwrap(), "127.0.0.1\tlocalhost\n172.17.0.1\tup\n172.17.0.2\tweb\n");
        let domain = HostsFile { domainname: "example".into(), extra: vec![], ..file.clone() };
        assert!(hosts(&domain).unwrap().ends_with("172.17.0.2\tweb.example web\n"));
        assert!(hosts(&HostsFile { gateway: None, ..file }).is_err());
    }
}
