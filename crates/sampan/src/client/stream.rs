//! Answers that don't come as a whole: JSON objects one after the other, and plain bytes.

use crate::failure::{Failure, Result};
use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body, Incoming};
use serde::de::DeserializeOwned;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

/// No single object may be longer than this.
const OBJECT_LIMIT: usize = 16 << 20;

/// Objects of an answer, as they arrive.
pub(crate) struct JsonStream {
    body: Incoming,
    buffer: BytesMut,
    ended: bool,
}

impl JsonStream {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, buffer: BytesMut::new(), ended: false }
    }

    /// The next object; `None` at the end.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        loop {
            if let Some(length) = object_length(&self.buffer)? {
                let object = serde_json::from_slice(&self.buffer[..length])?;
                self.buffer.advance(length);
                return Ok(Some(object));
            }
            if self.ended {
                if self.buffer.iter().all(u8::is_ascii_whitespace) {
                    return Ok(None);
                }
                return Err(Failure::new("the daemon's answer ends in the middle of a message"));
            }
            if self.buffer.len() > OBJECT_LIMIT {
                return Err(Failure::new(format!("a message of the daemon is longer than {OBJECT_LIMIT} bytes")));
            }
            match chunk(&mut self.body).await? {
                Some(data) => self.buffer.extend_from_slice(&data),
                None => self.ended = true,
            }
        }
    }
}

/// The length of the first whole JSON object in `buffer`, with the white space before it.
fn object_length(buffer: &[u8]) -> Result<Option<usize>> {
    let mut objects = serde_json::Deserializer::from_slice(buffer).into_iter::<serde::de::IgnoredAny>();
    match objects.next() {
        None => Ok(None),
        Some(Ok(_)) => Ok(Some(objects.byte_offset())),
        Some(Err(error)) if error.is_eof() => Ok(None),
        Some(Err(error)) => Err(error.into()),
    }
}

/// The bytes of an answer, as they arrive.
pub(crate) struct Download {
    headers: HeaderMap,
    body: Incoming,
}

impl Download {
    pub(super) fn new(headers: HeaderMap, body: Incoming) -> Self {
        Self { headers, body }
    }

    /// A value of the answer's head.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The next piece; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>> {
        chunk(&mut self.body).await
    }

    /// The bytes as a reader.
    pub(crate) fn into_reader(self) -> impl AsyncRead + Unpin {
        BodyReader { body: self.body, current: Bytes::new() }
    }
}

struct BodyReader {
    body: Incoming,
    current: Bytes,
}

impl AsyncRead for BodyReader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        while self.current.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(Ok(frame)) => self.current = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Poll::Ready(Err(std::io::Error::other(error))),
            }
        }
        let n = self.current.len().min(buf.remaining());
        buf.put_slice(&self.current.split_to(n));
        Poll::Ready(Ok(()))
    }
}

async fn chunk(body: &mut Incoming) -> Result<Option<Bytes>> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Some(Err(error)) => return Err(Failure::new(format!("the daemon broke off its answer: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_cut_where_they_end() {
        assert_eq!(object_length(b" {\"a\":\"}\"}\n{\"b\"").unwrap(), Some(10));
        assert_eq!(object_length(b"{\"a\":1").unwrap(), None);
        assert_eq!(object_length(b"  ").unwrap(), None);
        assert!(object_length(b"nonsense").is_err());
    }
}
