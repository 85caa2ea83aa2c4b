//! Layers on their way in: hashed, stored, decompressed and unpacked in one pass.
//!
//! ```text
//!  bytes ─┬─▶ ingest (file, digest)
//!         └─▶ decompress ─┬─▶ diff id
//!                         └─▶ tar ─▶ files in a staging directory
//! ```
//!
//! Nothing is visible before digest and diff id both match. On any error the staging directory goes
//! away; the ingest stays only where more bytes could complete it.

mod pipeline;
mod sink;

pub use sink::LayerSink;

use crate::Result;
use crate::snapshots::{Snapshotter, Staging, Usage};
use crate::unpack::Unpacked;
use oci::image::Descriptor;
use oci::{Context, Digest, Error};
use pipeline::Pipeline;
use std::io::Read;

/// The most entries that a layer may have.
pub(crate) const MAX_ENTRIES: u64 = 8_000_000;

/// Which layer, and where to.
#[derive(Debug, Clone)]
pub struct LayerSpec {
    /// What the manifest says: media type, digest and exact length.
    pub descriptor: Descriptor,
    /// What the image's configuration says of the uncompressed tar; `None` takes what is found.
    pub diff_id: Option<Digest>,
    /// The ingest's key. The same key finds the bytes of an earlier attempt again.
    pub key: String,
    /// Whose layer it will be, as in `overlayfs`.
    pub snapshotter: String,
}

/// An unpacked layer whose digests are right, waiting for its place in a chain
/// ([`Store::commit_chain`](crate::Store::commit_chain)). Dropping it removes what was unpacked.
#[derive(Debug)]
pub struct StagedLayer {
    digest: Digest,
    diff_id: Digest,
    staging: Option<Staging>,
    unpacked: Unpacked,
    /// Directories that the tar did not describe, parents before what they hold.
    pub(crate) implied: Vec<Vec<u8>>,
}

impl StagedLayer {
    /// The digest of the stored, compressed blob.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The digest of the uncompressed tar.
    pub fn diff_id(&self) -> &Digest {
        &self.diff_id
    }

    /// Bytes and inodes in the layer.
    pub fn usage(&self) -> Usage {
        Usage { bytes: self.unpacked.bytes, inodes: self.unpacked.inodes }
    }

    pub(crate) fn take_staging(&mut self) -> Result<Staging> {
        self.staging.take().ok_or_else(|| Error::internal("a staged layer was used twice"))
    }
}

/// Unpacks a blob that is stored already.
pub(crate) fn unpack_stored(
    content: &crate::Content,
    snapshotter: &dyn Snapshotter,
    spec: &LayerSpec,
) -> Result<StagedLayer> {
    let name = || format!("layer {}", spec.descriptor.digest);
    let unpack = || {
        let mut blob = content.open(&spec.descriptor.digest)?;
        if blob.size() != spec.descriptor.size {
            return Err(Error::corrupt(format!("expected {} bytes, found {}", spec.descriptor.size, blob.size())));
        }
        let mut pipeline = Pipeline::new(spec, snapshotter)?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            match blob.read(&mut buffer)? {
                0 => break,
                n => pipeline.push(&buffer[..n])?,
            }
        }
        // The blob was checked when it was stored.
        pipeline.finish(spec, &spec.descriptor.digest)
    };
    unpack().context(name)
}
