//! Garbage collection: what nothing refers to goes away.
//!
//! Roots are given by the caller, who knows the records, and by [`Hold`]s, which protect what is in
//! flight. From a manifest or an index the collector goes on to everything that it names, and to
//! the snapshots of its layers; from a snapshot to its parents.
//!
//! A hold must be taken before the thing it protects is looked for, and dropped after the record
//! that refers to it is written. Holds can't be taken while a collection decides, and the roots are
//! asked for after the holds were read; so there is no moment at which a thing in use is seen as unused.
//! What is decided upon is renamed out of sight at once; the slow deletion follows without any lock.

use crate::content::Info;
use crate::hash::chain_id;
use crate::store::Store;
use oci::image::{ImageConfig, Index, Manifest};
use oci::{Context, Digest, Kind, Result};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Manifests, indexes and configurations larger than this are not followed.
const MAX_DOCUMENT: u64 = 4 << 20;

/// Something that must stay.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Root {
    /// A blob. If it is a manifest or an index, also what it names, and the layers' snapshots.
    Content(Digest),
    /// A snapshot, with its parents.
    Snapshot {
        /// Of which snapshotter.
        snapshotter: String,
        /// Its key.
        key: String,
    },
    /// An ingest, by its key.
    Ingest(String),
}

/// What a collection removed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct GcReport {
    /// Blobs.
    pub content: Vec<Digest>,
    /// The sum of their lengths.
    pub content_bytes: u64,
    /// Snapshots, as (snapshotter, key).
    pub snapshots: Vec<(String, String)>,
    /// The sum of the space of those whose space was recorded.
    pub snapshot_bytes: u64,
    /// Keys of abandoned ingests.
    pub ingests: Vec<String>,
    /// Things that could not be looked at or removed; the collection went on.
    pub problems: Vec<String>,
}

/// What the holds of this process protect.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    held: Mutex<HashMap<u64, HashSet<Root>>>,
    next: std::sync::atomic::AtomicU64,
}

impl Holds {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, HashSet<Root>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Protects things from the collector for as long as it lives, see [`Store::hold`].
#[derive(Debug)]
pub struct Hold {
    holds: Arc<Holds>,
    id: u64,
}

impl Hold {
    /// Protects `root` too. Waits while a collection decides.
    pub fn add(&self, root: Root) {
        self.holds.lock().entry(self.id).or_default().insert(root);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.holds.lock().remove(&self.id);
    }
}

impl Store {
    /// Protects `roots`, which need not exist yet, until the hold is dropped.
    pub fn hold(&self, roots: impl IntoIterator<Item = Root>) -> Hold {
        let id = self.holds.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.holds.lock().insert(id, roots.into_iter().collect());
        Hold { holds: self.holds.clone(), id }
    }

    /// Removes what neither `roots` nor any hold refers to. `roots` is called when holds can't
    /// change any more, and must read the records then; if it fails, nothing is removed. It must
    /// not take or drop a [`Hold`].
    pub fn gc<I>(&self, roots: impl FnOnce() -> Result<I>) -> Result<GcReport>
    where
        I: IntoIterator<Item = Root>,
    {
        let mut report = GcReport::default();
        {
            let held = self.holds.lock();
            let mut marker = Marker::new(self);
            for root in held.values().flatten() {
                marker.root(root.clone(), &mut report);
            }
            for root in roots()? {
                marker.root(root, &mut report);
            }
            marker.close();
            marker.sweep(&mut report)?;
        }
        self.trash.empty()?;
        Ok(report)
    }
}

struct Marker<'a> {
    store: &'a Store,
    content: HashSet<Digest>,
    snapshots: HashMap<String, HashSet<String>>,
    ingests: HashSet<String>,
}

impl<'a> Marker<'a> {
    fn new(store: &'a Store) -> Self {
        let snapshots = store.snapshotters().map(|s| (s.name().to_owned(), HashSet::new()));
        Self { store, content: HashSet::new(), snapshots: HashMap::from(snapshots), ingests: HashSet::new() }
    }

    fn root(&mut self, root: Root, report: &mut GcReport) {
        match root {
            Root::Content(digest) => self.document(digest, report),
            Root::Snapshot { snapshotter, key } => {
                self.snapshots.entry(snapshotter).or_default().insert(key);
            }
            Root::Ingest(key) => {
                self.ingests.insert(key);
            }
        }
    }

    /// Marks a blob and what it names, however deep.
    fn document(&mut self, digest: Digest, report: &mut GcReport) {
        let mut todo = vec![digest];
        while let Some(digest) = todo.pop() {
            if !self.content.insert(digest.clone()) {
                continue;
            }
            match self.children(&digest) {
                Ok(children) => todo.extend(children),
                Err(e) if e.kind() == Kind::NotFound => {}
                Err(e) => report.problems.push(e.to_string()),
            }
        }
    }

    fn children(&mut self, digest: &Digest) -> Result<Vec<Digest>> {
        if self.store.content.info(digest)?.size > MAX_DOCUMENT {
            return Ok(Vec::new());
        }
        let bytes = self.store.content.read(digest, MAX_DOCUMENT)?;
        // Layers are no JSON; the first byte tells without parsing.
        if bytes.iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'{') {
            return Ok(Vec::new());
        }
        if let Ok(index) = serde_json::from_slice::<Index>(&bytes) {
            return Ok(index.manifests.into_iter().map(|d| d.digest).collect());
        }
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&bytes) else { return Ok(Vec::new()) };
        let mut found: Vec<Digest> = manifest.layers.into_iter().map(|d| d.digest).collect();
        let config = manifest.config.digest;
        let stored = match self.store.content.read(&config, MAX_DOCUMENT) {
            Ok(bytes) => serde_json::from_slice::<ImageConfig>(&bytes).ok(),
            Err(_) => None,
        };
        if let Some(chain) = stored.and_then(|config| chain_id(&config.rootfs.diff_ids)) {
            for keys in self.snapshots.values_mut() {
                keys.insert(chain.to_string());
            }
        }
        found.push(config);
        Ok(found)
    }

    /// Marks the parents of marked snapshots.
    fn close(&mut self) {
        for snapshots in self.store.snapshotters() {
            let Ok(all) = snapshots.walk() else { continue };
            let parents: HashMap<&str, Option<&str>> =
                all.iter().map(|info| (info.key.as_str(), info.parent.as_deref())).collect();
            let marked = self.snapshots.entry(snapshots.name().to_owned()).or_default();
            for key in marked.clone() {
                let mut next = parents.get(key.as_str()).copied().flatten();
                while let Some(parent) = next {
                    if !marked.insert(parent.to_owned()) {
                        break;
                    }
                    next = parents.get(parent).copied().flatten();
                }
            }
        }
    }

    fn sweep(&self, report: &mut GcReport) -> Result<()> {
        for Info { digest, size, .. } in self.store.content.list()? {
            if self.content.contains(&digest) {
                continue;
            }
            match self.store.content.discard(&digest) {
                Ok(()) => {
                    report.content_bytes += size;
                    report.content.push(digest);
                }
                Err(e) => report.problems.push(e.to_string()),
            }
        }
        let grace = SystemTime::now().checked_sub(self.store.options.ingest_grace).unwrap_or(SystemTime::UNIX_EPOCH);
        report.ingests = self.store.content.expire_ingests(grace, &self.ingests).context(|| "expire ingests")?;
        for snapshots in self.store.snapshotters() {
            self.sweep_snapshots(snapshots, report)?;
        }
        Ok(())
    }

    /// Removes unmarked snapshots, children before parents.
    fn sweep_snapshots(&self, snapshots: &dyn crate::Snapshotter, report: &mut GcReport) -> Result<()> {
        let marked = &self.snapshots[snapshots.name()];
        let mut left: Vec<_> = snapshots.walk()?.into_iter().filter(|info| !marked.contains(&info.key)).collect();
        while !left.is_empty() {
            let parents: HashSet<String> = left.iter().filter_map(|info| info.parent.clone()).collect();
            let (leaves, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(|info| !parents.contains(&info.key));
            if leaves.is_empty() {
                report.problems.push(format!("{} snapshots are each other's parents", snapshots.name()));
                return Ok(());
            }
            for info in leaves {
                let bytes = match info.kind {
                    crate::SnapshotKind::Committed => snapshots.usage(&info.key).map_or(0, |usage| usage.bytes),
                    // Measuring would read the whole tree.
                    _ => 0,
                };
                match snapshots.remove(&info.key) {
                    Ok(()) => {
                        report.snapshot_bytes += bytes;
                        report.snapshots.push((snapshots.name().to_owned(), info.key));
                    }
                    Err(e) if e.kind() == Kind::NotFound => {}
                    Err(e) => report.problems.push(e.to_string()),
                }
            }
            left = rest;
        }
        Ok(())
    }
}
