//! One request on its way through the door: parameters, query, body with its bounds.

use super::Door;
use super::query::Query;
use super::router::Params;
use super::version::ApiVersion;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use oci::{Context, Error, Result};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// The longest JSON body. A container with every limit and thousands of mounts fits.
pub const JSON_LIMIT: usize = 4 << 20;
/// How long a JSON body may take altogether.
const JSON_DEADLINE: Duration = Duration::from_secs(60);
/// How much of an overlong body is read and thrown away, and for how long.
const DISCARD: usize = 64 << 20;
const DISCARD_DEADLINE: Duration = Duration::from_secs(10);
/// How long a streamed body may stand still.
const STALL: Duration = Duration::from_secs(300);
/// How many pieces of a streamed body wait for the engine.
const QUEUE: usize = 8;

/// A request.
pub struct Call {
    /// The door it came through.
    pub door: Arc<Door>,
    /// The API version it speaks.
    pub version: ApiVersion,
    /// Values of the route's placeholders.
    pub params: Params,
    /// Its query.
    pub query: Query,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, until it is read.
    pub body: Option<Incoming>,
    /// The connection, if the client asks to leave HTTP.
    pub upgrade: Option<OnUpgrade>,
}

impl Call {
    /// The value of the placeholder `name` of the route's pattern.
    pub fn param(&self, name: &str) -> &str {
        self.params.get(name)
    }

    /// The engine as this door sees it.
    pub fn engine(&self) -> &engine::Namespace {
        &self.door.engine
    }

    /// Reads the body as JSON.
    ///
    /// # Errors
    /// `InvalidArgument` for a missing, malformed, overlong or endless body, or another content type.
    pub async fn json<T: DeserializeOwned>(&mut self) -> Result<T> {
        let bytes = self.whole().await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(Error::invalid("invalid JSON: got EOF while reading request body"));
        }
        self.check_content_type()?;
        serde_json::from_slice(&bytes).map_err(|error| Error::invalid(format!("invalid JSON: {error}")))
    }

    /// Reads the body as JSON; no body is the default.
    ///
    /// # Errors
    /// As [`json`](Self::json).
    pub async fn json_or_default<T: DeserializeOwned + Default>(&mut self) -> Result<T> {
        let bytes = self.whole().await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(T::default());
        }
        self.check_content_type()?;
        serde_json::from_slice(&bytes).map_err(|error| Error::invalid(format!("invalid JSON: {error}")))
    }

    fn check_content_type(&self) -> Result<()> {
        let given = self.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let essence = given.split(';').next().unwrap_or_default().trim();
        if essence.eq_ignore_ascii_case("application/json") {
            return Ok(());
        }
        Err(Error::invalid(format!("unsupported Content-Type header ({given}): must be 'application/json'")))
    }

    /// Reads the whole body, within [`JSON_LIMIT`] and its deadline.
    async fn whole(&mut self) -> Result<Bytes> {
        let Some(mut body) = self.body.take() else { return Ok(Bytes::new()) };
        let read = async {
            let mut bytes = BytesMut::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|error| Error::invalid(format!("read the request's body: {error}")))?;
                if let Ok(data) = frame.into_data() {
                    if bytes.len() + data.len() > JSON_LIMIT {
                        discard(&mut body).await;
                        return Err(Error::invalid(format!(
                            "the request's body is longer than {JSON_LIMIT} bytes, the limit for JSON"
                        )));
                    }
                    bytes.extend_from_slice(&data);
                }
            }
            Ok(bytes.freeze())
        };
        match tokio::time::timeout(JSON_DEADLINE, read).await {
            Ok(result) => result,
            Err(_) => Err(Error::invalid(format!(
                "the request's body did not end within {} seconds",
                JSON_DEADLINE.as_secs()
            ))),
        }
    }

    /// Streams the body to the engine.
    pub fn stream(&mut self) -> engine::model::ByteStream {
        let (sender, receiver) = mpsc::channel(QUEUE);
        if let Some(body) = self.body.take() {
            tokio::spawn(forward(body, sender));
        }
        receiver
    }

    /// A JSON header in URL-safe base64, as `X-Registry-Auth`.
    ///
    /// # Errors
    /// `InvalidArgument`, without the header's content, which is secret.
    pub fn header_json<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T> {
        let Some(value) = self.headers.get(name) else { return Ok(T::default()) };
        let bytes = decode_base64(value.as_bytes()).context(|| format!("invalid {name} header"))?;
        if bytes.is_empty() {
            return Ok(T::default());
        }
        serde_json::from_slice(&bytes).map_err(|_| Error::invalid(format!("invalid {name} header: invalid JSON")))
    }
}

/// Reads on for a while, so that a client that writes before it reads gets to see the answer.
async fn discard(body: &mut Incoming) {
    let mut left = DISCARD;
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(DISCARD_DEADLINE, read).await;
}

async fn forward(mut body: Incoming, sender: mpsc::Sender<Result<Bytes>>) {
    loop {
        let piece = match tokio::time::timeout(STALL, body.frame()).await {
            Ok(None) => return,
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => Ok(data),
                Err(_) => continue,
            },
            Ok(Some(Err(error))) => Err(Error::invalid(format!("read the request's body: {error}"))),
            Err(_) => Err(Error::deadline(format!("the request's body stood still for {} seconds", STALL.as_secs()))),
        };
        let failed = piece.is_err();
        if sender.send(piece).await.is_err() || failed {
            return;
        }
    }
}

/// base64 in either alphabet, padded or not.
///
/// # Errors
/// `InvalidArgument`.
pub fn decode_base64(text: &[u8]) -> Result<Vec<u8>> {
    use base64::Engine;
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    let text: Vec<u8> = text
        .iter()
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            other => *other,
        })
        .collect();
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = GeneralPurpose::new(&base64::alphabet::STANDARD, config);
    engine.decode(text).map_err(|_| Error::invalid("not base64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_in_both_alphabets() {
        assert_eq!(decode_base64(b"e30=").unwrap(), b"{}");
        assert_eq!(decode_base64(b"e30").unwrap(), b"{}");
        assert_eq!(decode_base64(b"-_-_").unwrap(), decode_base64(b"+/+/").unwrap());
        assert!(decode_base64(b"{}").is_err());
    }
}
