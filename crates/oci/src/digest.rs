//! Content digests (image-spec, descriptor.md, "Digests").

use crate::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A validated content digest, `algorithm:encoded`. Only `sha256` and `sha512` are accepted:
/// they are the registered algorithms.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(Box<str>);

impl Digest {
    /// The digest `sha256:<hex>` of an already computed hash.
    pub fn from_sha256(hash: &[u8; 32]) -> Self {
        use fmt::Write;
        let mut text = String::with_capacity(71);
        text.push_str("sha256:");
        for byte in hash {
            let _ = write!(text, "{byte:02x}");
        }
        Self(text.into())
    }

    /// The whole text, `algorithm:encoded`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `sha256` or `sha512`.
    pub fn algorithm(&self) -> &str {
        self.split().0
    }

    /// The lowercase hexadecimal part.
    pub fn hex(&self) -> &str {
        self.split().1
    }

    /// The first twelve hexadecimal digits, as people write ids.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }

    fn split(&self) -> (&str, &str) {
        self.0.split_once(':').unwrap_or((&self.0, ""))
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = |why: &str| Error::invalid(format!("invalid digest {text:?}: {why}"));
        let (algorithm, hex) =
            text.split_once(':').ok_or_else(|| bad("expected algorithm:hex, as in sha256:<64 hex digits>"))?;
        let length = match algorithm {
            "sha256" => 64,
            "sha512" => 128,
            _ => return Err(bad("unsupported algorithm; sha256 and sha512 are supported")),
        };
        if hex.len() != length || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(bad(&format!("expected {length} lowercase hexadecimal digits")));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_takes_apart() {
        let text = format!("sha256:{}", "0af1".repeat(16));
        let digest: Digest = text.parse().unwrap();
        assert_eq!(digest.algorithm(), "sha256");
        assert_eq!(digest.short(), "0af10af10af1");
        assert_eq!(digest.to_string(), text);
    }

    #[test]
    fn refuses_what_could_name_a_path_or_another_digest() {
        for bad in ["", "sha256", "sha256:", "sha256:../x", "md5:00", &format!("sha256:{}", "0AF1".repeat(16))] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}
