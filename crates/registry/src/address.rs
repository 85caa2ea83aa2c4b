//! Hosts, ports and URLs.

use crate::errors::Failure;
use http::Uri;
use std::net::IpAddr;

/// Where a connection goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    /// TLS or plain.
    pub(crate) tls: bool,
    /// Name or address, without brackets, lowercase.
    pub(crate) host: String,
    /// The port.
    pub(crate) port: u16,
    /// `host[:port]` as the URL says it; names the certificate directory.
    pub(crate) authority: String,
}

impl Target {
    /// The target of an absolute `http` or `https` URL.
    pub(crate) fn of(uri: &Uri) -> Result<Self, Failure> {
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(Failure::broken(format!("{}: only http and https URLs are followed", shown(uri)))),
        };
        let authority =
            uri.authority().ok_or_else(|| Failure::broken(format!("URL without a host: {}", shown(uri))))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        if host.is_empty() {
            return Err(Failure::broken(format!("URL without a host: {}", shown(uri))));
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        // What stands before an `@` are credentials; they are neither sent nor shown.
        let name = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, name)| name);
        Ok(Self { tls, host, port, authority: name.to_ascii_lowercase() })
    }
}

/// `host[:port]` taken apart; brackets around IPv6 are removed.
pub(crate) fn split_authority(text: &str) -> Option<(String, Option<u16>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        let port = match after.strip_prefix(':') {
            Some(port) => Some(port.parse().ok()?),
            None if after.is_empty() => None,
            None => return None,
        };
        return Some((host.to_ascii_lowercase(), port));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (text, None),
    };
    (!host.is_empty()).then(|| (host.to_ascii_lowercase(), port))
}

/// `localhost`, `127.0.0.0/8` and `::1`: the hosts docker treats as insecure by default.
pub(crate) fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// A URL for people: without query (signed redirects carry secrets there) and user information.
pub(crate) fn shown(uri: &Uri) -> String {
    let host = uri.authority().map_or("", |a| a.as_str().rsplit_once('@').map_or(a.as_str(), |(_, host)| host));
    format!("{}://{}{}", uri.scheme_str().unwrap_or("http"), host, uri.path())
}

/// What a `Location` or `Link` means, seen from `base` (RFC 3986, section 5, without dot segments).
pub(crate) fn join(base: &Uri, location: &str) -> Option<Uri> {
    let location = location.split('#').next().unwrap_or_default();
    if location.is_empty() {
        return None;
    }
    let scheme = base.scheme_str()?;
    let authority = base.authority()?;
    let lower = location.get(..8).unwrap_or(location).to_ascii_lowercase();
    let text = if lower.starts_with("http://") || lower.starts_with("https://") {
        location.to_owned()
    } else if let Some(rest) = location.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.starts_with('?') {
        format!("{scheme}://{authority}{}{location}", base.path())
    } else if location.split(['/', '?']).next().is_some_and(|first| first.contains(':')) {
        return None;
    } else {
        let directory = base.path().rsplit_once('/').map_or("", |(directory, _)| directory);
        format!("{scheme}://{authority}{directory}/{location}")
    };
    // An empty path is written out, so that the request line has one.
    let uri: Uri = text.parse().ok()?;
    uri.authority().is_some().then_some(uri)
}

/// `uri` with one more query parameter; `value` is escaped.
pub(crate) fn with_query(uri: &Uri, name: &str, value: &str) -> Option<Uri> {
    let text = uri.to_string();
    let join = if uri.query().is_some() { '&' } else { '?' };
    format!("{text}{join}{name}={}", escape(value)).parse().ok()
}

/// Percent-encoding of everything but RFC 3986's unreserved characters.
pub(crate) fn escape(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_locations() {
        let base: Uri = "http://r:5000/v2/a/blobs/uploads/".parse().unwrap();
        for (location, expected) in [
            ("/v2/x?y=1", "http://r:5000/v2/x?y=1"),
            ("https://cdn/x#f", "https://cdn/x"),
            ("//cdn/x", "http://cdn/x"),
            ("u1?_state=a", "http://r:5000/v2/a/blobs/uploads/u1?_state=a"),
            ("?q", "http://r:5000/v2/a/blobs/uploads/?q"),
        ] {
            assert_eq!(join(&base, location).unwrap().to_string(), expected);
        }
        for bad in ["", "ftp://x/", "file:///etc/passwd", "http://", "http:///x"] {
            assert!(join(&base, bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn shows_urls_without_secrets() {
        let uri: Uri = "https://joe:pw@cdn.example/x?sig=abc".parse().unwrap();
        assert_eq!(shown(&uri), "https://cdn.example/x");
        assert_eq!(Target::of(&uri).unwrap().authority, "cdn.example");
    }

    #[test]
    fn knows_loopback_and_takes_authorities_apart() {
        assert!(is_loopback("localhost") && is_loopback("127.3.4.5") && is_loopback("::1"));
        assert!(!is_loopback("localhost.example") && !is_loopback("128.0.0.1"));
        assert_eq!(split_authority("[::1]:5000"), Some(("::1".into(), Some(5000))));
        assert_eq!(split_authority("Reg"), Some(("reg".into(), None)));
        assert_eq!(split_authority("reg:x"), None);
    }
}
