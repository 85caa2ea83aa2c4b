//! The keys that detach from a container, `ctrl-p,ctrl-q` unless something else is asked for.

use crate::failure::{Failure, Result};

/// The bytes of a key sequence as people write it: letters, or `ctrl-` and a letter or one of `@[\]^_`, with commas.
pub(crate) fn parse_keys(text: &str) -> Result<Vec<u8>> {
    if text.is_empty() {
        return Ok(vec![16, 17]);
    }
    text.split(',')
        .map(|key| {
            let byte = match (key.as_bytes(), key.strip_prefix("ctrl-").map(str::as_bytes)) {
                ([byte], _) => Some(*byte),
                (_, Some([c @ (b'a'..=b'z')])) => Some(c - b'a' + 1),
                (_, Some([b'@'])) => Some(0),
                (_, Some([c @ (b'[' | b'\\' | b']' | b'^' | b'_')])) => Some(c - b'[' + 27),
                _ if key == "DEL" => Some(127),
                _ => None,
            };
            byte.ok_or_else(|| Failure::new(format!("invalid detach keys ({text}): Unknown character: '{key}'")))
        })
        .collect()
}

/// Looks for the sequence in what is typed, and holds back what may be its beginning.
pub(crate) struct Escape {
    keys: Vec<u8>,
    matched: usize,
}

impl Escape {
    /// Looks for `keys`.
    pub(crate) fn new(keys: Vec<u8>) -> Self {
        Self { keys, matched: 0 }
    }

    /// What of `typed` is for the container, and whether the sequence is complete.
    pub(crate) fn feed(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::with_capacity(typed.len());
        for byte in typed {
            if self.keys.get(self.matched) != Some(byte) && self.matched > 0 {
                out.extend_from_slice(&self.keys[..self.matched]);
                self.matched = 0;
            }
            if self.keys.get(self.matched) == Some(byte) {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return (out, true);
                }
            } else {
                out.push(*byte);
            }
        }
        (out, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences() {
        assert_eq!(parse_keys("").unwrap(), [16, 17]);
        assert_eq!(parse_keys("ctrl-a,x,ctrl-],ctrl-@,DEL").unwrap(), [1, b'x', 29, 0, 127]);
        assert!(parse_keys("ctrl-p,shift-q").unwrap_err().message.contains("'shift-q'"));
        assert!(parse_keys("a,,b").is_err());
    }

    #[test]
    fn a_beginning_that_goes_on_otherwise_is_passed_on() {
        let mut escape = Escape::new(vec![16, 17]);
        assert_eq!(escape.feed(b"ab"), (b"ab".to_vec(), false));
        assert_eq!(escape.feed(&[16]), (vec![], false));
        assert_eq!(escape.feed(b"x"), (vec![16, b'x'], false));
        assert_eq!(escape.feed(&[16, 16]), (vec![16], false));
        assert_eq!(escape.feed(&[b'y', 16, 17, b'z']), (vec![16, b'y'], true));
    }
}
