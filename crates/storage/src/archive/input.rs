//! From a tar stream to files in a root.

use super::resolve::not_there;
use crate::Result;
use crate::compress::Decompressor;
use crate::fs::open_in_root;
use crate::layer::MAX_ENTRIES;
use crate::tar::Parser;
use crate::unpack::{Rules, Unpacker, clean};
use oci::{Context, Error};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::io::Read;
use std::os::fd::AsFd;

/// How [`tar_in`] unpacks.
#[derive(Debug, Clone, Copy, Default)]
pub struct TarIn {
    /// Whether it is an error that a directory would take the place of something else, or something
    /// else of a directory (`noOverwriteDirNonDir`).
    pub keep_kinds: bool,
    /// Owner of everything, in place of the stream's.
    pub owner: Option<(u32, u32)>,
}

/// Unpacks a stream, which may be gzip or zstd, into the directory `path` of `root`. Links on the
/// way are followed inside the root; a name with `..` that leaves `path` is an error.
/// [`oci::Kind::NotFound`] if there is no `path`, [`oci::Kind::InvalidArgument`] if it is no directory.
/// An error in the middle leaves what was unpacked before, as docker does.
pub fn tar_in(root: impl AsFd, path: &str, options: TarIn, mut stream: impl Read) -> Result<()> {
    let base = clean(path.as_bytes())?;
    match open_in_root(&root, &base, OFlags::PATH | OFlags::DIRECTORY) {
        Ok(_) => {}
        Err(Errno::NOTDIR) => return Err(Error::invalid(format!("extraction point {path:?} is not a directory"))),
        Err(e) => return Err(not_there(e, path.as_bytes())),
    }
    let rules = Rules { whiteouts: false, fresh: false, replace_kinds: !options.keep_kinds, owner: options.owner };
    let root = root.as_fd().try_clone_to_owned()?;
    let mut unpacker = Unpacker::new(root, rules).into_directory(base);
    let mut parser = Parser::new(MAX_ENTRIES);
    let mut decompressor = Decompressor::new(None);
    let mut buffer = vec![0; 128 << 10];
    loop {
        let n = stream.read(&mut buffer).context(|| "read the archive")?;
        if n == 0 {
            break;
        }
        decompressor.push(&buffer[..n], &mut |part| parser.push(part, &mut unpacker))?;
    }
    decompressor.finish(&mut |part| parser.push(part, &mut unpacker))?;
    parser.finish()?;
    unpacker.finish().map(drop)
}
