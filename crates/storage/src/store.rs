//! The store: one directory, one owner.
//!
//! ```text
//! <root>/lock         held while the store is open
//! <root>/meta.redb    records
//! <root>/content/     blobs and ingests
//! <root>/snapshots/   layers and writable root filesystems
//! <root>/trash/       what is being deleted
//! ```

use crate::content::Content;
use crate::fs::{Sys, make_dir, open_root};
use crate::gc::Holds;
use crate::hash::digest_of;
use crate::layer::{LayerSink, LayerSpec, StagedLayer, unpack_stored};
use crate::meta::Meta;
use crate::snapshots::{Area, Native, Overlayfs, Snapshotter};
use crate::trash::Trash;
use oci::{Context, Error, Result};
use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a lock that is held is waited for.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);

/// How a store behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long an abandoned ingest stays, to be resumed, before the collector takes it.
    pub ingest_grace: Duration,
    /// Whether unpacked layers are flushed to disk before they become visible. Without it a power
    /// cut shortly after a pull can leave empty files in a layer.
    pub sync_layers: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { ingest_grace: Duration::from_secs(24 * 3600), sync_layers: true }
    }
}

/// Everything that the machine keeps. Thread-safe; its methods block.
#[derive(Debug)]
pub struct Store {
    pub(crate) content: Content,
    pub(crate) meta: Arc<Meta>,
    pub(crate) trash: Arc<Trash>,
    pub(crate) holds: Arc<Holds>,
    pub(crate) options: Options,
    overlayfs: Overlayfs,
    native: Native,
    root: OwnedFd,
    path: PathBuf,
    /// One chain is put together at a time.
    chains: Mutex<()>,
    /// Locked until the store is dropped, or the process ends in whatever way.
    _lock: OwnedFd,
}

impl Store {
    /// Opens the store at the absolute path `root`, which is made if it is missing, and sweeps what
    /// a crash left. [`oci::Kind::Conflict`] while another process has it open.
    pub fn open(root: &Path, options: Options) -> Result<Self> {
        Self::open_at(root, options).context(|| format!("open the store {}", root.display()))
    }

    fn open_at(path: &Path, options: Options) -> Result<Self> {
        let text = path.to_str().ok_or_else(|| Error::invalid("its path is not UTF-8"))?;
        if !path.is_absolute() || text.contains([':', ',', '\\', '\n']) {
            // overlayfs's options are a list of paths with these as separators.
            return Err(Error::invalid("its path must be absolute and without colon, comma, backslash or newline"));
        }
        std::fs::create_dir_all(path)?;
        let path = path.canonicalize()?;
        let root = open_root(&path)?;
        // Searchable by others: users of containers enter their root filesystems through it.
        rustix::fs::fchmod(&root, Mode::from_raw_mode(0o711)).what(|| "set mode")?;
        let lock = lock(&root)?;
        let trash = Arc::new(Trash::open(&root)?);
        let meta = Arc::new(Meta::open(&path.join("meta.redb"))?);
        let content = Content::open_at(&root, trash.clone())?;
        let snapshots = make_dir(&root, "snapshots", 0o711)?;
        let under = path.join("snapshots");
        let area = |name| Area::open(name, &snapshots, &under, meta.clone(), trash.clone());
        let store = Self {
            overlayfs: Overlayfs::new(area("overlayfs")?),
            native: Native::new(area("native")?),
            content,
            meta,
            trash,
            holds: Arc::default(),
            options,
            root,
            path,
            chains: Mutex::default(),
            _lock: lock,
        };
        store.trash.empty()?;
        Ok(store)
    }

    /// The directory of the store.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Blobs by digest.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// JSON records.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The snapshotter `overlayfs` or `native`.
    pub fn snapshotter(&self, name: &str) -> Result<&dyn Snapshotter> {
        self.snapshotters()
            .into_iter()
            .find(|s| s.name() == name)
            .ok_or_else(|| Error::invalid(format!("there is no snapshotter {name:?}; there are overlayfs and native")))
    }

    /// All snapshotters.
    pub fn snapshotters(&self) -> [&dyn Snapshotter; 2] {
        [&self.overlayfs, &self.native]
    }

    /// Begins to receive a layer, with the bytes of an earlier attempt by the same key: continue at
    /// [`LayerSink::offset`].
    pub fn layer_sink(&self, spec: &LayerSpec) -> Result<LayerSink> {
        LayerSink::open(&self.content, self.snapshotter(&spec.snapshotter)?, spec)
    }

    /// Unpacks a layer whose blob is stored already.
    pub fn unpack_blob(&self, spec: &LayerSpec) -> Result<StagedLayer> {
        unpack_stored(&self.content, self.snapshotter(&spec.snapshotter)?, spec)
    }

    /// Puts layers, the lowest first, on the committed snapshot `parent` or on nothing, and gives
    /// the chain id of the uppermost, which is the key of its snapshot. Those that exist already
    /// are taken as they are. With the error of one, those below it stay.
    pub fn commit_chain(&self, snapshotter: &str, parent: Option<&str>, layers: Vec<StagedLayer>) -> Result<String> {
        let snapshots = self.snapshotter(snapshotter)?;
        let _alone = self.chains.lock().unwrap_or_else(PoisonError::into_inner);
        let mut chain = parent.map(str::to_owned);
        let mut synced = !self.options.sync_layers;
        for mut layer in layers {
            let name = match &chain {
                None => layer.diff_id().to_string(),
                Some(below) => digest_of(format!("{below} {}", layer.diff_id()).as_bytes()).to_string(),
            };
            match snapshots.stat(&name) {
                Ok(_) => {}
                Err(e) if e.kind() == oci::Kind::NotFound => {
                    if !synced {
                        // Once for all layers, and not once for each of their files.
                        rustix::fs::syncfs(&self.root).what(|| "flush unpacked layers")?;
                        synced = true;
                    }
                    snapshots
                        .adopt(&name, chain.as_deref(), &mut layer)
                        .context(|| format!("layer {}", layer.digest()))?;
                }
                Err(e) => return Err(e),
            }
            chain = Some(name);
        }
        chain.ok_or_else(|| Error::invalid("an image needs at least one layer"))
    }
}

fn lock(root: &OwnedFd) -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::openat(root, "lock", flags, Mode::from_raw_mode(0o600)).what(|| "open its lock")?;
    let start = Instant::now();
    loop {
        match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            // A child that a killed holder was about to start keeps the lock for a moment.
            Err(Errno::WOULDBLOCK) if start.elapsed() < LOCK_PATIENCE => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(Errno::WOULDBLOCK) => {
                let mut holder = [0; 32];
                let n = rustix::io::pread(&fd, &mut holder, 0).unwrap_or(0);
                let holder = String::from_utf8_lossy(&holder[..n]).trim().to_owned();
                return Err(Error::conflict(format!(
                    "process {holder} has it open; stop that one, or give this one another root"
                )));
            }
            Err(Errno::INTR) => {}
            Err(e) => return Err(e).what(|| "lock it"),
        }
    }
    rustix::fs::ftruncate(&fd, 0).what(|| "write its lock")?;
    rustix::io::pwrite(&fd, format!("{}\n", std::process::id()).as_bytes(), 0).what(|| "write its lock")?;
    Ok(fd)
}
