//! tar entries become files below a directory handle.
//!
//! What a name may do: a leading `/` is dropped; `..` that would leave the root is an error; a
//! parent that is a symbolic link is followed inside the root, as a process confined to it would;
//! the last component is never followed. A hard link's target is resolved in the same way. So no
//! stream, whatever it holds, reaches a file outside.
//!
//! A directory's times, setgid bit and attributes are set when everything is in place: writing into
//! it changes the first, and the others would change what is made inside it.

mod attrs;
mod parents;
mod path;
mod whiteout;

pub(crate) use path::{clean, split};
pub(crate) use whiteout::{OPAQUE_XATTR, is_one as is_whiteout};

use crate::fs::{Sys, open_in_root, remove_tree, show};
use crate::tar::{Entry, Kind, Visitor};
use attrs::Attrs;
use oci::{Error, Result};
use parents::Parents;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// How a stream is unpacked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Whether `.wh.` names are whiteouts, which become overlayfs's.
    pub(crate) whiteouts: bool,
    /// Whether the root was empty at first and nobody else looks into it; then what the kernel
    /// gives to a new file need not be set again.
    pub(crate) fresh: bool,
    /// Whether a directory may take the place of something else, or something else of a directory.
    pub(crate) replace_kinds: bool,
    /// Owner of everything, in place of the stream's.
    pub(crate) owner: Option<(u32, u32)>,
}

/// What was unpacked.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// Sum of the lengths of files.
    pub(crate) bytes: u64,
    /// Files, directories and everything else made.
    pub(crate) inodes: u64,
}

/// The visitor that makes files.
pub(crate) struct Unpacker {
    root: Arc<OwnedFd>,
    rules: Rules,
    umask: u32,
    parents: Parents,
    /// The file whose data comes now.
    current: Option<Current>,
    directories: Vec<Deferred>,
    unpacked: Unpacked,
    root_seen: bool,
    /// Where in the root the stream's own root is.
    base: Vec<u8>,
}

struct Current {
    file: File,
    path: Vec<u8>,
    attrs: Attrs,
    /// Length to give at the end, as the last stretch of a sparse file may be a hole.
    truncate: Option<u64>,
}

/// What is set on a directory at the end.
struct Deferred {
    path: Vec<u8>,
    attrs: Attrs,
    /// Whether it was made here, so that owner and mode are right unless noted.
    new: bool,
}

impl Unpacker {
    pub(crate) fn new(root: OwnedFd, rules: Rules) -> Self {
        let root = Arc::new(root);
        Self {
            parents: Parents::new(root.clone(), rules.whiteouts),
            root,
            rules,
            umask: crate::fs::umask(),
            current: None,
            directories: Vec::new(),
            unpacked: Unpacked::default(),
            root_seen: false,
            base: Vec::new(),
        }
    }

    /// Unpacks into the directory `base` (clean) of the root.
    pub(crate) fn into_directory(mut self, base: Vec<u8>) -> Self {
        self.base = base;
        self
    }

    /// A name in the stream, as a path in the root.
    fn locate(&self, name: &[u8]) -> Result<Vec<u8>> {
        let path = clean(name)?;
        Ok(match (self.base.is_empty(), path.is_empty()) {
            (true, _) => path,
            (false, true) => self.base.clone(),
            (false, false) => [&self.base, b"/".as_slice(), &path].concat(),
        })
    }

    /// Sets what was put off. Gives the counts, and the directories that no entry described, which
    /// take after the layer below.
    pub(crate) fn finish(mut self) -> Result<(Unpacked, Vec<Vec<u8>>)> {
        for directory in std::mem::take(&mut self.directories) {
            self.finish_directory(&directory).map_err(|e| in_entry(e, &directory.path))?;
        }
        let mut implied = self.parents.into_implied();
        if !self.root_seen {
            implied.push(Vec::new());
        }
        Ok((self.unpacked, implied))
    }

    fn finish_directory(&self, directory: &Deferred) -> Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let fd = match open_in_root(&self.root, &directory.path, flags) {
            Ok(fd) => fd,
            // A later entry took its place.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(e) => return Err(e).what(|| "open"),
        };
        directory.attrs.set_on_directory(&fd, !directory.new || !self.rules.fresh, self.umask)
    }

    fn make(&mut self, entry: &Entry, path: Vec<u8>) -> Result<()> {
        let attrs = Attrs::of(entry, self.rules.owner)?;
        let Some((parent, name)) = split(&path) else {
            return self.root_entry(entry, attrs);
        };
        if self.rules.whiteouts
            && let Some(hidden) = name.strip_prefix(whiteout::PREFIX)
        {
            // umoci writes these below what is a file now: nothing is left there to be hidden.
            let Some(parent) = self.parents.open_unless_file(parent)? else { return Ok(()) };
            self.unpacked.inodes += u64::from(whiteout::apply(&parent, hidden)?);
            return Ok(());
        }
        let dir = self.parents.open(parent)?;
        self.unpacked.inodes += u64::from(entry.kind != Kind::HardLink);
        match entry.kind {
            Kind::File => {
                let file = self.make_file(&dir, name, &attrs)?;
                self.unpacked.bytes += entry.size;
                let truncate = entry.sparse.is_some().then_some(entry.size);
                self.current = Some(Current { file, path, attrs, truncate });
                return Ok(());
            }
            Kind::Directory => {
                let new = self.make_directory(&dir, name, &attrs)?;
                self.parents.described(&path);
                if new && self.rules.fresh {
                    attrs.chown_at(&dir, name)?;
                }
                self.directories.push(Deferred { path, attrs, new });
            }
            Kind::Symlink => {
                if entry.link.is_empty() {
                    return Err(Error::invalid("a symbolic link without a target"));
                }
                self.retry(&dir, name, false, |dir| rustix::fs::symlinkat(&entry.link, dir, name))?;
                attrs.set_on_symlink(&dir, name, !self.rules.fresh)?;
            }
            Kind::HardLink => self.make_hard_link(entry, &path, &dir, name)?,
            Kind::Char | Kind::Block | Kind::Fifo => {
                let kind = match entry.kind {
                    Kind::Char => FileType::CharacterDevice,
                    Kind::Block => FileType::BlockDevice,
                    _ => FileType::Fifo,
                };
                let device = rustix::fs::makedev(entry.major, entry.minor);
                let mode = Mode::from_raw_mode(attrs.mode & 0o777);
                self.retry(&dir, name, false, |dir| rustix::fs::mknodat(dir, name, kind, mode, device))?;
                attrs.set_on_special(&dir, name)?;
            }
        }
        Ok(())
    }

    fn root_entry(&mut self, entry: &Entry, attrs: Attrs) -> Result<()> {
        if entry.kind != Kind::Directory {
            return Err(Error::invalid("it would take the place of the root directory"));
        }
        self.root_seen = true;
        self.directories.push(Deferred { path: Vec::new(), attrs, new: false });
        Ok(())
    }

    fn make_file(&mut self, dir: &OwnedFd, name: &[u8], attrs: &Attrs) -> Result<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Special bits come last, when owner and contents are right.
        let mode = Mode::from_raw_mode(attrs.mode & 0o777);
        self.retry(dir, name, false, |dir| rustix::fs::openat(dir, name, flags, mode)).map(File::from)
    }

    /// Whether the directory is new.
    fn make_directory(&mut self, dir: &OwnedFd, name: &[u8], attrs: &Attrs) -> Result<bool> {
        let mode = Mode::from_raw_mode(attrs.mode & 0o777);
        match rustix::fs::mkdirat(dir, name, mode) {
            Ok(()) => return Ok(true),
            Err(Errno::EXIST) => {}
            Err(e) => return Err(e).what(|| "make directory"),
        }
        let found = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).what(|| "look at what is there")?;
        if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
            return Ok(false);
        }
        let hides = self.rules.whiteouts && whiteout::is_one(&found);
        self.retry(dir, name, true, |dir| rustix::fs::mkdirat(dir, name, mode))?;
        if hides {
            whiteout::make_opaque(dir, name)?;
        }
        Ok(true)
    }

    fn make_hard_link(&mut self, entry: &Entry, path: &[u8], dir: &OwnedFd, name: &[u8]) -> Result<()> {
        let shown = show(&entry.link);
        let target = self.locate(&entry.link).map_err(|e| e.prefixed("hard link"))?;
        let Some((parent, target_name)) = split(&target) else {
            return Err(Error::invalid(format!("hard link to {shown:?}, which is the root directory")));
        };
        if target == path {
            return Err(Error::invalid("hard link to itself"));
        }
        let missing = || Error::invalid(format!("hard link to {shown:?}, which is not in this stream"));
        let from = match open_in_root(&self.root, parent, OFlags::PATH | OFlags::DIRECTORY) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR) => return Err(missing()),
            Err(e) => return Err(e).what(|| format!("hard link to {shown:?}")),
        };
        let link = |dir: &OwnedFd| rustix::fs::linkat(&from, target_name, dir, name, AtFlags::empty());
        match link(dir) {
            Ok(()) => Ok(()),
            Err(Errno::NOENT) => Err(missing()),
            Err(Errno::EXIST) => {
                // The target must not be lost with what is in the way.
                rustix::fs::statat(&from, target_name, AtFlags::SYMLINK_NOFOLLOW).map_err(|_| missing())?;
                self.retry(dir, name, false, |dir| match link(dir) {
                    Err(Errno::NOENT) => Err(Errno::STALE),
                    other => other,
                })
            }
            Err(e) => Err(e).what(|| format!("hard link to {shown:?}")),
        }
    }

    /// Makes something; if something else has the name, that goes away first.
    fn retry<T>(
        &mut self,
        dir: &OwnedFd,
        name: &[u8],
        is_directory: bool,
        make: impl Fn(&OwnedFd) -> rustix::io::Result<T>,
    ) -> Result<T> {
        // In a live root something may come back as often as it is removed.
        for _ in 0..16 {
            match make(dir) {
                Err(Errno::EXIST) => self.clear(dir, name, is_directory)?,
                other => return other.what(|| "create"),
            }
        }
        Err(Error::conflict("what has this name comes back as often as it is removed"))
    }

    fn clear(&mut self, dir: &OwnedFd, name: &[u8], for_directory: bool) -> Result<()> {
        let found = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => found,
            Err(Errno::NOENT) => return Ok(()),
            Err(e) => return Err(e).what(|| "look at what is there"),
        };
        let is_directory = FileType::from_raw_mode(found.st_mode) == FileType::Directory;
        if is_directory != for_directory && !self.rules.replace_kinds {
            let (new, old) =
                if for_directory { ("directory", "non-directory") } else { ("non-directory", "directory") };
            return Err(Error::invalid(format!("cannot overwrite {old} with {new}")));
        }
        remove_tree(dir, name).what(|| "remove what is there")?;
        // Handles of what was removed, or of what a removed link led to, must not be used again.
        self.parents.forget();
        Ok(())
    }
}

impl Visitor for Unpacker {
    fn entry(&mut self, entry: &Entry) -> Result<()> {
        let made = self.locate(&entry.path).and_then(|path| self.make(entry, path));
        made.map_err(|e| in_entry(e, &entry.path))
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let written = match current.truncate {
            None => current.file.write_all(bytes),
            Some(_) => current.file.write_all_at(bytes, offset),
        };
        written.map_err(|e| in_entry(Error::from(e).prefixed("write"), &current.path))
    }

    fn end(&mut self) -> Result<()> {
        let Some(current) = self.current.take() else { return Ok(()) };
        let finish = || {
            if let Some(length) = current.truncate {
                rustix::fs::ftruncate(&current.file, length).what(|| "set length")?;
            }
            current.attrs.set_on_file(current.file.as_fd(), !self.rules.fresh, self.umask)
        };
        finish().map_err(|e| in_entry(e, &current.path))
    }
}

fn in_entry(error: Error, path: &[u8]) -> Error {
    error.prefixed(format!("tar entry \"{}\"", show(path)))
}
