//! What a container changed in its root filesystem, for docker's diff, and as a layer for commit.

use crate::Result;
use crate::archive::TarWriter;
use crate::fs::{Sys, entries, open_beneath, open_root, show};
use crate::store::Store;
use crate::unpack::{OPAQUE_XATTR, is_whiteout, split};
use crate::walk::walk;
use oci::{Digest, Error};
use rustix::fs::{AtFlags, FileType, OFlags, Stat};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// How a path changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// It was there, and differs.
    Modified,
    /// It is new.
    Added,
    /// It is gone.
    Deleted,
}

/// One changed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// From the root, with a leading slash, in the bytes of the file system.
    pub path: Vec<u8>,
    /// How it changed.
    pub kind: ChangeKind,
}

impl Store {
    /// What differs between an active snapshot and its parent, sorted by path. A directory in which
    /// something changed counts as modified.
    pub fn changes(&self, snapshotter: &str, key: &str) -> Result<Vec<Change>> {
        let found = self.trees(snapshotter, key)?.changes()?;
        Ok(found.into_iter().map(|(path, kind)| Change { path: [b"/".as_slice(), &path].concat(), kind }).collect())
    }

    /// Writes what [`Store::changes`] finds as an uncompressed layer tar, and gives its diff id.
    pub fn diff(&self, snapshotter: &str, key: &str, out: impl Write) -> Result<Digest> {
        let trees = self.trees(snapshotter, key)?;
        let mut hashing = Hashing { out, hasher: crate::hash::Hasher::sha256() };
        let mut writer = TarWriter::new(&mut hashing);
        for (path, kind) in trees.changes()? {
            let (parent, name) = split(&path).unwrap_or((b"", b"."));
            if kind == ChangeKind::Deleted {
                let prefix: &[u8] = if parent.is_empty() { b"" } else { b"/" };
                writer.add_empty(&[parent, prefix, b".wh.", name].concat(), (0, 0))?;
                continue;
            }
            let dir = open_beneath(&trees.upper, parent, OFlags::PATH | OFlags::DIRECTORY)
                .what(|| format!("open {:?}", show(parent)))?;
            let name = CString::new(name).map_err(|_| Error::internal("a name with NUL"))?;
            writer.add(dir.as_fd(), &name, &path)?;
        }
        writer.finish()?;
        hashing.hasher.finish()
    }

    fn trees(&self, snapshotter: &str, key: &str) -> Result<Trees> {
        let snapshots = self.snapshotter(snapshotter)?;
        let mounts = snapshots.mounts(key)?;
        let parent = snapshots.stat(key)?.parent;
        let own = |path: Option<PathBuf>| path.unwrap_or_else(|| PathBuf::from(&mounts[0].source));
        let overlay = snapshots.upper(key)?;
        let whole = overlay.is_none();
        let upper = open_root(&own(overlay))?;
        let mut lower = Vec::new();
        let mut next = parent;
        while let Some(below) = next {
            lower.push(open_root(&snapshots.layer_path(&below)?)?);
            next = if whole { None } else { snapshots.stat(&below)?.parent };
        }
        Ok(Trees { upper, lower, whole })
    }
}

struct Trees {
    upper: OwnedFd,
    /// The nearest first.
    lower: Vec<OwnedFd>,
    /// Whether each tree is complete by itself, and not laid over the next.
    whole: bool,
}

impl Trees {
    fn changes(&self) -> Result<BTreeMap<Vec<u8>, ChangeKind>> {
        let mut found = BTreeMap::new();
        walk(self.upper.as_fd(), &mut |entry| {
            if entry.path.is_empty() {
                return Ok(());
            }
            let below = self.below(entry.path)?;
            let kind = match &below {
                _ if !self.whole && is_whiteout(&entry.stat) => {
                    if below.is_none() {
                        return Ok(());
                    }
                    ChangeKind::Deleted
                }
                None => ChangeKind::Added,
                Some(stat) => {
                    let both_directories = entry.kind == FileType::Directory
                        && FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
                    if both_directories {
                        let opaque = !self.whole && is_opaque(&self.upper, entry.path)?;
                        if opaque || self.whole {
                            self.missing(entry.path, &mut found)?;
                        }
                    }
                    // What was copied up only to hold a change is noted with that change.
                    if (self.whole || both_directories) && same(stat, &entry.stat, both_directories) {
                        return Ok(());
                    }
                    ChangeKind::Modified
                }
            };
            found.insert(entry.path.to_vec(), kind);
            Ok(())
        })?;
        if self.whole {
            self.missing(b"", &mut found)?;
        }
        let changed: Vec<Vec<u8>> = found.keys().cloned().collect();
        for path in changed {
            let mut path = path.as_slice();
            while let Some((parent, _)) = split(path).filter(|(parent, _)| !parent.is_empty()) {
                found.entry(parent.to_vec()).or_insert(ChangeKind::Modified);
                path = parent;
            }
        }
        Ok(found)
    }

    /// What the layers below show at `path`.
    fn below(&self, path: &[u8]) -> Result<Option<Stat>> {
        for layer in &self.lower {
            // A parent that is hidden or replaced in this layer ends the search.
            let mut at = 0;
            let mut ends = false;
            while let Some(slash) = path[at..].iter().position(|b| *b == b'/') {
                let parent = &path[..at + slash];
                match stat(layer, parent)? {
                    Some(found) if FileType::from_raw_mode(found.st_mode) != FileType::Directory => return Ok(None),
                    Some(_) => ends |= !self.whole && is_opaque(layer, parent)?,
                    None => break,
                }
                at += slash + 1;
            }
            match stat(layer, path)? {
                Some(found) if !self.whole && is_whiteout(&found) => return Ok(None),
                Some(found) => return Ok(Some(found)),
                None if ends => return Ok(None),
                None => {}
            }
        }
        Ok(None)
    }

    /// Notes what the directory `path` has below and no longer has above.
    fn missing(&self, path: &[u8], found: &mut BTreeMap<Vec<u8>, ChangeKind>) -> Result<()> {
        let mut names = BTreeSet::new();
        for layer in &self.lower {
            match open_beneath(layer, path, OFlags::RDONLY | OFlags::DIRECTORY) {
                Ok(dir) => names.extend(entries(&dir).what(|| "list")?.into_iter().map(|(name, _)| name)),
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(e) => return Err(e).what(|| format!("open {:?}", show(path))),
            }
        }
        for name in names {
            let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
            let child = [path, slash, name.to_bytes()].concat();
            if stat(&self.upper, &child)?.is_none() && self.below(&child)?.is_some() {
                found.insert(child, ChangeKind::Deleted);
            }
        }
        Ok(())
    }
}

fn stat(root: &OwnedFd, path: &[u8]) -> Result<Option<Stat>> {
    let (parent, name) = split(path).unwrap_or((b"", b"."));
    let found = open_beneath(root, parent, OFlags::PATH | OFlags::DIRECTORY)
        .and_then(|dir| rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW));
    match found {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(e) => Err(e).what(|| format!("stat {:?}", show(path))),
    }
}

fn is_opaque(root: &OwnedFd, path: &[u8]) -> Result<bool> {
    match open_beneath(root, path, OFlags::RDONLY | OFlags::DIRECTORY) {
        Ok(dir) => {
            let mut value = [0; 8];
            Ok(rustix::fs::fgetxattr(&dir, OPAQUE_XATTR, &mut value).is_ok_and(|n| value[..n] == *b"y"))
        }
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(false),
        Err(e) => Err(e).what(|| format!("open {:?}", show(path))),
    }
}

/// Whether two look the same, by what docker compares.
fn same(a: &Stat, b: &Stat, directories: bool) -> bool {
    let common = a.st_mode == b.st_mode && a.st_uid == b.st_uid && a.st_gid == b.st_gid && a.st_rdev == b.st_rdev;
    let times = a.st_mtime == b.st_mtime && a.st_mtime_nsec == b.st_mtime_nsec;
    common && times && (directories || a.st_size == b.st_size)
}

/// Hashes what passes.
struct Hashing<W> {
    out: W,
    hasher: crate::hash::Hasher,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
