//! A tar stream being written from handles.

use crate::Result;
use crate::fs::{Sys, show};
use crate::tar::{Entry, Kind, write};
use oci::{Context, Error};
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

/// Writes entries, files with several names once.
pub(crate) struct TarWriter<W> {
    out: W,
    /// The name under which a file with several came first.
    first: HashMap<(u64, u64), Vec<u8>>,
    buffer: Vec<u8>,
}

impl<W: Write> TarWriter<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, first: HashMap::new(), buffer: vec![0; 128 << 10] }
    }

    /// Adds `name` of `dir` as `path`. Sockets, which tar has no form for, and what vanished
    /// meanwhile, are passed over.
    pub(crate) fn add(&mut self, dir: BorrowedFd<'_>, name: &CStr, path: &[u8]) -> Result<()> {
        self.add_one(dir, name, path).context(|| format!("archive {:?}", show(path)))
    }

    fn add_one(&mut self, dir: BorrowedFd<'_>, name: &CStr, path: &[u8]) -> Result<()> {
        let stat = match rustix::fs::statat(dir, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(e) => return Err(e).what(|| "stat"),
        };
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            FileType::CharacterDevice => Kind::Char,
            FileType::BlockDevice => Kind::Block,
            FileType::Fifo => Kind::Fifo,
            _ => return Ok(()),
        };
        let mut entry = entry_of(kind, path, &stat);
        if kind != Kind::Directory && stat.st_nlink > 1 {
            if let Some(first) = self.first.get(&(stat.st_dev, stat.st_ino)) {
                entry.kind = Kind::HardLink;
                entry.link = first.clone();
                return self.put(&write::header(&entry));
            }
            self.first.insert((stat.st_dev, stat.st_ino), path.to_vec());
        }
        match kind {
            Kind::File => return self.add_file(dir, name, entry, &stat),
            Kind::Directory if !entry.path.ends_with(b"/") => entry.path.push(b'/'),
            Kind::Symlink => match rustix::fs::readlinkat(dir, name, Vec::new()) {
                Ok(target) => entry.link = target.into_bytes(),
                Err(Errno::NOENT | Errno::INVAL) => return Ok(()),
                Err(e) => return Err(e).what(|| "read link"),
            },
            Kind::Char | Kind::Block => {
                entry.major = rustix::fs::major(stat.st_rdev);
                entry.minor = rustix::fs::minor(stat.st_rdev);
            }
            _ => {}
        }
        entry.xattrs = kept(crate::xattr::read_at(dir, name)?);
        self.put(&write::header(&entry))
    }

    fn add_file(&mut self, dir: BorrowedFd<'_>, name: &CStr, mut entry: Entry, stat: &Stat) -> Result<()> {
        // Should it have become a fifo or a device meanwhile, opening must not block.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(dir, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::LOOP) => return Ok(()),
            Err(e) => return Err(e).what(|| "open"),
        };
        let now = rustix::fs::fstat(&fd).what(|| "stat")?;
        if FileType::from_raw_mode(now.st_mode) != FileType::RegularFile || now.st_ino != stat.st_ino {
            return Err(Error::conflict("it was replaced while it was read"));
        }
        entry.size = now.st_size as u64;
        entry.xattrs = kept(crate::xattr::read(fd.as_fd())?);
        self.put(&write::header(&entry))?;
        let mut file = File::from(fd);
        let mut left = entry.size;
        while left > 0 {
            let want = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let n = file.read(&mut self.buffer[..want]).context(|| "read")?;
            if n == 0 {
                // It shrank. The header has promised its length, so zeros make up for it, as in GNU tar.
                self.buffer[..want].fill(0);
            }
            let n = if n == 0 { want } else { n };
            self.out.write_all(&self.buffer[..n]).map_err(closed)?;
            left -= n as u64;
        }
        self.put(&[0; 512][..write::padding(entry.size)])
    }

    /// Adds an empty file by name alone, as for whiteouts.
    pub(crate) fn add_empty(&mut self, path: &[u8], mtime: (i64, u32)) -> Result<()> {
        let entry = Entry {
            kind: Kind::File,
            path: path.to_vec(),
            link: Vec::new(),
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            mtime,
            atime: None,
            major: 0,
            minor: 0,
            xattrs: Vec::new(),
            sparse: None,
        };
        self.put(&write::header(&entry))
    }

    /// Writes the end mark.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.put(&write::END)?;
        self.out.flush().map_err(closed)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(closed)
    }
}

fn closed(error: std::io::Error) -> Error {
    Error::from(error).prefixed("write the archive")
}

/// Attributes that belong to the file and not to the way it is stored.
fn kept(xattrs: crate::xattr::Xattrs) -> crate::xattr::Xattrs {
    let mut xattrs = xattrs;
    xattrs.retain(|(name, _)| {
        name == b"security.capability" || name.starts_with(b"user.") && !name.starts_with(b"user.overlay.")
    });
    xattrs
}

fn entry_of(kind: Kind, path: &[u8], stat: &Stat) -> Entry {
    Entry {
        kind,
        path: path.to_vec(),
        link: Vec::new(),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid.into(),
        gid: stat.st_gid.into(),
        size: 0,
        mtime: (stat.st_mtime, stat.st_mtime_nsec as u32),
        atime: None,
        major: 0,
        minor: 0,
        xattrs: Vec::new(),
        sparse: None,
    }
}
