//! PAX extended headers: `length key=value\n`, over and over (POSIX.1-2001, pax).

use super::{MAX_NAME, MAX_SPARSE};
use oci::{Error, Result};

/// What the extended headers before an entry said.
#[derive(Debug, Default)]
pub(super) struct Extensions {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) atime: Option<(i64, u32)>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: PaxSparse,
}

/// The three versions of GNU tar's sparse files in PAX.
#[derive(Debug, Default)]
pub(super) struct PaxSparse {
    pub(super) major: Option<u64>,
    pub(super) minor: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
    /// `GNU.sparse.size` or `.realsize`: the file's length.
    pub(super) size: Option<u64>,
    /// Versions 0.0 and 0.1: offset, length, offset, length.
    pub(super) map: Vec<u64>,
    pub(super) has_map: bool,
}

impl Extensions {
    /// Reads the records of one extended header.
    pub(super) fn parse(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() && bytes[0] != 0 {
            let (key, value, rest) = record(bytes).ok_or_else(|| bad("a record is malformed"))?;
            self.set(key, value)?;
            bytes = rest;
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
            if name.is_empty() || name.len() > 255 || name.contains(&0) || value.len() > 64 << 10 {
                return Err(bad("an extended attribute's name or value is not one that Linux could hold"));
            }
            self.xattrs.retain(|(known, _)| known != name);
            self.xattrs.push((name.to_vec(), value.to_vec()));
            return Ok(());
        }
        let empty = value.is_empty();
        match key {
            // An empty value takes an earlier one back.
            b"path" => self.path = if empty { None } else { Some(name(value, "path")?) },
            b"linkpath" => self.link = if empty { None } else { Some(name(value, "linkpath")?) },
            b"size" => self.size = if empty { None } else { Some(decimal(value, "size")?) },
            b"uid" => self.uid = if empty { None } else { Some(decimal(value, "uid")?) },
            b"gid" => self.gid = if empty { None } else { Some(decimal(value, "gid")?) },
            b"mtime" => self.mtime = if empty { None } else { Some(time(value)?) },
            b"atime" => self.atime = if empty { None } else { Some(time(value)?) },
            b"GNU.sparse.major" => self.sparse.major = Some(decimal(value, "GNU.sparse.major")?),
            b"GNU.sparse.minor" => self.sparse.minor = Some(decimal(value, "GNU.sparse.minor")?),
            b"GNU.sparse.name" => self.sparse.name = Some(name(value, "GNU.sparse.name")?),
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => {
                self.sparse.size = Some(decimal(value, "GNU.sparse.size")?);
            }
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                // Version 0.0: the two come in turn.
                let is_offset = key.ends_with(b"offset");
                if is_offset != self.sparse.map.len().is_multiple_of(2) {
                    return Err(bad("the sparse map's offsets and lengths don't alternate"));
                }
                self.sparse.has_map = true;
                self.push_sparse(decimal(value, "sparse map")?)?;
            }
            b"GNU.sparse.map" => {
                self.sparse.has_map = true;
                self.sparse.map.clear();
                for number in value.split(|b| *b == b',').filter(|part| !part.is_empty()) {
                    self.push_sparse(decimal(number, "sparse map")?)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn push_sparse(&mut self, number: u64) -> Result<()> {
        if self.sparse.map.len() >= 2 * MAX_SPARSE {
            return Err(bad("a sparse file has too many stretches"));
        }
        self.sparse.map.push(number);
        Ok(())
    }
}

/// The first record: key, value, and what follows.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(21).position(|b| *b == b' ')?;
    let length = usize::try_from(digits(&bytes[..space])?).ok()?;
    if length <= space + 1 || length > bytes.len() || bytes[length - 1] != b'\n' {
        return None;
    }
    let text = &bytes[space + 1..length - 1];
    let equals = text.iter().position(|b| *b == b'=')?;
    (equals > 0).then(|| (&text[..equals], &text[equals + 1..], &bytes[length..]))
}

fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |n, b| match b {
        b'0'..=b'9' => n.checked_mul(10)?.checked_add(u64::from(b - b'0')),
        _ => None,
    })
}

pub(super) fn decimal(text: &[u8], what: &str) -> Result<u64> {
    digits(text).ok_or_else(|| bad(&format!("{what} is not a number that can be used")))
}

/// A name with a bound, and without NUL.
pub(super) fn name(value: &[u8], what: &str) -> Result<Vec<u8>> {
    if value.len() > MAX_NAME {
        return Err(bad(&format!("{what} has {} bytes, more than the kernel's {MAX_NAME}", value.len())));
    }
    if value.contains(&0) {
        return Err(bad(&format!("{what} contains NUL")));
    }
    Ok(value.to_vec())
}

/// Seconds with an optional fraction, perhaps negative.
fn time(text: &[u8]) -> Result<(i64, u32)> {
    let parse = || {
        let (negative, text) = match text.split_first()? {
            (b'-', rest) => (true, rest),
            _ => (false, text),
        };
        let mut parts = text.splitn(2, |b| *b == b'.');
        let seconds = i64::try_from(digits(parts.next()?)?).ok()?;
        let fraction = parts.next().unwrap_or(&[]);
        let mut nanos = 0u32;
        for at in 0..9 {
            nanos = nanos * 10
                + match fraction.get(at) {
                    None => 0,
                    Some(b @ b'0'..=b'9') => u32::from(b - b'0'),
                    Some(_) => return None,
                };
        }
        match (negative, nanos) {
            (false, _) => Some((seconds, nanos)),
            (true, 0) => Some((-seconds, 0)),
            (true, _) => Some((-seconds - 1, 1_000_000_000 - nanos)),
        }
    };
    parse().ok_or_else(|| bad("a time is not a number that can be used"))
}

fn bad(why: &str) -> Error {
    Error::corrupt(format!("extended header: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> Result<Extensions> {
        let mut found = Extensions::default();
        found.parse(text).map(|()| found)
    }

    #[test]
    fn records_and_their_values() {
        let found = parse(b"11 path=ab\n17 mtime=-1.5000\n13 uid=70000\n28 SCHILY.xattr.user.a=x=\ny\n").unwrap();
        assert_eq!(found.path.unwrap(), b"ab");
        assert_eq!(found.mtime, Some((-2, 500_000_000)));
        assert_eq!(found.uid, Some(70_000));
        assert_eq!(found.xattrs, [(b"user.a".to_vec(), b"x=\ny".to_vec())]);
    }

    #[test]
    fn malformed_records_are_errors() {
        let cases: [&[u8]; 7] =
            [b"11 path=ab", b"99 path=ab\n", b"0 \n", b"x path=a\n", b"11 uid=-12\n", b"7 =abc\n", b"10 path=\0\n"];
        for text in cases {
            assert!(parse(text).is_err(), "{}", String::from_utf8_lossy(text));
        }
        assert!(parse(format!("99999999999999999999999 path={}\n", "a").as_bytes()).is_err());
    }
}
