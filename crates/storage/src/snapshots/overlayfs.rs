//! Snapshots as overlayfs stacks: a layer is one directory, a container one upper directory.

use super::area::{Record, directory_beneath, inherit};
use super::{Area, Labels, Mount, SnapshotInfo, SnapshotKind, Snapshotter, Staging, Usage};
use crate::Result;
use crate::fs::make_dir;
use crate::layer::StagedLayer;
use oci::{Error, Timestamp};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The snapshotter `overlayfs`.
#[derive(Debug)]
pub(crate) struct Overlayfs {
    area: Arc<Area>,
}

impl Overlayfs {
    pub(crate) fn new(area: Arc<Area>) -> Self {
        Self { area }
    }

    fn make(&self, key: &str, parent: Option<&str>, kind: SnapshotKind, labels: Labels) -> Result<Vec<Mount>> {
        self.area.check_new(key, parent)?;
        let staging = self.area.stage()?;
        if let Some(parent) = parent {
            let below = self.area.fs_of(self.area.record(parent)?.dir)?;
            // The upper directory's attributes are what the root of the container shows.
            inherit(&below, &staging.fs()?)?;
        }
        if kind == SnapshotKind::Active {
            make_dir(&staging.dir()?, "work", 0o711)?;
        }
        self.area.publish(key, staging, |dir| Record {
            dir,
            parent: parent.map(str::to_owned),
            kind,
            labels,
            created: Timestamp::now(),
            usage: None,
        })?;
        self.mounts(key)
    }
}

impl Snapshotter for Overlayfs {
    fn name(&self) -> &str {
        self.area.name()
    }

    fn prepare(&self, key: &str, parent: Option<&str>, labels: Labels) -> Result<Vec<Mount>> {
        self.make(key, parent, SnapshotKind::Active, labels)
    }

    fn view(&self, key: &str, parent: Option<&str>, labels: Labels) -> Result<Vec<Mount>> {
        self.make(key, parent, SnapshotKind::View, labels)
    }

    fn mounts(&self, key: &str) -> Result<Vec<Mount>> {
        let record = self.area.record(key)?;
        let own = self.area.path_of(record.dir, "fs");
        let lower: Vec<PathBuf> =
            self.area.ancestors(&record)?.into_iter().map(|dir| self.area.path_of(dir, "fs")).collect();
        let active = match record.kind {
            SnapshotKind::Active => true,
            SnapshotKind::View => false,
            SnapshotKind::Committed => {
                return Err(Error::conflict(format!("overlayfs snapshot {key:?} is committed; mount a view of it")));
            }
        };
        Ok(vec![match (active, lower.as_slice()) {
            // overlayfs wants a lower directory, so one directory alone is bound.
            (true, []) => bind(&own, "rw"),
            (false, []) => bind(&own, "ro"),
            (false, [one]) => bind(one, "ro"),
            (false, many) => Mount {
                kind: "overlay".into(),
                source: "overlay".into(),
                options: vec!["index=off".into(), format!("lowerdir={}", join(many)?)],
            },
            (true, many) => Mount {
                kind: "overlay".into(),
                source: "overlay".into(),
                options: vec![
                    "index=off".into(),
                    format!("workdir={}", text(&self.area.path_of(record.dir, "work"))?),
                    format!("upperdir={}", text(&own)?),
                    format!("lowerdir={}", join(many)?),
                ],
            },
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
        let record = self.area.record(key)?;
        Ok(Some(self.area.path_of(record.dir, "fs")))
    }

    fn layer_path(&self, key: &str) -> Result<PathBuf> {
        Ok(self.area.path_of(self.area.record(key)?.dir, "fs"))
    }

    fn adopt(&self, name: &str, parent: Option<&str>, layer: &mut StagedLayer) -> Result<()> {
        let staging = layer.take_staging()?;
        if let Some(parent) = parent {
            let nearest = self.area.record(parent)?;
            let mut below = vec![nearest.dir];
            below.extend(self.area.ancestors(&nearest)?);
            inherit_implied(&self.area, &below, &staging, &layer.implied)?;
        }
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

/// Gives directories that the layer's tar did not describe what they have in the layers below.
fn inherit_implied(area: &Area, below: &[u64], staging: &Staging, implied: &[Vec<u8>]) -> Result<()> {
    if implied.is_empty() {
        return Ok(());
    }
    let layers = below.iter().map(|dir| area.fs_of(*dir)).collect::<Result<Vec<_>>>()?;
    let fs = staging.fs()?;
    // The deepest first: setting one up must not change the times of those above it.
    for path in implied.iter().rev() {
        let Some(to) = directory_beneath(&fs, path)? else { continue };
        for layer in &layers {
            if let Some(from) = directory_beneath(layer, path)? {
                inherit(&from, &to)?;
                break;
            }
        }
    }
    Ok(())
}

fn bind(path: &Path, access: &str) -> Mount {
    Mount {
        kind: "bind".into(),
        source: path.to_string_lossy().into_owned(),
        options: vec![access.into(), "rbind".into()],
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| Error::invalid(format!("the path {} is not UTF-8", path.display())))
}

fn join(paths: &[PathBuf]) -> Result<String> {
    Ok(paths.iter().map(|path| text(path)).collect::<Result<Vec<_>>>()?.join(":"))
}
