//! Content, metadata, snapshots and layers. See README.md.
//!
//! - [`Store`]: the whole, opened by one process at a time
//! - [`Content`]: blobs by digest, and resumable ingests
//! - [`Meta`]: JSON records by namespace, kind and id
//! - [`Snapshotter`]: root filesystems made of layers
//! - [`LayerSink`]: a layer received, stored and unpacked in one pass
//! - [`archive`]: tar streams of a container's files, for cp and export
//! - [`Change`]: what a container changed
//! - [`Root`], [`Hold`] and [`GcReport`]: garbage collection

pub mod archive;
pub mod bundle;
mod changes;
mod compress;
mod content;
mod fs;
mod gc;
mod hash;
mod inside;
mod layer;
mod meta;
mod snapshots;
mod store;
mod tar;
mod trash;
mod unpack;
mod walk;
mod xattr;

pub use changes::{Change, ChangeKind};
pub use compress::Compression;
pub use content::{Blob, Content, Info, Ingest, IngestInfo};
pub use gc::{GcReport, Hold, Root};
pub use hash::{chain_id, digest_of};
pub use inside::{copy_into_empty, read_in_root};
pub use layer::{LayerSink, LayerSpec, StagedLayer};
pub use meta::{Meta, Txn};
pub use oci::Result;
pub use snapshots::{Labels, Mount, SnapshotInfo, SnapshotKind, Snapshotter, Usage};
pub use store::{Options, Store};
