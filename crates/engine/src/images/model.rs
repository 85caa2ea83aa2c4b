//! Images as callers see them.

use super::service::Kept;
use oci::image::{Descriptor, ImageConfig};
use oci::{Digest, ImageRef, Platform, Timestamp};
use registry::Credentials;
use std::sync::Arc;
use std::time::Duration;

/// One image: everything that has the same configuration, under all of its names.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// The digest of the configuration: Docker's image id.
    pub id: Digest,
    /// Names with a tag, sorted. Docker's `RepoTags`.
    pub tags: Vec<ImageRef>,
    /// Names pinned to the digest under which the image came from a registry. Docker's `RepoDigests`.
    pub digests: Vec<ImageRef>,
    /// What the names stand for: a manifest, or an index of which this machine's manifest was chosen.
    pub target: Descriptor,
    /// The image's manifest.
    pub manifest: Descriptor,
    /// The configuration, parsed.
    pub config: ImageConfig,
    /// Chain id of the top layer, the parent of a container's snapshot; `None` without layers.
    pub chain: Option<Digest>,
    /// Bytes of the unpacked layers.
    pub size: u64,
    /// Bytes of each unpacked layer, the lowest first.
    pub layer_sizes: Vec<u64>,
    /// When a name was last given to it.
    pub tagged: Timestamp,
}

impl Image {
    /// When it was made; [`Timestamp::ZERO`] if it doesn't say.
    pub fn created(&self) -> Timestamp {
        self.config.created.unwrap_or_default()
    }

    /// Whether it has no tag: Docker's `dangling`.
    pub fn is_dangling(&self) -> bool {
        self.tags.is_empty()
    }
}

/// How long the parts of getting an image took; zero where nothing had to be done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeline {
    /// Asking the registry what the name stands for.
    pub resolve: Duration,
    /// From the first to the last byte of the layers.
    pub fetch: Duration,
    /// What unpacking took beyond the last byte.
    pub unpack: Duration,
}

/// How to pull.
#[derive(Clone, Default)]
pub struct PullOptions {
    /// Another platform than this machine's.
    pub platform: Option<Platform>,
    /// Who we are to the registry.
    pub credentials: Credentials,
}

/// What a pull brought.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The image.
    pub image: Image,
    /// Nothing had to be fetched, and the name stood for it already.
    pub up_to_date: bool,
    /// How long it took.
    pub timeline: Timeline,
}

/// An image that is ready to be run: its layers are unpacked.
#[derive(Debug, Clone)]
pub struct Ready {
    /// The image.
    pub image: Image,
    /// The name it was found by, if it was a name.
    pub reference: Option<ImageRef>,
    /// What it took to make it ready.
    pub timeline: Timeline,
    /// Keeps the collector away until the container's own record and snapshot do.
    pub hold: Arc<Kept>,
}

/// What a push brought there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The name pushed.
    pub reference: ImageRef,
    /// The digest of the manifest.
    pub digest: Digest,
    /// The manifest's length in bytes.
    pub size: u64,
}

/// One line of an image's history, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryLine {
    /// The image's id, for the newest line only.
    pub id: Option<Digest>,
    /// When.
    pub created: Timestamp,
    /// By what command.
    pub created_by: String,
    /// A remark.
    pub comment: String,
    /// Bytes of its unpacked layer; 0 without one.
    pub size: u64,
    /// The image's tags, for the newest line only.
    pub tags: Vec<ImageRef>,
}

/// One step of a removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    /// The name is gone.
    Untagged(ImageRef),
    /// An image or a layer is gone.
    Deleted(Digest),
}

/// A container that uses an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUser {
    /// The container's id.
    pub container: String,
    /// It runs.
    pub running: bool,
}

/// What [`Images::prune`](super::Images::prune) did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrunedImages {
    /// What went.
    pub removed: Vec<Removed>,
    /// Bytes that are free again.
    pub freed: u64,
}

/// One image that a load or import brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The image's id.
    pub id: Digest,
    /// Its names in the archive; without one it is known by its id only.
    pub names: Vec<ImageRef>,
}

/// What an import makes besides the layer.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// The new image's name.
    pub reference: Option<ImageRef>,
    /// The remark in its history.
    pub message: String,
    /// Its platform; this machine's where absent.
    pub platform: Option<Platform>,
    /// Lines of a Dockerfile that set its configuration (`CMD`, `ENV`, ...).
    pub changes: Vec<String>,
}
