//! `/etc/resolv.conf`.

use oci::{Error, Result};
use std::net::IpAddr;
use std::path::Path;

/// Longer host files are cut.
const MAX_BYTES: usize = 64 << 10;
/// The C library looks at three name servers; more are kept up to this.
const MAX_ENTRIES: usize = 32;
/// Where nothing else is known, as docker falls back.
const FALLBACK: [IpAddr; 2] =
    [IpAddr::V4(std::net::Ipv4Addr::new(8, 8, 8, 8)), IpAddr::V4(std::net::Ipv4Addr::new(8, 8, 4, 4))];

/// What a container asks for; empty lists take what the host has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolv {
    /// Name servers (`--dns`).
    pub servers: Vec<IpAddr>,
    /// Search domains (`--dns-search`); `.` alone means none.
    pub search: Vec<String>,
    /// Options (`--dns-option`).
    pub options: Vec<String>,
}

/// A container's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvFile {
    /// The file's text.
    pub text: String,
    /// The name servers in it.
    pub servers: Vec<IpAddr>,
    /// The host knew no server that a container can reach, so public ones were taken.
    pub fell_back: bool,
}

/// Where systemd-resolved keeps the servers that it asks itself.
pub fn systemd_uplink_path() -> &'static Path {
    Path::new("/run/systemd/resolve/resolv.conf")
}

/// If the host's file names only systemd's own server on loopback, so that the file at
/// [`systemd_uplink_path`] is the one to read.
pub fn wants_systemd_uplink(host: &str) -> bool {
    let servers = parse(host).servers;
    !servers.is_empty() && servers.iter().all(|ip| ip.to_string() == "127.0.0.53")
}

/// A container's file from the host's and what was asked for. Servers on loopback are left out,
/// since the container has a loopback device of its own, unless it shares the host's namespace.
///
/// # Errors
/// `InvalidArgument` for domains and options with characters that would break the file.
pub fn resolv(host: &str, asked: &Resolv, shares_host: bool) -> Result<ResolvFile> {
    for word in asked.search.iter().chain(&asked.options) {
        if word.is_empty() || word.len() > 253 || word.bytes().any(|b| !b.is_ascii_graphic()) {
            return Err(Error::invalid(format!("invalid DNS search domain or option {word:?}")));
        }
    }
    if asked.servers.len().max(asked.search.len()).max(asked.options.len()) > MAX_ENTRIES {
        return Err(Error::invalid(format!("more than {MAX_ENTRIES} DNS servers, search domains or options")));
    }
    let mut file = parse(host);
    if !shares_host {
        // A scoped link-local server names an interface that the container doesn't have.
        file.servers.retain(|ip| !ip.is_loopback() && !ip.is_unspecified());
    }
    let mut fell_back = false;
    if !asked.servers.is_empty() {
        file.servers.clone_from(&asked.servers);
    } else if file.servers.is_empty() && !shares_host {
        file.servers = FALLBACK.to_vec();
        fell_back = true;
    }
    if !asked.search.is_empty() {
        file.search = if asked.search == ["."] { Vec::new() } else { asked.search.clone() };
    }
    if !asked.options.is_empty() {
        file.options.clone_from(&asked.options);
    }
    let mut text = String::new();
    for ip in &file.servers {
        text.push_str(&format!("nameserver {ip}\n"));
    }
    for (word, values) in [("search", &file.search), ("options", &file.options)] {
        if !values.is_empty() {
            text.push_str(&format!("{word} {}\n", values.join(" ")));
        }
    }
    Ok(ResolvFile { text, servers: file.servers, fell_back })
}

/// The parts of a file that containers get; bounded, and unknown lines are skipped.
fn parse(text: &str) -> Resolv {
    let mut end = text.len().min(MAX_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut out = Resolv::default();
    for line in text[..end].lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => out.servers.extend(words.next().and_then(|w| w.parse::<IpAddr>().ok())),
            // The last one counts.
            Some("search" | "domain") => out.search = words.map(str::to_owned).collect(),
            Some("options") => out.options.extend(words.map(str::to_owned)),
            _ => {}
        }
    }
    out.servers.truncate(MAX_ENTRIES);
    out.search.truncate(MAX_ENTRIES);
    out.options.truncate(MAX_ENTRIES);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn loopback_servers_are_left_out() {
        let host = "# by hand\nnameserver 127.0.0.1\nnameserver 10.0.0.53 ; x\nsearch a b\noptions ndots:2\n";
        let got = resolv(host, &Resolv::default(), false).unwrap();
        assert_eq!(got.text, "nameserver 10.0.0.53\nsearch a b\noptions ndots:2\n");
        assert!(!got.fell_back);
        assert_eq!(resolv(host, &Resolv::default(), true).unwrap().servers, [ip("127.0.0.1"), ip("10.0.0.53")]);
    }

    #[test]
    fn systemd_is_recognized_and_the_rest_falls_back() {
        assert!(wants_systemd_uplink("nameserver 127.0.0.53\noptions edns0\n"));
        assert!(!wants_systemd_uplink("nameserver 127.0.0.53\nnameserver 1.1.1.1\n"));
        assert!(!wants_systemd_uplink(""));
        let got = resolv("nameserver 127.0.0.53\n", &Resolv::default(), false).unwrap();
        assert!(got.fell_back && got.text.starts_with("nameserver 8.8.8.8\n"), "{}", got.text);
    }

    #[test]
    fn what_is_asked_for_replaces_the_hosts() {
        let asked = Resolv { servers: vec![ip("127.0.0.9")], search: vec![".".into()], options: vec!["rotate".into()] };
        let got = resolv("nameserver 10.0.0.53\nsearch a\noptions x\n", &asked, false).unwrap();
        assert_eq!(got.text, "nameserver 127.0.0.9\noptions rotate\n");
        let bad = Resolv { search: vec!["a\nnameserver 6.6.6.6".into()], ..Resolv::default() };
        assert!(resolv("", &bad, false).is_err());
    }

    proptest! {
        #[test]
        fn any_host_file_gives_a_file_with_servers(host in "(?s).{0,400}") {
            let got = resolv(&host, &Resolv::default(), false).unwrap();
            prop_assert!(!got.servers.is_empty());
            prop_assert!(got.text.starts_with("nameserver "));
        }
    }
}
