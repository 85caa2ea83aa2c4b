//! Failures inside the client, and a registry's error documents in the words docker's users know.

use crate::body::Answer;
use crate::limits;
use http::{HeaderMap, StatusCode};
use oci::{Digest, Error, ImageRef, Kind};
use serde::Deserialize;
use std::time::Duration;

/// How far a request came before it failed; decides whether plain HTTP is worth a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The host could not be reached.
    Connect,
    /// The peer does not speak TLS, or broke off the handshake.
    Handshake,
    /// Later, or of no matter.
    Exchange,
}

/// An error, and whether another attempt makes sense.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// `None`: never; otherwise not before this has passed.
    pub(crate) retry: Option<Duration>,
    pub(crate) stage: Stage,
}

impl Failure {
    /// Final: the peer's or the caller's doing, which repeating cannot mend.
    pub(crate) fn fatal(error: Error) -> Self {
        Self { error, retry: None, stage: Stage::Exchange }
    }

    /// The peer speaks nonsense.
    pub(crate) fn broken(message: impl Into<String>) -> Self {
        Self::fatal(Error::corrupt(message))
    }

    /// Worth another attempt.
    pub(crate) fn passing(error: Error) -> Self {
        Self { error, retry: Some(Duration::ZERO), stage: Stage::Exchange }
    }

    pub(crate) fn at(mut self, stage: Stage) -> Self {
        self.stage = stage;
        self
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

/// What was asked for; chooses the words.
#[derive(Clone, Copy)]
pub(crate) enum Asked<'a> {
    Manifest(&'a ImageRef),
    Blob(&'a ImageRef, &'a Digest),
    Push(&'a ImageRef),
    Tags(&'a ImageRef),
    Login(&'a str),
}

#[derive(Deserialize, Default)]
struct Document {
    #[serde(default)]
    errors: Vec<Item>,
    // Docker Hub's token server answers in these two instead.
    #[serde(default)]
    details: Option<String>,
    #[serde(default)]
    message: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Item {
    code: String,
    message: String,
}

/// A registry's error, taken from its answer.
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// `MANIFEST_UNKNOWN` and the like; empty if it gave none.
    pub(crate) code: String,
    /// In the form `manifest unknown: manifest unknown`.
    pub(crate) words: String,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// Reads the error document of an answer that is no success.
    pub(crate) async fn read(answer: Answer) -> Self {
        let status = answer.status;
        let retry_after = retry_after(&answer.headers);
        let body = answer.body.start(limits::ERROR_LIMIT).await;
        Self::parse(status, &body, retry_after)
    }

    fn parse(status: StatusCode, body: &[u8], retry_after: Option<Duration>) -> Self {
        let document: Document = serde_json::from_slice(body).unwrap_or_default();
        let first = document.errors.into_iter().next().unwrap_or_default();
        let code = clean(&first.code);
        let message = [Some(first.message), document.details, document.message]
            .into_iter()
            .flatten()
            .map(|m| clean(&m))
            .find(|m| !m.is_empty())
            .unwrap_or_default();
        let lower = code.to_ascii_lowercase().replace('_', " ");
        let words = match (lower.is_empty(), message.is_empty()) {
            (false, false) => format!("{lower}: {message}"),
            (false, true) => lower,
            (true, false) => message,
            (true, true) => format!("received unexpected HTTP status: {}", spelled(status)),
        };
        Self { status, code, words, retry_after }
    }

    /// The failure this amounts to for whoever asked.
    pub(crate) fn failure(self, asked: Asked<'_>) -> Failure {
        let code = self.code.as_str();
        let words = &self.words;
        let status = self.status.as_u16();
        let denied = |image: &ImageRef, verb: &str| {
            let cause = if code.is_empty() || code == "UNAUTHORIZED" {
                "denied: requested access to the resource is denied".to_owned()
            } else {
                words.clone()
            };
            format!(
                "{verb} access denied for {}, repository does not exist or may require 'docker login': {cause}",
                image.familiar_repository()
            )
        };
        let (kind, message) = match (asked, status) {
            (_, 429) => (Kind::ResourceExhausted, worded("toomanyrequests", words)),
            (Asked::Login(host), 401 | 403) => {
                (Kind::Unauthorized, format!("login to {host} failed: {}", worded("unauthorized", words)))
            }
            (Asked::Manifest(image) | Asked::Blob(image, _) | Asked::Tags(image), 403) => {
                (Kind::NotFound, denied(image, "pull"))
            }
            (Asked::Manifest(image), 401) if code == "DENIED" => (Kind::NotFound, denied(image, "pull")),
            (Asked::Push(image), 401 | 403) if code != "UNAUTHORIZED" => (
                Kind::PermissionDenied,
                format!("push access denied for {}: {}", image.familiar_repository(), worded("denied", words)),
            ),
            (_, 401) => (Kind::Unauthorized, worded("unauthorized", words)),
            (Asked::Manifest(image), 404) if code == "NAME_UNKNOWN" => {
                (Kind::NotFound, format!("repository {} not found: {words}", image.familiar_repository()))
            }
            (Asked::Manifest(image), 404) => {
                let words = if code.is_empty() { "manifest unknown" } else { words };
                (Kind::NotFound, format!("manifest for {} not found: {words}", image.familiar()))
            }
            (Asked::Blob(_, digest), 404) => {
                (Kind::NotFound, format!("blob {digest}: {}", worded("blob unknown", words)))
            }
            (Asked::Tags(image) | Asked::Push(image), 404) => {
                (Kind::NotFound, format!("repository {} not found: {words}", image.familiar_repository()))
            }
            (Asked::Login(host), 404) => {
                (Kind::Unavailable, format!("{host} does not serve the registry API (HTTP 404 for /v2/)"))
            }
            (_, 408 | 500..=599) => (Kind::Unavailable, words.clone()),
            (_, 413) => (Kind::ResourceExhausted, words.clone()),
            (_, 405) => (Kind::Unsupported, worded("unsupported", words)),
            (Asked::Push(_), _) => (Kind::InvalidArgument, words.clone()),
            _ => (Kind::Unavailable, words.clone()),
        };
        let error = Error::new(kind, message);
        match status {
            408 | 429 | 500 | 502..=599 => {
                Failure { error, retry: Some(self.retry_after.unwrap_or_default()), stage: Stage::Exchange }
            }
            _ => Failure::fatal(error),
        }
    }
}

/// `words` beginning with `code`, once.
fn worded(code: &str, words: &str) -> String {
    if words.starts_with(code) || words.is_empty() { words.to_owned() } else { format!("{code}: {words}") }
}

/// The status as HTTP spells it, `404 Not Found`.
pub(crate) fn spelled(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// A registry's own words, made fit to be printed on one line.
fn clean(text: &str) -> String {
    let mut out: String = text.chars().take(limits::MESSAGE).map(|c| if c.is_control() { ' ' } else { c }).collect();
    out.truncate(out.trim_end().len());
    out
}

/// `Retry-After` in seconds; dates are rare there and are taken as "soon".
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(status: u16, body: &str, asked: Asked<'_>) -> Failure {
        Refusal::parse(StatusCode::from_u16(status).unwrap(), body.as_bytes(), None).failure(asked)
    }

    #[test]
    fn speaks_dockers_words() {
        let image: ImageRef = "r.example/a:1".parse().unwrap();
        let unknown = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{}}]}"#;
        let f = failure(404, unknown, Asked::Manifest(&image));
        assert_eq!(f.error.to_string(), "manifest for r.example/a:1 not found: manifest unknown: manifest unknown");
        assert_eq!((f.error.kind(), f.retry), (Kind::NotFound, None));
        let f = failure(403, "", Asked::Manifest(&image));
        assert_eq!(
            f.error.to_string(),
            "pull access denied for r.example/a, repository does not exist or may require 'docker login': \
             denied: requested access to the resource is denied"
        );
        let f = failure(
            401,
            r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#,
            Asked::Push(&image),
        );
        assert_eq!(f.error.to_string(), "unauthorized: authentication required");
        let f = failure(503, "<html>", Asked::Manifest(&image));
        assert_eq!(f.error.to_string(), "received unexpected HTTP status: 503 Service Unavailable");
        assert!(f.retry.is_some());
    }

    #[test]
    fn bounds_and_cleans_what_a_registry_says() {
        let long = format!(r#"{{"errors":[{{"code":"X","message":"\u001b[31m{}"}}]}}"#, "a".repeat(9999));
        let image: ImageRef = "a".parse().unwrap();
        let text = failure(400, &long, Asked::Manifest(&image)).error.to_string();
        assert!(text.len() < 600 && !text.contains('\u{1b}'));
    }
}
