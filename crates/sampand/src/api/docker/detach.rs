//! Detach keys: the sequence that a terminal's user types to leave a container without ending it.

use oci::{Error, Result};

/// Docker's default: `ctrl-p,ctrl-q`.
const DEFAULT: [u8; 2] = [0x10, 0x11];

/// Watches input for the sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detector {
    keys: Vec<u8>,
    matched: usize,
}

/// What a piece of input amounts to.
#[derive(Debug, PartialEq, Eq)]
pub struct Scanned {
    /// What goes on to the container.
    pub pass: Vec<u8>,
    /// The sequence was completed; what follows it is dropped.
    pub detached: bool,
}

impl Detector {
    /// A detector for keys in Docker's notation: single characters or `ctrl-<char>`, separated by commas; the default
    /// where empty.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the key.
    pub fn new(keys: &str) -> Result<Self> {
        if keys.is_empty() {
            return Ok(Self { keys: DEFAULT.into(), matched: 0 });
        }
        let key = |word: &str| -> Option<u8> {
            match (word.strip_prefix("ctrl-").map(str::as_bytes), word.as_bytes()) {
                (Some([letter @ b'a'..=b'z']), _) => Some(letter - b'a' + 1),
                (Some(b"@"), _) => Some(0),
                (Some([sign @ b'['..=b'_']), _) => Some(sign - b'[' + 27),
                (None, [single]) => Some(*single),
                _ => None,
            }
        };
        let keys = keys
            .split(',')
            .map(|word| key(word).ok_or_else(|| Error::invalid(format!("invalid detach keys: unknown key {word:?}"))))
            .collect::<Result<_>>()?;
        Ok(Self { keys, matched: 0 })
    }

    /// Takes a piece of input. The beginning of a sequence is held back until it is known to be none.
    pub fn scan(&mut self, input: &[u8]) -> Scanned {
        let mut pass = Vec::with_capacity(input.len());
        for byte in input {
            if *byte == self.keys[self.matched] {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    self.matched = 0;
                    return Scanned { pass, detached: true };
                }
                continue;
            }
            pass.extend_from_slice(&self.keys[..self.matched]);
            self.matched = usize::from(*byte == self.keys[0]);
            if self.matched == 0 {
                pass.push(*byte);
            } else if self.keys.len() == 1 {
                return Scanned { pass, detached: true };
            }
        }
        Scanned { pass, detached: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(detector: &mut Detector, input: &[u8]) -> (Vec<u8>, bool) {
        let scanned = detector.scan(input);
        (scanned.pass, scanned.detached)
    }

    #[test]
    fn the_sequence_detaches_across_pieces_and_anything_else_passes() {
        let mut d = Detector::new("").unwrap();
        assert_eq!(run(&mut d, b"abc"), (b"abc".to_vec(), false));
        assert_eq!(run(&mut d, b"x\x10"), (b"x".to_vec(), false));
        assert_eq!(run(&mut d, b"y"), (b"\x10y".to_vec(), false));
        assert_eq!(run(&mut d, b"\x10\x10"), (b"\x10".to_vec(), false));
        assert_eq!(run(&mut d, b"\x11z"), (Vec::new(), true));
    }

    #[test]
    fn keys_in_docker_s_notation() {
        assert_eq!(Detector::new("ctrl-p,ctrl-q").unwrap(), Detector::new("").unwrap());
        assert_eq!(run(&mut Detector::new("a").unwrap(), b"xa"), (b"x".to_vec(), true));
        assert_eq!(Detector::new("ctrl-@,ctrl-[,ctrl-_").unwrap().keys, [0, 27, 31]);
        for keys in ["ctrl-", "ctrl-A1", "ab", "a,,b", "ctrl-P"] {
            assert!(Detector::new(keys).is_err(), "{keys}");
        }
    }
}
