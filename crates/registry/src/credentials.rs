//! Who we are to a registry.

use base64::Engine as _;
use http::HeaderValue;
use sha2::{Digest as _, Sha256};
use std::fmt;

/// A text that must not be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself; for the wire only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Credentials for one registry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Credentials {
    /// None.
    #[default]
    Anonymous,
    /// A user's name and password.
    Basic {
        /// The name.
        user: String,
        /// The password or access token.
        secret: Secret,
    },
    /// An OAuth2 refresh token, as `docker login` may have got one.
    IdentityToken(Secret),
    /// A bearer token that is sent as it is.
    RegistryToken(Secret),
}

impl Credentials {
    /// A user's name and password.
    pub fn basic(user: impl Into<String>, secret: impl Into<String>) -> Self {
        Self::Basic { user: user.into(), secret: Secret::new(secret) }
    }

    /// Tells credentials apart in a cache without keeping them.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut add = |part: &str| {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        match self {
            Self::Anonymous => add("anonymous"),
            Self::Basic { user, secret } => {
                add("basic");
                add(user);
                add(secret.expose());
            }
            Self::IdentityToken(secret) => {
                add("identity");
                add(secret.expose());
            }
            Self::RegistryToken(secret) => {
                add("registry");
                add(secret.expose());
            }
        }
        hash.finalize().into()
    }
}

/// The value of an `Authorization` header, marked sensitive.
pub(crate) fn authorization(scheme: &str, value: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::try_from(format!("{scheme} {value}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// `Basic` authorization.
pub(crate) fn basic_header(user: &str, secret: &str) -> HeaderValue {
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{secret}"));
    // Base64 has no byte that a header cannot carry.
    authorization("Basic", &encoded).unwrap_or_else(|| HeaderValue::from_static("Basic"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_print() {
        let all = [
            Credentials::basic("joe", "hunter2"),
            Credentials::IdentityToken(Secret::new("hunter2")),
            Credentials::RegistryToken(Secret::new("hunter2")),
        ];
        for credentials in &all {
            assert!(!format!("{credentials:?}").contains("hunter2"));
        }
        assert!(!format!("{:?}", basic_header("joe", "hunter2")).contains("Basic a"));
        assert_ne!(all[1].fingerprint(), all[2].fingerprint());
    }
}
