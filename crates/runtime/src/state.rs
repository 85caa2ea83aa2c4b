//! Containers on disk. This file owns the state directory.
//!
//! ```text
//! <root>/<id>/            made by `create`; its lock (flock) is held by the command that changes the container
//!        /state.json      Record: written once, before the process exists
//!        /cgroup          where its cgroup is, noted before it is made: for a `create` that ends before its record
//!        /init            "pid start-time" of the first process: written once it exists
//!        /exec.fifo       the gate; there until `start`
//!        /start.fifo      the verdict of startContainer hooks, if there are any; there until `start`
//!        /seccomp.bpf     the compiled filter, for exec
//!        /notify          where a service manager waits for READY=1: the socket that the container writes to
//!        /criu-root       during `restore`: where criu sees the rootfs, in a mount namespace of its own
//! ```
//! Nothing is stored that the kernel knows: the status is looked up each time.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use oci::runtime::{Hooks, Process, State};
use oci::{Context, Error, Result, Timestamp};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use serde::{Deserialize, Serialize};

use crate::cgroups::Location;
use crate::cgroups::systemd::Unit;
use crate::criu::External;
use crate::host_mounts;
use crate::log;
use crate::plan::execution::Execution;
use crate::resctrl;
use crate::seccomp::Filter;

/// What is remembered of a container.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) oci_version: String,
    pub(crate) id: String,
    pub(crate) bundle: PathBuf,
    pub(crate) rootfs: PathBuf,
    pub(crate) created: Timestamp,
    /// User who created it.
    pub(crate) owner: u32,
    pub(crate) annotations: BTreeMap<String, String>,
    /// `CLONE_NEW*` bits of all its namespaces, made and joined.
    pub(crate) namespaces: u64,
    /// Of a container without a mount namespace: see `crate::host_mounts`.
    #[serde(default)]
    pub(crate) host_mounts: Option<host_mounts::Before>,
    /// Whether its PID namespace is its own alone: then everything in it ends with the first process.
    #[serde(default)]
    pub(crate) private_pid: bool,
    pub(crate) cgroup: Location,
    /// systemd's unit that the cgroup belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unit: Option<Unit>,
    /// Cgroup directories that were made above it.
    pub(crate) cgroup_made: Vec<PathBuf>,
    /// Those that are still to run.
    pub(crate) hooks: Hooks,
    /// The configured process without its arguments: what `exec` takes over.
    pub(crate) process: Process,
    /// Its groups of resctrl.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resctrl: Option<resctrl::Group>,
    /// What of `linux` every process has.
    #[serde(default)]
    pub(crate) execution: Execution,
    /// Whether there is a filter beside this record.
    pub(crate) seccomp: bool,
    /// What a checkpoint does not save.
    #[serde(default)]
    pub(crate) external: External,
}

/// Where in its life a container is, in the specification's words and runc's "paused".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Creating,
    Created,
    Running,
    Paused,
    Stopped,
}

impl Status {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

/// A container's directory, and its lock where it was asked for.
#[derive(Debug)]
pub(crate) struct Container {
    directory: PathBuf,
    lock: Option<OwnedFd>,
    pub(crate) record: Option<Record>,
    pub(crate) id: String,
}

/// How long a command waits for another one that is working on the same container.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest file that is read back.
const MAX_FILE: u64 = 16 << 20;

/// Checks an id: it becomes the name of directories.
pub(crate) fn check_id(id: &str) -> Result<()> {
    if id.is_empty() {
        return Err(Error::invalid("container id cannot be empty"));
    }
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'-' | b'.');
    if !id.bytes().all(fine) || id == "." || id == ".." || id.len() > 255 {
        return Err(Error::invalid("invalid container ID format"));
    }
    Ok(())
}

fn io(error: rustix::io::Errno) -> Error {
    std::io::Error::from(error).into()
}

/// Locks a container's directory; bounded.
fn lock(directory: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::open(directory, flags, Mode::empty()).map_err(io)?;
    let end = Instant::now() + LOCK_TIMEOUT;
    let mut pause = Duration::from_millis(1);
    loop {
        match flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(fd),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < end => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(50));
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(Error::unavailable(format!(
                    "another command has been working on the container for {} seconds; try again when it is done",
                    LOCK_TIMEOUT.as_secs()
                )));
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(io(error)).context(|| "lock the container"),
        }
    }
}

/// Locks a container that may be deleted while this command waits.
fn lock_existing(directory: &Path, id: &str) -> Result<OwnedFd> {
    let lock = lock(directory).map_err(|e| if e.kind() == oci::Kind::NotFound { missing(id) } else { e })?;
    if rustix::fs::fstat(&lock).map_err(io)?.st_nlink == 0 {
        return Err(missing(id));
    }
    Ok(lock)
}

fn missing(id: &str) -> Error {
    log::debug(format_args!("no container {id:?} below the state root"));
    Error::not_found("container does not exist")
}

impl Container {
    /// Reserves an id by making its directory, and locks it.
    pub(crate) fn reserve(root: &Path, id: &str) -> Result<Self> {
        check_id(id)?;
        let directory = root.join(id);
        let make = || DirBuilder::new().mode(0o711).create(&directory);
        let made = match make() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                DirBuilder::new()
                    .recursive(true)
                    // Sticky, so that what cleans up users' directories of old files leaves it alone.
                    .mode(if rustix::process::geteuid().is_root() { 0o700 } else { 0o1700 })
                    .create(root)
                    .context(|| format!("make state directory {}", root.display()))?;
                make()
            }
            result => result,
        };
        match made {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(Error::already_exists("container with given ID already exists"));
            }
            Err(error) => return Err(error).context(|| format!("make {}", directory.display())),
        }
        let lock = lock(&directory)?;
        Ok(Self { directory, lock: Some(lock), record: None, id: id.to_owned() })
    }

    /// Opens a container for looking, without its lock.
    pub(crate) fn open(root: &Path, id: &str) -> Result<Self> {
        check_id(id)?;
        let directory = root.join(id);
        let record = read_record(&directory)?;
        if record.is_none() && !directory.is_dir() {
            return Err(missing(id));
        }
        Ok(Self { directory, lock: None, record, id: id.to_owned() })
    }

    /// Opens a container for changing it, with its lock.
    pub(crate) fn open_locked(root: &Path, id: &str) -> Result<Self> {
        check_id(id)?;
        let directory = root.join(id);
        let lock = lock_existing(&directory, id)?;
        let record = read_record(&directory)?;
        Ok(Self { directory, lock: Some(lock), record, id: id.to_owned() })
    }

    /// Lets go of the lock while something long happens.
    pub(crate) fn unlock(self) -> Self {
        Self { lock: None, ..self }
    }

    /// A forked child's copy of the lock must go: it would hold the lock as long as the child lives.
    pub(crate) fn drop_inherited_lock(&mut self) {
        self.lock = None;
    }

    /// Takes the lock again, if the container is still there. Its record cannot have changed: it is written once.
    pub(crate) fn relock(self) -> Result<Self> {
        let lock = lock_existing(&self.directory, &self.id)?;
        Ok(Self { lock: Some(lock), ..self })
    }

    /// The record; a container whose `create` was cut off before it wrote one has none and can only be deleted.
    pub(crate) fn record(&self) -> Result<&Record> {
        self.record
            .as_ref()
            .ok_or_else(|| Error::conflict(format!("container {:?} was never completely created; delete it", self.id)))
    }

    /// Every container's id, sorted.
    pub(crate) fn ids(root: &Path) -> Result<Vec<String>> {
        let entries = match fs::read_dir(root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context(|| format!("read {}", root.display())),
        };
        let mut ids: Vec<String> = entries
            .flatten()
            .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
            .filter_map(|e| e.file_name().into_string().ok())
            .filter(|name| check_id(name).is_ok())
            .collect();
        ids.sort();
        Ok(ids)
    }

    fn write(&self, name: &str, contents: &[u8]) -> Result<()> {
        let path = self.directory.join(name);
        File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut f| f.write_all(contents))
            .context(|| format!("write {}", path.display()))
    }

    /// Stores the record and the filter. Called once, before anything else is made.
    pub(crate) fn store(&mut self, record: Record, filter: Option<&Filter>) -> Result<()> {
        if let Some(filter) = filter {
            self.write("seccomp.bpf", &filter.to_bytes())?;
        }
        self.change(record)
    }

    /// Stores the record of a container that has become another one.
    pub(crate) fn change(&mut self, record: Record) -> Result<()> {
        let text = serde_json::to_vec(&record).map_err(|e| Error::internal(e.to_string()))?;
        // Readers without the lock see the old name or the whole file.
        self.write("state.json.new", &text)?;
        fs::rename(self.directory.join("state.json.new"), self.directory.join("state.json"))
            .context(|| "store the container's record")?;
        self.record = Some(record);
        Ok(())
    }

    /// Notes where the cgroup will be. A symbolic link, because that is one call, and the note whole or not there.
    pub(crate) fn note_cgroup(&self, location: &Location) -> Result<()> {
        let text = serde_json::to_string(location).map_err(|e| Error::internal(e.to_string()))?;
        let note = self.directory.join("cgroup");
        match std::os::unix::fs::symlink(&text, &note) {
            // Nothing is at the old place, or it would have been the right one.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => fs::remove_file(&note)
                .and_then(|()| std::os::unix::fs::symlink(text, &note))
                .context(|| "note the container's cgroup anew"),
            // Many long paths; the cgroup of a container that is killed so early then stays.
            Err(error) if error.kind() == ErrorKind::InvalidFilename => Ok(()),
            result => result.context(|| "note the container's cgroup"),
        }
    }

    /// What was noted.
    pub(crate) fn noted_cgroup(&self) -> Option<Location> {
        let text = fs::read_link(self.directory.join("cgroup")).ok()?;
        serde_json::from_str(text.to_str()?).ok()
    }

    /// Stores which process is the container's first.
    pub(crate) fn store_init(&self, pid: i32) -> Result<()> {
        let start = start_time(pid).ok_or_else(|| Error::unavailable("the container's process is gone"))?;
        self.write("init", format!("{pid} {start}").as_bytes())
    }

    /// The filter that `create` compiled.
    pub(crate) fn filter(&self) -> Result<Option<Filter>> {
        if !self.record()?.seccomp {
            return Ok(None);
        }
        let bytes = fs::read(self.directory.join("seccomp.bpf")).context(|| "read the container's seccomp filter")?;
        Filter::from_bytes(&bytes).map(Some)
    }

    /// The first process, while it lives: its id and a handle.
    pub(crate) fn init(&self) -> Option<(i32, OwnedFd)> {
        let (pid, start) = self.stored_init()?;
        let raw = rustix::process::Pid::from_raw(pid)?;
        let handle = rustix::process::pidfd_open(raw, rustix::process::PidfdFlags::empty()).ok()?;
        // With the handle held the id cannot be reused; a different start time means that it has been before.
        (start_time(pid)? == start).then_some((pid, handle))
    }

    fn stored_init(&self) -> Option<(i32, u64)> {
        let text = fs::read_to_string(self.directory.join("init")).ok()?;
        let (pid, start) = text.split_once(' ')?;
        Some((pid.parse().ok()?, start.parse().ok()?))
    }

    /// The first process's id, if it lives.
    pub(crate) fn pid(&self) -> Option<i32> {
        let (pid, start) = self.stored_init()?;
        (start_time(pid)? == start).then_some(pid)
    }

    /// What the kernel says of the container now.
    pub(crate) fn status(&self) -> Status {
        if self.stored_init().is_none() {
            // Somebody is creating it, or died while at it.
            let locked = self.lock.is_none() && {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                rustix::fs::open(&self.directory, flags, Mode::empty())
                    .is_ok_and(|fd| flock(&fd, FlockOperation::NonBlockingLockShared).is_err())
            };
            return if locked { Status::Creating } else { Status::Stopped };
        }
        if self.pid().is_none() {
            return Status::Stopped;
        }
        if self.record.as_ref().is_some_and(|r| r.cgroup.frozen()) {
            return Status::Paused;
        }
        if self.gate().exists() { Status::Created } else { Status::Running }
    }

    /// The FIFO that holds the process back until `start`.
    pub(crate) fn gate(&self) -> PathBuf {
        self.directory.join("exec.fifo")
    }

    /// The FIFO by which `start` learns what became of `startContainer` hooks.
    pub(crate) fn verdict(&self) -> PathBuf {
        self.directory.join("start.fifo")
    }

    /// The directory on which criu finds the rootfs; for everybody else it is empty.
    pub(crate) fn criu_root(&self) -> PathBuf {
        self.directory.join("criu-root")
    }

    /// Makes the gate. Open for both directions, so that neither opening nor reading it ever sees an end.
    pub(crate) fn make_gate(&self) -> Result<OwnedFd> {
        make_fifo(&self.gate())
    }

    /// Makes the way back. The process holds it open until it executes its program or fails.
    pub(crate) fn make_verdict(&self) -> Result<OwnedFd> {
        make_fifo(&self.verdict())
    }

    /// The directory of the socket for `NOTIFY_SOCKET`.
    pub(crate) fn notify_directory(&self) -> PathBuf {
        self.directory.join("notify")
    }

    /// What hooks and `state` show.
    pub(crate) fn state(&self, status: Status, pid: i32) -> Result<State> {
        let record = self.record()?;
        Ok(State {
            oci_version: record.oci_version.clone(),
            id: record.id.clone(),
            status: status.word().into(),
            pid,
            bundle: record.bundle.clone(),
            annotations: record.annotations.clone(),
        })
    }

    /// Forgets the container.
    pub(crate) fn remove(&self) -> Result<()> {
        // Known names first: a few system calls instead of a listing.
        let filter = self.record.as_ref().is_none_or(|r| r.seccomp).then_some("seccomp.bpf");
        for name in ["cgroup", "init", "state.json"].into_iter().chain(filter) {
            let _ = fs::remove_file(self.directory.join(name));
        }
        match fs::remove_dir(&self.directory) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => fs::remove_dir_all(&self.directory),
            result => result,
        }
        .or_else(|e| if e.kind() == ErrorKind::NotFound { Ok(()) } else { Err(e) })
        .context(|| format!("remove {}", self.directory.display()))
    }
}

fn make_fifo(path: &Path) -> Result<OwnedFd> {
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0)
        .map_err(io)
        .context(|| format!("make {}", path.display()))?;
    rustix::fs::open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(io)
        .context(|| format!("open {}", path.display()))
}

fn read_record(directory: &Path) -> Result<Option<Record>> {
    let path = directory.join("state.json");
    let mut text = Vec::with_capacity(8 << 10);
    match File::open(&path) {
        Ok(file) => file.take(MAX_FILE).read_to_end(&mut text).context(|| format!("read {}", path.display()))?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context(|| format!("open {}", path.display())),
    };
    serde_json::from_slice(&text).map(Some).map_err(|e| Error::corrupt(format!("{}: {e}", path.display())))
}

/// When a living process was started, in clock ticks; `None` for one that is gone or a zombie.
fn start_time(pid: i32) -> Option<u64> {
    let mut text = [0u8; 1024];
    let length = File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut text).ok()?;
    parse_start_time(std::str::from_utf8(&text[..length]).ok()?)
}

fn parse_start_time(stat: &str) -> Option<u64> {
    // The name in parentheses may contain anything, also parentheses.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    match fields.next()? {
        "Z" | "X" | "x" => None,
        _ => fields.nth(18)?.parse().ok(),
    }
}

/// The owner shown by `list`.
pub(crate) fn directory_owner(root: &Path, id: &str) -> u32 {
    fs::metadata(root.join(id)).map_or(0, |m| m.uid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_names() {
        for good in ["a", "A-b_c.d+1", "...", &"x".repeat(255)] {
            assert!(check_id(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "a\0", "ä", &"x".repeat(256)] {
            assert!(check_id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn start_times_survive_strange_names() {
        let rest = "S 1 2 3 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 4711 0";
        assert_eq!(parse_start_time(&format!("1 (a) b) (c) {rest}")), Some(4711));
        assert_eq!(parse_start_time("1 (a) Z 1 2"), None);
    }

    #[test]
    fn an_id_is_taken_once() {
        let dir = tempfile::tempdir().expect("tempdir");
        let root = dir.path().join("deep/root");
        let first = Container::reserve(&root, "c").expect("reserved");
        assert_eq!(Container::reserve(&root, "c").expect_err("taken").kind(), oci::Kind::AlreadyExists);
        assert_eq!(Container::open(&root, "c").expect("open").status(), Status::Creating);
        drop(first);
        let cut_off = Container::open_locked(&root, "c").expect("open");
        assert_eq!(cut_off.status(), Status::Stopped);
        assert!(cut_off.record().is_err());
        cut_off.remove().expect("removed");
        assert_eq!(Container::open(&root, "c").expect_err("gone").kind(), oci::Kind::NotFound);
    }
}
