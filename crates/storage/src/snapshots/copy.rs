//! Copying a tree with everything that the file system knows of it.

use crate::Result;
use crate::fs::{Sys, open_beneath, show};
use crate::unpack::split;
use crate::walk::{Found, walk};
use oci::Error;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// How regular files are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Files {
    /// Shared as hard links, for trees that nobody writes to.
    Link,
    /// Copied, sharing blocks where the file system can.
    Copy,
}

/// Copies what is below `from`, and `from`'s own attributes, to the empty directory `to`.
pub(super) fn copy_tree(from: BorrowedFd<'_>, to: BorrowedFd<'_>, files: Files) -> Result<()> {
    let mut copier = Copier { to, files, parent: None, linked: HashMap::new(), directories: Vec::new() };
    walk(from, &mut |found| copier.copy(found).map_err(|e| e.prefixed(format!("copy {:?}", show(found.path)))))?;
    for (path, stat) in copier.directories.iter().rev() {
        let dir = open_beneath(to, path, OFlags::RDONLY | OFlags::DIRECTORY).what(|| "open a copied directory")?;
        set_times(dir.as_fd(), stat)?;
    }
    Ok(())
}

struct Copier<'a> {
    to: BorrowedFd<'a>,
    files: Files,
    /// The directory that the last entry went into.
    parent: Option<(Vec<u8>, OwnedFd)>,
    /// Where a file with several names went first.
    linked: HashMap<(u64, u64), Vec<u8>>,
    /// Their times are set last.
    directories: Vec<(Vec<u8>, Stat)>,
}

impl Copier<'_> {
    fn copy(&mut self, found: &Found<'_>) -> Result<()> {
        let stat = &found.stat;
        let Some((parent, _)) = split(found.path) else {
            self.directories.push((Vec::new(), *stat));
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let from = rustix::fs::openat(found.dir, c".", flags, Mode::empty()).what(|| "open")?;
            return copy_attrs(from.as_fd(), self.to, stat);
        };
        if self.parent.as_ref().is_none_or(|(path, _)| path != parent) {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let dir = open_beneath(self.to, parent, flags).what(|| "open its directory")?;
            self.parent = Some((parent.to_vec(), dir));
        }
        let Some((_, dir)) = &self.parent else { return Err(Error::internal("no parent")) };
        let name = found.name;
        if found.kind != FileType::Directory && stat.st_nlink > 1 {
            let inode = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.linked.get(&inode) {
                let (first_dir, first_name) = split(first).ok_or_else(|| Error::internal("no name"))?;
                let from = open_beneath(self.to, first_dir, OFlags::PATH | OFlags::DIRECTORY).what(|| "open")?;
                return rustix::fs::linkat(&from, first_name, dir, name, AtFlags::empty()).what(|| "link");
            }
            self.linked.insert(inode, found.path.to_vec());
        }
        match found.kind {
            FileType::Directory => {
                rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o700)).what(|| "make directory")?;
                let (from, to) = (open_read(found.dir, name, true)?, open_read(dir.as_fd(), name, true)?);
                self.directories.push((found.path.to_vec(), *stat));
                copy_attrs(from.as_fd(), to.as_fd(), stat)
            }
            FileType::RegularFile => {
                if self.files == Files::Link {
                    match rustix::fs::linkat(found.dir, name, dir, name, AtFlags::empty()) {
                        Ok(()) => return Ok(()),
                        // Too many links: a copy of it will do.
                        Err(Errno::MLINK | Errno::XDEV | Errno::PERM) => {}
                        Err(e) => return Err(e).what(|| "link"),
                    }
                }
                let from = open_read(found.dir, name, false)?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let to = rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o600)).what(|| "create")?;
                copy_data(from.as_fd(), to.as_fd(), stat.st_size as u64)?;
                copy_attrs(from.as_fd(), to.as_fd(), stat)?;
                set_times(to.as_fd(), stat)
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(found.dir, name, Vec::new()).what(|| "read link")?;
                rustix::fs::symlinkat(&target, dir, name).what(|| "make link")?;
                copy_by_name(found.dir, dir.as_fd(), name, stat)
            }
            kind => {
                let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
                rustix::fs::mknodat(dir, name, kind, mode, stat.st_rdev).what(|| "make node")?;
                copy_by_name(found.dir, dir.as_fd(), name, stat)?;
                // The mode was cut by the umask. Nobody else changes this tree, so the name is safe.
                rustix::fs::chmodat(dir, name, mode, AtFlags::empty()).what(|| "set mode")
            }
        }
    }
}

fn open_read(dir: BorrowedFd<'_>, name: &CStr, directory: bool) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let flags = if directory { flags | OFlags::DIRECTORY } else { flags | OFlags::NONBLOCK };
    rustix::fs::openat(dir, name, flags, Mode::empty()).what(|| "open")
}

/// Copies contents, by sharing blocks, or else with holes left as holes.
fn copy_data(from: BorrowedFd<'_>, to: BorrowedFd<'_>, size: u64) -> Result<()> {
    if size == 0 || rustix::fs::ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    rustix::fs::ftruncate(to, size).what(|| "set length")?;
    let mut at = 0;
    while at < size {
        let start = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            Ok(start) => start,
            // Only a hole is left.
            Err(Errno::NXIO) => break,
            Err(_) => at,
        };
        let end = rustix::fs::seek(from, SeekFrom::Hole(start)).unwrap_or(size).max(start + 1);
        let (mut read, mut write) = (start, start);
        while read < end {
            let want = usize::try_from(end - read).unwrap_or(usize::MAX).min(1 << 30);
            match rustix::fs::copy_file_range(from, Some(&mut read), to, Some(&mut write), want) {
                Ok(0) => return Ok(()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => {
                    read = copy_plainly(from, to, read, end)?;
                }
                Err(e) => return Err(e).what(|| "copy contents"),
            }
        }
        at = end;
    }
    Ok(())
}

fn copy_plainly(from: BorrowedFd<'_>, to: BorrowedFd<'_>, mut at: u64, end: u64) -> Result<u64> {
    let mut buffer = vec![0; 256 << 10];
    while at < end {
        let want = buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
        let n = rustix::io::pread(from, &mut buffer[..want], at).what(|| "read")?;
        if n == 0 {
            return Ok(end);
        }
        let mut done = 0;
        while done < n {
            done += rustix::io::pwrite(to, &buffer[done..n], at + done as u64).what(|| "write")?;
        }
        at += n as u64;
    }
    Ok(at)
}

/// Owner, mode and extended attributes, in the order that keeps all of them.
pub(super) fn copy_attrs(from: BorrowedFd<'_>, to: BorrowedFd<'_>, stat: &Stat) -> Result<()> {
    rustix::fs::fchown(to, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid))).what(|| "set owner")?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777)).what(|| "set mode")?;
    copy_xattrs(from, to, &|name| !name.starts_with(b"trusted.overlay."))
}

/// Copies the extended attributes that `wanted` lets through.
pub(super) fn copy_xattrs(from: BorrowedFd<'_>, to: BorrowedFd<'_>, wanted: &dyn Fn(&[u8]) -> bool) -> Result<()> {
    for (name, value) in crate::xattr::read(from)? {
        if wanted(&name) {
            match rustix::fs::fsetxattr(to, name.as_slice(), &value, XattrFlags::empty()) {
                Ok(()) | Err(Errno::NOTSUP) => {}
                Err(e) => return Err(e).what(|| format!("set extended attribute {}", show(&name))),
            }
        }
    }
    Ok(())
}

/// Owner, attributes and times of what can't be opened.
fn copy_by_name(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    rustix::fs::chownat(to, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).what(|| "set owner")?;
    let path = [format!("/proc/self/fd/{}/", to.as_raw_fd()).as_bytes(), name.to_bytes()].concat();
    for (key, value) in crate::xattr::read_at(from, name)? {
        match rustix::fs::lsetxattr(path.as_slice(), key.as_slice(), &value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::NOTSUP | Errno::PERM) => {}
            Err(e) => return Err(e).what(|| format!("set extended attribute {}", show(&key))),
        }
    }
    rustix::fs::utimensat(to, name, &times(stat), AtFlags::SYMLINK_NOFOLLOW).what(|| "set times")
}

fn times(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime, tv_nsec: stat.st_atime_nsec as i64 },
        last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as i64 },
    }
}

/// Sets access and modification time as in `stat`.
pub(super) fn set_times(to: BorrowedFd<'_>, stat: &Stat) -> Result<()> {
    rustix::fs::futimens(to, &times(stat)).what(|| "set times")
}
