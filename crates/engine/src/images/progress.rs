//! Progress of pull, push and load, in Docker's words.

use oci::{Digest, ImageRef};
use std::sync::Arc;

/// Gets every step as it happens, on whatever thread it happens: it must not block. A step about a
/// layer replaces the one before it about the same layer.
pub type ProgressSink = Arc<dyn Fn(Progress) + Send + Sync>;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// A pull begins.
    PullingFrom(ImageRef),
    /// A push begins.
    PushTo(ImageRef),
    /// About one layer.
    Layer {
        /// The first twelve digits of its digest, as pull shows it, or of its diff-id, as push and load do.
        id: String,
        /// What about it.
        state: LayerState,
    },
    /// The digest of what the name stands for.
    Digest(Digest),
    /// A pull's end: something was fetched.
    Downloaded(ImageRef),
    /// A pull's end: it was all there.
    UpToDate(ImageRef),
    /// A push's end.
    Pushed {
        /// The tag.
        tag: String,
        /// The manifest's digest.
        digest: Digest,
        /// The manifest's length in bytes.
        size: u64,
    },
    /// A load's end, by name.
    Loaded(ImageRef),
    /// A load's end, where the archive has no name.
    LoadedId(Digest),
}

/// Where a layer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerState {
    /// It will be fetched.
    PullingFsLayer,
    /// It waits for others.
    Waiting,
    /// Bytes come, of so many.
    Downloading(u64, u64),
    /// All bytes are there.
    DownloadComplete,
    /// Bytes unpacked, of so many.
    Extracting(u64, u64),
    /// It is unpacked.
    PullComplete,
    /// It was there.
    AlreadyExists,
    /// A push looks whether it is there.
    Preparing,
    /// Bytes sent, of so many.
    Pushing(u64, u64),
    /// It is there now.
    Pushed,
    /// It was there before.
    LayerExists,
    /// It was taken from another repository there.
    Mounted,
    /// Bytes of an archive unpacked, of so many.
    Loading(u64, u64),
}

/// A step in the form of Docker's JSON messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Which layer, or which tag.
    pub id: Option<String>,
    /// The words; empty for a message that only carries [`Message::pushed`].
    pub status: String,
    /// Bytes done, and of how many.
    pub detail: Option<(u64, u64)>,
    /// Tag, digest and size for the `aux` of a push.
    pub pushed: Option<(String, Digest, u64)>,
    /// It is the text of a `stream` message rather than of a `status` one.
    pub stream: bool,
}

impl Progress {
    /// What Docker's daemon says at this step; a push's end takes two messages.
    pub fn messages(&self) -> Vec<Message> {
        let plain =
            |id: Option<String>, status: String| Message { id, status, detail: None, pushed: None, stream: false };
        let one = match self {
            Self::PullingFrom(name) => {
                let id = name.digest().map_or_else(|| name.tag().unwrap_or_default().to_owned(), Digest::to_string);
                plain(Some(id), format!("Pulling from {}", name.path()))
            }
            Self::PushTo(name) => plain(None, format!("The push refers to repository [{}]", name.repository())),
            Self::Layer { id, state } => {
                let (words, detail) = state.words();
                Message { detail, ..plain(Some(id.clone()), words.into()) }
            }
            Self::Digest(digest) => plain(None, format!("Digest: {digest}")),
            Self::Downloaded(name) => plain(None, format!("Status: Downloaded newer image for {}", name.familiar())),
            Self::UpToDate(name) => plain(None, format!("Status: Image is up to date for {}", name.familiar())),
            Self::Pushed { tag, digest, size } => {
                let aux = Message { pushed: Some((tag.clone(), digest.clone(), *size)), ..plain(None, String::new()) };
                return vec![plain(None, format!("{tag}: digest: {digest} size: {size}")), aux];
            }
            Self::Loaded(name) => {
                Message { stream: true, ..plain(None, format!("Loaded image: {}\n", name.familiar())) }
            }
            Self::LoadedId(id) => Message { stream: true, ..plain(None, format!("Loaded image ID: {id}\n")) },
        };
        vec![one]
    }
}

impl LayerState {
    fn words(self) -> (&'static str, Option<(u64, u64)>) {
        match self {
            Self::PullingFsLayer => ("Pulling fs layer", None),
            Self::Waiting => ("Waiting", None),
            Self::Downloading(n, of) => ("Downloading", Some((n, of))),
            Self::DownloadComplete => ("Download complete", None),
            Self::Extracting(n, of) => ("Extracting", Some((n, of))),
            Self::PullComplete => ("Pull complete", None),
            Self::AlreadyExists => ("Already exists", None),
            Self::Preparing => ("Preparing", None),
            Self::Pushing(n, of) => ("Pushing", Some((n, of))),
            Self::Pushed => ("Pushed", None),
            Self::LayerExists => ("Layer already exists", None),
            Self::Mounted => ("Mounted", None),
            Self::Loading(n, of) => ("Loading layer", Some((n, of))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speaks_as_docker_does() {
        let name: ImageRef = "busybox".parse().unwrap();
        let text = |p: Progress| p.messages().remove(0);
        let begin = text(Progress::PullingFrom(name.clone()));
        assert_eq!((begin.id.as_deref(), begin.status.as_str()), (Some("latest"), "Pulling from library/busybox"));
        assert_eq!(text(Progress::UpToDate(name)).status, "Status: Image is up to date for busybox:latest");
        let layer = text(Progress::Layer { id: "ab".into(), state: LayerState::Downloading(1, 2) });
        assert_eq!((layer.status.as_str(), layer.detail), ("Downloading", Some((1, 2))));
    }
}
