//! The configuration file, in TOML. Unknown keys are refused by name.

use oci::{Context, Error, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The file as given. Keys are the flags' names.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[allow(missing_docs, reason = "see the settings and flags of the same names")]
pub struct File {
    pub root: Option<PathBuf>,
    pub state: Option<PathBuf>,
    pub docker_socket: Option<PathBuf>,
    pub docker_group: Option<String>,
    pub snapshotter: Option<String>,
    pub shim: Option<PathBuf>,
    pub net_helper: Option<PathBuf>,
    pub default_runtime: Option<String>,
    pub cgroup_parent: Option<String>,
    pub log_level: Option<String>,
    pub runtimes: BTreeMap<String, Runtime>,
    pub bridge: Bridge,
    pub log_options: BTreeMap<String, String>,
    pub registry: BTreeMap<String, Registry>,
}

/// `[runtimes.<name>]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Runtime {
    /// The program.
    pub path: PathBuf,
    /// It makes cgroups through systemd.
    #[serde(default)]
    pub systemd_cgroup: bool,
}

/// `[bridge]`: the default network.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Bridge {
    /// Name of the host's interface.
    pub name: Option<String>,
    /// Subnet in CIDR form.
    pub subnet: Option<String>,
    /// Largest packet.
    pub mtu: Option<u32>,
}

/// `[registry."<host[:port]>"]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Registry {
    /// Base URLs to pull from first.
    pub mirrors: Vec<String>,
    /// No TLS.
    pub plain_http: bool,
    /// Any certificate, and plain HTTP where there is no TLS.
    pub skip_verify: bool,
    /// Files with further authorities, PEM.
    pub ca: Vec<PathBuf>,
    /// A client certificate, PEM.
    pub client_cert: Option<PathBuf>,
    /// Its key, PEM.
    pub client_key: Option<PathBuf>,
    /// Further headers.
    pub headers: BTreeMap<String, String>,
}

impl File {
    /// Reads a file.
    ///
    /// # Errors
    /// Those of [`parse`](Self::parse), and of reading.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).context(|| format!("read the configuration {}", path.display()))?;
        Self::parse(&text, path)
    }

    /// Parses a file's text; `path` is for errors.
    ///
    /// # Errors
    /// `InvalidArgument`, with line and key.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        toml::from_str(text).map_err(|error| Error::invalid(format!("{}: {error}", path.display())))
    }
}
