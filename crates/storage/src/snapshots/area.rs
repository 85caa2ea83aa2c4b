//! What both snapshotters share: directories by number, and their records.

use super::{Labels, SnapshotInfo, SnapshotKind, Usage};
use crate::Result;
use crate::fs::{Sys, entries, make_dir, open_dir};
use crate::meta::{Meta, Txn};
use crate::trash::Trash;
use oci::{Context, Error, Timestamp};
use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const NAMESPACE: &str = ".snapshots";

/// A snapshot's record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) dir: u64,
    pub(crate) parent: Option<String>,
    pub(crate) kind: SnapshotKind,
    #[serde(default)]
    pub(crate) labels: Labels,
    pub(crate) created: Timestamp,
    #[serde(default)]
    pub(crate) usage: Option<Usage>,
}

/// One snapshotter's directories and records.
#[derive(Debug)]
pub(crate) struct Area {
    name: &'static str,
    path: PathBuf,
    dir: OwnedFd,
    staging: OwnedFd,
    meta: Arc<Meta>,
    trash: Arc<Trash>,
    next: AtomicU64,
    /// Held while a directory and its record come or go together.
    change: Mutex<()>,
}

impl Area {
    /// Opens `snapshots/<name>` and sweeps what a crash left.
    pub(crate) fn open(
        name: &'static str,
        snapshots: &OwnedFd,
        path: &Path,
        meta: Arc<Meta>,
        trash: Arc<Trash>,
    ) -> Result<Arc<Self>> {
        // Searchable by others: root filesystems are entered by users other than root.
        let dir = make_dir(snapshots, name, 0o711)?;
        let staging = make_dir(&dir, "staging", 0o700)?;
        let area = Self {
            name,
            path: path.join(name),
            dir,
            staging,
            meta,
            trash,
            next: AtomicU64::new(1),
            change: Mutex::default(),
        };
        for (name, _) in entries(&area.staging).what(|| "list staging")? {
            if let Ok(name) = name.to_str() {
                area.trash.put(&area.staging, name)?;
            }
        }
        area.sweep()?;
        Ok(Arc::new(area))
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.change.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes directories without a record and repairs records without a directory.
    pub(crate) fn sweep(&self) -> Result<()> {
        let _changing = self.lock();
        let records = self.records()?;
        let known: HashSet<u64> = records.iter().map(|(_, record)| record.dir).collect();
        let mut present = HashSet::new();
        for (name, _) in entries(&self.dir).what(|| "list snapshots")? {
            let Some(name) = name.to_str().ok() else { continue };
            let Ok(number) = name.parse::<u64>() else { continue };
            self.next.fetch_max(number + 1, Ordering::Relaxed);
            if known.contains(&number) {
                present.insert(number);
            } else {
                self.trash.put(&self.dir, name)?;
            }
        }
        // Only a power cut loses a directory that a record names, as its making was not flushed.
        for (key, record) in records.iter().filter(|(_, record)| !present.contains(&record.dir)) {
            self.next.fetch_max(record.dir + 1, Ordering::Relaxed);
            if record.kind == SnapshotKind::Committed {
                self.meta.own_transaction(|txn| txn.delete(NAMESPACE, self.name, key))?;
            } else {
                let dir = make_dir(&self.dir, &record.dir.to_string(), 0o700)?;
                make_dir(&dir, "fs", 0o755)?;
                make_dir(&dir, "work", 0o711)?;
            }
        }
        Ok(())
    }

    pub(crate) fn empty_trash(&self) -> Result<()> {
        self.trash.empty()
    }

    pub(crate) fn records(&self) -> Result<Vec<(String, Record)>> {
        self.meta.own_list(NAMESPACE, self.name)
    }

    pub(crate) fn record(&self, key: &str) -> Result<Record> {
        self.meta.own_get(NAMESPACE, self.name, key)?.ok_or_else(|| self.missing(key))
    }

    fn missing(&self, key: &str) -> Error {
        Error::not_found(format!("{} snapshot {key:?} does not exist", self.name))
    }

    pub(crate) fn info(key: String, record: Record) -> SnapshotInfo {
        SnapshotInfo { key, parent: record.parent, kind: record.kind, labels: record.labels, created: record.created }
    }

    pub(crate) fn walk(&self) -> Result<Vec<SnapshotInfo>> {
        Ok(self.records()?.into_iter().map(|(key, record)| Self::info(key, record)).collect())
    }

    /// The directory numbers of a snapshot's parents, the nearest first.
    pub(crate) fn ancestors(&self, record: &Record) -> Result<Vec<u64>> {
        let mut found = Vec::new();
        let mut parent = record.parent.clone();
        while let Some(key) = parent {
            let record = self.record(&key)?;
            found.push(record.dir);
            parent = record.parent;
        }
        Ok(found)
    }

    /// The absolute path of a directory's `fs` or `work`.
    pub(crate) fn path_of(&self, dir: u64, part: &str) -> PathBuf {
        self.path.join(dir.to_string()).join(part)
    }

    /// The `fs` directory of a snapshot.
    pub(crate) fn fs_of(&self, dir: u64) -> Result<OwnedFd> {
        open_dir(&open_dir(&self.dir, &dir.to_string())?, "fs")
    }

    /// A new directory with an empty `fs`, which is swept unless it is published.
    pub(crate) fn stage(self: &Arc<Self>) -> Result<Staging> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let dir = make_dir(&self.staging, &number.to_string(), 0o711)?;
        let staging = Staging { area: self.clone(), number, published: false };
        make_dir(&dir, "fs", 0o755)?;
        Ok(staging)
    }

    /// Refuses a taken key and an unfit parent.
    pub(crate) fn check_new(&self, key: &str, parent: Option<&str>) -> Result<()> {
        if self.meta.own_get::<Record>(NAMESPACE, self.name, key)?.is_some() {
            return Err(self.taken(key));
        }
        parent.map_or(Ok(()), |parent| self.check_parent(self.record(parent)?.kind, parent))
    }

    fn taken(&self, key: &str) -> Error {
        Error::already_exists(format!("{} snapshot {key:?} exists already", self.name))
    }

    fn check_parent(&self, kind: SnapshotKind, parent: &str) -> Result<()> {
        if kind == SnapshotKind::Committed {
            return Ok(());
        }
        Err(Error::conflict(format!("{} snapshot {parent:?} is not committed and can't be a parent", self.name)))
    }

    /// Gives a staged directory its place and its record.
    pub(crate) fn publish(&self, key: &str, mut staging: Staging, record: impl FnOnce(u64) -> Record) -> Result<()> {
        let _changing = self.lock();
        let number = staging.number.to_string();
        let record = record(staging.number);
        self.check_new(key, record.parent.as_deref())?;
        rustix::fs::renameat(&self.staging, &number, &self.dir, &number)
            .what(|| format!("publish {} snapshot {key:?}", self.name))?;
        staging.published = true;
        let written = self.meta.own_transaction(|txn| txn.create(NAMESPACE, self.name, key, &record));
        if written.is_err() {
            let _ = self.trash.put(&self.dir, &number);
        }
        written.context(|| format!("publish {} snapshot {key:?}", self.name))
    }

    /// Turns an active snapshot into a committed one of another name.
    pub(crate) fn commit(&self, name: &str, key: &str, labels: Labels, usage: Usage) -> Result<()> {
        let _changing = self.lock();
        self.meta.own_transaction(|txn| {
            let mut record: Record = txn.get(NAMESPACE, self.name, key)?.ok_or_else(|| self.missing(key))?;
            if record.kind != SnapshotKind::Active {
                return Err(Error::conflict(format!("{} snapshot {key:?} is not active", self.name)));
            }
            if txn.get::<Record>(NAMESPACE, self.name, name)?.is_some() {
                return Err(self.taken(name));
            }
            record.kind = SnapshotKind::Committed;
            record.labels = labels;
            record.usage = Some(usage);
            txn.delete(NAMESPACE, self.name, key)?;
            txn.create(NAMESPACE, self.name, name, &record)
        })
    }

    /// Removes the record, then moves the directory to the trash.
    pub(crate) fn remove(&self, key: &str) -> Result<()> {
        let _changing = self.lock();
        let record: Record = self.meta.own_transaction(|txn| {
            let record: Record = txn.get(NAMESPACE, self.name, key)?.ok_or_else(|| self.missing(key))?;
            if record.kind == SnapshotKind::Committed
                && let Some(child) = self.child_of(txn, key)?
            {
                return Err(Error::conflict(format!(
                    "{} snapshot {key:?} is the parent of {child:?}; remove that first",
                    self.name
                )));
            }
            txn.delete(NAMESPACE, self.name, key)?;
            Ok(record)
        })?;
        self.trash.put(&self.dir, &record.dir.to_string())
    }

    fn child_of(&self, txn: &Txn<'_>, key: &str) -> Result<Option<String>> {
        let all: Vec<(String, Record)> = txn.list(NAMESPACE, self.name)?;
        Ok(all.into_iter().find(|(_, record)| record.parent.as_deref() == Some(key)).map(|(child, _)| child))
    }

    /// Disk space and inodes below a snapshot's `fs`, hard links counted once.
    pub(crate) fn measure(&self, dir: u64) -> Result<Usage> {
        let root = self.fs_of(dir)?;
        let mut usage = Usage::default();
        let mut linked: HashMap<(u64, u64), ()> = HashMap::new();
        crate::walk::walk(root.as_fd(), &mut |entry| {
            let counted = entry.stat.st_nlink < 2 || entry.kind == FileType::Directory || {
                linked.insert((entry.stat.st_dev, entry.stat.st_ino), ()).is_none()
            };
            if counted {
                usage.bytes += entry.stat.st_blocks as u64 * 512;
                usage.inodes += 1;
            }
            Ok(())
        })?;
        Ok(usage)
    }
}

/// A directory being made; dropping it unpublished removes it.
#[derive(Debug)]
pub struct Staging {
    area: Arc<Area>,
    number: u64,
    published: bool,
}

impl Staging {
    /// The directory itself.
    pub(crate) fn dir(&self) -> Result<OwnedFd> {
        open_dir(&self.area.staging, &self.number.to_string())
    }

    /// Its `fs`.
    pub(crate) fn fs(&self) -> Result<OwnedFd> {
        open_dir(&self.dir()?, "fs")
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.published && self.area.trash.put(&self.area.staging, &self.number.to_string()).is_ok() {
            // What stays is removed at the next emptying.
            let _ = self.area.trash.empty();
        }
    }
}

/// Copies owner and mode from one directory to another.
fn copy_owner_and_mode(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let stat = rustix::fs::fstat(from).what(|| "stat the layer below")?;
    rustix::fs::fchown(to, Some(rustix::fs::Uid::from_raw(stat.st_uid)), Some(rustix::fs::Gid::from_raw(stat.st_gid)))
        .what(|| "set owner")?;
    rustix::fs::fchmod(to, rustix::fs::Mode::from_raw_mode(stat.st_mode & 0o7777)).what(|| "set mode")
}

/// Whether `path` below `root` is a directory reached without symbolic links; its handle.
pub(crate) fn directory_beneath(root: &OwnedFd, path: &[u8]) -> Result<Option<OwnedFd>> {
    use rustix::fs::OFlags;
    match crate::fs::open_beneath(root, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Ok(None),
        Err(e) => Err(e).what(|| format!("open {:?} in a layer below", crate::fs::show(path))),
    }
}

/// Gives a directory that no entry of its layer described the attributes that it has below.
pub(crate) fn inherit(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    copy_owner_and_mode(from.as_fd(), to.as_fd())?;
    super::copy::copy_xattrs(from.as_fd(), to.as_fd(), &|name| {
        !name.starts_with(b"trusted.overlay.") && !name.starts_with(b"user.overlay.")
    })?;
    let stat = rustix::fs::statat(from, "", AtFlags::EMPTY_PATH).what(|| "stat the layer below")?;
    super::copy::set_times(to.as_fd(), &stat)
}
