//! Which image a person means, by Docker's rules: a whole id, then a name, then the beginning of an id.

use super::records::{Name, NameRecord};
use oci::{Digest, Error, ImageRef, Result};

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The image's id.
    pub(super) id: Digest,
    /// The record's name, where it was found by name.
    pub(super) name: Option<String>,
}

/// Docker's answer for what isn't there.
pub(super) fn no_such_image(given: &str) -> Error {
    let shown = given.parse::<ImageRef>().map_or_else(|_| given.to_owned(), |name| name.familiar());
    Error::not_found(format!("No such image: {shown}"))
}

/// Finds `given` among `names`.
pub(super) fn find(names: &[(String, NameRecord)], given: &str) -> Result<Found> {
    let is_hex = |text: &str| !text.is_empty() && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let by_id = |id: &Digest| names.iter().any(|(_, record)| record.config.digest == *id);
    let whole = if given.len() == 64 && is_hex(given) { format!("sha256:{given}") } else { given.to_owned() };
    if let Ok(id) = whole.parse::<Digest>() {
        if by_id(&id) {
            return Ok(Found { id, name: None });
        }
        // A target's digest stands for its image too, as `RepoDigests` and `docker images --digests` show it.
        if let Some((_, record)) = names.iter().find(|(_, r)| r.target.digest == id || r.manifest.digest == id) {
            return Ok(Found { id: record.config.digest.clone(), name: None });
        }
        return Err(no_such_image(given));
    }
    if let Ok(name) = given.parse::<ImageRef>()
        && let Some(found) = find_name(names, &name)
    {
        return Ok(found);
    }
    let short = given.strip_prefix("sha256:").unwrap_or(given);
    if !is_hex(short) {
        // What is no name at all is the caller's mistake, and says so.
        return match given.parse::<ImageRef>() {
            Err(error) if !given.starts_with("sha256:") => Err(error),
            _ => Err(no_such_image(given)),
        };
    }
    let mut ids: Vec<&Digest> =
        names.iter().map(|(_, record)| &record.config.digest).filter(|id| id.hex().starts_with(short)).collect();
    ids.sort();
    ids.dedup();
    match ids[..] {
        [] => Err(no_such_image(given)),
        [id] => Ok(Found { id: id.clone(), name: None }),
        _ => Err(Error::invalid(format!(
            "No such image: {given}: the beginning of an id is ambiguous; write more of it"
        ))),
    }
}

fn find_name(names: &[(String, NameRecord)], wanted: &ImageRef) -> Option<Found> {
    let exact = match wanted.digest() {
        // With a digest the tag is only decoration.
        Some(digest) => wanted.with_digest(digest.clone()).to_string(),
        None => wanted.to_string(),
    };
    if let Some((name, record)) = names.iter().find(|(name, _)| *name == exact) {
        return Some(Found { id: record.config.digest.clone(), name: Some(name.clone()) });
    }
    // A tag of the same repository whose target has the digest will do as well.
    let digest = wanted.digest()?;
    let (name, record) = names.iter().find(|(name, record)| {
        let same = match Name::parse(name) {
            Some(Name::Tag(n) | Name::Digest(n)) => n.repository() == wanted.repository(),
            _ => false,
        };
        same && (record.target.digest == *digest || record.manifest.digest == *digest)
    })?;
    Some(Found { id: record.config.digest.clone(), name: Some(name.clone()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::image::Descriptor;
    use oci::{Kind, Timestamp};

    fn digest(two: &str) -> Digest {
        format!("sha256:{}", two.repeat(32)).parse().unwrap()
    }

    fn record(id: &str, target: &str) -> NameRecord {
        NameRecord {
            target: Descriptor::new("i", digest(target), 1),
            manifest: Descriptor::new("m", digest("0e"), 1),
            config: Descriptor::new("c", digest(id), 1),
            chain: None,
            layer_sizes: vec![],
            tagged: Timestamp::ZERO,
            labels: Default::default(),
        }
    }

    #[test]
    fn finds_by_dockers_rules() {
        let names = vec![
            ("docker.io/library/cafe:latest".to_owned(), record("ab", "01")),
            ("r:5000/a:1".to_owned(), record("ca", "02")),
            (format!("r:5000/a@{}", digest("02")), record("ca", "02")),
            (digest("cb").to_string(), record("cb", "03")),
        ];
        let id = |given: &str| find(&names, given).map(|f| f.id);
        let long = "ab".repeat(32);
        for (given, expected) in [
            (long.as_str(), "ab"),
            ("sha256:abab", "ab"),
            ("abab", "ab"),
            ("cafe", "ab"),
            ("docker.io/library/cafe:latest", "ab"),
            ("r:5000/a:1", "ca"),
            ("caca", "ca"),
            ("cb", "cb"),
        ] {
            assert_eq!(id(given).unwrap(), digest(expected), "{given}");
        }
        assert_eq!(id(&format!("r:5000/a@{}", digest("02"))).unwrap(), digest("ca"));
        assert_eq!(id(&format!("r:5000/a:x@{}", digest("02"))).unwrap(), digest("ca"));
        assert_eq!(id(&format!("cafe@{}", digest("01"))).unwrap(), digest("ab"));
        assert_eq!(id("c").unwrap_err().kind(), Kind::InvalidArgument);
        for absent in ["cafe:1", "r:5000/b", "ff", &digest("ff").to_string(), "sha256:zz"] {
            assert_eq!(id(absent).unwrap_err().kind(), Kind::NotFound, "{absent}");
        }
        assert_eq!(id("nope").unwrap_err().to_string(), "No such image: nope:latest");
        assert_eq!(id("A B").unwrap_err().kind(), Kind::InvalidArgument);
    }
}
