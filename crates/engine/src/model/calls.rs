//! Options and results of single calls.

use super::record::PublishedPort;
use super::spec::{ResourceSpec, RestartPolicy};
use bytes::Bytes;
use oci::{Result, Timestamp};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A bounded stream of bytes from or to a door. The sender's end is dropped at the end of the data.
pub type ByteStream = tokio::sync::mpsc::Receiver<Result<Bytes>>;

/// A made container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Its id.
    pub id: String,
    /// What was adjusted or ignored for reasons of this machine; for people.
    pub warnings: Vec<String>,
}

/// What `wait` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It does not run: at once for one that never ran or has ended.
    NotRunning,
    /// The next exit, of a run that may not have begun.
    NextExit,
    /// It is gone.
    Removed,
}

/// What `attach` connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttachOptions {
    /// The writer's half reaches standard input.
    pub stdin: bool,
    /// Standard output is delivered.
    pub stdout: bool,
    /// Standard error is delivered.
    pub stderr: bool,
    /// What was logged before comes first.
    pub logs: bool,
    /// Output from now on; without it the stream ends after the log.
    pub stream: bool,
}

/// Which log lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// Lines of standard output.
    pub stdout: bool,
    /// Lines of standard error.
    pub stderr: bool,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Not after.
    pub until: Option<Timestamp>,
    /// Only that many at the end; all where absent.
    pub tail: Option<usize>,
    /// Stay until the container ends.
    pub follow: bool,
}

/// Which output a line or chunk belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// Standard output; everything of a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One logged line, or a part of an overlong one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Where it was written.
    pub output: Output,
    /// When the shim read it.
    pub time: Timestamp,
    /// The bytes, with the newline if there was one.
    pub line: Bytes,
    /// What the log options `labels`, `env`, `tag` asked to be written with it: `name=value` pairs.
    pub attrs: Vec<(String, String)>,
}

/// A process of a container, as `/proc` tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessInfo {
    /// Host pid.
    pub pid: u32,
    /// Host pid of its parent.
    pub ppid: u32,
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// The host's name for the user, else the number.
    pub user: String,
    /// `R`, `S`, `D`, `Z`, `T`, ...
    pub state: char,
    /// As in `pts/0`; `?` for none.
    pub tty: String,
    /// When it started.
    pub start: Timestamp,
    /// Processor time used.
    pub cpu: Duration,
    /// Percentage of one processor over its life.
    pub cpu_percent: f64,
    /// Percentage of the machine's memory.
    pub memory_percent: f64,
    /// Bytes of address space.
    pub vsize: u64,
    /// Bytes of resident memory.
    pub rss: u64,
    /// Nice value.
    pub nice: i64,
    /// Threads.
    pub threads: u64,
    /// Name of the program, at most 15 bytes.
    pub comm: String,
    /// Arguments joined by spaces; `[comm]` where there are none.
    pub command: String,
}

/// Resource use of a running container. Counters count from its start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// When it was read.
    pub read: Timestamp,
    /// Nanoseconds of processor time.
    pub cpu_total: u64,
    /// Nanoseconds in user mode.
    pub cpu_user: u64,
    /// Nanoseconds in the kernel.
    pub cpu_system: u64,
    /// Nanoseconds per processor, where cgroup v1 tells.
    pub cpu_per_cpu: Vec<u64>,
    /// Nanoseconds of all processors of the machine, to compare `cpu_total` with.
    pub machine_cpu: u64,
    /// Processors on line.
    pub online_cpus: u32,
    /// Periods in which a quota was looked at.
    pub throttling_periods: u64,
    /// Periods in which it was used up.
    pub throttled_periods: u64,
    /// Nanoseconds throttled.
    pub throttled_time: u64,
    /// Bytes in use, with page cache.
    pub memory_usage: u64,
    /// Most bytes ever in use, where known.
    pub memory_max_usage: u64,
    /// Bytes allowed; the machine's memory where unlimited.
    pub memory_limit: u64,
    /// How often the limit was hit.
    pub memory_failcnt: u64,
    /// The cgroup's `memory.stat`, by the names of cgroup v1 or v2.
    pub memory_stats: std::collections::BTreeMap<String, u64>,
    /// Processes and threads.
    pub pids: u64,
    /// Processes and threads allowed; 0 where unlimited.
    pub pids_limit: u64,
    /// Bytes and operations by device.
    pub blkio: Vec<BlkioEntry>,
    /// By interface.
    pub networks: Vec<InterfaceStats>,
    /// The machine uses cgroup v2.
    pub cgroup_v2: bool,
}

/// Input or output on one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlkioEntry {
    /// Device number.
    pub major: u64,
    /// Device number.
    pub minor: u64,
    /// `read` or `write`.
    pub op: String,
    /// Bytes.
    pub bytes: u64,
    /// Operations.
    pub operations: u64,
}

/// Counters of one network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InterfaceStats {
    /// Name inside.
    pub name: String,
    /// Received.
    pub rx_bytes: u64,
    /// Received.
    pub rx_packets: u64,
    /// Received with errors.
    pub rx_errors: u64,
    /// Received and dropped.
    pub rx_dropped: u64,
    /// Sent.
    pub tx_bytes: u64,
    /// Sent.
    pub tx_packets: u64,
    /// Sent with errors.
    pub tx_errors: u64,
    /// Dropped on sending.
    pub tx_dropped: u64,
}

/// What to change on a container.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Update {
    /// Limits; those that are `None` stay.
    pub resources: ResourceSpec,
    /// A new policy.
    pub restart: Option<RestartPolicy>,
}

/// A file inside a container, as `docker cp` wants to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathStat {
    /// Last component.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Go's `os.FileMode`: permission bits below, type bits above.
    pub mode: u32,
    /// Time of the last change.
    pub mtime: Timestamp,
    /// Target of a symbolic link, else empty.
    pub link_target: String,
}

/// Options of `archive_put`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ArchivePut {
    /// Refuse to replace a directory by something else, and the other way round.
    pub no_overwrite_dir_non_dir: bool,
    /// Keep the archive's owners; otherwise files belong to root.
    pub copy_uid_gid: bool,
}

/// A path that differs from the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Absolute path inside.
    pub path: String,
    /// How.
    pub kind: ChangeKind,
}

/// How a path differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// Content or attributes.
    Modified,
    /// Not in the image.
    Added,
    /// Only in the image.
    Deleted,
}

/// What a prune removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Ids or names.
    pub removed: Vec<String>,
    /// Bytes.
    pub reclaimed: u64,
}

/// A process to add to a running container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecSpec {
    /// Program and arguments.
    pub args: Vec<String>,
    /// `NAME=value`, over the container's.
    pub env: Vec<String>,
    /// `user[:group]`; the container's where empty.
    pub user: String,
    /// Working directory; the container's where empty.
    pub cwd: String,
    /// A pseudo-terminal.
    pub tty: bool,
    /// The terminal's first size: rows, columns.
    pub console_size: Option<(u16, u16)>,
    /// Standard input is connected.
    pub stdin: bool,
    /// Standard output is connected.
    pub stdout: bool,
    /// Standard error is connected.
    pub stderr: bool,
    /// All capabilities.
    pub privileged: bool,
    /// The door's detach keys, kept for its `inspect`.
    pub detach_keys: String,
}

/// An exec as `inspect` sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecState {
    /// 64 hexadecimal digits.
    pub id: String,
    /// The container.
    pub container_id: String,
    /// What was asked for.
    pub spec: ExecSpec,
    /// It runs.
    pub running: bool,
    /// Host pid, 0 before the start.
    pub pid: u32,
    /// Code once it has ended; `None` before.
    pub exit_code: Option<i32>,
}

/// Disk use of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ContainerSize {
    /// Bytes of its own layer.
    pub rw: u64,
    /// Bytes of its own layer and the image's.
    pub total: u64,
}

/// Numbers about the engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Info {
    /// A stable id of this engine's root directory.
    pub id: String,
    /// Containers of the namespace.
    pub containers: usize,
    /// Of them running.
    pub running: usize,
    /// Of them paused.
    pub paused: usize,
    /// Of them neither.
    pub stopped: usize,
    /// Root directory.
    pub root: PathBuf,
    /// Name of the snapshotter.
    pub snapshotter: String,
    /// Names of the configured runtimes, with their programs.
    pub runtimes: Vec<(String, PathBuf)>,
    /// The default runtime.
    pub default_runtime: String,
    /// The machine uses cgroup v2 alone.
    pub cgroup_v2: bool,
    /// Seccomp can be used.
    pub seccomp: bool,
    /// AppArmor can be used.
    pub apparmor: bool,
}

/// Published ports of a container and its first address; what `port` and `list` show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reachability {
    /// First address.
    pub ip: Option<IpAddr>,
    /// Published ports.
    pub ports: Vec<PublishedPort>,
}
