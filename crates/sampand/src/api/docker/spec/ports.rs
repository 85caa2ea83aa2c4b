//! Exposed and published ports.

use engine::model::PortSpec;
use oci::{Error, Result};
use std::collections::BTreeSet;
use wire::docker::Map;
use wire::docker::host_config::PortBinding;

type Bindings = Map<Option<Vec<PortBinding>>>;

/// Docker's key for a port, as in `80/tcp`.
pub fn port_key(port: u16, protocol: &str) -> String {
    format!("{port}/{protocol}")
}

/// The ports that `80`, `80/udp` or `8000-8010/tcp` name, each as `80/tcp`.
///
/// # Errors
/// `InvalidArgument`, naming the text.
pub fn parse_exposed(text: &str) -> Result<Vec<String>> {
    let (first, last, protocol) = parse(text)?;
    Ok((first..=last).map(|port| port_key(port, &protocol)).collect())
}

fn parse(text: &str) -> Result<(u16, u16, String)> {
    let bad = |why: &str| Error::invalid(format!("invalid port specification {text:?}: {why}"));
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(bad("the protocol must be tcp, udp or sctp"));
    }
    let (first, last) = parse_range(range).filter(|(first, _)| *first > 0).ok_or_else(|| bad("invalid port"))?;
    Ok((first, last, protocol))
}

fn parse_range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}

/// What `PortBindings` exposes and publishes.
///
/// # Errors
/// `InvalidArgument`, naming the port.
pub fn published(bindings: Option<&Bindings>) -> Result<(BTreeSet<String>, Vec<PortSpec>)> {
    let mut exposed = BTreeSet::new();
    let mut ports = Vec::new();
    for (key, list) in bindings.into_iter().flatten() {
        let (container_port, last, protocol) = parse(key)?;
        if container_port != last {
            return Err(Error::invalid(format!("invalid port specification {key:?}: one port, not a range")));
        }
        exposed.insert(port_key(container_port, &protocol));
        for binding in list.iter().flatten() {
            let (host_port, end) = match binding.host_port.as_str() {
                "" => (0, 0),
                text => {
                    parse_range(text).ok_or_else(|| Error::invalid(format!("invalid port specification: {text:?}")))?
                }
            };
            let host_ip = match binding.host_ip.as_str() {
                "" => None,
                text => Some(text.parse().map_err(|_| Error::invalid(format!("invalid IP address: {text}")))?),
            };
            ports.push(PortSpec {
                container_port,
                protocol: protocol.clone(),
                host_ip,
                host_port,
                host_port_end: (end != host_port).then_some(end),
            });
        }
    }
    Ok((exposed, ports))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exposed_ports_and_ranges() {
        assert_eq!(parse_exposed("80").unwrap(), ["80/tcp"]);
        assert_eq!(parse_exposed("8000-8002/UDP").unwrap(), ["8000/udp", "8001/udp", "8002/udp"]);
        for text in ["", "x", "0", "70000", "2-1", "80/icmp", "80/", "-1", "80-"] {
            assert!(parse_exposed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bindings() {
        let json = r#"{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"8080"},{"HostPort":""}],"53/udp":null,
            "90":[{"HostPort":"9000-9010"}]}"#;
        let bindings: Bindings = serde_json::from_str(json).unwrap();
        let (exposed, ports) = published(Some(&bindings)).unwrap();
        assert_eq!(exposed.iter().collect::<Vec<_>>(), ["53/udp", "80/tcp", "90/tcp"]);
        assert_eq!(ports.len(), 3);
        assert_eq!(ports[0].host_ip, Some("127.0.0.1".parse().unwrap()));
        assert_eq!((ports[0].host_port, ports[0].host_port_end), (8080, None));
        assert_eq!((ports[1].host_ip, ports[1].host_port), (None, 0));
        assert_eq!((ports[2].host_port, ports[2].host_port_end), (9000, Some(9010)));
        for bad in [r#"{"80":[{"HostPort":"x"}]}"#, r#"{"80":[{"HostIp":"x"}]}"#, r#"{"80-81":[{}]}"#] {
            assert!(published(Some(&serde_json::from_str(bad).unwrap())).is_err(), "{bad}");
        }
    }
}
