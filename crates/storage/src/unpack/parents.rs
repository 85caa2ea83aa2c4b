//! Handles of the directories that entries go into.
//!
//! Most entries lie in the directory of the one before, or in one of the last few, so the handles
//! of these are kept, by the path as the stream spells it. A handle stays right until something on
//! its way is removed; then all are forgotten.

use super::whiteout;
use crate::fs::{Sys, open_in_root, show};
use oci::{Error, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// How many handles are kept.
const KEPT: usize = 16;
/// How many symbolic links are followed on the way to one directory, as the kernel has it.
const MAX_LINKS: usize = 40;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

pub(super) struct Parents {
    root: Arc<OwnedFd>,
    whiteouts: bool,
    /// The most recently used first.
    kept: Vec<(Vec<u8>, Arc<OwnedFd>)>,
    /// Directories that were made because something lies in them, and no entry described yet.
    implied: BTreeSet<Vec<u8>>,
}

impl Parents {
    pub(super) fn new(root: Arc<OwnedFd>, whiteouts: bool) -> Self {
        Self { root, whiteouts, kept: Vec::with_capacity(KEPT + 1), implied: BTreeSet::new() }
    }

    /// The directory `path` (clean), which is made if it is missing.
    pub(super) fn open(&mut self, path: &[u8]) -> Result<Arc<OwnedFd>> {
        let found = self.open_unless_file(path)?;
        found.ok_or_else(|| Error::invalid(format!("its parent {:?} is not a directory", show(path))))
    }

    /// As [`Parents::open`], and `None` where something else is in the way.
    pub(super) fn open_unless_file(&mut self, path: &[u8]) -> Result<Option<Arc<OwnedFd>>> {
        if path.is_empty() {
            return Ok(Some(self.root.clone()));
        }
        if let Some(at) = self.kept.iter().position(|(known, _)| known == path) {
            self.kept[..=at].rotate_right(1);
            return Ok(Some(self.kept[0].1.clone()));
        }
        let fd = match open_in_root(&self.root, path, DIRECTORY) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR) => match self.make(path)? {
                Some(fd) => fd,
                None => return Ok(None),
            },
            Err(e) => return Err(e).what(|| format!("open directory {:?}", show(path))),
        };
        let fd = Arc::new(fd);
        self.kept.insert(0, (path.to_vec(), fd.clone()));
        self.kept.truncate(KEPT);
        Ok(Some(fd))
    }

    /// Drops every handle.
    pub(super) fn forget(&mut self) {
        self.kept.clear();
    }

    /// An entry described the directory `path`.
    pub(super) fn described(&mut self, path: &[u8]) {
        if !self.implied.is_empty() {
            self.implied.remove(path);
        }
    }

    pub(super) fn into_implied(self) -> Vec<Vec<u8>> {
        self.implied.into_iter().collect()
    }

    /// Walks to `path` one component after the other and makes what is missing, following links as
    /// a process inside the root would. `None` where something that is no directory is in the way.
    fn make(&mut self, path: &[u8]) -> Result<Option<OwnedFd>> {
        let mut todo: Vec<Vec<u8>> = components(path);
        // What has been walked, by real names: the handle of each and its path.
        let mut walked: Vec<(OwnedFd, Vec<u8>)> = Vec::new();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == b".." {
                walked.pop();
                continue;
            }
            let (here, prefix) = match walked.last() {
                Some((fd, path)) => (fd, path.as_slice()),
                None => (&*self.root, [].as_slice()),
            };
            let full = if prefix.is_empty() { name.clone() } else { [prefix, b"/", &name].concat() };
            let kind = match rustix::fs::statat(here, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if self.whiteouts && whiteout::is_one(&stat) => {
                    // Hidden below by this layer, and now there again: new and opaque.
                    rustix::fs::unlinkat(here, &name, AtFlags::empty()).what(|| "replace a whiteout")?;
                    make_directory(here, &name)?;
                    whiteout::make_opaque(here, &name)?;
                    FileType::Directory
                }
                Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                Err(Errno::NOENT) => {
                    make_directory(here, &name)?;
                    self.implied.insert(full.clone());
                    FileType::Directory
                }
                Err(e) => return Err(e).what(|| format!("look at directory {:?}", show(&full))),
            };
            match kind {
                FileType::Directory => {
                    let flags = DIRECTORY | OFlags::NOFOLLOW;
                    let fd = rustix::fs::openat(here, &name, flags, Mode::empty())
                        .what(|| format!("open directory {:?}", show(&full)))?;
                    walked.push((fd, full));
                }
                FileType::Symlink => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Error::invalid(format!("too many symbolic links on the way to {:?}", show(path))));
                    }
                    let target = rustix::fs::readlinkat(here, &name, Vec::new())
                        .what(|| format!("read link {:?}", show(&full)))?;
                    let target = target.to_bytes();
                    if target.starts_with(b"/") {
                        walked.clear();
                    }
                    todo.extend(components(target));
                }
                _ => return Ok(None),
            }
        }
        match walked.pop() {
            Some((fd, _)) => Ok(Some(fd)),
            None => self.root.try_clone().map(Some).map_err(Error::from),
        }
    }
}

/// The components of a path, the last first.
fn components(path: &[u8]) -> Vec<Vec<u8>> {
    let parts = path.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".");
    let mut parts: Vec<_> = parts.map(<[u8]>::to_vec).collect();
    parts.reverse();
    parts
}

fn make_directory(at: &OwnedFd, name: &[u8]) -> Result<()> {
    match rustix::fs::mkdirat(at, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(e) => Err(e).what(|| format!("make directory {:?}", show(name))),
    }
}
