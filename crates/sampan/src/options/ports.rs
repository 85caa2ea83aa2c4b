//! `-p [ip:][host[-host]:]container[-container][/proto]`, its long form, and `--expose`.

use super::mount::csv;
use crate::failure::{Failure, Result};
use std::net::IpAddr;
use wire::docker::host_config::PortBinding;
use wire::docker::{Empty, Map};

/// Ports as the API wants them.
#[derive(Debug, Default)]
pub(crate) struct Published {
    pub(crate) exposed: Map<Empty>,
    pub(crate) bindings: Map<Option<Vec<PortBinding>>>,
}

/// Reads all of `--publish`.
pub(crate) fn publish(texts: &[String]) -> Result<Published> {
    let mut all = Published::default();
    for text in texts {
        let standard = if text.contains('=') { long_form(text) } else { Ok(text.clone()) };
        let parsed = standard.and_then(|standard| parse(&standard));
        let parsed = parsed.map_err(|why| Failure::new(why).with_code(125))?;
        for (port, binding) in parsed {
            all.exposed.insert(port.clone(), Empty {});
            all.bindings.entry(port).or_default().get_or_insert_default().push(binding);
        }
    }
    Ok(all)
}

fn long_form(text: &str) -> Result<String, String> {
    let (mut target, mut published, mut protocol) = (String::new(), String::new(), "tcp".to_owned());
    for field in csv(text)? {
        let (key, value) = field.split_once('=').ok_or_else(|| format!("invalid field: {field}"))?;
        let number = || value.parse::<u16>().map(|n| n.to_string()).map_err(|_| format!("invalid port in {field:?}"));
        match key {
            "target" => target = number()?,
            "published" => published = number()?,
            "protocol" if matches!(value, "tcp" | "udp" | "sctp") => protocol = value.to_owned(),
            "protocol" => return Err(format!("invalid protocol value '{value}'")),
            // Without a swarm there is only the host's own.
            "mode" if matches!(value, "host" | "ingress") => {}
            "mode" => return Err(format!("invalid publish mode value ({value}): must be either 'ingress' or 'host'")),
            _ => return Err(format!("invalid field key: {key}")),
        }
    }
    if target.is_empty() {
        return Err(format!("missing mandatory field '\"target\"' in {text:?}"));
    }
    Ok(format!("{published}:{target}/{protocol}"))
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
    if !digits(first) || !digits(last) {
        return None;
    }
    Some((first.parse().ok()?, last.parse().ok()?)).filter(|(first, last)| first <= last)
}

fn parse(text: &str) -> Result<Vec<(String, PortBinding)>, String> {
    let (rest, protocol) = text.split_once('/').map_or((text, "tcp"), |(rest, protocol)| (rest, protocol));
    let protocol = if protocol.is_empty() { "tcp".to_owned() } else { protocol.to_ascii_lowercase() };
    let (ip, host, container) = split(rest)?;
    if container.is_empty() {
        return Err(format!("no port specified: {text}<empty>"));
    }
    let bare = ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')).unwrap_or(ip);
    if !bare.is_empty() && bare.parse::<IpAddr>().is_err() {
        return Err(format!("invalid IP address: {ip}"));
    }
    let (first, last) = range(container).ok_or_else(|| format!("invalid containerPort: {container}"))?;
    let host_range = match host {
        "" => None,
        host => Some(range(host).ok_or_else(|| format!("invalid hostPort: {host}"))?),
    };
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid proto: {protocol}"));
    }
    // One container port may take any port of a range.
    let any_of = host_range.filter(|(from, to)| to - from != last - first);
    if any_of.is_some() && first != last {
        return Err(format!("invalid ranges specified for container and host Ports: {container} and {host}"));
    }
    let one = |port: u16| {
        let host_port = match (any_of, host_range) {
            (Some((from, to)), _) => format!("{from}-{to}"),
            (None, Some((from, _))) => (from + (port - first)).to_string(),
            (None, None) => String::new(),
        };
        (format!("{port}/{protocol}"), PortBinding { host_ip: bare.to_owned(), host_port })
    };
    Ok((first..=last).map(one).collect())
}

/// Address, host ports and container ports; an IPv6 address has brackets.
fn split(text: &str) -> Result<(&str, &str, &str), String> {
    let parts: Vec<&str> = text.rsplitn(3, ':').collect();
    match parts.as_slice() {
        [container] => Ok(("", "", container)),
        [container, host] => Ok(("", host, container)),
        [container, host, ip] if !ip.contains(':') || ip.starts_with('[') => Ok((ip, host, container)),
        [_, _, ip] => Err(format!("invalid IP address: {ip}")),
        _ => Err(format!("invalid port specification: {text}")),
    }
}

/// Reads all of `--expose`.
pub(crate) fn expose(texts: &[String]) -> Result<Vec<String>> {
    let mut ports = Vec::new();
    for text in texts {
        let refuse = |why: String| Failure::new(why).with_code(125);
        if text.contains(':') {
            return Err(refuse(format!("invalid port format for --expose: {text}")));
        }
        let invalid = |why: String| refuse(format!("invalid range format for --expose: {text}, error: {why}"));
        let (rest, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        if !matches!(protocol, "tcp" | "udp" | "sctp") {
            return Err(invalid(format!("invalid proto: {protocol}")));
        }
        for part in rest.splitn(2, '-') {
            if part.parse::<u16>().is_err() {
                return Err(invalid(format!("strconv.ParseUint: parsing {part:?}: invalid syntax")));
            }
        }
        let (first, last) = range(rest).ok_or_else(|| invalid(format!("invalid range specified for port: {rest}")))?;
        ports.extend((first..=last).map(|port| format!("{port}/{protocol}")));
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<Vec<String>, String> {
        let list = parse(text)?;
        Ok(list.into_iter().map(|(p, b)| format!("{p}={}:{}", b.host_ip, b.host_port)).collect())
    }

    #[test]
    fn forms() {
        for (text, expected) in [
            ("80", "80/tcp=:"),
            ("8080:80", "80/tcp=:8080"),
            ("127.0.0.1:8080:80/udp", "80/udp=127.0.0.1:8080"),
            ("127.0.0.1::80", "80/tcp=127.0.0.1:"),
            ("[::1]:8080:80", "80/tcp=::1:8080"),
            ("8000-8001:80-81", "80/tcp=:8000 81/tcp=:8001"),
            ("8000-8010:80", "80/tcp=:8000-8010"),
            ("0:80", "80/tcp=:0"),
        ] {
            assert_eq!(shown(text).unwrap().join(" "), expected, "{text}");
        }
        assert_eq!(long_form("target=80,published=8080,protocol=udp").unwrap(), "8080:80/udp");
        assert_eq!(expose(&["80-82/udp".into()]).unwrap(), ["80/udp", "81/udp", "82/udp"]);
    }

    #[test]
    fn mistakes() {
        for (text, why) in [
            ("x", "invalid containerPort: x"),
            ("x:80", "invalid hostPort: x"),
            ("70000:80", "invalid hostPort: 70000"),
            ("80/foo", "invalid proto: foo"),
            ("nowhere:80:80", "invalid IP address: nowhere"),
            ("8000-8003:80-81", "invalid ranges specified for container and host Ports: 80-81 and 8000-8003"),
        ] {
            assert_eq!(shown(text).unwrap_err(), why);
        }
        assert!(shown("").is_err() && shown("8080:").is_err());
        assert!(long_form("published=80").is_err() && long_form("target=80,foo=1").is_err());
        assert!(expose(&["1:2".into()]).is_err() && expose(&["9-8".into()]).is_err());
    }
}
