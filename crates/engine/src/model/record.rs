//! What is stored about a container. Only its supervisor writes it; everyone else reads published copies.
//!
//! ```text
//!            create              start
//! Creating ─────────► Created ───────────► Starting ──► Running ◄──► Paused
//!     │                  │  ▲ failed start    │            │
//!     └── gone after     │  └─────────────────┘            ▼  exit
//!         a crash        │                     ┌──── Exited ◄──── Restarting (policy; backoff)
//!                        ▼                     ▼        │              ▲
//!                     Removing ◄───────────────┘        └──────────────┘
//!                        └──► gone, or Dead (teardown failed; remove again)
//! ```

use super::spec::ContainerSpec;
use oci::{Digest, ImageRef, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The name is reserved, things are being made. After a crash everything is undone.
    Creating,
    /// Never started, or the start failed.
    Created,
    /// Shim, network and process are being made.
    Starting,
    /// The process runs.
    Running,
    /// The process is frozen.
    Paused,
    /// It has ended and will be started again by its policy.
    Restarting,
    /// It has ended.
    Exited,
    /// It is being removed.
    Removing,
    /// Removal failed; it can be tried again.
    Dead,
}

impl Phase {
    /// A process exists: running or paused.
    pub fn is_running(self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }

    /// Docker's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Creating | Self::Created | Self::Starting => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Exited => "exited",
            Self::Removing => "removing",
            Self::Dead => "dead",
        }
    }
}

/// Everything known about a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerRecord {
    /// 64 hexadecimal digits.
    pub id: String,
    /// The containerd namespace that it lives in.
    pub namespace: String,
    /// Its name, without a slash.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// What was asked for, as given (names of other containers replaced by their ids).
    pub spec: ContainerSpec,
    /// The image it is made from.
    pub image: ImageUsed,
    /// What the process is, after the image's configuration was taken in.
    pub process: ResolvedProcess,
    /// The mounts it has, after volumes were made and found.
    pub mounts: Vec<MountPoint>,
    /// Where it is in its life.
    pub phase: Phase,
    /// Host pid while running, else 0.
    #[serde(default)]
    pub pid: u32,
    /// The last start; zero before the first.
    #[serde(default)]
    pub started_at: Timestamp,
    /// The last exit; zero before the first.
    #[serde(default)]
    pub finished_at: Timestamp,
    /// Code of the last exit: 0 to 255, 128+n for signal n.
    #[serde(default)]
    pub exit_code: i32,
    /// The kernel killed a process of it for want of memory in the last run.
    #[serde(default)]
    pub oom_killed: bool,
    /// Why the last start failed; empty if it did not.
    #[serde(default)]
    pub error: String,
    /// Starts by policy since the last start by hand.
    #[serde(default)]
    pub restart_count: u32,
    /// Stopped or killed by hand: the policy does not apply.
    #[serde(default)]
    pub stopped_by_hand: bool,
    /// A stop is under way: a daemon that starts carries it through.
    #[serde(default)]
    pub stopping: bool,
    /// Exits so far. `wait` for the next exit compares it.
    #[serde(default)]
    pub exits: u64,
    /// Connections to networks; addresses while running.
    #[serde(default)]
    pub endpoints: BTreeMap<String, EndpointState>,
    /// Ports as published while running.
    #[serde(default)]
    pub ports: Vec<PublishedPort>,
    /// Milliseconds that each stage of create and of the last start took, in order.
    #[serde(default)]
    pub timeline: Vec<Stage>,
    /// The snapshotter that holds its root filesystem.
    pub snapshotter: String,
    /// Address of the shim while there is one.
    #[serde(default)]
    pub shim: Option<ShimAddress>,
    /// The shim's log file of this container; empty with the driver `none`.
    #[serde(default)]
    pub log_path: String,
}

impl ContainerRecord {
    /// The key of its snapshot. Unique across namespaces.
    pub fn snapshot_key(&self) -> String {
        format!("{}-{}", self.namespace, self.id)
    }

    /// The first twelve digits of the id.
    pub fn short_id(&self) -> &str {
        &self.id[..12.min(self.id.len())]
    }
}

/// The image that a container is made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageUsed {
    /// As the caller wrote it.
    pub given: String,
    /// The normalized reference, where it was one.
    pub reference: Option<ImageRef>,
    /// Digest of the image's configuration: Docker's image id.
    pub id: Digest,
    /// Digest of the manifest.
    pub manifest: Digest,
    /// Chain id of the top layer: the parent snapshot; `None` for an image without layers.
    pub chain: Option<Digest>,
}

/// The process, after the image's configuration was taken in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResolvedProcess {
    /// Entrypoint and command.
    pub args: Vec<String>,
    /// How many of `args` come from the entrypoint.
    pub entrypoint_len: usize,
    /// The environment.
    pub env: Vec<String>,
    /// Working directory.
    pub cwd: String,
    /// `user[:group]` as given or from the image.
    pub user: String,
    /// By name, as in `SIGTERM`.
    pub stop_signal: String,
    /// The image's labels with the request's over them.
    pub labels: BTreeMap<String, String>,
    /// The image's exposed ports, the request's, and the published ones.
    pub exposed_ports: Vec<String>,
    /// Host name.
    pub hostname: String,
}

/// One mount of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// `bind`, `volume` or `tmpfs`.
    pub kind: MountKind,
    /// The volume's name, empty for others.
    pub name: String,
    /// Host path; empty for tmpfs.
    pub source: String,
    /// Absolute path inside.
    pub target: String,
    /// Writable.
    pub rw: bool,
    /// Mount options besides (`rprivate`, `size=...`).
    pub options: Vec<String>,
    /// The volume is anonymous and goes with the container if the caller asks for it.
    pub anonymous: bool,
    /// Copy the image's content at the target into the volume if it is empty at the first start.
    #[serde(default)]
    pub copy_up: bool,
}

/// Kind of a [`MountPoint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountKind {
    /// A host path.
    Bind,
    /// A volume.
    Volume,
    /// Memory.
    Tmpfs,
}

impl MountKind {
    /// Docker's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Bind => "bind",
            Self::Volume => "volume",
            Self::Tmpfs => "tmpfs",
        }
    }
}

/// A connection to a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointState {
    /// Id of the network; empty before the first start.
    pub network_id: String,
    /// Interface inside.
    pub interface: String,
    /// Address while running.
    pub ip: Option<IpAddr>,
    /// Length of the prefix.
    pub prefix: u8,
    /// Gateway.
    pub gateway: Option<IpAddr>,
    /// MAC address.
    pub mac: String,
    /// Names in this network.
    pub aliases: Vec<String>,
}

/// A published port, resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// Inside.
    pub container_port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// Address on the host.
    pub host_ip: IpAddr,
    /// Port on the host.
    pub host_port: u16,
}

/// One stage of a timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// `resolve`, `fetch`, `unpack`, `snapshot`, `network`, `shim`, `create`, `start`.
    pub stage: String,
    /// Milliseconds.
    pub ms: f64,
}

/// Where a shim answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShimAddress {
    /// As the shim printed it at its start.
    pub address: String,
}

/// How a container's run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// 0 to 255; 128+n for signal n.
    pub code: i32,
    /// When.
    pub at: Timestamp,
    /// Why it could not be started, if that is what happened; otherwise empty.
    pub error: String,
}
