//! API versions: which are served, and how a request names the one it speaks.

use oci::{Error, Result};
use std::fmt;

/// A version of the Engine API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion {
    major: u32,
    minor: u32,
}

/// The oldest version served.
pub const MIN: ApiVersion = ApiVersion::new(1, 24);
/// The newest version served, which a request without a version speaks.
pub const MAX: ApiVersion = ApiVersion::new(1, 51);

impl ApiVersion {
    /// Version `major.minor`.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// Whether this is version 1.`minor` or newer.
    pub fn since(self, minor: u32) -> bool {
        self >= Self::new(1, minor)
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Splits `/v1.41/info` into its version and `/info`. A path without a version speaks the newest.
///
/// # Errors
/// `InvalidArgument`, in dockerd's words, for a version that isn't served.
pub fn split(path: &str) -> Result<(ApiVersion, &str)> {
    let Some((version, rest)) = parse(path) else { return Ok((MAX, path)) };
    if version < MIN {
        return Err(Error::invalid(format!(
            "client version {version} is too old. Minimum supported API version is {MIN}, please upgrade your client \
             to a newer version"
        )));
    }
    if version > MAX {
        return Err(Error::invalid(format!(
            "client version {version} is too new. Maximum supported API version is {MAX}"
        )));
    }
    Ok((version, rest))
}

fn parse(path: &str) -> Option<(ApiVersion, &str)> {
    let (version, _) = path.strip_prefix("/v")?.split_once('/')?;
    let (major, minor) = version.split_once('.')?;
    let number = |text: &str| -> Option<u32> {
        (!text.is_empty() && text.len() <= 6 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
    };
    Some((ApiVersion::new(number(major)?, number(minor)?), &path[2 + version.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::Kind;

    #[test]
    fn versions_in_paths() {
        assert_eq!(split("/v1.41/info").unwrap(), (ApiVersion::new(1, 41), "/info"));
        assert_eq!(split("/v1.51/containers/json").unwrap(), (MAX, "/containers/json"));
        assert_eq!(split("/info").unwrap(), (MAX, "/info"));
        assert_eq!(split("/volumes/v1.2/x").unwrap(), (MAX, "/volumes/v1.2/x"));
        assert_eq!(split("/v1./info").unwrap().1, "/v1./info");
        assert_eq!(split("/v1.41").unwrap().1, "/v1.41");
    }

    #[test]
    fn versions_not_served_are_refused_in_dockerd_s_words() {
        for (path, words) in [
            ("/v1.10/info", "client version 1.10 is too old. Minimum supported API version is 1.24"),
            ("/v1.52/info", "client version 1.52 is too new. Maximum supported API version is 1.51"),
            ("/v9.99/info", "too new"),
            ("/v0.1/info", "too old"),
        ] {
            let error = split(path).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidArgument);
            assert!(error.message().contains(words), "{path}: {error}");
        }
    }
}
