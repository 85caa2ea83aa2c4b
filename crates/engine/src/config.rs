//! What the engine needs to know before it starts. Reading files and defaults is the daemon's business.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Configuration of an [`Engine`](crate::Engine).
#[derive(Debug, Clone)]
pub struct Config {
    /// What lasts: content, snapshots, records, volumes, logs.
    pub root: PathBuf,
    /// What a reboot may take: bundles, sockets, network state.
    pub state: PathBuf,
    /// The shim's program.
    pub shim: PathBuf,
    /// OCI runtimes by name; must hold [`default_runtime`](Self::default_runtime).
    pub runtimes: BTreeMap<String, RuntimeConfig>,
    /// The runtime of containers that ask for none.
    pub default_runtime: String,
    /// The network helper's program (`sampan-net`).
    pub net_helper: PathBuf,
    /// `overlayfs` or `native`.
    pub snapshotter: String,
    /// Parent of the containers' cgroups, as in `/sampan`: a slice's name where a runtime uses systemd.
    pub cgroup_parent: String,
    /// The program for containers with `init`; asking for it is refused where absent.
    pub init_binary: Option<PathBuf>,
    /// The built-in image's program.
    pub builtin_hello: Option<&'static [u8]>,
    /// The default network.
    pub bridge: BridgeConfig,
    /// Log options of containers that name none.
    pub log_options: BTreeMap<String, String>,
    /// The way to registries.
    pub registry: registry::Config,
    /// More messages from shims.
    pub debug: bool,
}

/// One OCI runtime.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// Program; a bare name is looked for in PATH by the shim.
    pub path: PathBuf,
    /// Cgroups are made by systemd.
    pub systemd_cgroup: bool,
}

/// The default network `bridge`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BridgeConfig {
    /// Name of the host's interface; `sampan0` where absent.
    pub name: Option<String>,
    /// Subnet in CIDR form; a free one is picked where absent.
    pub subnet: Option<String>,
    /// Largest packet.
    pub mtu: Option<u32>,
    /// Gives the host's IP forwarding back its value when the last container has ended.
    pub restore_forwarding: bool,
}
