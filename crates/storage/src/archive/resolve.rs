//! Paths as docker's cp writes them, and where they lead inside a root.

use crate::Result;
use crate::fs::{Sys, open_in_root, show};
use oci::{Error, Kind};
use rustix::fs::{AtFlags, FileType, OFlags, Stat};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How many symbolic links are followed, as the kernel has it.
const MAX_LINKS: usize = 40;

/// A path to one thing in a root.
pub(super) struct Target {
    /// The directory that it is in; for a directory asked for as such, the directory itself.
    pub(super) dir: OwnedFd,
    /// Its name there; `.` for the directory itself.
    pub(super) name: Vec<u8>,
    /// The last component as the path had it: `/` for the root, `.` for `dir/.`.
    pub(super) base: Vec<u8>,
    pub(super) stat: Stat,
}

impl Target {
    pub(super) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }
}

/// Finds `path`. Its last component is not followed, unless a `/` or `/.` after it says that it is
/// a directory.
pub(super) fn find(root: BorrowedFd<'_>, path: &[u8]) -> Result<Target> {
    let lookup = || -> rustix::io::Result<Target> {
        let base = base(path);
        let trimmed = trim(path);
        let as_directory = trimmed.is_empty() || path.ends_with(b"/") || base == b"." || base == b"..";
        let (dir, name) = if as_directory {
            (open_in_root(root, path, OFlags::PATH | OFlags::DIRECTORY)?, b".".to_vec())
        } else {
            let at = trimmed.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
            let dir = open_in_root(root, &trimmed[..at], OFlags::PATH | OFlags::DIRECTORY)?;
            (dir, trimmed[at..].to_vec())
        };
        let stat = rustix::fs::statat(&dir, &name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(Target { dir, name, base, stat })
    };
    lookup().map_err(|errno| not_there(errno, path))
}

/// An error that says which path, in docker's words where there are some.
pub(super) fn not_there(errno: Errno, path: &[u8]) -> Error {
    let shown = show(path);
    match errno {
        Errno::NOENT | Errno::NOTDIR => {
            Error::new(Kind::NotFound, format!("Could not find the file {shown} in the container"))
        }
        e => Error::from(std::io::Error::from(e)).prefixed(format!("path {shown:?}")),
    }
}

fn trim(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|b| *b != b'/').map_or(0, |at| at + 1);
    &path[..end]
}

/// The last component, as Go's `filepath.Base`.
fn base(path: &[u8]) -> Vec<u8> {
    let trimmed = trim(path);
    if trimmed.is_empty() {
        return b"/".to_vec();
    }
    trimmed.rsplit(|b| *b == b'/').next().unwrap_or(b"/").to_vec()
}

/// The path that `path` leads to when every link is followed inside the root; what does not exist
/// is taken as it is written. Only to be shown: opening it is another look-up.
pub(super) fn evaluate(root: BorrowedFd<'_>, path: &[u8]) -> Result<Vec<u8>> {
    let parts = |path: &[u8]| {
        let parts = path.split(|b| *b == b'/').filter(|part| !part.is_empty() && *part != b".");
        let mut parts: Vec<Vec<u8>> = parts.map(<[u8]>::to_vec).collect();
        parts.reverse();
        parts
    };
    let mut todo = parts(path);
    let mut done: Vec<Vec<u8>> = Vec::new();
    let mut links = 0;
    while let Some(part) = todo.pop() {
        if part == b".." {
            done.pop();
            continue;
        }
        let parent = done.join(&b'/');
        let link = open_in_root(root, &parent, OFlags::PATH | OFlags::DIRECTORY)
            .and_then(|dir| rustix::fs::readlinkat(dir.as_fd(), &part, Vec::new()));
        match link {
            Ok(target) => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP).what(|| format!("path {:?}", show(path)));
                }
                if target.to_bytes().starts_with(b"/") {
                    done.clear();
                }
                todo.extend(parts(target.to_bytes()));
            }
            Err(_) => done.push(part),
        }
    }
    Ok([b"/".as_slice(), &done.join(&b'/')].concat())
}
