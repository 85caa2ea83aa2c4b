//! Image references in the form people type them, with Docker's short names.
//!
//! ```text
//! [domain[:port]/]path[:tag][@algorithm:hex]
//! busybox          = docker.io/library/busybox:latest
//! localhost:5000/a = localhost:5000/a:latest
//! ```

use crate::{Digest, Error, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// A normalized image reference: domain, repository path, and a tag, a digest, or both.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageRef {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

const DOCKER_HUB: &str = "docker.io";
/// The longest repository name (distribution's `reference`).
const NAME_LIMIT: usize = 255;

impl ImageRef {
    /// The registry's domain, with its port if one was given; `docker.io` where none was.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository's path in the registry, as in `library/busybox`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag. `None` only where there is a digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if the reference is pinned.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// `domain/path`, without tag and digest.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// `domain/path` as people write it: without `docker.io/` and `library/`.
    pub fn familiar_repository(&self) -> String {
        match self.path.strip_prefix("library/") {
            _ if self.domain != DOCKER_HUB => self.repository(),
            Some(rest) if !rest.contains('/') => rest.into(),
            _ => self.path.clone(),
        }
    }

    /// The reference as people write it, as in `busybox:latest`.
    pub fn familiar(&self) -> String {
        self.suffixed(self.familiar_repository())
    }

    /// The same repository with `tag` and no digest.
    ///
    /// # Errors
    /// [`InvalidArgument`](crate::Kind::InvalidArgument) if `tag` is not a valid tag.
    pub fn with_tag(&self, tag: &str) -> Result<Self> {
        if !is_tag(tag) {
            return Err(Error::invalid(format!("invalid tag {tag:?}: invalid reference format")));
        }
        Ok(Self { tag: Some(tag.into()), digest: None, ..self.clone() })
    }

    /// The same repository pinned to `digest`, without a tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }

    fn suffixed(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest.as_str());
        }
        text
    }
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = tag.as_bytes();
    (1..=128).contains(&bytes.len()) && word(bytes[0]) && bytes.iter().all(|&b| word(b) || b == b'.' || b == b'-')
}

/// One path component: lowercase runs joined by `.`, `_`, `__` or any number of `-`.
fn is_component(part: &str) -> bool {
    let alnum = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    if !bytes.first().is_some_and(alnum) || !bytes.last().is_some_and(alnum) {
        return false;
    }
    part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|run| matches!(run, "" | "." | "_" | "__") || run.bytes().all(|b| b == b'-'))
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((v6, after)) => {
                let ok = !v6.is_empty() && v6.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
                return ok && (after.is_empty() || after.strip_prefix(':').is_some_and(is_port));
            }
            None => return false,
        },
        None => domain.split_once(':').map_or((domain, None), |(h, p)| (h, Some(p))),
    };
    let label = |l: &str| {
        let b = l.as_bytes();
        !b.is_empty()
            && b[0] != b'-'
            && b[b.len() - 1] != b'-'
            && b.iter().all(|c| c.is_ascii_alphanumeric() || *c == b'-')
    };
    host.split('.').all(label) && port.is_none_or(is_port)
}

fn is_port(port: &str) -> bool {
    !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
}

impl FromStr for ImageRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || Error::invalid(format!("invalid reference format: {text:?}"));
        if text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()) {
            return Err(Error::invalid(format!(
                "invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
            )));
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse::<Digest>().map_err(|_| bad())?)),
            None => (text, None),
        };
        // A colon after the last slash starts the tag; one before it belongs to the port.
        let (name, tag) = match name.rsplit_once(':') {
            Some((before, tag)) if !tag.contains('/') => (before, Some(tag)),
            _ => (name, None),
        };
        let is_host = |s: &str| s.contains(['.', ':']) || s == "localhost" || s.bytes().any(|b| b.is_ascii_uppercase());
        let (domain, path) = match name.split_once('/') {
            Some((first, rest)) if is_host(first) => (first, rest.to_owned()),
            _ => (DOCKER_HUB, name.to_owned()),
        };
        let domain = if domain == "index.docker.io" { DOCKER_HUB } else { domain };
        let path = if domain == DOCKER_HUB && !path.contains('/') { format!("library/{path}") } else { path };
        if path.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(Error::invalid(format!(
                "invalid reference format: repository name ({path}) must be lowercase"
            )));
        }
        if !is_domain(domain) || !path.split('/').all(is_component) || tag.is_some_and(|t| !is_tag(t)) {
            return Err(bad());
        }
        if domain.len() + 1 + path.len() > NAME_LIMIT {
            return Err(Error::invalid(format!(
                "repository name must not be more than {NAME_LIMIT} characters: {name}"
            )));
        }
        let tag = match (tag, &digest) {
            (None, None) => Some("latest".to_owned()),
            (tag, _) => tag.map(Into::into),
        };
        Ok(Self { domain: domain.into(), path, tag, digest })
    }
}

impl fmt::Display for ImageRef {
    /// The full form, as in `docker.io/library/busybox:latest`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.suffixed(self.repository()))
    }
}

impl fmt::Debug for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ImageRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ImageRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalizes_short_names() {
        for (given, full, familiar) in [
            ("busybox", "docker.io/library/busybox:latest", "busybox:latest"),
            ("a/b:1", "docker.io/a/b:1", "a/b:1"),
            ("index.docker.io/x", "docker.io/library/x:latest", "x:latest"),
            ("localhost:5000/a", "localhost:5000/a:latest", "localhost:5000/a:latest"),
            ("[::1]:5000/a/b__c:x", "[::1]:5000/a/b__c:x", "[::1]:5000/a/b__c:x"),
            ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
        ] {
            let image: ImageRef = given.parse().unwrap();
            assert_eq!(image.to_string(), full);
            assert_eq!(image.familiar(), familiar);
            assert_eq!(full.parse::<ImageRef>().unwrap(), image);
        }
        let pinned = format!("a@sha256:{}", "ab".repeat(32));
        assert_eq!(pinned.parse::<ImageRef>().unwrap().tag(), None);
    }

    #[test]
    fn refuses_bad_names() {
        let hex = "ab".repeat(32);
        for bad in ["", ":a", "a:", "A", "a//b", "../a", "a/../b", "a___b", "-a", "a@sha256:1", "a:b c", &hex] {
            assert!(bad.parse::<ImageRef>().is_err(), "{bad}");
        }
    }
}
