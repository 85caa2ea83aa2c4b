//! Trying credentials, as `docker login` does.

use crate::Registry;
use crate::address::Target;
use crate::auth::{TokenRequest, challenges, fetch_token};
use crate::credentials::{Credentials, Secret};
use crate::endpoint::origin;
use crate::errors::{Asked, Refusal};
use crate::session::{Session, Wanted};
use http::Method;
use oci::Result;

/// What a login brought.
#[derive(Debug, Clone, Default)]
pub struct Login {
    /// A refresh token to keep in the password's place, if the registry gives one.
    pub identity_token: Option<Secret>,
}

impl Registry {
    /// Sees whether the registry of `domain` takes these credentials.
    ///
    /// # Errors
    /// `Unauthorized` if not; `Unavailable` if it cannot be reached or is no registry.
    pub async fn login(&self, domain: &str, credentials: &Credentials) -> Result<Login> {
        let endpoint = origin(&self.inner.config, domain)?;
        let asked = Asked::Login(domain);
        // First without, to learn what it asks for: a token server hands out refresh tokens only when asked.
        let probe = Session::new(&self.inner, &endpoint, &Credentials::Anonymous, &[]);
        let answer = probe.probe(Wanted::new(Method::GET, "/v2/")).await?;
        let offered = challenges(&answer.headers);
        let secure = Target::of(&answer.uri)?.tls;
        let mut login = Login::default();
        if let Some(challenge) = offered.iter().find(|c| c.scheme == "bearer") {
            answer.body.drain().await;
            let offline = matches!(credentials, Credentials::Basic { .. });
            let ask = TokenRequest { challenge, scopes: &[], credentials, secure, offline };
            login.identity_token = fetch_token(&self.inner.client, &ask)
                .await
                .map_err(|f| f.error.prefixed(format!("login attempt to {domain} failed")))?
                .refresh;
            return Ok(login);
        }
        let session = Session::new(&self.inner, &endpoint, credentials, &[]);
        let answer = session.call(Wanted::new(Method::GET, "/v2/"), asked).await?;
        if !answer.status.is_success() {
            return Err(Refusal::read(answer).await.failure(asked).into());
        }
        Ok(login)
    }
}
