//! From a registry's domain to the places that serve it.

use crate::address::{is_loopback, split_authority};
use crate::config::Config;
use crate::errors::Failure;
use http::Uri;
use oci::Error;

/// How to speak to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Https,
    Http,
    /// TLS first, then plain: docker's way with loopback and `insecure-registries`.
    HttpsThenHttp,
}

/// One place that serves a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// `host[:port]`.
    pub(crate) authority: String,
    /// What stands before `/v2/`.
    pub(crate) base: String,
    pub(crate) transport: Transport,
    /// The domain it mirrors; credentials of the domain are not for it.
    pub(crate) mirror_of: Option<String>,
    /// The port is the scheme's own, so `https` and `http` are two different ports.
    pub(crate) default_port: bool,
}

impl Endpoint {
    /// The URL of `path` (which begins with `/v2/`) under this endpoint.
    pub(crate) fn uri(&self, tls: bool, path: &str) -> Result<Uri, Failure> {
        let scheme = if tls { "https" } else { "http" };
        let mut text = format!("{scheme}://{}{}{path}", self.authority, self.base);
        if let Some(domain) = &self.mirror_of {
            text.push(if path.contains('?') { '&' } else { '?' });
            text.push_str("ns=");
            text.push_str(&crate::address::escape(domain));
        }
        text.parse()
            .map_err(|_| Failure::fatal(Error::invalid(format!("invalid registry address {:?}", self.authority))))
    }
}

/// The host behind a domain: Docker Hub's name and its registry's differ.
fn serving_host(domain: &str) -> &str {
    match domain {
        "docker.io" | "index.docker.io" => "registry-1.docker.io",
        other => other,
    }
}

/// The registry itself.
pub(crate) fn origin(config: &Config, domain: &str) -> Result<Endpoint, Failure> {
    let authority = serving_host(domain).to_ascii_lowercase();
    let bad = || Failure::fatal(Error::invalid(format!("invalid registry name {domain:?}")));
    let (host, port) = split_authority(&authority).ok_or_else(bad)?;
    let settings = config.hosts.get(domain);
    let transport = match settings {
        Some(s) if s.plain_http => Transport::Http,
        Some(s) if s.skip_verify => Transport::HttpsThenHttp,
        Some(s) if !s.ca_files.is_empty() || s.client_cert.is_some() => Transport::Https,
        _ if is_loopback(&host) => Transport::HttpsThenHttp,
        _ => Transport::Https,
    };
    Ok(Endpoint { authority, base: String::new(), transport, mirror_of: None, default_port: port.is_none() })
}

/// The places to pull from, in order: mirrors, then the registry itself.
pub(crate) fn for_pull(config: &Config, domain: &str) -> Result<Vec<Endpoint>, Failure> {
    let mut all = Vec::new();
    for mirror in config.hosts.get(domain).map(|s| s.mirrors.as_slice()).unwrap_or_default() {
        all.push(mirror_endpoint(config, domain, mirror)?);
    }
    all.push(origin(config, domain)?);
    Ok(all)
}

fn mirror_endpoint(config: &Config, domain: &str, url: &str) -> Result<Endpoint, Failure> {
    let bad = |why: &str| {
        Failure::fatal(Error::invalid(format!(
            "mirror {url:?} of {domain}: {why}; expected https://host[:port][/path]"
        )))
    };
    let full = if url.contains("://") { url.to_owned() } else { format!("https://{url}") };
    let uri: Uri = full.parse().map_err(|_| bad("not a URL"))?;
    let authority = uri.authority().ok_or_else(|| bad("no host"))?.as_str().to_ascii_lowercase();
    if authority.contains('@') {
        return Err(bad("user information is not supported"));
    }
    if uri.query().is_some() {
        return Err(bad("a query is not supported"));
    }
    let (_, port) = split_authority(&authority).ok_or_else(|| bad("bad host or port"))?;
    let transport = match uri.scheme_str() {
        Some("http") => Transport::Http,
        Some("https") if config.hosts.get(&authority).is_some_and(|s| s.skip_verify) => Transport::HttpsThenHttp,
        Some("https") => Transport::Https,
        _ => return Err(bad("unknown scheme")),
    };
    let base = uri.path().trim_end_matches('/').trim_end_matches("/v2").to_owned();
    Ok(Endpoint { authority, base, transport, mirror_of: Some(domain.into()), default_port: port.is_none() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HostConfig;

    #[test]
    fn finds_the_hub_loopback_and_mirrors() {
        let mut config = Config::default();
        let hub = origin(&config, "docker.io").unwrap();
        assert_eq!(hub.uri(true, "/v2/").unwrap().to_string(), "https://registry-1.docker.io/v2/");
        for (domain, transport) in [
            ("localhost:5000", Transport::HttpsThenHttp),
            ("127.0.0.9:1", Transport::HttpsThenHttp),
            ("[::1]:1", Transport::HttpsThenHttp),
            ("r.example", Transport::Https),
        ] {
            assert_eq!(origin(&config, domain).unwrap().transport, transport, "{domain}");
        }
        let mirrors = vec!["http://m.example:81/cache/".to_owned(), "m2.example".to_owned()];
        config.hosts.insert("docker.io".into(), HostConfig { mirrors, ..HostConfig::default() });
        let all = for_pull(&config, "docker.io").unwrap();
        assert_eq!(all.len(), 3);
        assert_eq!(
            all[0].uri(false, "/v2/a/tags/list").unwrap().to_string(),
            "http://m.example:81/cache/v2/a/tags/list?ns=docker.io"
        );
        assert_eq!(all[1].transport, Transport::Https);
    }

    #[test]
    fn refuses_bad_mirrors_by_name() {
        let mut config = Config::default();
        for bad in ["ftp://x", "https://u:p@x", "https://x/?q", "https://"] {
            config.hosts.insert("d".into(), HostConfig { mirrors: vec![bad.into()], ..HostConfig::default() });
            assert!(for_pull(&config, "d").unwrap_err().error.to_string().contains("mirror"), "{bad}");
        }
    }
}
