//! Snapshots as whole trees, for file systems and kernels without overlayfs.
//!
//! A committed layer shares the files of the one below as hard links, as nobody writes to either;
//! a writable snapshot is a full copy, by shared blocks where the file system can.

use super::area::Record;
use super::copy::{Files, copy_tree};
use super::merge::merge;
use super::{Area, Labels, Mount, SnapshotInfo, SnapshotKind, Snapshotter, Staging, Usage};
use crate::Result;
use crate::layer::StagedLayer;
use oci::{Error, Timestamp};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;

/// The snapshotter `native`.
#[derive(Debug)]
pub(crate) struct Native {
    area: Arc<Area>,
}

impl Native {
    pub(crate) fn new(area: Arc<Area>) -> Self {
        Self { area }
    }

    fn copy_parent(&self, parent: &str, staging: &Staging, files: Files) -> Result<()> {
        let from = self.area.fs_of(self.area.record(parent)?.dir)?;
        copy_tree(from.as_fd(), staging.fs()?.as_fd(), files)
    }

    fn publish(
        &self,
        key: &str,
        staging: Staging,
        parent: Option<&str>,
        kind: SnapshotKind,
        labels: Labels,
    ) -> Result<()> {
        self.area.publish(key, staging, |dir| Record {
            dir,
            parent: parent.map(str::to_owned),
            kind,
            labels,
            created: Timestamp::now(),
            usage: None,
        })
    }
}

impl Snapshotter for Native {
    fn name(&self) -> &str {
        self.area.name()
    }

    fn prepare(&self, key: &str, parent: Option<&str>, labels: Labels) -> Result<Vec<Mount>> {
        self.area.check_new(key, parent)?;
        let staging = self.area.stage()?;
        if let Some(parent) = parent {
            self.copy_parent(parent, &staging, Files::Copy)?;
        }
        self.publish(key, staging, parent, SnapshotKind::Active, labels)?;
        self.mounts(key)
    }

    fn view(&self, key: &str, parent: Option<&str>, labels: Labels) -> Result<Vec<Mount>> {
        self.area.check_new(key, parent)?;
        // The parent can't change, so it is shown itself.
        let staging = self.area.stage()?;
        self.publish(key, staging, parent, SnapshotKind::View, labels)?;
        self.mounts(key)
    }

    fn mounts(&self, key: &str) -> Result<Vec<Mount>> {
        let record = self.area.record(key)?;
        let (dir, access) = match (record.kind, &record.parent) {
            (SnapshotKind::Active, _) => (record.dir, "rw"),
            (SnapshotKind::View, None) => (record.dir, "ro"),
            (SnapshotKind::View, Some(parent)) => (self.area.record(parent)?.dir, "ro"),
            (SnapshotKind::Committed, _) => {
                return Err(Error::conflict(format!("native snapshot {key:?} is committed; mount a view of it")));
            }
        };
        Ok(vec![Mount {
            kind: "bind".into(),
            source: self.area.path_of(dir, "fs").to_string_lossy().into_owned(),
            options: vec![access.into(), "rbind".into()],
        }])
    }

    fn commit(&self, name: &str, key: &str, labels: Labels) -> Result<()> {
        let usage = self.usage(key)?;
        self.area.commit(name, key, labels, usage)
    }

    fn remove(&self, key: &str) -> Result<()> {
        self.area.remove(key)
    }

    fn stat(&self, key: &str) -> Result<SnapshotInfo> {
        Ok(Area::info(key.to_owned(), self.area.record(key)?))
    }

    fn usage(&self, key: &str) -> Result<Usage> {
        let record = self.area.record(key)?;
        record.usage.map_or_else(|| self.area.measure(record.dir), Ok)
    }

    fn walk(&self) -> Result<Vec<SnapshotInfo>> {
        self.area.walk()
    }

    fn cleanup(&self) -> Result<()> {
        self.area.sweep()?;
        self.area.empty_trash()
    }

    fn upper(&self, key: &str) -> Result<Option<PathBuf>> {
        self.area.record(key).map(|_| None)
    }

    fn layer_path(&self, key: &str) -> Result<PathBuf> {
        Ok(self.area.path_of(self.area.record(key)?.dir, "fs"))
    }

    fn adopt(&self, name: &str, parent: Option<&str>, layer: &mut StagedLayer) -> Result<()> {
        let staged = layer.take_staging()?;
        let staging = self.area.stage()?;
        if let Some(parent) = parent {
            self.copy_parent(parent, &staging, Files::Link)?;
        }
        merge(&staged.fs()?, &staging.fs()?, &layer.implied)?;
        let usage = layer.usage();
        self.area.publish(name, staging, |dir| Record {
            dir,
            parent: parent.map(str::to_owned),
            kind: SnapshotKind::Committed,
            labels: Labels::new(),
            created: Timestamp::now(),
            usage: Some(usage),
        })
    }

    fn stage(&self) -> Result<Staging> {
        self.area.stage()
    }
}
