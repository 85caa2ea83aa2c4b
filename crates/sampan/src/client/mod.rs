//! The Engine API over HTTP/1.1 on a Unix socket or plain TCP.
//!
//! The version is negotiated once (`GET /_ping`, header `Api-Version`): the lower of the daemon's and [`NEWEST`] is
//! put before every path. One idle connection is kept, since most verbs make their requests one after the other.

mod endpoint;
mod hijack;
mod stream;

pub(crate) use endpoint::Endpoint;
pub(crate) use hijack::Hijacked;
pub(crate) use stream::{Download, JsonStream};

use crate::failure::{Failure, Result};
use bytes::Bytes;
use endpoint::Io;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::time::Duration;
use tokio::sync::OnceCell;

/// The newest API version that this client speaks.
pub(crate) const NEWEST: ApiVersion = ApiVersion(1, 50);
/// How long a daemon may take to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// How long a daemon may take to answer a ping: it is only a header.
const PING_LIMIT: Duration = Duration::from_secs(60);
/// No answer that is read as a whole may be longer than this.
const ANSWER_LIMIT: usize = 256 << 20;

/// A request's body.
pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// Major and minor version of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ApiVersion(pub(crate) u32, pub(crate) u32);

impl ApiVersion {
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.trim_start_matches('v').split_once('.')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }
}

impl std::fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// A request's query: names and values, escaped when it is sent.
#[derive(Debug, Default, Clone)]
pub(crate) struct Query(Vec<(&'static str, String)>);

impl Query {
    /// Nothing.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds a parameter.
    #[must_use]
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.push((name, value.into()));
        self
    }

    /// Adds `name=1` if `on`.
    #[must_use]
    pub(crate) fn flag(self, name: &'static str, on: bool) -> Self {
        if on { self.with(name, "1") } else { self }
    }

    /// Adds a parameter unless its value is empty.
    #[must_use]
    pub(crate) fn text(self, name: &'static str, value: &str) -> Self {
        if value.is_empty() { self } else { self.with(name, value) }
    }

    fn to_text(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.0 {
            text.push(if text.is_empty() { '?' } else { '&' });
            text.push_str(name);
            text.push('=');
            text.push_str(&escape(value, false));
        }
        text
    }
}

/// Percent-escapes all but unreserved characters; `slashes` leaves `/` and `:` as well (for names in a path).
pub(crate) fn escape(text: &str, slashes: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(byte as char),
            b'/' | b':' | b'@' if slashes => escaped.push(byte as char),
            _ => {
                escaped.push('%');
                escaped.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0').to_ascii_uppercase());
                escaped.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0').to_ascii_uppercase());
            }
        }
    }
    escaped
}

/// One request: method, path below the version, query, further headers.
pub(crate) struct Call {
    method: Method,
    path: String,
    query: Query,
    headers: Vec<(&'static str, String)>,
    body: Option<Body>,
    json: bool,
}

impl Call {
    fn new(method: Method, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), query: Query::new(), headers: Vec::new(), body: None, json: false }
    }

    /// A GET.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// A HEAD.
    pub(crate) fn head(path: impl Into<String>) -> Self {
        Self::new(Method::HEAD, path)
    }

    /// A POST.
    pub(crate) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    /// A PUT.
    pub(crate) fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    /// A DELETE.
    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// With a query.
    #[must_use]
    pub(crate) fn query(mut self, query: Query) -> Self {
        self.query = query;
        self
    }

    /// With a header.
    #[must_use]
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With a JSON body.
    pub(crate) fn json(mut self, body: &impl Serialize) -> Result<Self> {
        let bytes = serde_json::to_vec(body).map_err(|e| Failure::new(format!("write the request: {e}")))?;
        self.body = Some(whole(Bytes::from(bytes)));
        self.json = true;
        Ok(self)
    }

    /// With a body of another kind.
    #[must_use]
    pub(crate) fn body(mut self, body: Body) -> Self {
        self.body = Some(body);
        self
    }
}

fn whole(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// A connection to one daemon.
pub(crate) struct Client {
    endpoint: Endpoint,
    version: OnceCell<ApiVersion>,
    idle: RefCell<Option<SendRequest<Body>>>,
}

impl Client {
    /// A client of the daemon at `endpoint`; nothing is connected yet.
    pub(crate) fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, version: OnceCell::new(), idle: RefCell::new(None) }
    }

    /// Where the daemon is.
    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The version that both sides speak.
    pub(crate) async fn version(&self) -> Result<ApiVersion> {
        self.version
            .get_or_try_init(|| async {
                if let Ok(text) = std::env::var("DOCKER_API_VERSION")
                    && !text.is_empty()
                {
                    return ApiVersion::parse(&text).ok_or_else(|| {
                        Failure::new(format!("DOCKER_API_VERSION: {text:?} is not a version like 1.50"))
                    });
                }
                let ping = async {
                    let response = self.send(Call::get(""), "/_ping".into(), false).await?;
                    let version = response
                        .headers()
                        .get("api-version")
                        .and_then(|value| value.to_str().ok())
                        .and_then(ApiVersion::parse)
                        .unwrap_or(ApiVersion(1, 24));
                    self.read(response).await?;
                    Ok(version.min(NEWEST))
                };
                bounded(PING_LIMIT, ping, || self.endpoint.unreachable("it does not answer a ping")).await
            })
            .await
            .copied()
    }

    /// Sends a call and gives the answer's head, once its status is a success.
    pub(crate) async fn open(&self, call: Call) -> Result<Response<Incoming>> {
        let version = self.version().await?;
        let path = format!("/v{version}{}{}", call.path, call.query.to_text());
        let response = self.send(call, path, false).await?;
        self.succeeded(response).await
    }

    /// Sends a call and reads the whole answer.
    pub(crate) async fn fetch(&self, call: Call) -> Result<Bytes> {
        let response = self.open(call).await?;
        self.read(response).await
    }

    /// Sends a call and reads the answer as JSON.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, call: Call) -> Result<T> {
        let bytes = self.fetch(call).await?;
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// Sends a call of whose answer only the status matters.
    pub(crate) async fn tell(&self, call: Call) -> Result<()> {
        self.fetch(call).await.map(drop)
    }

    /// Sends a call that is answered with JSON objects, one after the other.
    pub(crate) async fn follow(&self, call: Call) -> Result<JsonStream> {
        Ok(JsonStream::new(self.open(call).await?.into_body()))
    }

    /// Sends a call that is answered with bytes, and gives the head's values named in `header`.
    pub(crate) async fn download(&self, call: Call) -> Result<Download> {
        let response = self.open(call).await?;
        let (head, body) = response.into_parts();
        Ok(Download::new(head.headers, body))
    }

    /// Sends a call that turns its connection into a raw two-way stream.
    pub(crate) async fn hijack(&self, call: Call) -> Result<Hijacked> {
        let version = self.version().await?;
        let path = format!("/v{version}{}{}", call.path, call.query.to_text());
        let response = self.send(call, path, true).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let response = self.succeeded(response).await?;
            return Err(Failure::new(format!(
                "the daemon at {} answered {} where a switch to a raw stream was due",
                self.endpoint,
                response.status()
            )));
        }
        Hijacked::take(response).await
    }

    async fn succeeded(&self, response: Response<Incoming>) -> Result<Response<Incoming>> {
        let status = response.status();
        if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS || status == StatusCode::NOT_MODIFIED {
            return Ok(response);
        }
        let body = self.read(response).await?;
        let message = match serde_json::from_slice::<wire::docker::error::ErrorResponse>(&body) {
            Ok(answer) if !answer.message.is_empty() => answer.message.trim().to_owned(),
            _ => {
                let text = String::from_utf8_lossy(&body);
                match text.trim() {
                    "" => format!("{status} without an explanation"),
                    text => text.chars().take(1000).collect(),
                }
            }
        };
        Err(Failure::from_daemon(status.as_u16(), message))
    }

    async fn read(&self, response: Response<Incoming>) -> Result<Bytes> {
        let body = http_body_util::Limited::new(response.into_body(), ANSWER_LIMIT);
        body.collect()
            .await
            .map(http_body_util::Collected::to_bytes)
            .map_err(|error| Failure::new(format!("read the answer of the daemon at {}: {error}", self.endpoint)))
    }

    async fn send(&self, call: Call, path: String, upgrade: bool) -> Result<Response<Incoming>> {
        let mut request = Request::builder().method(&call.method).uri(&path);
        if let Some(headers) = request.headers_mut() {
            headers.insert(HOST, self.endpoint.host_header());
            headers.insert(
                USER_AGENT,
                HeaderValue::from_static(concat!("sampan/", env!("CARGO_PKG_VERSION"), " (linux)")),
            );
            if call.json {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
            if upgrade {
                headers.insert(hyper::header::CONNECTION, HeaderValue::from_static("Upgrade"));
                headers.insert(hyper::header::UPGRADE, HeaderValue::from_static("tcp"));
            }
            for (name, value) in &call.headers {
                let value = HeaderValue::from_str(value)
                    .map_err(|_| Failure::new(format!("the header {name} can't carry the value given")))?;
                headers.insert(*name, value);
            }
        }
        let body = call.body.unwrap_or_else(|| whole(Bytes::new()));
        let request = request.body(body).map_err(|error| Failure::new(format!("{path}: {error}")))?;

        // The task behind a kept connection learns here that its last answer was read to the end.
        tokio::task::yield_now().await;
        let kept = self.idle.borrow_mut().take_if(|sender| !upgrade && sender.is_ready());
        let mut sender = match kept {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| Failure::new(format!("the daemon at {} broke the connection: {error}", self.endpoint)))?;
        if !upgrade {
            *self.idle.borrow_mut() = Some(sender);
        }
        Ok(response)
    }

    async fn connect(&self) -> Result<SendRequest<Body>> {
        let late = || self.endpoint.unreachable("it does not accept the connection");
        let io: Io = bounded(CONNECT_LIMIT, self.endpoint.connect(), late).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(io))
            .await
            .map_err(|error| Failure::new(format!("speak HTTP with {}: {error}", self.endpoint)))?;
        // Errors of the connection reach whoever waits for an answer.
        tokio::spawn(async move { drop(connection.with_upgrades().await) });
        Ok(sender)
    }
}

/// `work`, but no longer than `limit`.
async fn bounded<T>(
    limit: Duration,
    work: impl Future<Output = Result<T>>,
    late: impl FnOnce() -> Failure,
) -> Result<T> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(late()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_escaped() {
        let query = Query::new().with("a", "x y/&=").text("empty", "").flag("all", true).flag("off", false);
        assert_eq!(query.to_text(), "?a=x%20y%2F%26%3D&all=1");
        assert_eq!(escape("a/b:c d", true), "a/b:c%20d");
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(ApiVersion::parse("1.9").unwrap() < ApiVersion::parse("1.41").unwrap());
        assert_eq!(ApiVersion::parse("v1.50"), Some(NEWEST));
        assert_eq!(ApiVersion::parse("x"), None);
    }
}
