//! The 512 bytes of one header, field by field.

use super::BLOCK;
use oci::{Error, Result};
use std::ops::Range;

pub(super) const NAME: Range<usize> = 0..100;
pub(super) const MODE: Range<usize> = 100..108;
pub(super) const UID: Range<usize> = 108..116;
pub(super) const GID: Range<usize> = 116..124;
pub(super) const SIZE: Range<usize> = 124..136;
pub(super) const MTIME: Range<usize> = 136..148;
pub(super) const CHECKSUM: Range<usize> = 148..156;
pub(super) const TYPE: usize = 156;
pub(super) const LINK: Range<usize> = 157..257;
pub(super) const MAGIC: Range<usize> = 257..265;
pub(super) const MAJOR: Range<usize> = 329..337;
pub(super) const MINOR: Range<usize> = 337..345;
pub(super) const PREFIX: Range<usize> = 345..500;
/// star's shorter prefix; its times follow.
const STAR_PREFIX: Range<usize> = 345..476;
const STAR_TRAILER: Range<usize> = 508..512;

/// A header whose checksum is right.
pub(super) struct Header<'a>(&'a [u8; BLOCK]);

impl<'a> Header<'a> {
    pub(super) fn new(block: &'a [u8; BLOCK]) -> Result<Self> {
        let stored = number(&block[CHECKSUM]).ok();
        let (mut unsigned, mut signed) = (0i64, 0i64);
        for (at, byte) in block.iter().enumerate() {
            let byte = if CHECKSUM.contains(&at) { b' ' } else { *byte };
            unsigned += i64::from(byte);
            // Some old programs summed signed characters.
            signed += i64::from(byte as i8);
        }
        if stored.is_some_and(|sum| sum == unsigned || sum == signed) {
            Ok(Self(block))
        } else {
            Err(Error::corrupt("a header's checksum is wrong: this is no tar stream, or it is damaged"))
        }
    }

    pub(super) fn kind(&self) -> u8 {
        self.0[TYPE]
    }

    /// The name with its prefix, where the format has one.
    pub(super) fn name(&self) -> Vec<u8> {
        let name = text(&self.0[NAME]);
        let prefix = if self.0[MAGIC.start..MAGIC.start + 6] != *b"ustar\0" {
            &[]
        } else if self.0[STAR_TRAILER] == *b"tar\0" {
            text(&self.0[STAR_PREFIX])
        } else {
            text(&self.0[PREFIX])
        };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    pub(super) fn link(&self) -> &[u8] {
        text(&self.0[LINK])
    }

    /// A numeric field that can't be negative.
    pub(super) fn unsigned(&self, field: Range<usize>, what: &str) -> Result<u64> {
        number(&self.0[field])
            .ok()
            .and_then(|n| u64::try_from(n).ok())
            .ok_or_else(|| Error::corrupt(format!("a header's {what} is not a number that can be used")))
    }

    pub(super) fn mtime(&self) -> Result<i64> {
        number(&self.0[MTIME]).map_err(|()| Error::corrupt("a header's time is not a number"))
    }

    /// Device numbers, which programs leave in any state where there is no device.
    pub(super) fn device(&self) -> Result<(u32, u32)> {
        let half = |field| {
            u32::try_from(self.unsigned(field, "device number")?)
                .map_err(|_| Error::corrupt("a header's device number is too large"))
        };
        Ok((half(MAJOR)?, half(MINOR)?))
    }

    pub(super) fn raw(&self) -> &[u8; BLOCK] {
        self.0
    }
}

/// A field up to its first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|b| *b == 0).next().unwrap_or(&[])
}

/// A number in octal, or in base 256 where the first bit is set.
pub(super) fn number(field: &[u8]) -> Result<i64, ()> {
    let first = *field.first().ok_or(())?;
    if first & 0x80 != 0 {
        // Two's complement, big-endian; the flag bit stands where the sign repeats.
        let negative = first & 0x40 != 0;
        let mut value: i128 = if negative { -1 } else { 0 };
        for (at, byte) in field.iter().enumerate() {
            let byte = match (at, negative) {
                (0, true) => *byte,
                (0, false) => byte & 0x7f,
                _ => *byte,
            };
            value = value.checked_mul(256).ok_or(())?;
            value |= i128::from(byte);
        }
        return i64::try_from(value).map_err(|_| ());
    }
    let end = field.iter().rposition(|b| !matches!(b, b' ' | 0)).map_or(0, |at| at + 1);
    let start = field.iter().position(|b| !matches!(b, b' ' | 0)).unwrap_or(0).min(end);
    let digits = field[start..end].split(|b| matches!(b, 0 | b' ')).next().unwrap_or(&[]);
    let mut value: i64 = 0;
    for digit in digits {
        if !matches!(digit, b'0'..=b'7') {
            return Err(());
        }
        value = value.checked_mul(8).and_then(|v| v.checked_add(i64::from(digit - b'0'))).ok_or(())?;
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_every_form() {
        assert_eq!(number(b"0000755\0"), Ok(0o755));
        assert_eq!(number(b"   755 \0"), Ok(0o755));
        assert_eq!(number(b"77777777777\0"), Ok(0o77_777_777_777));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Ok(0));
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 1, 0]), Ok(256));
        assert_eq!(number(&[0xff; 12]), Ok(-1));
        assert_eq!(number(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]), Ok(-256));
        assert_eq!(number(b"0000009\0"), Err(()));
        assert_eq!(number(b"-1\0"), Err(()));
        assert_eq!(number(&[0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), Err(()));
    }
}
