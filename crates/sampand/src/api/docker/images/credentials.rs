//! Docker's credentials as the registry client's.

use crate::api::docker::call::decode_base64;
use engine::{Credentials, Secret};
use oci::{Error, Result};
use wire::docker::auth::AuthConfig;

/// What an `X-Registry-Auth` header or an `/auth` body holds.
///
/// # Errors
/// `InvalidArgument` for a malformed `auth` field, without its content.
pub fn from_docker(auth: AuthConfig) -> Result<Credentials> {
    if !auth.registry_token.is_empty() {
        return Ok(Credentials::RegistryToken(Secret::new(auth.registry_token)));
    }
    if !auth.identity_token.is_empty() {
        return Ok(Credentials::IdentityToken(Secret::new(auth.identity_token)));
    }
    if !auth.username.is_empty() {
        return Ok(Credentials::basic(auth.username, auth.password));
    }
    if auth.auth.is_empty() {
        return Ok(Credentials::Anonymous);
    }
    let bad = || Error::invalid("invalid registry credentials: the field auth is not base64 of user:password");
    let pair = String::from_utf8(decode_base64(auth.auth.as_bytes())?).map_err(|_| bad())?;
    let (user, secret) = pair.split_once(':').ok_or_else(bad)?;
    Ok(Credentials::basic(user, secret.trim_end_matches('\0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        let of = |json: &str| from_docker(serde_json::from_str(json).unwrap());
        assert_eq!(of("{}").unwrap(), Credentials::Anonymous);
        assert_eq!(of(r#"{"username":"u","password":"p"}"#).unwrap(), Credentials::basic("u", "p"));
        assert_eq!(of(r#"{"auth":"dTpwOnE="}"#).unwrap(), Credentials::basic("u", "p:q"));
        assert_eq!(
            of(r#"{"username":"u","identitytoken":"t"}"#).unwrap(),
            Credentials::IdentityToken(Secret::new("t"))
        );
        assert_eq!(of(r#"{"registrytoken":"t"}"#).unwrap(), Credentials::RegistryToken(Secret::new("t")));
        assert!(of(r#"{"auth":"dQ=="}"#).is_err());
    }
}
