//! A tar stream, pushed in pieces.
//!
//! ```text
//! Header ──x,L,K──▶ Extended ──▶ Skip(padding) ──▶ Header
//!    │  ──S────────▶ SparseBlocks ──▶ Data
//!    │  ──1.0───────▶ SparseLead ───▶ Data
//!    └──▶ Data ──▶ Skip(padding) ──▶ Header          two zero blocks ──▶ End
//! ```

use super::header::{self, Header};
use super::pax::{self, Extensions};
use super::{BLOCK, Entry, Kind, MAX_EXTENDED, MAX_SPARSE, sparse};
use oci::{Error, Result};

/// What is done with the entries, in order: `entry`, `data` any number of times, `end`.
pub(crate) trait Visitor {
    /// An entry begins.
    fn entry(&mut self, entry: &Entry) -> Result<()>;
    /// Bytes of the entry that began last, belonging at `offset` of the file.
    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<()>;
    /// The entry is complete.
    fn end(&mut self) -> Result<()>;
}

/// Where in the stream the parser is.
enum State {
    Header,
    Extended {
        kind: u8,
        left: u64,
        padding: u64,
    },
    Skip(u64),
    /// Blocks of an old sparse map; `stored` bytes of data follow.
    SparseBlocks {
        stored: u64,
    },
    /// Data whose first blocks are a sparse map.
    SparseLead {
        stored: u64,
    },
    Data {
        left: u64,
        padding: u64,
    },
    End,
}

/// A push parser with bounds on everything that it keeps.
pub(crate) struct Parser {
    state: State,
    /// A block that has not come whole yet.
    block: [u8; BLOCK],
    filled: usize,
    zero_blocks: u8,
    /// An extended header, or a sparse map, being collected.
    collected: Vec<u8>,
    next: Extensions,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    entry: Option<Entry>,
    /// Which stretch of a sparse file the next byte belongs to, and how much of it has come.
    stretch: usize,
    within: u64,
    at: u64,
    entries: u64,
    max_entries: u64,
}

impl Parser {
    /// A parser that refuses more than `max_entries` entries.
    pub(crate) fn new(max_entries: u64) -> Self {
        Self {
            state: State::Header,
            block: [0; BLOCK],
            filled: 0,
            zero_blocks: 0,
            collected: Vec::new(),
            next: Extensions::default(),
            long_name: None,
            long_link: None,
            entry: None,
            stretch: 0,
            within: 0,
            at: 0,
            entries: 0,
            max_entries,
        }
    }

    /// Takes the next bytes of the stream.
    pub(crate) fn push(&mut self, mut bytes: &[u8], visitor: &mut impl Visitor) -> Result<()> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::End => return Ok(()),
                State::Skip(left) => {
                    let n = take(*left, bytes);
                    *left -= n as u64;
                    bytes = &bytes[n..];
                    if *left == 0 {
                        self.state = State::Header;
                    }
                }
                State::Data { left, padding } => {
                    let n = take(*left, bytes);
                    *left -= n as u64;
                    let done = (*left == 0).then_some(*padding);
                    let (now, rest) = bytes.split_at(n);
                    self.data(now, visitor)?;
                    bytes = rest;
                    if let Some(padding) = done {
                        self.finish_entry(padding, visitor)?;
                    }
                }
                State::Extended { kind, left, padding } => {
                    let n = take(*left, bytes);
                    *left -= n as u64;
                    self.collected.extend_from_slice(&bytes[..n]);
                    bytes = &bytes[n..];
                    if *left == 0 {
                        let (kind, padding) = (*kind, *padding);
                        self.state = if padding > 0 { State::Skip(padding) } else { State::Header };
                        self.extend(kind)?;
                    }
                }
                State::Header | State::SparseBlocks { .. } | State::SparseLead { .. } => {
                    let n = bytes.len().min(BLOCK - self.filled);
                    self.block[self.filled..self.filled + n].copy_from_slice(&bytes[..n]);
                    self.filled += n;
                    bytes = &bytes[n..];
                    if self.filled == BLOCK {
                        self.filled = 0;
                        self.block(visitor)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The stream has ended: an error if it did so within an entry.
    pub(crate) fn finish(&self) -> Result<()> {
        match self.state {
            State::End => Ok(()),
            // A missing end mark is common, and so are missing zeros after the last file (umoci); a half header is not.
            State::Header if self.filled == 0 && !self.extended() => Ok(()),
            State::Skip(_) if !self.extended() => Ok(()),
            _ => Err(Error::corrupt(match &self.entry {
                Some(entry) => format!("the tar stream ends within entry {:?}", super::super::fs::show(&entry.path)),
                None => "the tar stream ends within a header".to_owned(),
            })),
        }
    }

    /// Whether an extended header waits for its entry.
    fn extended(&self) -> bool {
        self.long_name.is_some() || self.long_link.is_some() || self.next.path.is_some()
    }

    fn block(&mut self, visitor: &mut impl Visitor) -> Result<()> {
        let block = self.block;
        match self.state {
            State::SparseBlocks { stored } => {
                let map = self.entry.as_mut().and_then(|e| e.sparse.as_mut());
                let more = sparse::from_block(&block, map.unwrap_or(&mut Vec::new()))?;
                if more { Ok(()) } else { self.begin(stored, visitor) }
            }
            State::SparseLead { stored } => {
                let stored = stored
                    .checked_sub(BLOCK as u64)
                    .ok_or_else(|| Error::corrupt("a sparse file's map is longer than what is stored of the file"))?;
                self.collected.extend_from_slice(&block);
                if self.collected.len() > MAX_SPARSE * 42 {
                    return Err(Error::corrupt("a sparse file's map is too long"));
                }
                match sparse::from_data(&self.collected)? {
                    None => {
                        self.state = State::SparseLead { stored };
                        Ok(())
                    }
                    Some(map) => {
                        self.collected.clear();
                        if let Some(entry) = &mut self.entry {
                            entry.sparse = Some(map);
                        }
                        self.begin(stored, visitor)
                    }
                }
            }
            _ => self.header(&block, visitor),
        }
    }

    fn header(&mut self, block: &[u8; BLOCK], visitor: &mut impl Visitor) -> Result<()> {
        if block.iter().all(|b| *b == 0) {
            self.zero_blocks += 1;
            if self.zero_blocks == 2 {
                self.state = State::End;
            }
            return Ok(());
        }
        self.zero_blocks = 0;
        let header = Header::new(block)?;
        let size = header.unsigned(header::SIZE, "size")?;
        match header.kind() {
            kind @ (b'x' | b'L' | b'K' | b'g') => {
                if size > MAX_EXTENDED {
                    return Err(Error::corrupt(format!(
                        "an extended header has {size} bytes, more than {MAX_EXTENDED}"
                    )));
                }
                self.collected.clear();
                if size > 0 {
                    self.state = State::Extended { kind, left: size, padding: padding(size) };
                }
                Ok(())
            }
            // A GNU volume label names no file.
            b'V' => {
                self.state = skip(size);
                Ok(())
            }
            _ => self.entry(&header, size, visitor),
        }
    }

    fn extend(&mut self, kind: u8) -> Result<()> {
        let bytes = std::mem::take(&mut self.collected);
        let until_nul = || bytes.split(|b| *b == 0).next().unwrap_or(&[]);
        match kind {
            b'x' => self.next.parse(&bytes)?,
            b'L' => self.long_name = Some(pax::name(until_nul(), "long name")?),
            b'K' => self.long_link = Some(pax::name(until_nul(), "long link name")?),
            // Global headers carry comments (git's commit id); containerd and docker pass over them too.
            _ => {}
        }
        self.collected = bytes;
        self.collected.clear();
        Ok(())
    }

    fn entry(&mut self, header: &Header<'_>, size: u64, visitor: &mut impl Visitor) -> Result<()> {
        self.entries += 1;
        if self.entries > self.max_entries {
            return Err(Error::exhausted(format!("the tar stream has more than {} entries", self.max_entries)));
        }
        let extensions = std::mem::take(&mut self.next);
        let (long_name, long_link) = (self.long_name.take(), self.long_link.take());
        let path = extensions.path.or(long_name).unwrap_or_else(|| header.name());
        let kind = match header.kind() {
            // Before ustar a directory was a file whose name ends in a slash.
            b'0' | 0 | b'7' | b'S' if path.ends_with(b"/") => Kind::Directory,
            b'0' | 0 | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::Char,
            b'4' => Kind::Block,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => {
                return Err(Error::unsupported(format!(
                    "tar entry {:?} is of type {:?}, which is no kind of file",
                    super::super::fs::show(&path),
                    char::from(other)
                )));
            }
        };
        let (major, minor) = if matches!(kind, Kind::Char | Kind::Block) { header.device()? } else { (0, 0) };
        let stored = extensions.size.unwrap_or(size);
        let mut entry = Entry {
            kind,
            path,
            link: extensions.link.or(long_link).unwrap_or_else(|| header.link().to_vec()),
            mode: (header.unsigned(header::MODE, "mode")? & 0o7777) as u32,
            uid: field(extensions.uid, header, header::UID, "uid")?,
            gid: field(extensions.gid, header, header::GID, "gid")?,
            size: stored,
            mtime: match extensions.mtime {
                Some(time) => time,
                None => (header.mtime()?, 0),
            },
            atime: extensions.atime,
            major,
            minor,
            xattrs: extensions.xattrs,
            sparse: None,
        };
        // Only files have data. Old programs also wrote the size of what a hard link names.
        let stored = if kind == Kind::File { stored } else { 0 };
        if kind != Kind::File {
            entry.size = 0;
        }
        let sparse = extensions.sparse;
        if kind == Kind::File && header.kind() == b'S' {
            entry.size = header.unsigned(sparse::REAL_SIZE, "real size")?;
            let mut map = Vec::new();
            let more = sparse::from_header(header.raw(), &mut map)?;
            entry.sparse = Some(map);
            self.entry = Some(entry);
            if more {
                self.state = State::SparseBlocks { stored };
                return Ok(());
            }
            return self.begin(stored, visitor);
        }
        if kind == Kind::File && (sparse.major.is_some() || sparse.has_map) {
            if let Some(name) = sparse.name {
                entry.path = name;
            }
            entry.size = sparse.size.unwrap_or(entry.size);
            if sparse.major == Some(1) {
                self.entry = Some(entry);
                self.collected.clear();
                self.state = State::SparseLead { stored };
                return Ok(());
            }
            if !sparse.map.len().is_multiple_of(2) {
                return Err(Error::corrupt("a sparse file's map ends with half a stretch"));
            }
            entry.sparse = Some(sparse.map.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect());
        }
        self.entry = Some(entry);
        self.begin(stored, visitor)
    }

    /// The entry is known in full; `stored` bytes of data follow.
    fn begin(&mut self, stored: u64, visitor: &mut impl Visitor) -> Result<()> {
        if let Some(entry) = &self.entry {
            if let Some(map) = &entry.sparse {
                sparse::check(map, entry.size, stored)
                    .map_err(|e| e.prefixed(format!("tar entry {:?}", super::super::fs::show(&entry.path))))?;
            }
            visitor.entry(entry)?;
        }
        (self.stretch, self.within, self.at) = (0, 0, 0);
        if stored == 0 {
            return self.finish_entry(0, visitor);
        }
        self.state = State::Data { left: stored, padding: padding(stored) };
        Ok(())
    }

    fn data(&mut self, mut bytes: &[u8], visitor: &mut impl Visitor) -> Result<()> {
        let Some(map) = self.entry.as_ref().and_then(|e| e.sparse.as_ref()) else {
            visitor.data(self.at, bytes)?;
            self.at += bytes.len() as u64;
            return Ok(());
        };
        while !bytes.is_empty() {
            let Some(&(offset, length)) = map.get(self.stretch) else {
                return Err(Error::corrupt("a sparse file holds more than its map says"));
            };
            let n = take(length - self.within, bytes);
            if n > 0 {
                visitor.data(offset + self.within, &bytes[..n])?;
            }
            self.within += n as u64;
            bytes = &bytes[n..];
            if self.within == length {
                self.stretch += 1;
                self.within = 0;
            }
        }
        Ok(())
    }

    fn finish_entry(&mut self, padding: u64, visitor: &mut impl Visitor) -> Result<()> {
        self.state = if padding > 0 { State::Skip(padding) } else { State::Header };
        self.entry = None;
        visitor.end()
    }
}

fn field(from_pax: Option<u64>, header: &Header<'_>, range: std::ops::Range<usize>, what: &str) -> Result<u64> {
    match from_pax {
        Some(value) => Ok(value),
        None => header.unsigned(range, what),
    }
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

fn skip(size: u64) -> State {
    match size.saturating_add(padding(size)) {
        0 => State::Header,
        n => State::Skip(n),
    }
}

fn take(left: u64, bytes: &[u8]) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len())
}

#[cfg(test)]
mod tests;
