//! The two registered digest algorithms behind one type.

use oci::{Digest, Error, Result};
use sha2::Digest as _;

/// A running hash.
#[derive(Clone)]
pub(crate) enum Hasher {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
}

impl Hasher {
    /// The algorithm by which `digest` was made.
    pub(crate) fn like(digest: &Digest) -> Self {
        match digest.algorithm() {
            "sha512" => Self::Sha512(sha2::Sha512::new()),
            _ => Self::sha256(),
        }
    }

    pub(crate) fn sha256() -> Self {
        Self::Sha256(sha2::Sha256::new())
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "sha256",
            Self::Sha512(_) => "sha512",
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Result<Digest> {
        use std::fmt::Write;
        match self {
            Self::Sha256(hash) => Ok(Digest::from_sha256(&hash.finalize().into())),
            Self::Sha512(hash) => {
                let mut text = String::from("sha512:");
                for byte in hash.finalize() {
                    let _ = write!(text, "{byte:02x}");
                }
                text.parse().map_err(|e: Error| Error::internal("sha512").with_source(e))
            }
        }
    }
}

/// The sha256 digest of `bytes`.
pub fn digest_of(bytes: &[u8]) -> Digest {
    Digest::from_sha256(&sha2::Sha256::digest(bytes).into())
}

/// The chain id of a stack of layers, the lowest first (image-spec, config.md, "Layer ChainID");
/// `None` for no layer.
pub fn chain_id(diff_ids: &[Digest]) -> Option<Digest> {
    let (first, rest) = diff_ids.split_first()?;
    Some(rest.iter().fold(first.clone(), |chain, diff_id| digest_of(format!("{chain} {diff_id}").as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_algorithms_give_the_known_digests_of_nothing() {
        assert_eq!(digest_of(b"").as_str(), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        let long = Hasher::Sha512(sha2::Sha512::new()).finish().unwrap();
        assert!(long.as_str().starts_with("sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"));
    }

    #[test]
    fn chains_are_built_from_the_lowest() {
        let (a, b) = (digest_of(b"a"), digest_of(b"b"));
        assert_eq!(chain_id(&[]), None);
        assert_eq!(chain_id(std::slice::from_ref(&a)), Some(a.clone()));
        assert_eq!(chain_id(&[a.clone(), b.clone()]), Some(digest_of(format!("{a} {b}").as_bytes())));
    }
}
