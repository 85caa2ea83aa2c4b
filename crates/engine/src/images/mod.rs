//! Images: pulled, pushed, named, listed, removed, and carried in archives. One [`ImageService`] for
//! the whole engine; [`Images`] is the view of one namespace.
//!
//! ```text
//! names (records) ─▶ target ─▶ manifest ─▶ configuration = the image's id     in the content store
//!                                      └─▶ layers ─▶ chain of snapshots       in the snapshotter
//! ```
//! Every flow that brings an image ends in one place (`pull::take_in`): layers side by side, then
//! the documents, the chain, and last the names.

mod archive;
mod builtin;
mod changes;
mod find;
mod flight;
mod hub;
mod import;
mod layers;
mod list;
mod load;
mod manifest;
mod model;
mod progress;
mod pull;
mod push;
mod ready;
mod records;
mod remove;
mod roots;
mod save;
mod service;
mod tag;

pub use model::{
    HistoryLine, Image, ImageUser, ImportOptions, Loaded, PrunedImages, PullOptions, Pulled, Pushed, Ready, Removed,
    Timeline,
};
pub use progress::{LayerState, Message, Progress, ProgressSink};
pub use save::TarStream;
pub use service::{Collection, EventHook, Hooks, ImageConfig, ImageService, Kept, UsersHook};

use std::sync::Arc;

/// Images of one namespace. Cheap to clone.
#[derive(Clone)]
pub struct Images {
    service: Arc<ImageService>,
    ns: Arc<str>,
}

impl ImageService {
    /// The view of one namespace.
    pub fn namespace(self: &Arc<Self>, ns: &str) -> Images {
        Images { service: self.clone(), ns: ns.into() }
    }
}
