//! Snapshots: root filesystems made of layers.
//!
//! ```text
//! snapshots/<snapshotter>/staging/<n>/{fs,work}   being made; swept at the next start
//! snapshots/<snapshotter>/<n>/fs                  a layer, or the writable part of a container
//! snapshots/<snapshotter>/<n>/work                overlayfs's own, beside a writable part
//!
//!            prepare ┌────────┐ commit  ┌───────────┐  the parent of other
//!   parent ─────────▶│ active │────────▶│ committed │  snapshots
//!            view    ├────────┤         └───────────┘
//!           ────────▶│  view  │               ▲ commit_chain
//!                    └────────┘            staged layer
//! ```
//!
//! The record in the metadata database is the truth: a directory that no record names is swept, and
//! a directory gets its name before its record is written.

mod area;
mod copy;
mod merge;
mod native;
mod overlayfs;

pub(crate) use area::{Area, Staging};
pub(crate) use native::Native;
pub(crate) use overlayfs::Overlayfs;

use crate::Result;
use crate::layer::StagedLayer;
use oci::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Debug;

/// Copies what is below `from`, and `from`'s own attributes, to the empty directory `to`.
pub(crate) fn copy_tree(from: std::os::fd::BorrowedFd<'_>, to: std::os::fd::BorrowedFd<'_>) -> Result<()> {
    copy::copy_tree(from, to, copy::Files::Copy)
}

/// Free-form notes on a snapshot.
pub type Labels = BTreeMap<String, String>;

/// A mount, in containerd's form, as a shim gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// `overlay` or `bind`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What is mounted: a directory for `bind`, the word `overlay` for `overlay`.
    pub source: String,
    /// Options as in fstab.
    pub options: Vec<String>,
}

/// What a snapshot is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotKind {
    /// Writable.
    Active,
    /// Read-only, and not a parent.
    View,
    /// Unchangeable, and may be a parent.
    Committed,
}

/// What is known of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// Its key; of a committed layer its chain id.
    pub key: String,
    /// What it lies on.
    pub parent: Option<String>,
    /// What it is for.
    pub kind: SnapshotKind,
    /// Notes given at its making.
    pub labels: Labels,
    /// When it was made.
    pub created: Timestamp,
}

/// Space that a snapshot takes by itself, its parents left out.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Bytes: the lengths of a committed layer's files, the disk space of a writable one's.
    pub bytes: u64,
    /// Files, directories and everything else.
    pub inodes: u64,
}

/// Root filesystems from layers. All methods are atomic: a kill leaves the state before or after.
pub trait Snapshotter: Send + Sync + Debug {
    /// Its name, as in `overlayfs`.
    fn name(&self) -> &str;

    /// Makes a writable snapshot on `parent` and gives what to mount. [`oci::Kind::AlreadyExists`]
    /// if the key is taken, [`oci::Kind::NotFound`] without the parent.
    fn prepare(&self, key: &str, parent: Option<&str>, labels: Labels) -> Result<Vec<Mount>>;

    /// Makes a read-only snapshot on `parent`; errors as of [`Snapshotter::prepare`].
    fn view(&self, key: &str, parent: Option<&str>, labels: Labels) -> Result<Vec<Mount>>;

    /// What to mount for an active snapshot or a view.
    fn mounts(&self, key: &str) -> Result<Vec<Mount>>;

    /// Turns the active snapshot `key` into the committed one `name`.
    fn commit(&self, name: &str, key: &str, labels: Labels) -> Result<()>;

    /// Removes a snapshot; [`oci::Kind::NotFound`] if there is none, [`oci::Kind::Conflict`] if it
    /// is another one's parent. It must not be mounted. The space is freed by [`Snapshotter::cleanup`].
    fn remove(&self, key: &str) -> Result<()>;

    /// What is known of one snapshot.
    fn stat(&self, key: &str) -> Result<SnapshotInfo>;

    /// The space it takes. That of an active snapshot is measured now, by reading its directories.
    fn usage(&self, key: &str) -> Result<Usage>;

    /// All snapshots, in the order of their keys.
    fn walk(&self) -> Result<Vec<SnapshotInfo>>;

    /// Frees the space of removed snapshots, and sweeps what a crash left.
    fn cleanup(&self) -> Result<()>;

    /// The directory that holds what a snapshot changed: overlayfs's upper directory; `None` where
    /// changes are not kept apart.
    fn upper(&self, key: &str) -> Result<Option<std::path::PathBuf>>;

    /// The directory of a committed snapshot: the layer by itself, or where layers are not kept
    /// apart the whole tree. It must not be changed.
    fn layer_path(&self, key: &str) -> Result<std::path::PathBuf>;

    /// Makes a staged layer the committed snapshot `name` on `parent`.
    #[doc(hidden)]
    fn adopt(&self, name: &str, parent: Option<&str>, layer: &mut StagedLayer) -> Result<()>;

    /// Where layers are staged.
    #[doc(hidden)]
    fn stage(&self) -> Result<Staging>;
}
