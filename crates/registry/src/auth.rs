//! Authorization: challenges (RFC 9110, 11.6.1), and Docker's token and OAuth2 exchanges
//! (distribution, docs/spec/auth/token.md and oauth.md).

use crate::address::{Target, escape, is_loopback, shown, with_query};
use crate::client::{Call, Client, Payload};
use crate::config::Timeouts;
use crate::credentials::{Credentials, Secret, authorization, basic_header};
use crate::errors::{Failure, Refusal, spelled};
use crate::limits;
use http::{HeaderMap, HeaderValue, Method, Uri, header};
use oci::{Error, Timestamp};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a `WWW-Authenticate` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// Lowercase: `bearer`, `basic`.
    pub(crate) scheme: String,
    pub(crate) parameters: HashMap<String, String>,
}

impl Challenge {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }
}

/// Every challenge of an answer, in order.
pub(crate) fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|v| v.to_str().ok()).flat_map(parse).collect()
}

fn parse(text: &str) -> Vec<Challenge> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let bytes = text.as_bytes();
    let mut all: Vec<Challenge> = Vec::new();
    let mut at = 0;
    let skip = |mut at: usize, set: &[u8]| {
        while at < bytes.len() && set.contains(&bytes[at]) {
            at += 1;
        }
        at
    };
    while all.len() < 16 {
        at = skip(at, b" \t,");
        let begin = at;
        while at < bytes.len() && is_token(bytes[at]) {
            at += 1;
        }
        if at == begin {
            break;
        }
        let word = text[begin..at].to_ascii_lowercase();
        let after = skip(at, b" \t");
        if bytes.get(after) != Some(&b'=') {
            all.push(Challenge { scheme: word, parameters: HashMap::new() });
            continue;
        }
        at = skip(after + 1, b" \t");
        let mut value = Vec::new();
        if bytes.get(at) == Some(&b'"') {
            at += 1;
            while at < bytes.len() && bytes[at] != b'"' {
                if bytes[at] == b'\\' && at + 1 < bytes.len() {
                    at += 1;
                }
                value.push(bytes[at]);
                at += 1;
            }
            at += 1;
        } else {
            while at < bytes.len() && is_token(bytes[at]) {
                value.push(bytes[at]);
                at += 1;
            }
        }
        let Some(challenge) = all.last_mut() else { break };
        if let Ok(value) = String::from_utf8(value) {
            challenge.parameters.entry(word).or_insert(value);
        }
        if at >= bytes.len() {
            break;
        }
    }
    all
}

/// An `Authorization`, and until when it is good.
#[derive(Clone)]
pub(crate) struct Grant {
    pub(crate) header: HeaderValue,
    until: Option<Instant>,
}

impl Grant {
    pub(crate) fn lasting(header: HeaderValue) -> Self {
        Self { header, until: None }
    }

    pub(crate) fn is_good(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }
}

/// What a grant is for. Credentials stand in it as a hash.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct GrantKey {
    pub(crate) authority: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) credentials: [u8; 32],
}

/// One grant; its lock is held while it is fetched, so that layers that arrive side by side ask once.
pub(crate) type Slot = Arc<tokio::sync::Mutex<Option<Grant>>>;

/// Grants by what they are for.
#[derive(Default)]
pub(crate) struct Grants {
    slots: Mutex<HashMap<GrantKey, Slot>>,
}

impl Grants {
    pub(crate) fn slot(&self, key: &GrantKey) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= limits::GRANTS && !slots.contains_key(key) {
            slots.retain(|_, slot| slot.try_lock().map_or(true, |g| g.as_ref().is_some_and(Grant::is_good)));
            if slots.len() >= limits::GRANTS {
                slots.clear();
            }
        }
        slots.entry(key.clone()).or_default().clone()
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    refresh_token: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
    #[serde(default)]
    issued_at: Option<Timestamp>,
}

/// A token, and the refresh token that may come with it.
pub(crate) struct Token {
    pub(crate) grant: Grant,
    pub(crate) refresh: Option<Secret>,
}

/// Tokens without a stated life live this long (token.md).
const DEFAULT_LIFE: u64 = 60;
/// The client's name in OAuth2 exchanges.
const CLIENT_ID: &str = "sampan";

/// What a token is asked for.
pub(crate) struct TokenRequest<'a> {
    pub(crate) challenge: &'a Challenge,
    pub(crate) scopes: &'a [String],
    pub(crate) credentials: &'a Credentials,
    /// The registry spoke TLS: credentials must not leave it for plain HTTP.
    pub(crate) secure: bool,
    /// Ask for a refresh token too.
    pub(crate) offline: bool,
}

/// Gets a bearer token.
pub(crate) async fn fetch_token(client: &Client, ask: &TokenRequest<'_>) -> Result<Token, Failure> {
    let realm = ask.challenge.get("realm").unwrap_or_default();
    let realm: Uri = realm
        .parse()
        .ok()
        .filter(|u: &Uri| u.authority().is_some())
        .ok_or_else(|| Failure::broken("the registry's Bearer challenge has no usable realm"))?;
    let target = Target::of(&realm)?;
    let anonymous = matches!(ask.credentials, Credentials::Anonymous);
    if !anonymous && !target.tls && ask.secure && !is_loopback(&target.host) {
        return Err(Failure::fatal(Error::unauthorized(format!(
            "the registry wants credentials sent to {} without TLS; refused",
            shown(&realm)
        ))));
    }
    let call = match ask.credentials {
        Credentials::IdentityToken(refresh) => oauth(realm.clone(), ask, refresh)?,
        Credentials::Basic { user, secret } => {
            let mut call = Call::new(Method::GET, get_url(&realm, ask, Some(user))?);
            call.headers.insert(header::AUTHORIZATION, basic_header(user, secret.expose()));
            call
        }
        Credentials::Anonymous | Credentials::RegistryToken(_) => Call::new(Method::GET, get_url(&realm, ask, None)?),
    };
    let Timeouts { exchange, .. } = client.config.timeouts;
    let late = |_| Failure::passing(Error::deadline(format!("{}: no token within {exchange:?}", shown(&realm))));
    tokio::time::timeout(exchange, exchange_token(client, call, &realm)).await.map_err(late)?
}

async fn exchange_token(client: &Client, call: Call, realm: &Uri) -> Result<Token, Failure> {
    let answer = client.follow(call).await?;
    if !answer.status.is_success() {
        let refusal = Refusal::read(answer).await;
        let status = refusal.status;
        return Err(match status.as_u16() {
            400 | 401 | 403 => {
                let words = refusal.words;
                let words = if words.starts_with("unauthorized") { words } else { format!("unauthorized: {words}") };
                Failure::fatal(Error::unauthorized(words))
            }
            408 | 429 | 500..=599 => Failure::passing(Error::unavailable(format!(
                "{}: failed to fetch a token: {}",
                shown(realm),
                spelled(status)
            ))),
            _ => Failure::fatal(Error::unauthorized(format!(
                "{}: failed to fetch a token: {}",
                shown(realm),
                spelled(status)
            ))),
        });
    }
    let body = answer.body.whole(limits::TOKEN_LIMIT, "token").await?;
    // The parser's message could quote the token.
    let token: TokenAnswer = serde_json::from_slice(&body)
        .map_err(|_| Failure::broken(format!("{}: the token server's answer is not a token document", shown(realm))))?;
    let bearer = [token.token, token.access_token].into_iter().flatten().find(|t| !t.is_empty());
    let header = bearer
        .and_then(|t| authorization("Bearer", &t))
        .ok_or_else(|| Failure::broken(format!("{}: authorization server did not include a token", shown(realm))))?;
    let life = Duration::from_secs(token.expires_in.unwrap_or(DEFAULT_LIFE).max(DEFAULT_LIFE));
    // A token that was issued a while ago is only good for the rest; clocks that disagree don't count.
    let age = token.issued_at.filter(|t| !t.is_zero()).map_or(Duration::ZERO, |t| Timestamp::now().since(t));
    let left = if age < life { life - age } else { life };
    let until = Instant::now().checked_add(left.mul_f32(0.9));
    let refresh = token.refresh_token.filter(|t| !t.is_empty()).map(Secret::new);
    Ok(Token { grant: Grant { header, until }, refresh })
}

fn get_url(realm: &Uri, ask: &TokenRequest<'_>, user: Option<&str>) -> Result<Uri, Failure> {
    let mut parameters = Vec::new();
    if let Some(service) = ask.challenge.get("service") {
        parameters.push(("service", service));
    }
    parameters.extend(ask.scopes.iter().map(|scope| ("scope", scope.as_str())));
    if ask.offline {
        parameters.extend([("offline_token", "true"), ("client_id", CLIENT_ID)]);
    }
    parameters.extend(user.map(|user| ("account", user)));
    let mut uri = realm.clone();
    for (name, value) in parameters {
        uri = with_query(&uri, name, value).ok_or_else(|| Failure::broken("the token server's URL is too long"))?;
    }
    Ok(uri)
}

fn oauth(realm: Uri, ask: &TokenRequest<'_>, refresh: &Secret) -> Result<Call, Failure> {
    let scopes = ask.scopes.join(" ");
    let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", refresh.expose()), ("client_id", CLIENT_ID)];
    if let Some(service) = ask.challenge.get("service") {
        form.push(("service", service));
    }
    if !scopes.is_empty() {
        form.push(("scope", &scopes));
    }
    let form: Vec<String> = form.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
    let mut call = Call::new(Method::POST, realm);
    call.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
    call.payload = Payload::Bytes(form.join("&").into());
    Ok(call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_challenges() {
        let all = parse(
            r#"Bearer realm="https://a/token",service="a,b" , scope="repository:x:pull,push", Basic realm="q\"q""#,
        );
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].scheme.as_str(), all[0].get("service")), ("bearer", Some("a,b")));
        assert_eq!(all[0].get("scope"), Some("repository:x:pull,push"));
        assert_eq!((all[1].scheme.as_str(), all[1].get("realm")), ("basic", Some("q\"q")));
        assert_eq!(parse("Negotiate").len(), 1);
        for odd in ["", ",,,", "=", "a=b", "Bearer realm=\"", "Bearer realm=\"x\\", "Bearer \u{e9}=1", "\"\"\""] {
            let _ = parse(odd);
        }
        assert_eq!(parse("Bearer realm=\"open")[0].get("realm"), Some("open"));
    }
}
