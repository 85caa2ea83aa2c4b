//! A connection that stopped speaking HTTP: the streams of an attached container.

use super::endpoint::Io;
use crate::failure::{Failure, Result};
use bytes::Bytes;
use hyper::Response;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf};

/// Both directions of the raw stream. Closing the writer closes the container's standard input and leaves the other
/// direction open.
pub(crate) struct Hijacked {
    /// What comes from the container.
    pub(crate) reader: Reader,
    /// What goes to the container.
    pub(crate) writer: Writer,
    /// Whether the daemon said that the output is framed; `None` if it didn't say (before API 1.42).
    pub(crate) framed: Option<bool>,
}

impl Hijacked {
    pub(super) async fn take(response: Response<Incoming>) -> Result<Self> {
        let framed = response.headers().get(hyper::header::CONTENT_TYPE).and_then(|kind| match kind.as_bytes() {
            kind if kind == wire::docker::stream::MULTIPLEXED.as_bytes() => Some(true),
            _ => None,
        });
        let upgraded = hyper::upgrade::on(response)
            .await
            .map_err(|error| Failure::new(format!("the daemon did not switch to a raw stream: {error}")))?;
        let parts = upgraded
            .downcast::<TokioIo<Io>>()
            .map_err(|_| Failure::new("the connection switched to a stream of another kind"))?;
        let (reader, writer) = tokio::io::split(parts.io.into_inner());
        Ok(Self { reader: Reader { early: parts.read_buf, inner: reader }, writer: Writer(writer), framed })
    }
}

/// The receiving direction, beginning with what arrived together with the answer's head.
pub(crate) struct Reader {
    early: Bytes,
    inner: ReadHalf<Io>,
}

impl AsyncRead for Reader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let n = self.early.len().min(buf.remaining());
        buf.put_slice(&self.early.split_to(n));
        Poll::Ready(Ok(()))
    }
}

/// The sending direction.
pub(crate) struct Writer(WriteHalf<Io>);

impl Writer {
    /// Sends all of `data`.
    pub(crate) async fn send(&mut self, data: &[u8]) -> std::io::Result<()> {
        self.0.write_all(data).await?;
        self.0.flush().await
    }

    /// Says that no more will come.
    pub(crate) async fn close(&mut self) -> std::io::Result<()> {
        self.0.shutdown().await
    }
}
