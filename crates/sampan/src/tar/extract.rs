//! Entries into a directory. Every name is opened from the handle of its directory, links are never followed, and no
//! entry leads out of the directory that was given.

use super::{Entry, Kind, Reader};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// How entries are put down.
#[derive(Debug, Clone)]
pub(crate) struct Extract {
    /// What the first part of every path becomes; `None` leaves it.
    pub(crate) first: Option<Vec<u8>>,
    /// Keep the numbers of owners and groups.
    pub(crate) owners: bool,
}

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Puts an archive down in `directory`.
pub(crate) fn extract(archive: &mut dyn Read, directory: &Path, rule: &Extract) -> Result<()> {
    // The directory itself is the person's: it may well be a link.
    let root = rustix::fs::open(directory, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut reader = Reader::new(archive);
    // Directories get their modes and dates last: a read-only one still has to be filled.
    let mut directories: Vec<(Vec<Vec<u8>>, Entry)> = Vec::new();
    while let Some(entry) = reader.next()? {
        let named =
            |error: Error| Error::new(error.kind(), format!("{}: {error}", String::from_utf8_lossy(&entry.path)));
        let path = parts(&entry.path, rule).map_err(named)?;
        if entry.kind == Kind::Directory {
            walk(&root, &path, true).map_err(named)?;
            directories.push((path, entry));
            continue;
        }
        put(&root, &path, &entry, &mut reader, rule).map_err(named)?;
    }
    for (path, entry) in directories.iter().rev() {
        let handle = walk(&root, path, false)?;
        finish(&handle, entry, rule)?;
    }
    Ok(())
}

/// The parts of a path; `..` is refused.
fn parts(path: &[u8], rule: &Extract) -> Result<Vec<Vec<u8>>> {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let mut rest = path;
    if let Some(first) = &rule.first {
        let end = rest.iter().position(|b| *b == b'/').unwrap_or(rest.len());
        rest = &rest[end..];
        parts.push(first.clone());
    }
    for part in rest.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(Error::new(ErrorKind::InvalidData, "the archive's path leads out of the directory")),
            part => parts.push(part.to_vec()),
        }
    }
    Ok(parts)
}

/// The handle of a directory below `root`.
fn walk(root: &OwnedFd, path: &[Vec<u8>], create: bool) -> Result<OwnedFd> {
    let mut handle = rustix::fs::openat(root, ".", DIRECTORY, Mode::empty())?;
    for part in path {
        let name = OsStr::from_bytes(part);
        let next = match rustix::fs::openat(&handle, name, DIRECTORY, Mode::empty()) {
            Err(Errno::NOENT) if create => {
                match rustix::fs::mkdirat(&handle, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                rustix::fs::openat(&handle, name, DIRECTORY, Mode::empty())
            }
            other => other,
        };
        handle = next.map_err(|error| match error {
            Errno::NOTDIR | Errno::LOOP => {
                let name = String::from_utf8_lossy(part).into_owned();
                Error::new(
                    ErrorKind::NotADirectory,
                    format!("{name} is there and no directory; links are not followed"),
                )
            }
            error => error.into(),
        })?;
    }
    Ok(handle)
}

fn put(
    root: &OwnedFd,
    path: &[Vec<u8>],
    entry: &Entry,
    reader: &mut Reader<&mut dyn Read>,
    rule: &Extract,
) -> Result<()> {
    let (name, above) = path
        .split_last()
        .ok_or_else(|| Error::new(ErrorKind::InvalidData, "an entry other than a directory has no name"))?;
    let parent = walk(root, above, true)?;
    let name = OsStr::from_bytes(name);
    match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(Errno::ISDIR | Errno::PERM) => {
            return Err(Error::new(ErrorKind::IsADirectory, "cannot overwrite a directory with something else"));
        }
        Err(error) => return Err(error.into()),
    }
    let mode = Mode::from_raw_mode(entry.mode);
    match entry.kind {
        Kind::File => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut file = File::from(rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o600))?);
            std::io::copy(&mut reader.data(), &mut file)?;
            return finish(&file, entry, rule);
        }
        Kind::Symlink => rustix::fs::symlinkat(OsStr::from_bytes(&entry.target), &parent, name)?,
        Kind::Link => {
            let target = parts(&entry.target, rule)?;
            let (last, above) =
                target.split_last().ok_or_else(|| Error::new(ErrorKind::InvalidData, "a hard link has no target"))?;
            let there = walk(root, above, false)?;
            rustix::fs::linkat(&there, OsStr::from_bytes(last), &parent, name, AtFlags::empty())?;
            return Ok(());
        }
        Kind::Character | Kind::Block | Kind::Fifo => {
            let kind = match entry.kind {
                Kind::Character => FileType::CharacterDevice,
                Kind::Block => FileType::BlockDevice,
                _ => FileType::Fifo,
            };
            let device = rustix::fs::makedev(entry.device.0, entry.device.1);
            rustix::fs::mknodat(&parent, name, kind, mode, device)?;
        }
        Kind::Directory => return Ok(()),
    }
    if rule.owners {
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        rustix::fs::chownat(&parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    let _ = rustix::fs::utimensat(&parent, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW);
    Ok(())
}

fn times(entry: &Entry) -> Timestamps {
    let time = Timespec { tv_sec: entry.mtime, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

/// Owner, mode and date of what is open, in the order in which they don't undo each other.
fn finish(file: &impl AsFd, entry: &Entry, rule: &Extract) -> Result<()> {
    if rule.owners {
        rustix::fs::fchown(file, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))?;
    }
    rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode))?;
    rustix::fs::futimens(file, &times(entry))?;
    Ok(())
}
