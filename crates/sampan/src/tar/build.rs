//! Files into bytes.

use super::{BLOCK, Entry, Kind};
use rustix::fs::{Mode, OFlags};
use std::collections::HashMap;
use std::fs::File;
use std::io::{Error, Read, Result, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Writes an archive.
pub(crate) struct Builder<W> {
    out: W,
    /// Files with several names, by device and inode.
    known: HashMap<(u64, u64), Vec<u8>>,
}

impl<W: Write> Builder<W> {
    /// Writes to `out`.
    pub(crate) fn new(out: W) -> Self {
        Self { out, known: HashMap::new() }
    }

    /// Ends the archive.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.out.write_all(&[0; BLOCK * 2])?;
        self.out.flush()
    }

    /// Adds the file or directory `path` with all below it, as `name`. Sockets are left out: they can't be archived.
    pub(crate) fn add_tree(&mut self, path: &Path, name: &[u8]) -> Result<()> {
        let mut pending = vec![(path.to_path_buf(), name.to_vec())];
        while let Some((path, name)) = pending.pop() {
            let named = |error: Error| Error::new(error.kind(), format!("{}: {error}", path.display()));
            if self.add_one(&path, &name).map_err(named)? {
                let mut children =
                    std::fs::read_dir(&path).and_then(|list| list.collect::<Result<Vec<_>>>()).map_err(named)?;
                children.sort_by_key(|child| std::cmp::Reverse(child.file_name()));
                for child in children {
                    let child_name = [name.as_slice(), b"/", child.file_name().as_bytes()].concat();
                    pending.push((child.path(), child_name));
                }
            }
        }
        Ok(())
    }

    /// Adds one file; whether it is a directory.
    fn add_one(&mut self, path: &Path, name: &[u8]) -> Result<bool> {
        let meta = std::fs::symlink_metadata(path)?;
        let kind = meta.file_type();
        let device = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
        let mut entry = Entry {
            path: name.to_vec(),
            kind: Kind::File,
            mode: meta.mode() & 0o7777,
            uid: meta.uid(),
            gid: meta.gid(),
            size: 0,
            mtime: meta.mtime(),
            target: Vec::new(),
            device: (0, 0),
        };
        if kind.is_dir() {
            entry.kind = Kind::Directory;
            entry.path.push(b'/');
        } else if kind.is_symlink() {
            entry.kind = Kind::Symlink;
            entry.target = std::fs::read_link(path)?.as_os_str().as_bytes().to_vec();
        } else if kind.is_char_device() || kind.is_block_device() {
            entry.kind = if kind.is_char_device() { Kind::Character } else { Kind::Block };
            entry.device = device;
        } else if kind.is_fifo() {
            entry.kind = Kind::Fifo;
        } else if kind.is_socket() {
            return Ok(false);
        } else {
            if meta.nlink() > 1
                && let Some(first) = self.known.insert((meta.dev(), meta.ino()), name.to_vec())
            {
                self.known.insert((meta.dev(), meta.ino()), first.clone());
                entry.kind = Kind::Link;
                entry.target = first;
                self.add(&entry, &mut std::io::empty())?;
                return Ok(false);
            }
            // The name may have become a link or a pipe meanwhile.
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let mut file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
            let meta = file.metadata()?;
            if !meta.is_file() {
                return Err(Error::other("it has changed while it was read"));
            }
            entry.size = meta.len();
            self.add(&entry, &mut file)?;
            return Ok(false);
        }
        self.add(&entry, &mut std::io::empty())?;
        Ok(kind.is_dir())
    }

    /// Adds an entry and its data.
    pub(crate) fn add(&mut self, entry: &Entry, data: &mut dyn Read) -> Result<()> {
        let mut records = Vec::new();
        if entry.path.len() > 100 {
            record(&mut records, "path", &entry.path);
        }
        if entry.target.len() > 100 {
            record(&mut records, "linkpath", &entry.target);
        }
        if entry.size >= 1 << 33 {
            record(&mut records, "size", entry.size.to_string().as_bytes());
        }
        for (name, id) in [("uid", entry.uid), ("gid", entry.gid)] {
            if id >= 1 << 21 {
                record(&mut records, name, id.to_string().as_bytes());
            }
        }
        if !(0..1 << 33).contains(&entry.mtime) {
            record(&mut records, "mtime", entry.mtime.to_string().as_bytes());
        }
        if !records.is_empty() {
            let extended = Entry {
                path: b"PaxHeaders/0".to_vec(),
                size: records.len() as u64,
                target: Vec::new(),
                mtime: 0,
                ..entry.clone()
            };
            self.out.write_all(&header(&extended, b'x'))?;
            self.out.write_all(&records)?;
            self.pad(records.len() as u64)?;
        }
        let letter = match entry.kind {
            Kind::File => b'0',
            Kind::Link => b'1',
            Kind::Symlink => b'2',
            Kind::Character => b'3',
            Kind::Block => b'4',
            Kind::Directory => b'5',
            Kind::Fifo => b'6',
        };
        self.out.write_all(&header(entry, letter))?;
        let copied = std::io::copy(&mut data.take(entry.size), &mut self.out)?;
        if copied < entry.size {
            return Err(Error::other("it has become shorter while it was read"));
        }
        self.pad(entry.size)
    }

    fn pad(&mut self, size: u64) -> Result<()> {
        let rest = usize::try_from(size.next_multiple_of(BLOCK as u64) - size).unwrap_or(0);
        self.out.write_all(&[0; BLOCK][..rest])
    }
}

/// A pax record, which begins with its own length.
fn record(records: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} {key}=").as_bytes());
    records.extend_from_slice(value);
    records.push(b'\n');
}

fn header(entry: &Entry, kind: u8) -> [u8; BLOCK] {
    let mut block = [0u8; BLOCK];
    let text = |block: &mut [u8; BLOCK], at: usize, most: usize, bytes: &[u8]| {
        let n = bytes.len().min(most);
        block[at..at + n].copy_from_slice(&bytes[..n]);
    };
    // What doesn't fit stands in the extended header.
    let octal = |block: &mut [u8; BLOCK], at: usize, width: usize, number: u64| {
        let number = if number >= 1 << (3 * (width - 1)) { 0 } else { number };
        let digits = format!("{number:0>width$o}\0", width = width - 1);
        block[at..at + width].copy_from_slice(digits.as_bytes());
    };
    text(&mut block, 0, 100, &entry.path);
    octal(&mut block, 100, 8, entry.mode.into());
    octal(&mut block, 108, 8, entry.uid.into());
    octal(&mut block, 116, 8, entry.gid.into());
    octal(&mut block, 124, 12, if matches!(kind, b'0' | b'x') { entry.size } else { 0 });
    octal(&mut block, 136, 12, u64::try_from(entry.mtime).unwrap_or(0));
    block[148..156].fill(b' ');
    block[156] = kind;
    text(&mut block, 157, 100, &entry.target);
    text(&mut block, 257, 8, b"ustar\x0000");
    octal(&mut block, 329, 8, entry.device.0.into());
    octal(&mut block, 337, 8, entry.device.1.into());
    let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}
