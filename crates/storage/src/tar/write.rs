//! Headers for a tar stream: ustar where the entry fits, with a PAX header before it where not.

use super::header::{CHECKSUM, GID, LINK, MAGIC, MAJOR, MINOR, MODE, MTIME, NAME, PREFIX, SIZE, TYPE, UID};
use super::{BLOCK, Entry, Kind};
use std::ops::Range;

/// The end mark of a stream: two zero blocks.
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// The largest number in eleven octal digits.
const MAX_OCTAL_11: u64 = 0o77_777_777_777;
/// The largest number in seven octal digits.
const MAX_OCTAL_7: u64 = 0o7_777_777;

/// The bytes before the entry's data. Holes are not written: `entry.sparse` is not looked at.
pub(crate) fn header(entry: &Entry) -> Vec<u8> {
    let size = if entry.kind == Kind::File { entry.size } else { 0 };
    let mut pax = Vec::new();
    let split = split_name(&entry.path);
    if split.is_none() {
        record(&mut pax, b"path", &entry.path);
    }
    if entry.link.len() > LINK.len() || !entry.link.is_ascii() {
        record(&mut pax, b"linkpath", &entry.link);
    }
    for (key, value, max) in
        [("size", size, MAX_OCTAL_11), ("uid", entry.uid, MAX_OCTAL_7), ("gid", entry.gid, MAX_OCTAL_7)]
    {
        if value > max {
            record(&mut pax, key.as_bytes(), value.to_string().as_bytes());
        }
    }
    let seconds = u64::try_from(entry.mtime.0).ok().filter(|s| *s <= MAX_OCTAL_11);
    if seconds.is_none() || entry.mtime.1 != 0 {
        record(&mut pax, b"mtime", time(entry.mtime).as_bytes());
    }
    for (name, value) in &entry.xattrs {
        record(&mut pax, &[b"SCHILY.xattr.", name.as_slice()].concat(), value);
    }
    let mut out = Vec::with_capacity(if pax.is_empty() { BLOCK } else { 3 * BLOCK + pax.len() });
    if !pax.is_empty() {
        let mut block = [0; BLOCK];
        put(&mut block, NAME, b"PaxHeaders/entry");
        octal(&mut block, MODE, 0o644);
        octal(&mut block, UID, 0);
        octal(&mut block, GID, 0);
        octal(&mut block, SIZE, pax.len() as u64);
        octal(&mut block, MTIME, 0);
        block[TYPE] = b'x';
        seal(&mut block);
        out.extend_from_slice(&block);
        out.extend_from_slice(&pax);
        out.resize(out.len().next_multiple_of(BLOCK), 0);
    }
    let mut block = [0; BLOCK];
    let (prefix, name) = split.unwrap_or((&[], &entry.path[..entry.path.len().min(NAME.len())]));
    put(&mut block, NAME, name);
    put(&mut block, PREFIX, prefix);
    octal(&mut block, MODE, u64::from(entry.mode & 0o7777));
    octal(&mut block, UID, entry.uid.min(MAX_OCTAL_7));
    octal(&mut block, GID, entry.gid.min(MAX_OCTAL_7));
    octal(&mut block, SIZE, size.min(MAX_OCTAL_11));
    octal(&mut block, MTIME, seconds.unwrap_or(0));
    block[TYPE] = match entry.kind {
        Kind::File => b'0',
        Kind::HardLink => b'1',
        Kind::Symlink => b'2',
        Kind::Char => b'3',
        Kind::Block => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    };
    put(&mut block, LINK, &entry.link[..entry.link.len().min(LINK.len())]);
    octal(&mut block, MAJOR, u64::from(entry.major).min(MAX_OCTAL_7));
    octal(&mut block, MINOR, u64::from(entry.minor).min(MAX_OCTAL_7));
    seal(&mut block);
    out.extend_from_slice(&block);
    out
}

/// Zero bytes after `size` bytes of data.
pub(crate) fn padding(size: u64) -> usize {
    (size.wrapping_neg() % BLOCK as u64) as usize
}

/// Prefix and name as ustar's two fields; `None` if the path does not fit or is not ASCII.
fn split_name(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if !path.is_ascii() {
        return None;
    }
    if path.len() <= NAME.len() {
        return Some((&[], path));
    }
    // The name's part must not be empty, so a trailing slash is no place to split.
    let slashes = path.iter().enumerate().filter(|(at, b)| **b == b'/' && *at + 1 < path.len());
    let at = slashes.map(|(at, _)| at).find(|at| path.len() - at - 1 <= NAME.len())?;
    (at > 0 && at <= PREFIX.len()).then(|| (&path[..at], &path[at + 1..]))
}

fn record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    // The length counts its own digits.
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(format!("{length} ").as_bytes());
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn time((seconds, nanos): (i64, u32)) -> String {
    let (sign, seconds, nanos) = match (seconds < 0, nanos) {
        (true, 1..) => ("-", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanos),
        (true, 0) => ("-", seconds.unsigned_abs(), 0),
        (false, _) => ("", seconds.unsigned_abs(), nanos),
    };
    if nanos == 0 {
        return format!("{sign}{seconds}");
    }
    format!("{sign}{seconds}.{}", format!("{nanos:09}").trim_end_matches('0'))
}

fn put(block: &mut [u8; BLOCK], field: Range<usize>, bytes: &[u8]) {
    block[field.start..field.start + bytes.len()].copy_from_slice(bytes);
}

fn octal(block: &mut [u8; BLOCK], field: Range<usize>, value: u64) {
    let digits = field.len() - 1;
    let text = format!("{value:0digits$o}");
    put(block, field, text.as_bytes());
}

fn seal(block: &mut [u8; BLOCK]) {
    put(block, MAGIC, b"ustar\x0000");
    block[CHECKSUM].fill(b' ');
    let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
    let text = format!("{sum:06o}\0 ");
    put(block, CHECKSUM, text.as_bytes());
}
