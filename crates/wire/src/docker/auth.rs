//! Credentials for registries: the `X-Registry-Auth` header (URL-safe base64 of [`AuthConfig`]) and `POST /auth`.

use super::is_default;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Credentials for one registry. `Debug` doesn't show the secrets.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "lowercase")]
pub struct AuthConfig {
    #[serde(skip_serializing_if = "is_default", deserialize_with = "super::nullable")]
    pub username: String,
    #[serde(skip_serializing_if = "is_default", deserialize_with = "super::nullable")]
    pub password: String,
    /// base64 of `username:password`.
    #[serde(skip_serializing_if = "is_default", deserialize_with = "super::nullable")]
    pub auth: String,
    #[serde(skip_serializing_if = "is_default", deserialize_with = "super::nullable")]
    pub email: String,
    #[serde(rename = "serveraddress", skip_serializing_if = "is_default", deserialize_with = "super::nullable")]
    pub server_address: String,
    /// An OAuth2 refresh token.
    #[serde(rename = "identitytoken", skip_serializing_if = "is_default", deserialize_with = "super::nullable")]
    pub identity_token: String,
    /// A bearer token to send as it is.
    #[serde(rename = "registrytoken", skip_serializing_if = "is_default", deserialize_with = "super::nullable")]
    pub registry_token: String,
}

impl fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthConfig")
            .field("username", &self.username)
            .field("server_address", &self.server_address)
            .finish_non_exhaustive()
    }
}

model! {
    /// The answer to `POST /auth`.
    pub struct AuthResponse {
        status: String,
        #[serde(skip_serializing_if = "is_default")]
        identity_token: String,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_keeps_the_secret() {
        let auth: AuthConfig =
            serde_json::from_str(r#"{"username":"u","password":"hunter2","identitytoken":"tok","auth":null}"#).unwrap();
        let text = format!("{auth:?}");
        assert!(text.contains('u') && !text.contains("hunter2") && !text.contains("tok"), "{text}");
    }
}
