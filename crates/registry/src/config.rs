//! What the embedding program decides.

use crate::Proxies;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The client's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Settings by registry domain as it stands in image names (`docker.io`, `reg.example:5000`).
    pub hosts: BTreeMap<String, HostConfig>,
    /// A directory like docker's `/etc/docker/certs.d`: `<dir>/<host[:port]>/` holds `*.crt`
    /// (authorities to trust) and pairs of `*.cert` and `*.key` (client certificates).
    pub certs_dir: Option<PathBuf>,
    /// The `User-Agent` sent.
    pub user_agent: String,
    /// The bounds of every wait.
    pub timeouts: Timeouts,
    /// The way out through proxies.
    pub proxies: Proxies,
    /// How often a failed step is tried again while nothing arrives.
    pub retries: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hosts: BTreeMap::new(),
            certs_dir: None,
            user_agent: concat!("sampan/", env!("CARGO_PKG_VERSION")).into(),
            timeouts: Timeouts::default(),
            proxies: Proxies::none(),
            retries: 5,
        }
    }
}

/// The settings of one registry domain.
#[derive(Debug, Clone, Default)]
pub struct HostConfig {
    /// Base URLs tried before the registry itself, for pulling only (`https://mirror.example/cache`).
    pub mirrors: Vec<String>,
    /// Speak plain HTTP and never TLS.
    pub plain_http: bool,
    /// Accept any certificate, and fall back to plain HTTP where TLS is not spoken
    /// (docker's `insecure-registries`). Loopback hosts are treated so by default.
    pub skip_verify: bool,
    /// Files with further authorities to trust, PEM.
    pub ca_files: Vec<PathBuf>,
    /// A client certificate and its key, PEM.
    pub client_cert: Option<(PathBuf, PathBuf)>,
    /// Headers added to requests to this registry (never to where it redirects).
    pub headers: Vec<(String, String)>,
}

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Name look-up and TCP connect.
    pub connect: Duration,
    /// The TLS handshake, and a proxy's answer.
    pub handshake: Duration,
    /// From the request's last byte to the answer's head.
    pub response: Duration,
    /// Silence, or a trickle of less than a kilobyte a second, within a body.
    pub stall: Duration,
    /// A whole small exchange: manifest, token, tag page.
    pub exchange: Duration,
    /// The first pause before a retry; later ones double, up to 32 times this.
    pub backoff: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(20),
            handshake: Duration::from_secs(10),
            response: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            exchange: Duration::from_secs(120),
            backoff: Duration::from_millis(250),
        }
    }
}
