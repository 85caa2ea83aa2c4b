//! Docker's json-file format.
//!
//! ```text
//! {"log":"a line\n","stream":"stdout","attrs":{..},"time":"2026-01-02T03:04:05.678901234Z"}
//! ```
//!
//! A line longer than 16 KiB is written in pieces; all but the last have no line break in `log`. Rotation renames
//! `x` to `x.1`, `x.1` to `x.2`, and so on, and keeps `max-file` files.

use oci::{Context, Result, Timestamp};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The longest piece of a line in one entry.
pub const PIECE: usize = 16 * 1024;
/// The longest encoded entry that is read; a piece of control characters grows sixfold.
const ENTRY_LIMIT: usize = 1 << 20;

/// Where and how a log is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The newest file.
    pub path: PathBuf,
    /// Rotate at this many bytes.
    pub max_size: Option<u64>,
    /// Keep this many files; at least 1.
    pub max_file: u32,
    /// A JSON object that every entry carries.
    pub attrs: Option<String>,
}

/// Which stream an entry is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output, or a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// The stream's number in Docker's frames.
    pub fn number(self) -> u8 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// `<path>.<number>`; `path` itself for 0.
fn numbered(path: &Path, number: u32) -> PathBuf {
    if number == 0 {
        return path.to_path_buf();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

/// The writing end: bytes of both streams in, entries out. A write that fails (a full disk) loses its entries and is
/// counted; it never ends the log.
#[derive(Debug)]
pub struct Writer {
    options: Options,
    file: Option<File>,
    size: u64,
    partial: [Vec<u8>; 2],
    out: Vec<u8>,
    /// Entries that could not be written.
    pub lost: u64,
}

impl Writer {
    /// Opens (and makes) the newest file, to append. A last entry that a crash cut short is closed with a line break.
    ///
    /// # Errors
    /// If the file can't be opened.
    pub fn open(options: Options) -> Result<Self> {
        let mut writer =
            Self { options, file: None, size: 0, partial: [Vec::new(), Vec::new()], out: Vec::new(), lost: 0 };
        writer.reopen().context(|| format!("open log {}", writer.options.path.display()))?;
        Ok(writer)
    }

    fn reopen(&mut self) -> std::io::Result<()> {
        use std::os::unix::fs::OpenOptionsExt;
        let mut file = File::options().read(true).append(true).create(true).mode(0o640).open(&self.options.path)?;
        self.size = file.metadata()?.len();
        if self.size > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != [b'\n'] {
                file.write_all(b"\n")?;
                self.size += 1;
            }
        }
        self.file = Some(file);
        Ok(())
    }

    /// Takes what a stream wrote. Whole lines become entries; the rest waits for its end.
    pub fn write(&mut self, stream: Stream, mut bytes: &[u8]) {
        let time = Timestamp::now();
        let slot = usize::from(stream == Stream::Stderr);
        while !bytes.is_empty() {
            let room = PIECE - self.partial[slot].len();
            let window = &bytes[..bytes.len().min(room)];
            let (take, whole) = match window.iter().position(|b| *b == b'\n') {
                Some(at) => (at + 1, true),
                None => (window.len(), window.len() == room),
            };
            if self.partial[slot].is_empty() && whole {
                encode(&mut self.out, stream, &bytes[..take], self.options.attrs.as_deref(), time);
            } else {
                self.partial[slot].extend_from_slice(&bytes[..take]);
                if whole {
                    let line = std::mem::take(&mut self.partial[slot]);
                    encode(&mut self.out, stream, &line, self.options.attrs.as_deref(), time);
                }
            }
            bytes = &bytes[take..];
        }
        self.flush();
    }

    /// The stream has ended: what waits for its line's end is written as it is.
    pub fn finish(&mut self, stream: Stream) {
        let line = std::mem::take(&mut self.partial[usize::from(stream == Stream::Stderr)]);
        if !line.is_empty() {
            encode(&mut self.out, stream, &line, self.options.attrs.as_deref(), Timestamp::now());
            self.flush();
        }
    }

    fn flush(&mut self) {
        let mut rest = std::mem::take(&mut self.out);
        while !rest.is_empty() {
            // A file takes at least one entry, so that a tiny limit still makes progress.
            let room = match self.options.max_size {
                Some(max) => max.saturating_sub(self.size) as usize,
                None => usize::MAX,
            };
            let mut cut = 0;
            for (at, _) in rest.iter().enumerate().filter(|(_, b)| **b == b'\n') {
                if at + 1 > room && (cut > 0 || self.size > 0) {
                    break;
                }
                cut = at + 1;
            }
            if cut == 0 {
                self.rotate();
                continue;
            }
            self.append(&rest[..cut]);
            rest.drain(..cut);
        }
        rest.shrink_to(PIECE);
        self.out = rest;
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.file.is_none() && self.reopen().is_err() {
            self.lost += 1;
            return;
        }
        let Some(file) = &mut self.file else { return };
        let before = self.size;
        match file.write_all(bytes) {
            Ok(()) => self.size += bytes.len() as u64,
            Err(_) => {
                self.lost += 1;
                // A half-written entry would glue itself to the next one.
                let _ = file.set_len(before);
            }
        }
    }

    fn rotate(&mut self) {
        self.file = None;
        self.size = 0;
        if self.options.max_file <= 1 {
            // Nothing older is kept: readers that follow notice the new inode.
            let _ = std::fs::remove_file(&self.options.path);
        }
        for number in (0..self.options.max_file.saturating_sub(1)).rev() {
            let _ = std::fs::rename(numbered(&self.options.path, number), numbered(&self.options.path, number + 1));
        }
        let _ = self.reopen();
    }
}

fn encode(out: &mut Vec<u8>, stream: Stream, line: &[u8], attrs: Option<&str>, time: Timestamp) {
    out.extend_from_slice(b"{\"log\":");
    // Writing to a Vec cannot fail, and a string is always JSON.
    let _ = serde_json::to_writer(&mut *out, &String::from_utf8_lossy(line));
    let _ = write!(out, ",\"stream\":\"{}\"", stream.word());
    if let Some(attrs) = attrs {
        let _ = write!(out, ",\"attrs\":{attrs}");
    }
    let _ = writeln!(out, ",\"time\":\"{time}\"}}");
}

/// One entry of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When it was read from the container.
    pub time: Timestamp,
    /// Which stream it is from.
    pub stream: Stream,
    /// The text, with its line break unless it is a piece of a longer line.
    pub line: Vec<u8>,
    /// The object that every entry carries, as JSON; empty if none.
    pub attrs: String,
}

/// What to read.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadOptions {
    /// Only entries at or after this time.
    pub since: Option<Timestamp>,
    /// Only entries before or at this time.
    pub until: Option<Timestamp>,
    /// Only the last so many entries.
    pub tail: Option<usize>,
}

#[derive(serde::Deserialize)]
struct Raw<'a> {
    #[serde(borrow, default)]
    log: std::borrow::Cow<'a, str>,
    #[serde(borrow, default)]
    stream: std::borrow::Cow<'a, str>,
    #[serde(borrow, default)]
    attrs: Option<&'a serde_json::value::RawValue>,
    time: Timestamp,
}

/// The reading end, over all files that rotation has left, oldest first. It may be asked again after it said that
/// there is nothing more: that is how a log is followed.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    options: ReadOptions,
    file: Option<File>,
    ahead: VecDeque<u8>,
    queue: Vec<PathBuf>,
    skip: usize,
    ended: bool,
}

impl Reader {
    /// Opens the log whose newest file is `path`. A log that does not exist yet reads as empty.
    ///
    /// # Errors
    /// If a file can't be read.
    pub fn open(path: &Path, options: ReadOptions) -> Result<Self> {
        let mut files = vec![path.to_path_buf()];
        for number in 1..=1000 {
            let older = numbered(path, number);
            if !older.exists() {
                break;
            }
            files.push(older);
        }
        let mut skip = 0;
        if let Some(tail) = options.tail {
            let mut kept = 0;
            let mut needed = Vec::new();
            for file in files {
                let entries = count_lines(&file).context(|| format!("read log {}", file.display()))?;
                needed.push(file);
                kept += entries;
                if kept >= tail {
                    break;
                }
            }
            skip = kept.saturating_sub(tail);
            files = needed;
        }
        Ok(Self {
            path: path.to_path_buf(),
            options,
            file: None,
            ahead: VecDeque::new(),
            queue: files,
            skip,
            ended: false,
        })
    }

    /// The next entry, or `None` if there is none now. Damaged lines are passed over.
    ///
    /// # Errors
    /// If the log can't be read.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        while !self.ended {
            let Some(line) = self.next_line().context(|| format!("read log {}", self.path.display()))? else {
                return Ok(None);
            };
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            let Some(entry) = decode(&line) else { continue };
            if self.options.since.is_some_and(|since| entry.time < since) {
                continue;
            }
            if self.options.until.is_some_and(|until| entry.time > until) {
                self.ended = true;
                break;
            }
            return Ok(Some(entry));
        }
        Ok(None)
    }

    /// Whether a time limit was passed, so that nothing more can come.
    pub fn ended(&self) -> bool {
        self.ended
    }

    fn next_line(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.ahead.iter().position(|b| *b == b'\n') {
                return Ok(Some(self.ahead.drain(..=at).collect()));
            }
            if self.ahead.len() > ENTRY_LIMIT {
                self.ahead.clear();
            }
            if self.file.is_none() && !self.open_next()? {
                return Ok(None);
            }
            let Some(file) = &mut self.file else { return Ok(None) };
            let mut chunk = [0; 16 * 1024];
            let count = file.read(&mut chunk)?;
            if count > 0 {
                self.ahead.extend(&chunk[..count]);
            } else if !self.advance()? {
                return Ok(None);
            }
        }
    }

    fn open_next(&mut self) -> std::io::Result<bool> {
        let next = self.queue.pop().unwrap_or_else(|| self.path.clone());
        match File::open(next) {
            Ok(file) => {
                self.file = Some(file);
                Ok(true)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// At the end of a file: whether there is a newer one to go on with.
    fn advance(&mut self) -> std::io::Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        if !self.queue.is_empty() {
            self.file = None;
            return Ok(true);
        }
        let here = file.metadata()?;
        let same = |path: &Path| path.metadata().is_ok_and(|m| (m.dev(), m.ino()) == (here.dev(), here.ino()));
        if same(&self.path) || !self.path.exists() {
            return Ok(false);
        }
        // The file was rotated away under the reader: everything newer than it comes next.
        let mut newer = vec![self.path.clone()];
        for number in 1..=1000 {
            let candidate = numbered(&self.path, number);
            if same(&candidate) || !candidate.exists() {
                break;
            }
            newer.push(candidate);
        }
        // What was appended between the last read and the renaming is still to be read from the old handle.
        let mut rest = Vec::new();
        if let Some(file) = &mut self.file {
            file.read_to_end(&mut rest)?;
        }
        self.ahead.extend(rest);
        self.queue = newer;
        self.file = None;
        Ok(true)
    }
}

fn count_lines(path: &Path) -> std::io::Result<usize> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        file => file?,
    };
    let mut count = 0;
    let mut chunk = vec![0; 64 * 1024];
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(count),
            read => count += chunk[..read].iter().filter(|b| **b == b'\n').count(),
        }
    }
}

fn decode(line: &[u8]) -> Option<Entry> {
    let raw: Raw<'_> = serde_json::from_slice(line).ok()?;
    Some(Entry {
        time: raw.time,
        stream: if raw.stream == "stderr" { Stream::Stderr } else { Stream::Stdout },
        line: raw.log.into_owned().into_bytes(),
        attrs: raw.attrs.map(|a| a.get().to_owned()).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("sampan-test-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }

        fn options(&self, max_size: Option<u64>, max_file: u32) -> Options {
            Options { path: self.0.join("c-json.log"), max_size, max_file, attrs: None }
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn lines(reader: &mut Reader) -> Vec<String> {
        std::iter::from_fn(|| reader.next_entry().unwrap()).map(|e| String::from_utf8(e.line).unwrap()).collect()
    }

    #[test]
    fn lines_pieces_and_streams_are_kept_apart() {
        let dir = Dir::new("pieces");
        let options = dir.options(None, 1);
        let mut writer = Writer::open(options.clone()).unwrap();
        writer.write(Stream::Stdout, b"one\ntw");
        writer.write(Stream::Stderr, b"err\n");
        writer.write(Stream::Stdout, b"o\n\xff\n");
        writer.write(Stream::Stdout, &[b'x'; PIECE + 3]);
        writer.finish(Stream::Stdout);
        let mut reader = Reader::open(&options.path, ReadOptions::default()).unwrap();
        let read = lines(&mut reader);
        assert_eq!(read[..4], ["one\n", "err\n", "two\n", "\u{fffd}\n"]);
        assert_eq!((read[4].len(), read[5].as_str()), (PIECE, "xxx"));
        let tail = ReadOptions { tail: Some(2), ..ReadOptions::default() };
        assert_eq!(lines(&mut Reader::open(&options.path, tail).unwrap()).len(), 2);
    }

    #[test]
    fn a_follower_loses_nothing_to_rotation() {
        let dir = Dir::new("rotation");
        let options = dir.options(Some(500), 4);
        let mut writer = Writer::open(options.clone()).unwrap();
        let mut reader = Reader::open(&options.path, ReadOptions::default()).unwrap();
        let mut seen = Vec::new();
        for number in 0..200 {
            writer.write(Stream::Stdout, format!("line {number}\n").as_bytes());
            if number % 7 == 0 {
                seen.extend(lines(&mut reader));
            }
        }
        seen.extend(lines(&mut reader));
        let expected: Vec<String> = (0..200).map(|n| format!("line {n}\n")).collect();
        assert_eq!(seen, expected);
        assert!(numbered(&options.path, 3).exists() && !numbered(&options.path, 4).exists());
        assert!(options.path.metadata().unwrap().len() <= 500);
    }

    #[test]
    fn a_torn_last_entry_is_passed_over() {
        let dir = Dir::new("torn");
        let options = dir.options(None, 1);
        std::fs::write(&options.path, b"{\"log\":\"half").unwrap();
        let mut writer = Writer::open(options.clone()).unwrap();
        writer.write(Stream::Stdout, b"whole\n");
        assert_eq!(lines(&mut Reader::open(&options.path, ReadOptions::default()).unwrap()), ["whole\n"]);
    }
}
