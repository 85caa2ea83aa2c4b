//! A request to a registry's endpoint with everything that makes it arrive: the scheme that the
//! host speaks, the authorization it wants, and a second attempt when it asks for one.

use crate::address::Target;
use crate::auth::{Challenge, Grant, GrantKey, Grants, Slot, TokenRequest, challenges, fetch_token};
use crate::body::Answer;
use crate::client::{Call, Client, Payload};
use crate::config::Config;
use crate::credentials::{Credentials, authorization, basic_header};
use crate::endpoint::{Endpoint, Transport};
use crate::errors::{Asked, Failure, Refusal, Stage};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use oci::Error;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What all clones of a client share.
pub(crate) struct Shared {
    pub(crate) config: Arc<Config>,
    pub(crate) client: Client,
    pub(crate) grants: Grants,
    /// Whether a host that may speak either was found to speak TLS.
    schemes: Mutex<HashMap<String, bool>>,
}

impl Shared {
    pub(crate) fn new(config: Config) -> Self {
        let config = Arc::new(config);
        Self { client: Client::new(config.clone()), config, grants: Grants::default(), schemes: Mutex::default() }
    }
}

/// Requests to one endpoint with one set of credentials and rights.
pub(crate) struct Session<'a> {
    shared: &'a Shared,
    pub(crate) endpoint: &'a Endpoint,
    credentials: &'a Credentials,
    scopes: &'a [String],
}

/// A request, before it is known where exactly it goes.
pub(crate) struct Wanted<'a> {
    pub(crate) method: Method,
    /// A path that begins with `/v2/`, or the absolute URL that the registry named.
    pub(crate) place: Place<'a>,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
}

/// Where a request goes.
#[derive(Clone, Copy)]
pub(crate) enum Place<'a> {
    Path(&'a str),
    Url(&'a Uri),
}

impl<'a> Wanted<'a> {
    pub(crate) fn new(method: Method, path: &'a str) -> Self {
        Self { method, place: Place::Path(path), headers: HeaderMap::new(), payload: Payload::empty() }
    }

    pub(crate) fn at(method: Method, url: &'a Uri) -> Self {
        Self { method, place: Place::Url(url), headers: HeaderMap::new(), payload: Payload::empty() }
    }

    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    pub(crate) fn payload(mut self, payload: Payload) -> Self {
        self.payload = payload;
        self
    }
}

/// The scope of a repository (distribution, docs/spec/auth/scope.md).
pub(crate) fn scope(path: &str, actions: &str) -> String {
    format!("repository:{path}:{actions}")
}

impl<'a> Session<'a> {
    /// Mirrors are asked without the credentials of the domain they mirror.
    pub(crate) fn new(
        shared: &'a Shared,
        endpoint: &'a Endpoint,
        credentials: &'a Credentials,
        scopes: &'a [String],
    ) -> Self {
        let credentials = if endpoint.mirror_of.is_some() { &Credentials::Anonymous } else { credentials };
        Self { shared, endpoint, credentials, scopes }
    }

    /// Sends, authorizing as the registry asks. An answer of any status but 401 is handed on.
    pub(crate) async fn call(&self, wanted: Wanted<'_>, asked: Asked<'_>) -> Result<Answer, Failure> {
        let slot = self.slot();
        let known = match self.credentials {
            Credentials::RegistryToken(token) => authorization("Bearer", token.expose()).map(Grant::lasting),
            _ => slot.lock().await.clone().filter(Grant::is_good),
        };
        let used = known.map(|grant| grant.header);
        let answer = self.attempt(&wanted, used.clone()).await?;
        if answer.status != StatusCode::UNAUTHORIZED || !self.is_home(&answer.uri) {
            return Ok(answer);
        }
        let offered = challenges(&answer.headers);
        if matches!(self.credentials, Credentials::RegistryToken(_)) || offered.is_empty() {
            return Err(self.refused(answer, &offered, asked).await);
        }
        let secure = Target::of(&answer.uri)?.tls;
        let host = self.endpoint.authority.clone();
        answer.body.drain().await;
        let header = self
            .authorize(&slot, &offered, used, secure)
            .await
            .map_err(|f| Failure { error: f.error.prefixed(host), ..f })?;
        let answer = self.attempt(&wanted, Some(header)).await?;
        if answer.status == StatusCode::UNAUTHORIZED && self.is_home(&answer.uri) {
            *slot.lock().await = None;
            let offered = challenges(&answer.headers);
            return Err(self.refused(answer, &offered, asked).await);
        }
        Ok(answer)
    }

    /// Sends without authorization and hands on whatever comes.
    pub(crate) async fn probe(&self, wanted: Wanted<'_>) -> Result<Answer, Failure> {
        self.attempt(&wanted, None).await
    }

    fn slot(&self) -> Slot {
        self.shared.grants.slot(&GrantKey {
            authority: self.endpoint.authority.clone(),
            scopes: self.scopes.to_vec(),
            credentials: self.credentials.fingerprint(),
        })
    }

    /// Whether a URL belongs to the endpoint: only then its challenges are for us to answer.
    fn is_home(&self, uri: &Uri) -> bool {
        uri.authority().is_some_and(|a| a.as_str().eq_ignore_ascii_case(&self.endpoint.authority))
    }

    async fn refused(&self, answer: Answer, offered: &[Challenge], asked: Asked<'_>) -> Failure {
        let mut refusal = Refusal::read(answer).await;
        if offered.iter().any(|c| c.get("error") == Some("insufficient_scope")) {
            // The token was good, only not for this: "denied", as docker says.
            refusal.code = "DENIED".into();
            refusal.words = "denied: requested access to the resource is denied".into();
        }
        refusal.failure(asked)
    }

    /// The `Authorization` that answers the challenges.
    async fn authorize(
        &self,
        slot: &Slot,
        offered: &[Challenge],
        used: Option<HeaderValue>,
        secure: bool,
    ) -> Result<HeaderValue, Failure> {
        let mut held = slot.lock().await;
        // Another request may have got a new one while this one waited.
        if let Some(grant) = held.as_ref().filter(|g| g.is_good() && Some(&g.header) != used.as_ref()) {
            return Ok(grant.header.clone());
        }
        let bearer = offered.iter().find(|c| c.scheme == "bearer");
        let grant = if let Some(challenge) = bearer {
            let mut scopes = self.scopes.to_vec();
            let more = challenge.get("scope").unwrap_or_default().split(' ').filter(|s| !s.is_empty());
            for scope in more {
                if !scopes.iter().any(|s| covers(s, scope)) {
                    scopes.push(scope.to_owned());
                }
            }
            let ask =
                TokenRequest { challenge, scopes: &scopes, credentials: self.credentials, secure, offline: false };
            fetch_token(&self.shared.client, &ask).await?.grant
        } else if offered.iter().any(|c| c.scheme == "basic") {
            match self.credentials {
                Credentials::Basic { user, secret } => Grant::lasting(basic_header(user, secret.expose())),
                _ => return Err(Failure::fatal(Error::unauthorized("unauthorized: no basic auth credentials"))),
            }
        } else {
            let schemes: Vec<_> = offered.iter().map(|c| c.scheme.as_str()).collect();
            return Err(Failure::fatal(Error::unsupported(format!(
                "authentication by {} is not supported; basic and bearer are",
                schemes.join(", ")
            ))));
        };
        let header = grant.header.clone();
        *held = Some(grant);
        Ok(header)
    }

    async fn attempt(&self, wanted: &Wanted<'_>, authorization: Option<HeaderValue>) -> Result<Answer, Failure> {
        let mut headers = wanted.headers.clone();
        let home = match wanted.place {
            Place::Path(_) => true,
            Place::Url(uri) => self.is_home(uri),
        };
        if home {
            headers.extend(self.own_headers()?);
            headers.extend(authorization.map(|value| (header::AUTHORIZATION, value)));
        }
        let call = |uri| Call { method: wanted.method.clone(), uri, headers, payload: wanted.payload.clone() };
        match wanted.place {
            Place::Url(uri) => self.shared.client.follow(call(uri.clone())).await,
            Place::Path(path) => self.by_scheme(path, call).await,
        }
    }

    fn own_headers(&self) -> Result<HeaderMap, Failure> {
        let domain = match self.endpoint.authority.as_str() {
            "registry-1.docker.io" => "docker.io",
            other => other,
        };
        let mut headers = HeaderMap::new();
        for (name, value) in self.shared.config.hosts.get(domain).map(|s| s.headers.as_slice()).unwrap_or_default() {
            let bad =
                |_| Failure::fatal(Error::invalid(format!("{domain}: header {name:?} in the settings is invalid")));
            let mut value = HeaderValue::try_from(value).map_err(|e| bad(e.to_string()))?;
            value.set_sensitive(true);
            headers.append(HeaderName::try_from(name).map_err(|e| bad(e.to_string()))?, value);
        }
        Ok(headers)
    }

    /// TLS or plain HTTP, as the endpoint allows; remembers what was spoken.
    async fn by_scheme(&self, path: &str, call: impl FnOnce(Uri) -> Call) -> Result<Answer, Failure> {
        let client = &self.shared.client;
        let schemes = || self.shared.schemes.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match self.endpoint.transport {
            Transport::Https => Some(true),
            Transport::Http => Some(false),
            Transport::HttpsThenHttp => schemes().get(&self.endpoint.authority).copied(),
        };
        if let Some(tls) = known {
            let result = client.follow(call(self.endpoint.uri(tls, path)?)).await;
            if result.as_ref().is_err_and(|f| f.stage != Stage::Exchange) {
                // The host may have changed its mind; ask afresh next time.
                schemes().remove(&self.endpoint.authority);
            }
            return result;
        }
        let secure = call(self.endpoint.uri(true, path)?);
        let plain = Call { uri: self.endpoint.uri(false, path)?, ..secure.clone() };
        let (result, tls) = match client.follow(secure).await {
            Err(first)
                if first.stage == Stage::Handshake || (first.stage == Stage::Connect && self.endpoint.default_port) =>
            {
                (client.follow(plain).await, false)
            }
            other => (other, true),
        };
        if result.is_ok() {
            let mut known = schemes();
            if known.len() >= crate::limits::GRANTS {
                known.clear();
            }
            known.insert(self.endpoint.authority.clone(), tls);
        }
        result
    }
}

/// Whether a scope that we ask for includes another: the same resource and all its actions.
fn covers(ours: &str, asked: &str) -> bool {
    match (ours.rsplit_once(':'), asked.rsplit_once(':')) {
        (Some((resource, have)), Some((same, want))) => {
            resource == same && want.split(',').all(|action| have.split(',').any(|h| h == action))
        }
        _ => ours == asked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_cover_their_parts() {
        assert!(covers("repository:a:pull,push", "repository:a:pull"));
        assert!(!covers("repository:a:pull", "repository:a:pull,push"));
        assert!(!covers("repository:a:pull", "repository:b:pull"));
    }
}
