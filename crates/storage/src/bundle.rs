//! Archives of images (docker-archive, OCI archive): a tar of plain files, compressed or not, read
//! by pushing and written by pieces. Layers are not read with this: they have a root to stay in.

use crate::Result;
use crate::compress::Decompressor;
use crate::tar::{self, Entry, Kind, Parser, Visitor, write};
use oci::Error;

/// What is done with an archive's files, in order: `file`, `data` any number of times, `end`; or `link`.
pub trait Files {
    /// A file of `size` bytes begins. The path is as written, neither normalized nor checked.
    fn file(&mut self, path: &str, size: u64) -> Result<()>;
    /// The file's next bytes.
    fn data(&mut self, bytes: &[u8]) -> Result<()>;
    /// The file is complete.
    fn end(&mut self) -> Result<()>;
    /// A symbolic or hard link.
    fn link(&mut self, path: &str, target: &str, symbolic: bool) -> Result<()>;
}

/// Reads an archive.
pub struct Reader {
    decoder: Decompressor,
    parser: Parser,
    seen: Seen,
}

#[derive(Default)]
struct Seen {
    in_file: bool,
    offset: u64,
    any: bool,
}

impl Reader {
    /// A reader that refuses more than `max_entries` entries. The compression is told by the first bytes.
    pub fn new(max_entries: u64) -> Self {
        Self { decoder: Decompressor::new(None), parser: Parser::new(max_entries), seen: Seen::default() }
    }

    /// Takes the next bytes of the archive.
    ///
    /// # Errors
    /// `Corrupt` for what is no tar, and whatever `files` says.
    pub fn push(&mut self, bytes: &[u8], files: &mut dyn Files) -> Result<()> {
        let (parser, seen) = (&mut self.parser, &mut self.seen);
        self.decoder.push(bytes, &mut |plain| parser.push(plain, &mut Pass { seen, files }))
    }

    /// The archive has ended.
    ///
    /// # Errors
    /// `Corrupt` if it did so too early, or held nothing.
    pub fn finish(mut self, files: &mut dyn Files) -> Result<()> {
        let (parser, seen) = (&mut self.parser, &mut self.seen);
        self.decoder.finish(&mut |plain| parser.push(plain, &mut Pass { seen, files }))?;
        self.parser.finish()?;
        if self.seen.any { Ok(()) } else { Err(Error::corrupt("the archive is empty")) }
    }
}

struct Pass<'a> {
    seen: &'a mut Seen,
    files: &'a mut dyn Files,
}

impl Visitor for Pass<'_> {
    fn entry(&mut self, entry: &Entry) -> Result<()> {
        self.seen.any = true;
        let text = |bytes: &[u8]| {
            std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| {
                Error::corrupt(format!("the archive has a name that is no UTF-8: {:?}", bytes.escape_ascii()))
            })
        };
        self.seen.in_file = false;
        match entry.kind {
            Kind::File if entry.sparse.is_some() => {
                Err(Error::unsupported("sparse files in an image archive are not supported"))
            }
            Kind::File => {
                (self.seen.in_file, self.seen.offset) = (true, 0);
                self.files.file(&text(&entry.path)?, entry.size)
            }
            Kind::Symlink | Kind::HardLink => {
                self.files.link(&text(&entry.path)?, &text(&entry.link)?, entry.kind == Kind::Symlink)
            }
            Kind::Directory => Ok(()),
            _ => Err(Error::corrupt("the archive holds something else than files, links and directories")),
        }
    }

    fn data(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        if !self.seen.in_file || offset != self.seen.offset {
            return Err(Error::corrupt("the archive's data is out of order"));
        }
        self.seen.offset += bytes.len() as u64;
        self.files.data(bytes)
    }

    fn end(&mut self) -> Result<()> {
        if std::mem::take(&mut self.seen.in_file) { self.files.end() } else { Ok(()) }
    }
}

/// Undoes the compression of a stream, whichever it is.
pub struct Inflater(Decompressor);

impl Default for Inflater {
    fn default() -> Self {
        Self(Decompressor::new(None))
    }
}

impl Inflater {
    /// Takes the next bytes, and passes on what they make.
    ///
    /// # Errors
    /// `Corrupt` for a damaged stream, and whatever `sink` says.
    pub fn push(&mut self, bytes: &[u8], sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.0.push(bytes, sink)
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// `Corrupt` if it did so too early.
    pub fn finish(mut self, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.0.finish(sink)
    }
}

/// The header of a file of root's, made at the epoch; `size` bytes and [`padding`] follow it.
pub fn file_header(path: &str, mode: u32, size: u64) -> Vec<u8> {
    write::header(&entry(Kind::File, path, mode, size))
}

/// The header of a directory of root's, made at the epoch.
pub fn directory_header(path: &str, mode: u32) -> Vec<u8> {
    write::header(&entry(Kind::Directory, path, mode, 0))
}

fn entry(kind: Kind, path: &str, mode: u32, size: u64) -> Entry {
    Entry {
        kind,
        path: path.into(),
        link: Vec::new(),
        mode,
        uid: 0,
        gid: 0,
        size,
        mtime: (0, 0),
        atime: None,
        major: 0,
        minor: 0,
        xattrs: Vec::new(),
        sparse: None,
    }
}

/// The zeros after `size` bytes of data.
pub fn padding(size: u64) -> &'static [u8] {
    &write::END[..write::padding(size)]
}

/// The end mark of an archive.
pub const END: &[u8] = &write::END;

/// The unit of a tar stream, in bytes.
pub const BLOCK: usize = tar::BLOCK;

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Kept(Vec<(String, Vec<u8>)>);

    impl Files for Kept {
        fn file(&mut self, path: &str, _: u64) -> Result<()> {
            self.0.push((path.into(), Vec::new()));
            Ok(())
        }
        fn data(&mut self, bytes: &[u8]) -> Result<()> {
            self.0.last_mut().unwrap().1.extend_from_slice(bytes);
            Ok(())
        }
        fn end(&mut self) -> Result<()> {
            Ok(())
        }
        fn link(&mut self, path: &str, target: &str, _: bool) -> Result<()> {
            self.0.push((path.into(), target.into()));
            Ok(())
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let long = format!("{}/{}", "a".repeat(120), "b".repeat(120));
        let mut stream = directory_header("blobs/", 0o755);
        for (path, bytes) in [("empty", vec![]), (long.as_str(), vec![7; 700])] {
            stream.extend(file_header(path, 0o644, bytes.len() as u64));
            stream.extend(&bytes);
            stream.extend(padding(bytes.len() as u64));
        }
        stream.extend(END);
        assert_eq!(stream.len() % BLOCK, 0);
        for piece in [1, 511, 4096] {
            let (mut reader, mut kept) = (Reader::new(10), Kept::default());
            for part in stream.chunks(piece) {
                reader.push(part, &mut kept).unwrap();
            }
            reader.finish(&mut kept).unwrap();
            assert_eq!(kept.0, [("empty".to_owned(), vec![]), (long.clone(), vec![7; 700])]);
        }
        let (mut reader, mut kept) = (Reader::new(10), Kept::default());
        reader.push(&stream[..700], &mut kept).unwrap();
        assert!(reader.finish(&mut kept).is_err());
        assert!(Reader::new(10).finish(&mut Kept::default()).is_err());
    }
}
