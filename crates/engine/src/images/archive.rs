//! What is in an image archive: files by path, each stored as content.

use super::service::{ImageService, Kept};
use oci::{Context as _, Digest, Error, Result};
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use storage::bundle::Files;
use storage::{Content, Ingest, Root};

/// Entries of one archive.
pub(super) const MAX_ENTRIES: u64 = 100_000;
/// Links followed for one path.
const MAX_HOPS: usize = 16;

/// A file of the archive, stored.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// The files of an archive that was read.
#[derive(Debug, Default)]
pub(super) struct Contents {
    files: HashMap<String, Stored>,
    links: HashMap<String, String>,
}

impl Contents {
    /// The file at `path`, through links.
    pub(super) fn get(&self, path: &str) -> Option<&Stored> {
        let mut path = clean("", path)?;
        for _ in 0..MAX_HOPS {
            if let Some(file) = self.files.get(&path) {
                return Some(file);
            }
            path = self.links.get(&path)?.clone();
        }
        None
    }

    /// The same, as an error that names what is missing.
    pub(super) fn need(&self, path: &str) -> Result<&Stored> {
        self.get(path).ok_or_else(|| Error::corrupt(format!("the archive has no file {path:?}")))
    }
}

/// Stores the files of an archive as they come. What no image needs is collected later.
pub(super) struct Intake<'a> {
    content: &'a Content,
    /// Protects the files until the images do.
    hold: &'a Kept,
    /// Tells this archive's ingests from another's.
    unique: String,
    count: u64,
    current: Option<Current>,
    contents: Contents,
}

struct Current {
    path: String,
    size: u64,
    ingest: Ingest,
    /// Set where the path doesn't say the digest.
    hasher: Option<Sha256>,
    expected: Option<Digest>,
}

impl<'a> Intake<'a> {
    pub(super) fn new(service: &'a ImageService, unique: &str, hold: &'a Kept) -> Self {
        Self {
            hold,
            content: service.store.content(),
            unique: unique.into(),
            count: 0,
            current: None,
            contents: Contents::default(),
        }
    }

    pub(super) fn contents(mut self) -> Contents {
        std::mem::take(&mut self.contents)
    }
}

impl Drop for Intake<'_> {
    fn drop(&mut self) {
        // A half-read file is of no use to anybody.
        if let Some(current) = self.current.take() {
            let _ = current.ingest.abort();
        }
    }
}

impl Files for Intake<'_> {
    fn file(&mut self, path: &str, size: u64) -> Result<()> {
        let path = clean("", path).ok_or_else(|| Error::corrupt(format!("the archive has a bad path {path:?}")))?;
        self.count += 1;
        let ingest = self.content.ingest(&format!("archive-{}-{}", self.unique, self.count), None)?;
        let expected = blob_digest(&path);
        let hasher = expected.is_none().then(Sha256::new);
        self.current = Some(Current { path, size, ingest, hasher, expected });
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<()> {
        let current = self.current.as_mut().ok_or_else(|| Error::internal("archive data without a file"))?;
        if let Some(hasher) = &mut current.hasher {
            hasher.update(bytes);
        }
        current.ingest.write(bytes)
    }

    fn end(&mut self) -> Result<()> {
        let Some(current) = self.current.take() else { return Ok(()) };
        let Current { path, size, ingest, hasher, expected } = current;
        let found = hasher.map(|hasher| Digest::from_sha256(&hasher.finalize().into()));
        let digest = expected.or(found).ok_or_else(|| Error::internal("archive file without a digest"))?;
        self.hold.add(Root::Content(digest.clone()));
        if self.content.contains(&digest) && self.contents.files.values().any(|f| f.digest == digest) {
            let _ = ingest.abort();
        } else {
            ingest.commit(&digest, size).context(|| format!("file {path:?} of the archive"))?;
        }
        self.contents.files.insert(path, Stored { digest, size });
        Ok(())
    }

    fn link(&mut self, path: &str, target: &str, symbolic: bool) -> Result<()> {
        let bad = || Error::corrupt(format!("the archive's link {path:?} leads out of it"));
        let path = clean("", path).ok_or_else(bad)?;
        // A symbolic link is relative to where it stands, a hard link to the archive.
        let base = if symbolic { path.rsplit_once('/').map_or("", |(dir, _)| dir) } else { "" };
        let target = clean(base, target).ok_or_else(bad)?;
        self.contents.links.insert(path, target);
        Ok(())
    }
}

/// The digest that a path `blobs/<algorithm>/<hex>` says.
fn blob_digest(path: &str) -> Option<Digest> {
    let (algorithm, hex) = path.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}

/// `path` below `base`, without `.` and `..`; `None` if it leads out.
fn clean(base: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = base.split('/').filter(|p| !p.is_empty()).collect();
    if path.starts_with('/') {
        parts.clear();
    }
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            other => parts.push(other),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        assert_eq!(clean("", "./a//b/").as_deref(), Some("a/b"));
        assert_eq!(clean("x", "../y/layer.tar").as_deref(), Some("y/layer.tar"));
        for out in ["..", "a/../..", "../x", ".", ""] {
            assert_eq!(clean("", out), None, "{out}");
        }
        assert!(blob_digest(&format!("blobs/sha256/{}", "ab".repeat(32))).is_some());
        assert!(blob_digest("blobs/sha256/xyz").is_none());
    }

    #[test]
    fn link_loops_end() {
        let mut contents = Contents::default();
        contents.links.insert("a".into(), "b".into());
        contents.links.insert("b".into(), "a".into());
        assert!(contents.get("a").is_none());
    }
}
