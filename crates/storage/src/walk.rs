//! Walking a tree by handle, with bounded descriptors and stack, following no symbolic link.

use crate::Result;
use crate::fs::{Sys, entries, open_beneath, show};
use rustix::fs::{AtFlags, FileType, OFlags, Stat};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// One thing that a walk came to.
pub(crate) struct Found<'a> {
    /// From the root of the walk; empty for the root itself.
    pub(crate) path: &'a [u8],
    /// The directory that it is in, and its name there.
    pub(crate) dir: BorrowedFd<'a>,
    pub(crate) name: &'a CStr,
    pub(crate) kind: FileType,
    pub(crate) stat: Stat,
}

/// What to do at a mount on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mounts {
    Enter,
    /// Visit the directory that it is on, and nothing in it.
    StayOut,
}

/// Visits the root, then everything below it, depth first, a directory before what it holds, names
/// in order.
/// What vanishes meanwhile is passed over.
pub(crate) fn walk(root: BorrowedFd<'_>, visit: &mut dyn FnMut(&Found<'_>) -> Result<()>) -> Result<()> {
    walk_from(root, Mounts::Enter, visit)
}

/// As [`walk`], with a rule for mounts.
pub(crate) fn walk_from(
    root: BorrowedFd<'_>,
    mounts: Mounts,
    visit: &mut dyn FnMut(&Found<'_>) -> Result<()>,
) -> Result<()> {
    let stat = rustix::fs::fstat(root).what(|| "stat")?;
    let device = stat.st_dev;
    let kind = FileType::from_raw_mode(stat.st_mode);
    visit(&Found { path: b"", dir: root, name: c".", kind, stat })?;
    let mut frames: Vec<Frame> = Vec::new();
    if let Some(dir) = open(root, b"")? {
        frames.push(Frame::new(Vec::new(), dir)?);
    }
    while let Some(depth) = frames.len().checked_sub(1) {
        let frame = &mut frames[depth];
        let Some(name) = frame.names.pop() else {
            frames.pop();
            continue;
        };
        let dir = match frame.dir.take() {
            Some(dir) => dir,
            None => match open(root, &frame.path)? {
                Some(dir) => dir,
                None => {
                    frames.pop();
                    continue;
                }
            },
        };
        let stat = match rustix::fs::statat(&dir, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => {
                frame.dir = Some(dir);
                continue;
            }
            Err(e) => return Err(e).what(|| format!("stat {name:?} in {:?}", show(&frame.path))),
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let path = match frame.path.as_slice() {
            b"" => name.to_bytes().to_vec(),
            parent => [parent, b"/", name.to_bytes()].concat(),
        };
        visit(&Found { path: &path, dir: dir.as_fd(), name: &name, kind, stat })?;
        let enter = kind == FileType::Directory && (mounts == Mounts::Enter || stat.st_dev == device);
        if !enter || depth < KEPT_OPEN {
            frame.dir = Some(dir);
        }
        if enter && let Some(dir) = open(root, &path)? {
            frames.push(Frame::new(path, dir)?);
        }
    }
    Ok(())
}

/// Directories above this depth stay open while what is below them is visited; deeper ones are
/// opened again.
const KEPT_OPEN: usize = 64;

/// A directory on the way, and the names in it that are still to come, the next one last.
struct Frame {
    path: Vec<u8>,
    dir: Option<OwnedFd>,
    names: Vec<CString>,
}

impl Frame {
    fn new(path: Vec<u8>, dir: OwnedFd) -> Result<Self> {
        let names = entries(&dir).what(|| format!("list directory {:?}", show(&path)))?;
        let mut names: Vec<CString> = names.into_iter().map(|(name, _)| name).collect();
        names.sort_unstable_by(|a, b| b.cmp(a));
        Ok(Self { path, dir: Some(dir), names })
    }
}

/// `None` if it vanished or is no directory any more.
fn open(root: BorrowedFd<'_>, path: &[u8]) -> Result<Option<OwnedFd>> {
    match open_beneath(root, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW) {
        Ok(dir) => Ok(Some(dir)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(e) => Err(e).what(|| format!("open directory {:?}", show(path))),
    }
}
