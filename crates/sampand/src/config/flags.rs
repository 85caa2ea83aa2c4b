//! The command line.

use std::path::PathBuf;

/// The container engine: runs containers behind the Docker Engine API.
#[derive(Debug, Clone, Default, clap::Parser)]
#[command(name = "sampand", version)]
pub struct Flags {
    /// Configuration file [default: /etc/sampan/sampand.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory for images, volumes, records [default: /var/lib/sampan]
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Directory for what a reboot may take [default: /run/sampan]
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Socket of the Docker Engine API [default: docker.sock in the state directory]
    #[arg(long, value_name = "PATH")]
    pub docker_socket: Option<PathBuf>,
    /// Group that may use the socket, if it exists; empty for root alone [default: docker]
    #[arg(long, value_name = "GROUP")]
    pub docker_group: Option<String>,
    /// How layers become root filesystems: overlayfs or native [default: overlayfs]
    #[arg(long, value_name = "NAME")]
    pub snapshotter: Option<String>,
    /// A further OCI runtime; may be repeated
    #[arg(long, value_name = "NAME=PATH")]
    pub runtime: Vec<String>,
    /// Runtime of containers that ask for none [default: sampan]
    #[arg(long, value_name = "NAME")]
    pub default_runtime: Option<String>,
    /// The shim's program [default: beside sampand, then in PATH]
    #[arg(long, value_name = "PATH")]
    pub shim: Option<PathBuf>,
    /// The network helper's program [default: beside sampand, then in PATH]
    #[arg(long, value_name = "PATH")]
    pub net_helper: Option<PathBuf>,
    /// Parent of the containers' cgroups [default: /sampan]
    #[arg(long, value_name = "CGROUP")]
    pub cgroup_parent: Option<String>,
    /// Host interface of the default network [default: sampan0]
    #[arg(long, value_name = "NAME")]
    pub bridge: Option<String>,
    /// Subnet of the default network [default: a free one]
    #[arg(long, value_name = "CIDR")]
    pub bridge_subnet: Option<String>,
    /// Largest packet of the default network
    #[arg(long, value_name = "BYTES")]
    pub bridge_mtu: Option<u32>,
    /// A registry without valid TLS; may be repeated
    #[arg(long, value_name = "HOST[:PORT]")]
    pub insecure_registry: Vec<String>,
    /// A mirror to pull from first; may be repeated
    #[arg(long, value_name = "HOST=URL")]
    pub registry_mirror: Vec<String>,
    /// Option of the json-file log for containers that name none; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub log_opt: Vec<String>,
    /// The daemon's own log: error, warn, info, debug, trace, or target=level,... [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// At the end, remove every container, volume and network that was made
    #[arg(long)]
    pub ephemeral: bool,
}
