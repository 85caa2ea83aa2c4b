//! Decompress, hash, untar.

use super::{LayerSpec, MAX_ENTRIES, StagedLayer};
use crate::Result;
use crate::compress::{Compression, Decompressor};
use crate::hash::Hasher;
use crate::snapshots::{Snapshotter, Staging};
use crate::tar::Parser;
use crate::unpack::{Rules, Unpacker};
use oci::{Digest, Error};

const RULES: Rules = Rules { whiteouts: true, fresh: true, replace_kinds: true, owner: None };

/// From compressed bytes to files.
pub(super) struct Pipeline {
    decompressor: Decompressor,
    untar: Untar,
    staging: Staging,
}

struct Untar {
    hasher: Hasher,
    parser: Parser,
    unpacker: Unpacker,
}

impl Untar {
    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.parser.push(bytes, &mut self.unpacker)
    }
}

impl Pipeline {
    pub(super) fn new(spec: &LayerSpec, snapshotter: &dyn Snapshotter) -> Result<Self> {
        let compression = Compression::of_media_type(&spec.descriptor.media_type)?;
        let staging = snapshotter.stage()?;
        Ok(Self {
            decompressor: Decompressor::new(Some(compression)),
            untar: Untar {
                hasher: spec.diff_id.as_ref().map_or_else(Hasher::sha256, Hasher::like),
                parser: Parser::new(MAX_ENTRIES),
                unpacker: Unpacker::new(staging.fs()?, RULES),
            },
            staging,
        })
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<()> {
        let untar = &mut self.untar;
        self.decompressor.push(bytes, &mut |part| untar.take(part))
    }

    /// The stream has ended: checks that it is complete and has the right diff id.
    pub(super) fn finish(mut self, spec: &LayerSpec, digest: &Digest) -> Result<StagedLayer> {
        let untar = &mut self.untar;
        self.decompressor.finish(&mut |part| untar.take(part))?;
        let Untar { hasher, parser, unpacker } = self.untar;
        parser.finish()?;
        let diff_id = hasher.finish()?;
        if let Some(expected) = spec.diff_id.as_ref().filter(|expected| **expected != diff_id) {
            return Err(Error::corrupt(format!("expected diff id {expected}, found {diff_id}")));
        }
        let (unpacked, implied) = unpacker.finish()?;
        Ok(StagedLayer { digest: digest.clone(), diff_id, staging: Some(self.staging), unpacked, implied })
    }
}
