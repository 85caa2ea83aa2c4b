//! The way out through HTTP proxies: `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, read as Go's
//! programs read them, so that a machine set up for docker works unchanged.

use crate::address::{is_loopback, split_authority};
use crate::credentials::basic_header;
use http::{HeaderValue, Uri};
use oci::{Error, Result};
use std::net::IpAddr;

/// Proxies by scheme of the URL asked for, and who is reached without.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    direct: Vec<Rule>,
}

/// One proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    /// TLS to the proxy itself.
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// `Proxy-Authorization`; its Debug hides it, as it is marked sensitive.
    pub(crate) authorization: Option<HeaderValue>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    Everything,
    Network(IpAddr, u8),
    Host { name: String, itself: bool, port: Option<u16> },
}

impl Proxies {
    /// No proxy at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// From the environment; uppercase names win over lowercase ones, as in Go.
    ///
    /// # Errors
    /// [`InvalidArgument`](oci::Kind::InvalidArgument) for a URL that cannot be read,
    /// [`Unsupported`](oci::Kind::Unsupported) for SOCKS; both name the variable.
    pub fn from_env() -> Result<Self> {
        let get = |names: [&'static str; 2]| {
            names.into_iter().find_map(|n| std::env::var(n).ok().filter(|v| !v.is_empty()).map(|v| (n, v)))
        };
        let parse = |found: Option<(&str, String)>| found.map(|(name, value)| parse_proxy(name, &value)).transpose();
        Ok(Self {
            http: parse(get(["HTTP_PROXY", "http_proxy"]))?,
            https: parse(get(["HTTPS_PROXY", "https_proxy"]))?,
            direct: get(["NO_PROXY", "no_proxy"]).map(|(_, v)| parse_rules(&v)).unwrap_or_default(),
        })
    }

    /// From values; an empty one means none.
    ///
    /// # Errors
    /// As [`Proxies::from_env`].
    pub fn new(http: &str, https: &str, no_proxy: &str) -> Result<Self> {
        let parse = |name, value: &str| (!value.is_empty()).then(|| parse_proxy(name, value)).transpose();
        Ok(Self {
            http: parse("http proxy", http)?,
            https: parse("https proxy", https)?,
            direct: parse_rules(no_proxy),
        })
    }

    /// The proxy for a host, if it is not to be reached directly. Loopback always is.
    pub(crate) fn select(&self, tls: bool, host: &str, port: u16) -> Option<&Proxy> {
        let proxy = if tls { self.https.as_ref() } else { self.http.as_ref() }?;
        let direct = is_loopback(host) || self.direct.iter().any(|rule| rule.matches(host, port));
        (!direct).then_some(proxy)
    }
}

impl Rule {
    fn matches(&self, host: &str, asked: u16) -> bool {
        match self {
            Self::Everything => true,
            Self::Network(net, bits) => host.parse().is_ok_and(|ip: IpAddr| in_network(ip, *net, *bits)),
            Self::Host { name, itself, port } => {
                if port.is_some_and(|p| p != asked) {
                    return false;
                }
                (*itself && host == name)
                    || host.strip_suffix(name.as_str()).is_some_and(|before| before.ends_with('.') && before.len() > 1)
            }
        }
    }
}

fn in_network(ip: IpAddr, net: IpAddr, bits: u8) -> bool {
    let mask = |width: u32| u128::MAX.checked_shl(width.saturating_sub(bits.into())).unwrap_or(0);
    match (ip, net) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()) ^ u128::from(b.to_bits())) & mask(32) == 0,
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()) & mask(128) == 0,
        _ => false,
    }
}

fn parse_rules(text: &str) -> Vec<Rule> {
    text.split(',').map(str::trim).filter(|s| !s.is_empty()).filter_map(parse_rule).collect()
}

fn parse_rule(text: &str) -> Option<Rule> {
    if text == "*" {
        return Some(Rule::Everything);
    }
    if let Some((net, bits)) = text.split_once('/') {
        return Some(Rule::Network(net.parse().ok()?, bits.parse().ok()?));
    }
    if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Some(Rule::Network(ip, 128));
    }
    let text = text.strip_prefix('*').unwrap_or(text);
    let (itself, name) = match text.strip_prefix('.') {
        Some(rest) => (false, rest),
        None => (true, text),
    };
    let (name, port) = split_authority(name)?;
    Some(Rule::Host { name, itself, port })
}

fn parse_proxy(name: &str, value: &str) -> Result<Proxy> {
    // The value may hold a password, so errors do not repeat it.
    let bad = |why: &str| Error::invalid(format!("{name}: {why}; expected http://[user:password@]host[:port]"));
    let full = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
    let uri: Uri = full.parse().map_err(|_| bad("not a URL"))?;
    let tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        Some(other) => {
            return Err(Error::unsupported(format!(
                "{name}: {other} proxies are not supported; use an http or https one"
            )));
        }
        None => return Err(bad("no scheme")),
    };
    let authority = uri.authority().ok_or_else(|| bad("no host"))?.as_str();
    let (user, place) = authority.rsplit_once('@').map_or((None, authority), |(u, p)| (Some(u), p));
    let (host, port) = split_authority(place).ok_or_else(|| bad("bad host or port"))?;
    let authorization = user.map(|user| {
        let (user, password) = user.split_once(':').unwrap_or((user, ""));
        basic_header(&unescape(user), &unescape(password))
    });
    Ok(Proxy { tls, host, port: port.unwrap_or(if tls { 443 } else { 80 }), authorization })
}

fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chooses_as_go_does() {
        let proxies =
            Proxies::new("p:3128", "https://u:p%40@q", "10.0.0.0/8, a.example,.b.example,c.example:81,::1/64").unwrap();
        let via = |tls, host, port| proxies.select(tls, host, port).map(|p| p.host.as_str());
        assert_eq!(via(false, "x.example", 80), Some("p"));
        assert_eq!(via(true, "x.example", 443), Some("q"));
        assert_eq!(proxies.https.as_ref().unwrap().authorization, Some(basic_header("u", "p@")));
        for direct in ["10.1.2.3", "a.example", "y.a.example", "y.b.example", "localhost", "127.0.0.1", "::2"] {
            assert_eq!(via(true, direct, 443), None, "{direct}");
        }
        for proxied in ["11.1.2.3", "ba.example", "b.example"] {
            assert_eq!(via(true, proxied, 443), Some("q"), "{proxied}");
        }
        assert_eq!((via(true, "c.example", 81), via(true, "c.example", 82)), (None, Some("q")));
    }

    #[test]
    fn refuses_by_name_and_hides_passwords() {
        let error = Proxies::new("socks5://u:hunter2@h", "", "").unwrap_err();
        assert_eq!(error.kind(), oci::Kind::Unsupported);
        let debug = format!("{:?} {error}", Proxies::new("http://u:hunter2@h", "", "").unwrap());
        assert!(!debug.contains("hunter2") && !debug.contains("aHVudGVy"), "{debug}");
    }
}
