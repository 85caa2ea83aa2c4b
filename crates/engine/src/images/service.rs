//! What all namespaces' images share.

use super::builtin::Builtin;
use super::flight::Flights;
use super::layers::LayerLocks;
use super::model::ImageUser;
use oci::{Digest, Error, Result};
use registry::Registry;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use storage::{Hold, Root, Store};

/// What an [`ImageService`] is made of.
pub struct ImageConfig {
    /// Where everything is kept.
    pub store: Arc<Store>,
    /// The way to registries.
    pub registry: Registry,
    /// The snapshotter that layers are unpacked for.
    pub snapshotter: String,
    /// The program of the built-in image `hello`.
    pub builtin_hello: Option<&'static [u8]>,
}

/// A future that gives the bytes a collection freed.
pub type Collection = Pin<Box<dyn Future<Output = Result<u64>> + Send>>;

/// Asked with a namespace and an image's id.
pub type UsersHook = Box<dyn Fn(&str, &Digest) -> Vec<ImageUser> + Send + Sync>;
/// Told a namespace, an action (`pull`, `tag`, ...), a name or id, and further attributes.
pub type EventHook = Box<dyn Fn(&str, &str, &str, BTreeMap<String, String>) + Send + Sync>;

/// What only the engine knows. Connected once, when the engine stands.
pub struct Hooks {
    /// Containers of a namespace that were made from an image. Called on blocking threads.
    pub users: UsersHook,
    /// Removes what nothing refers to: called after images went.
    pub collect: Box<dyn Fn() -> Collection + Send + Sync>,
    /// Tells of an image.
    pub event: EventHook,
}

/// Keeps the collector from what an image consists of. Both taking and dropping a [`Hold`] wait while
/// a collection decides, so neither is done on an async thread.
#[derive(Debug)]
pub struct Kept(Option<Hold>);

impl Kept {
    /// Protects `root` too. Only for blocking threads.
    pub(super) fn add(&self, root: Root) {
        if let Some(hold) = &self.0 {
            hold.add(root);
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let hold = self.0.take();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || drop(hold));
        }
    }
}

/// The image service of an engine.
pub struct ImageService {
    pub(super) store: Arc<Store>,
    pub(super) registry: Registry,
    pub(super) snapshotter: String,
    pub(super) builtin: Option<Builtin>,
    pub(super) flights: Flights,
    pub(super) layers: LayerLocks,
    hooks: OnceLock<Hooks>,
}

impl ImageService {
    /// A service over a store and a registry client. Nothing is read yet.
    pub fn new(config: ImageConfig) -> Arc<Self> {
        Arc::new(Self {
            store: config.store,
            registry: config.registry,
            snapshotter: config.snapshotter,
            builtin: config.builtin_hello.map(Builtin::new),
            flights: Flights::default(),
            layers: LayerLocks::default(),
            hooks: OnceLock::new(),
        })
    }

    /// Connects the engine; only the first call counts.
    pub fn connect(&self, hooks: Hooks) {
        let _ = self.hooks.set(hooks);
    }

    /// What images keep from being collected, over all namespaces.
    ///
    /// # Errors
    /// If the records can't be read: then nothing may be collected.
    pub fn roots(&self) -> Result<Vec<Root>> {
        super::roots::roots(&self.store, &self.snapshotter)
    }

    pub(super) fn users(&self, ns: &str, id: &Digest) -> Vec<ImageUser> {
        self.hooks.get().map_or_else(Vec::new, |hooks| (hooks.users)(ns, id))
    }

    pub(super) async fn collect(&self) -> Result<u64> {
        match self.hooks.get() {
            Some(hooks) => (hooks.collect)().await,
            // Without the engine nobody knows what its containers need.
            None => Ok(0),
        }
    }

    pub(super) fn event(&self, ns: &str, action: &str, id: &str, name: &str) {
        if let Some(hooks) = self.hooks.get() {
            (hooks.event)(ns, action, id, BTreeMap::from([("name".to_owned(), name.to_owned())]));
        }
    }

    /// Protects what is about to be looked for or made; empty at first.
    pub(super) async fn hold(self: &Arc<Self>) -> Result<Arc<Kept>> {
        self.blocking(|s| Ok(Arc::new(Kept(Some(s.store.hold([])))))).await
    }

    /// Disk work, on a blocking thread.
    pub(super) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let own = self.clone();
        tokio::task::spawn_blocking(move || work(&own)).await.map_err(lost)?
    }
}

/// The error for a task that panicked or was cut off.
pub(super) fn lost(error: tokio::task::JoinError) -> Error {
    if error.is_cancelled() {
        Error::cancelled("the operation was cancelled")
    } else {
        Error::internal(error.to_string())
    }
}

/// The same error once more: errors don't clone, and several may wait for one outcome.
pub(super) fn same(error: &Error) -> Error {
    Error::new(error.kind(), error.to_string())
}
