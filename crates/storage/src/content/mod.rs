//! The content store: blobs by digest, and the ingests that become blobs.
//!
//! ```text
//! content/blobs/<algorithm>/<hex>     whole and synced before it gets this name
//! content/ingest/<n>/data             bytes so far
//! content/ingest/<n>/info.json        {key, started, boot}
//! ```
//!
//! `<n>` is the sha256 of the ingest's key, since a key may hold any character. A blob's data is
//! flushed before the rename that makes it visible, so that a blob under its digest is whole even
//! after a power cut. What of an ingest was only in the page cache when the machine went down can't
//! be told from what was not, so a partial ingest from an earlier boot starts anew.

mod blob;
mod ingest;

pub use blob::Blob;
pub use ingest::{Ingest, IngestInfo};

use crate::Result;
use crate::fs::{Sys, entries, make_dir, open_dir, remove_tree};
use crate::hash::digest_of;
use crate::trash::Trash;
use oci::image::Descriptor;
use oci::{Context, Digest, Error, Timestamp};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::collections::HashSet;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// What is known of a stored blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// The blob's digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// When it was committed.
    pub created: Timestamp,
}

/// The blobs of a [`Store`](crate::Store).
#[derive(Debug)]
pub struct Content {
    shared: Arc<Shared>,
}

/// What open ingests share with the store.
#[derive(Debug)]
struct Shared {
    sha256: OwnedFd,
    sha512: OwnedFd,
    ingests: OwnedFd,
    /// Keys of the ingests that are open now.
    open: Mutex<HashSet<String>>,
    boot: String,
    trash: Arc<Trash>,
}

impl Content {
    pub(crate) fn open_at(root: &OwnedFd, trash: Arc<Trash>) -> Result<Self> {
        let content = make_dir(root, "content", 0o700)?;
        let blobs = make_dir(&content, "blobs", 0o700)?;
        let shared = Shared {
            sha256: make_dir(&blobs, "sha256", 0o700)?,
            sha512: make_dir(&blobs, "sha512", 0o700)?,
            ingests: make_dir(&content, "ingest", 0o700)?,
            open: Mutex::default(),
            boot: crate::fs::boot_id(),
            trash,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Opens a blob for reading; [`oci::Kind::NotFound`] if it is not stored.
    pub fn open(&self, digest: &Digest) -> Result<Blob> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = rustix::fs::openat(self.shared.blobs(digest), digest.hex(), flags, Mode::empty())
            .map_err(|e| missing(e, digest))?;
        let file = File::from(fd);
        let size = file.metadata().context(|| format!("open content {digest}"))?.len();
        Ok(Blob::new(file, size))
    }

    /// The whole of a blob of at most `limit` bytes, as for manifests and configurations.
    pub fn read(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>> {
        let mut blob = self.open(digest)?;
        if blob.size() > limit {
            return Err(Error::invalid(format!(
                "content {digest} has {} bytes, more than the {limit} allowed here",
                blob.size()
            )));
        }
        let mut bytes = Vec::with_capacity(blob.size() as usize);
        std::io::Read::read_to_end(&mut blob, &mut bytes).context(|| format!("read content {digest}"))?;
        Ok(bytes)
    }

    /// Size and time of a blob; [`oci::Kind::NotFound`] if it is not stored.
    pub fn info(&self, digest: &Digest) -> Result<Info> {
        let stat = rustix::fs::statat(self.shared.blobs(digest), digest.hex(), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|e| missing(e, digest))?;
        Ok(Info {
            digest: digest.clone(),
            size: stat.st_size as u64,
            created: Timestamp::from_unix(stat.st_ctime, stat.st_ctime_nsec as u32),
        })
    }

    /// Whether a blob is stored.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.info(digest).is_ok()
    }

    /// Every stored blob, in no order.
    pub fn list(&self) -> Result<Vec<Info>> {
        let mut found = Vec::new();
        for (algorithm, dir) in [("sha256", &self.shared.sha256), ("sha512", &self.shared.sha512)] {
            for (name, _) in entries(dir).what(|| "list content")? {
                let digest = name.to_str().ok().and_then(|hex| format!("{algorithm}:{hex}").parse().ok());
                let Some(digest) = digest else { continue };
                match self.info(&digest) {
                    Ok(info) => found.push(info),
                    Err(e) if e.kind() == oci::Kind::NotFound => {}
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(found)
    }

    /// Removes a blob; one that is not there is success. Open readers keep what they have.
    pub fn delete(&self, digest: &Digest) -> Result<()> {
        match rustix::fs::unlinkat(self.shared.blobs(digest), digest.hex(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(e) => Err(e).what(|| format!("delete content {digest}")),
        }
    }

    /// Moves a blob out of sight; its space is freed when the trash is emptied.
    pub(crate) fn discard(&self, digest: &Digest) -> Result<()> {
        self.shared.trash.put(self.shared.blobs(digest), digest.hex()).context(|| format!("delete content {digest}"))
    }

    /// Opens the ingest `key`, with the bytes that an earlier attempt left. It is exclusive:
    /// [`oci::Kind::Conflict`] while another holder has it. With `expected` the length is checked
    /// as the bytes come, and the hash is of the right algorithm from the start.
    pub fn ingest(&self, key: &str, expected: Option<&Descriptor>) -> Result<Ingest> {
        self.ingest_with(key, expected, &mut |_| Ok(()))
    }

    /// As [`Content::ingest`]; what is there already passes through `replay`, in order.
    pub(crate) fn ingest_with(
        &self,
        key: &str,
        expected: Option<&Descriptor>,
        replay: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Ingest> {
        Ingest::open(&self.shared, key, expected, replay)
    }

    /// Stores `bytes` in one step, as for manifests; gives their sha256 digest.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = digest_of(bytes);
        self.put_as(&digest, bytes)?;
        Ok(digest)
    }

    /// Stores `bytes` under `digest`, which is checked: [`oci::Kind::Corrupt`] if it isn't theirs.
    pub fn put_as(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        if self.contains(digest) {
            return Ok(());
        }
        // A key of its own: two callers may store the same bytes at the same time.
        let key = format!("put-{digest}-{}", self.shared.trash.unique());
        let mut ingest = self.ingest(&key, None)?;
        let done = ingest.write(bytes).and_then(|()| ingest.finish(digest, bytes.len() as u64));
        if done.is_err() {
            let _ = self.abort(&key);
        }
        done.map(drop)
    }

    /// The ingests on disk, open or left over.
    pub fn ingests(&self) -> Result<Vec<IngestInfo>> {
        let mut found = Vec::new();
        for (name, _) in entries(&self.shared.ingests).what(|| "list ingests")? {
            let Ok(name) = name.into_string() else { continue };
            match ingest::info_of(&self.shared, &name) {
                Ok(info) => found.push(info),
                // Without a readable info nobody can resume it.
                Err(_) if !self.shared.is_open_dir(&name) => {
                    remove_tree(&self.shared.ingests, name.as_str()).what(|| "remove an unreadable ingest")?;
                }
                Err(_) => {}
            }
        }
        Ok(found)
    }

    /// Drops the ingest `key`; one that is not there is success. [`oci::Kind::Conflict`] while a
    /// holder has it open.
    pub fn abort(&self, key: &str) -> Result<()> {
        if self.shared.lock().contains(key) {
            return Err(Error::conflict(format!("ingest {key:?} is being written")));
        }
        remove_tree(&self.shared.ingests, digest_of(key.as_bytes()).hex()).what(|| format!("abort ingest {key:?}"))
    }

    /// Drops ingests that are not open and are older than `before`; gives their keys.
    pub(crate) fn expire_ingests(&self, before: SystemTime, keep: &HashSet<String>) -> Result<Vec<String>> {
        let mut dropped = Vec::new();
        for info in self.ingests()? {
            if info.updated < Timestamp::from(before) && !keep.contains(&info.key) && self.abort(&info.key).is_ok() {
                dropped.push(info.key);
            }
        }
        Ok(dropped)
    }
}

impl Shared {
    fn blobs(&self, digest: &Digest) -> &OwnedFd {
        if digest.algorithm() == "sha512" { &self.sha512 } else { &self.sha256 }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_open_dir(&self, name: &str) -> bool {
        self.lock().iter().any(|key| digest_of(key.as_bytes()).hex() == name)
    }

    fn open_ingest_dir(&self, name: &str) -> Result<OwnedFd> {
        open_dir(&self.ingests, name)
    }
}

fn missing(errno: Errno, digest: &Digest) -> Error {
    match errno {
        Errno::NOENT => Error::not_found(format!("content {digest} is not stored")),
        e => Error::from(std::io::Error::from(e)).prefixed(format!("content {digest}")),
    }
}
