//! tar streams, without I/O.
//!
//! [`Parser`] takes a stream in pieces of any size and calls a [`Visitor`]; it knows ustar, PAX,
//! GNU (long names, sparse, base-256), star's prefix and the old V7 form. [`write`] makes headers.

mod header;
mod parser;
mod pax;
mod sparse;
pub(crate) mod write;

pub(crate) use parser::{Parser, Visitor};

/// The unit of a tar stream, in bytes.
pub(crate) const BLOCK: usize = 512;

/// The longest name or link target, in bytes: the kernel takes no longer path.
pub(crate) const MAX_NAME: usize = 4095;

/// The longest extended header, in bytes (as Go's reader has it).
pub(crate) const MAX_EXTENDED: u64 = 1 << 20;

/// The most stretches of a sparse file.
pub(crate) const MAX_SPARSE: usize = 1 << 20;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    Char,
    Block,
    Directory,
    Fifo,
}

/// One entry, after all extensions are applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    /// As written: not normalized, not checked.
    pub(crate) path: Vec<u8>,
    /// Target of a hard or symbolic link.
    pub(crate) link: Vec<u8>,
    /// Permission bits with setuid, setgid and sticky.
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    /// The file's length, holes counted.
    pub(crate) size: u64,
    /// Seconds and nanoseconds since the epoch.
    pub(crate) mtime: (i64, u32),
    pub(crate) atime: Option<(i64, u32)>,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    /// Names and values, in order.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The data lies in these stretches (offset, length); everything else is a hole.
    pub(crate) sparse: Option<Vec<(u64, u64)>>,
}
