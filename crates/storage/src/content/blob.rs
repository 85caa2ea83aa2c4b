//! An open blob.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

/// A stored blob open for reading. It stays readable when the blob is deleted meanwhile.
#[derive(Debug)]
pub struct Blob {
    file: File,
    size: u64,
}

impl Blob {
    pub(super) fn new(file: File, size: u64) -> Self {
        Self { file, size }
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The file itself, as for sendfile or an asynchronous reader.
    pub fn into_file(self) -> File {
        self.file
    }
}

impl Read for Blob {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.file.read(buf)
    }
}

impl Seek for Blob {
    fn seek(&mut self, pos: SeekFrom) -> io::Result<u64> {
        self.file.seek(pos)
    }
}
