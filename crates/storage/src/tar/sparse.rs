//! The maps of sparse files: GNU's old form in the header and in blocks after it, and version 1.0
//! of the PAX form, where the map leads the data.

use super::header::number;
use super::pax::decimal;
use super::{BLOCK, MAX_SPARSE};
use oci::{Error, Result};

/// Four stretches in a header of type `S`, from this byte on; each is two fields of twelve.
const IN_HEADER: usize = 386;
/// Whether a block with more stretches follows the header.
const HEADER_EXTENDED: usize = 482;
/// The file's real length.
pub(super) const REAL_SIZE: std::ops::Range<usize> = 483..495;
/// Stretches in a following block.
const IN_BLOCK: usize = 21;
/// Whether another block follows that one.
const BLOCK_EXTENDED: usize = 504;

/// A map being read.
pub(super) type Map = Vec<(u64, u64)>;

/// Reads the stretches of a header of type `S`; whether blocks with more follow.
pub(super) fn from_header(block: &[u8; BLOCK], map: &mut Map) -> Result<bool> {
    pairs(&block[IN_HEADER..], 4, map)?;
    Ok(block[HEADER_EXTENDED] != 0)
}

/// Reads the stretches of a block after such a header; whether another follows.
pub(super) fn from_block(block: &[u8; BLOCK], map: &mut Map) -> Result<bool> {
    pairs(block, IN_BLOCK, map)?;
    Ok(block[BLOCK_EXTENDED] != 0)
}

fn pairs(bytes: &[u8], count: usize, map: &mut Map) -> Result<()> {
    for pair in bytes.chunks_exact(24).take(count) {
        let field = |part: &[u8]| number(part).ok().and_then(|n| u64::try_from(n).ok());
        let (Some(offset), Some(length)) = (field(&pair[..12]), field(&pair[12..])) else {
            return Err(Error::corrupt("a sparse file's map is not made of numbers"));
        };
        if offset == 0 && length == 0 && pair[0] == 0 {
            return Ok(());
        }
        if map.len() >= MAX_SPARSE {
            return Err(Error::corrupt("a sparse file has too many stretches"));
        }
        map.push((offset, length));
    }
    Ok(())
}

/// Reads a version 1.0 map, decimal numbers on lines of their own, out of the blocks so far.
/// `None` if more blocks are needed.
pub(super) fn from_data(bytes: &[u8]) -> Result<Option<Map>> {
    let mut lines = bytes.split(|b| *b == b'\n');
    // The part after the last newline is incomplete.
    let complete = bytes.iter().filter(|b| **b == b'\n').count();
    let Some(count) = (complete > 0).then(|| lines.next()).flatten() else {
        return if bytes.len() > 64 { Err(Error::corrupt("a sparse file's map has no count")) } else { Ok(None) };
    };
    let count = decimal(count, "sparse map's count")?;
    if count > MAX_SPARSE as u64 {
        return Err(Error::corrupt("a sparse file has too many stretches"));
    }
    let count = count as usize;
    if complete < 1 + 2 * count {
        return Ok(None);
    }
    let mut map = Vec::with_capacity(count.min(4096));
    for _ in 0..count {
        let (Some(offset), Some(length)) = (lines.next(), lines.next()) else { return Ok(None) };
        map.push((decimal(offset, "sparse map")?, decimal(length, "sparse map")?));
    }
    Ok(Some(map))
}

/// Checks that a map's stretches are in order, lie in the file, and hold exactly `stored` bytes.
pub(super) fn check(map: &Map, size: u64, stored: u64) -> Result<()> {
    let (mut at, mut sum) = (0u64, 0u64);
    for &(offset, length) in map {
        let end = offset.checked_add(length).filter(|end| *end <= size && offset >= at);
        at = end.ok_or_else(|| Error::corrupt("a sparse file's map is out of order or leaves the file"))?;
        sum += length;
    }
    if sum != stored {
        return Err(Error::corrupt(format!("a sparse file's map covers {sum} bytes and {stored} are stored")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_in_data_wait_for_their_end() {
        assert_eq!(from_data(b"2\n0\n5\n10\n").unwrap(), None);
        assert_eq!(from_data(b"2\n0\n5\n10\n5\n\0\0").unwrap(), Some(vec![(0, 5), (10, 5)]));
        assert_eq!(from_data(b"0\n").unwrap(), Some(vec![]));
        assert!(from_data(b"x\n").is_err());
        assert!(from_data(b"99999999999\n").is_err());
        assert!(from_data(&[b'1'; 512]).is_err());
    }

    #[test]
    fn maps_are_checked_against_the_file() {
        assert!(check(&vec![(0, 5), (10, 5)], 20, 10).is_ok());
        for (map, size, stored) in [
            (vec![(0, 5), (3, 5)], 20, 10),
            (vec![(18, 5)], 20, 5),
            (vec![(0, 5)], 20, 6),
            (vec![(u64::MAX, 2)], 20, 2),
        ] {
            assert!(check(&map, size, stored).is_err(), "{map:?}");
        }
    }
}
