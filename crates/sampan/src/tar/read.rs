//! Bytes into entries.

use super::{BLOCK, Entry, Kind};
use std::io::{Error, ErrorKind, Read, Result};

/// No extended header is longer than this.
const EXTENDED_LIMIT: u64 = 1 << 20;

/// Reads entries one after the other; what of an entry's data isn't read is skipped.
pub(crate) struct Reader<R> {
    inner: R,
    /// Data of the current entry that is still to come, and the padding after it.
    left: u64,
    padding: u64,
}

/// What extended headers say about the next entry.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<u32>,
    gid: Option<u32>,
    mtime: Option<i64>,
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("the archive is malformed: {what}"))
}

impl<R: Read> Reader<R> {
    /// Reads from `inner`.
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, left: 0, padding: 0 }
    }

    /// The current entry's data.
    pub(crate) fn data(&mut self) -> Data<'_, R> {
        Data(self)
    }

    /// The next entry; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>> {
        let mut extended = Extended::default();
        loop {
            self.skip()?;
            let Some(block) = self.block()? else { return Ok(None) };
            if block.iter().all(|b| *b == 0) {
                // Whatever stands behind the end is read, so that the sender can finish.
                std::io::copy(&mut self.inner, &mut std::io::sink())?;
                return Ok(None);
            }
            check_sum(&block)?;
            let size = number(&block[124..136])?;
            match block[156] {
                b'x' => {
                    let data = self.extended(size)?;
                    pax(&data, &mut extended)?;
                }
                // What a global header says is about the archive's maker.
                b'g' => drop(self.extended(size)?),
                b'L' => extended.path = Some(trim(&self.extended(size)?)),
                b'K' => extended.target = Some(trim(&self.extended(size)?)),
                kind => {
                    let entry = entry(&block, kind, size, extended)?;
                    self.expect(if entry.kind == Kind::File { entry.size } else { 0 });
                    return Ok(Some(entry));
                }
            }
        }
    }

    fn expect(&mut self, size: u64) {
        self.left = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
    }

    fn skip(&mut self) -> Result<()> {
        let rest = self.left + self.padding;
        let skipped = std::io::copy(&mut (&mut self.inner).take(rest), &mut std::io::sink())?;
        if skipped < rest {
            return Err(malformed("it ends within an entry"));
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.inner.read(&mut block[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(malformed("it ends within a header")),
                n => filled += n,
            }
        }
        Ok(Some(block))
    }

    fn extended(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > EXTENDED_LIMIT {
            return Err(malformed("an extended header is too long"));
        }
        self.expect(size);
        let mut data = Vec::new();
        self.data().read_to_end(&mut data)?;
        if data.len() as u64 != size {
            return Err(malformed("it ends within an extended header"));
        }
        Ok(data)
    }
}

/// The data of a reader's current entry.
pub(crate) struct Data<'a, R>(&'a mut Reader<R>);

impl<R: Read> Read for Data<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        let most = usize::try_from(self.0.left).unwrap_or(usize::MAX).min(buf.len());
        if most == 0 {
            return Ok(0);
        }
        let n = self.0.inner.read(&mut buf[..most])?;
        if n == 0 {
            return Err(malformed("it ends within a file"));
        }
        self.0.left -= n as u64;
        Ok(n)
    }
}

fn trim(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().take_while(|b| *b != 0).collect()
}

/// Octal digits, or GNU's big-endian number.
fn number(field: &[u8]) -> Result<u64> {
    if field[0] & 0x80 != 0 {
        let mut value = u64::from(field[0] & 0x7f);
        for byte in &field[1..] {
            value = value.checked_mul(256).ok_or_else(|| malformed("a number is too large"))? + u64::from(*byte);
        }
        return Ok(value);
    }
    let text = std::str::from_utf8(field).map_err(|_| malformed("a number has no digits"))?;
    match text.trim_matches(['\0', ' ']) {
        "" => Ok(0),
        digits => u64::from_str_radix(digits, 8).map_err(|_| malformed("a number has no digits")),
    }
}

fn check_sum(block: &[u8; BLOCK]) -> Result<()> {
    let sum: u64 =
        block.iter().enumerate().map(|(i, b)| u64::from(if (148..156).contains(&i) { b' ' } else { *b })).sum();
    if number(&block[148..156])? == sum { Ok(()) } else { Err(malformed("a header's checksum is wrong")) }
}

fn pax(data: &[u8], extended: &mut Extended) -> Result<()> {
    let mut rest = data;
    while !rest.is_empty() {
        let bad = || malformed("an extended header has a broken record");
        let space = rest.iter().position(|b| *b == b' ').ok_or_else(bad)?;
        let length: usize = std::str::from_utf8(&rest[..space]).ok().and_then(|t| t.parse().ok()).ok_or_else(bad)?;
        let record = rest.get(space + 1..length).ok_or_else(bad)?;
        let record = record.strip_suffix(b"\n").ok_or_else(bad)?;
        let equals = record.iter().position(|b| *b == b'=').ok_or_else(bad)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        let text = || std::str::from_utf8(value).map_err(|_| bad());
        match key {
            b"path" => extended.path = Some(value.to_vec()),
            b"linkpath" => extended.target = Some(value.to_vec()),
            b"size" => extended.size = Some(text()?.parse().map_err(|_| bad())?),
            b"uid" => extended.uid = Some(text()?.parse().map_err(|_| bad())?),
            b"gid" => extended.gid = Some(text()?.parse().map_err(|_| bad())?),
            b"mtime" => {
                let whole = text()?.split('.').next().unwrap_or_default();
                extended.mtime = Some(whole.parse().map_err(|_| bad())?);
            }
            _ => {}
        }
        rest = &rest[length..];
    }
    Ok(())
}

fn entry(block: &[u8; BLOCK], kind: u8, size: u64, extended: Extended) -> Result<Entry> {
    let short =
        |field: &[u8]| number(field).and_then(|n| u32::try_from(n).map_err(|_| malformed("a number is too large")));
    let mut path = trim(&block[..100]);
    if &block[257..263] == b"ustar\0" {
        let prefix = trim(&block[345..500]);
        if !prefix.is_empty() {
            path = [prefix.as_slice(), b"/", path.as_slice()].concat();
        }
    }
    let kind = match kind {
        0 | b'0' | b'7' if path.ends_with(b"/") => Kind::Directory,
        0 | b'0' | b'7' => Kind::File,
        b'1' => Kind::Link,
        b'2' => Kind::Symlink,
        b'3' => Kind::Character,
        b'4' => Kind::Block,
        b'5' => Kind::Directory,
        b'6' => Kind::Fifo,
        other => return Err(malformed(&format!("entries of type {:?} are not supported", other as char))),
    };
    Ok(Entry {
        path: extended.path.unwrap_or(path),
        kind,
        mode: short(&block[100..108])? & 0o7777,
        uid: extended.uid.map_or_else(|| short(&block[108..116]), Ok)?,
        gid: extended.gid.map_or_else(|| short(&block[116..124]), Ok)?,
        size: extended.size.unwrap_or(size),
        mtime: extended.mtime.map_or_else(|| number(&block[136..148]).map(|n| i64::try_from(n).unwrap_or(0)), Ok)?,
        target: extended.target.unwrap_or_else(|| trim(&block[157..257])),
        device: (short(&block[329..337])?, short(&block[337..345])?),
    })
}
