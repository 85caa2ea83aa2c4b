//! Lists of processors and memory nodes, as the kernel writes them: `0-3,7`.

use oci::{Error, Result};

/// The highest number that is taken; the mask is as long as its highest number asks for.
const MAX: u32 = 65_536;

/// The numbers of a list as bits, the lowest first. `None` for an empty text, which means "not set".
pub(crate) fn parse(text: &str) -> Result<Option<Vec<u64>>> {
    if text.is_empty() {
        return Ok(None);
    }
    let mut mask = Vec::new();
    // Empty ranges and spaces around ranges are runc's leniency.
    for range in text.split(',').map(str::trim).filter(|r| !r.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |n: &str| match n.parse::<u32>() {
            Ok(n) if n <= MAX => Ok(n),
            _ => Err(Error::invalid(format!("{n:?} is not a number between 0 and {MAX}"))),
        };
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(Error::invalid(format!("bad range {range}: it ends before it begins")));
        }
        for n in first..=last {
            let word = n as usize / 64;
            if mask.len() <= word {
                mask.resize(word + 1, 0);
            }
            mask[word] |= 1 << (n % 64);
        }
    }
    if mask.is_empty() {
        return Err(Error::invalid(format!("no numbers in {text:?}")));
    }
    Ok(Some(mask))
}

/// A mask as one hexadecimal number.
pub(crate) fn hex(mask: &[u64]) -> String {
    let mut words = mask.iter().rev().skip_while(|w| **w == 0);
    let first = words.next().copied().unwrap_or(0);
    words.fold(format!("{first:#x}"), |text, word| format!("{text}{word:016x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read() {
        assert_eq!(parse("").expect("none"), None);
        for (text, mask) in [
            ("0", vec![1]),
            ("0-1", vec![3]),
            (",0,1,", vec![3]),
            ("1, 2, 1-2", vec![6]),
            ("0-3,64", vec![15, 1]),
            ("127", vec![0, 1 << 63]),
        ] {
            assert_eq!(parse(text).expect(text), Some(mask), "{text}");
        }
        assert_eq!(parse("65536").expect("highest").expect("set").len(), 1025);
        for bad in ["-", "1-", "-3", ",", " ", "54-53", "1 - 2", "65537", "0-9876543210", "x"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn masks_read_as_numbers() {
        assert_eq!(hex(&[3]), "0x3");
        assert_eq!(hex(&[1, 2, 0]), "0x20000000000000001");
    }
}
