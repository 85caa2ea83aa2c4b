//! Bodies: what we send, and what an answer brings.

use crate::address::Target;
use crate::errors::Failure;
use crate::pool::{Connection, Pool};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use oci::Error;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// A body slower than this while we wait for it counts as stalled, in bytes per second.
const TRICKLE: u64 = 1024;

/// What is known from outside about a body being sent.
#[derive(Default)]
pub(crate) struct Watch {
    /// Bytes handed to the connection, for progress and for seeing a stall.
    pub(crate) sent: AtomicU64,
    /// Why the reader on our side failed, if it did; the connection only breaks then.
    pub(crate) fault: Mutex<Option<io::Error>>,
}

impl Watch {
    /// Notes a reader's failure, and returns what the connection is to be told.
    fn fail(&self, error: io::Error) -> io::Error {
        let told = io::Error::new(error.kind(), error.to_string());
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        told
    }
}

/// A request's body.
pub(crate) enum Outgoing {
    /// All of it at once; `None` once it is sent.
    Whole(Option<Bytes>),
    /// Pieces from a reader on the blocking pool.
    Pieces {
        pieces: mpsc::Receiver<io::Result<Bytes>>,
        /// Bytes still to come.
        left: u64,
        watch: Arc<Watch>,
    },
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().filter(|b| !b.is_empty()).map(|b| Ok(Frame::data(b)))),
            Self::Pieces { left: 0, .. } => Poll::Ready(None),
            Self::Pieces { pieces, left, watch } => match pieces.poll_recv(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(None) => {
                    let error = io::Error::new(io::ErrorKind::InvalidData, "it ended early");
                    Poll::Ready(Some(Err(watch.fail(error))))
                }
                Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(watch.fail(error)))),
                Poll::Ready(Some(Ok(piece))) => {
                    let length = piece.len() as u64;
                    if length > *left {
                        let error = io::Error::new(io::ErrorKind::InvalidData, "it is longer than its descriptor says");
                        return Poll::Ready(Some(Err(watch.fail(error))));
                    }
                    *left -= length;
                    watch.sent.fetch_add(length, Ordering::Relaxed);
                    Poll::Ready(Some(Ok(Frame::data(piece))))
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Self::Pieces { left, .. } => *left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Whole(bytes) => bytes.as_ref().map_or(0, |b| b.len() as u64),
            Self::Pieces { left, .. } => *left,
        })
    }
}

/// An answer whose head is read.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Arriving,
    /// Where it came from, after redirects.
    pub(crate) uri: Uri,
}

impl Answer {
    /// A header as text.
    pub(crate) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// The rest of an answer. Read to its end, it gives its connection back for the next request;
/// dropped earlier, it closes it.
pub(crate) struct Arriving {
    incoming: Incoming,
    lease: Option<(Arc<Pool>, Target, Connection)>,
    stall: Duration,
    /// Time spent waiting, and bytes come, since the watch was last reset.
    waited: Duration,
    come: u64,
    host: String,
}

impl Arriving {
    pub(crate) fn new(
        incoming: Incoming,
        pool: Arc<Pool>,
        target: Target,
        connection: Connection,
        stall: Duration,
    ) -> Self {
        let host = target.authority.clone();
        let mut body =
            Self { incoming, lease: Some((pool, target, connection)), stall, waited: Duration::ZERO, come: 0, host };
        if body.incoming.is_end_stream() {
            body.give_back();
        }
        body
    }

    fn give_back(&mut self) {
        if let Some((pool, target, connection)) = self.lease.take() {
            pool.put(target, connection);
        }
    }

    /// The length the answer announced.
    pub(crate) fn announced(&self) -> Option<u64> {
        self.incoming.size_hint().exact()
    }

    /// The next piece, `None` at the end. Only the time spent waiting here counts as silence: a
    /// slow reader of ours is not the registry's fault.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let begin = Instant::now();
            let left = self.stall.saturating_sub(self.waited);
            let frame = tokio::time::timeout(left, self.incoming.frame()).await;
            self.waited += begin.elapsed();
            match frame {
                Err(_) => {
                    return Err(Failure::passing(Error::deadline(format!(
                        "{}: the transfer stalled: {} bytes within {:?}",
                        self.host, self.come, self.stall
                    ))));
                }
                Ok(None) => {
                    self.give_back();
                    return Ok(None);
                }
                Ok(Some(Err(error))) => {
                    self.lease = None;
                    return Err(Failure::passing(cut(&self.host, &error)));
                }
                Ok(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if data.is_empty() {
                        continue;
                    }
                    self.come += data.len() as u64;
                    if self.come >= TRICKLE * self.stall.as_secs().max(1) {
                        (self.waited, self.come) = (Duration::ZERO, 0);
                    }
                    if self.incoming.is_end_stream() {
                        self.give_back();
                    }
                    return Ok(Some(data));
                }
            }
        }
    }

    /// The whole body.
    ///
    /// # Errors
    /// `Corrupt` if it is longer than `limit`.
    pub(crate) async fn whole(mut self, limit: u64, what: &str) -> Result<Bytes, Failure> {
        let long = |n: u64| {
            Failure::broken(format!("{}: {what} of {n} bytes or more is over the limit of {limit}", self.host))
        };
        if let Some(length) = self.announced().filter(|n| *n > limit) {
            return Err(long(length));
        }
        let mut all = BytesMut::new();
        while let Some(piece) = self.chunk().await? {
            if (all.len() + piece.len()) as u64 > limit {
                return Err(Failure::broken(format!("{}: {what} is over the limit of {limit} bytes", self.host)));
            }
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }

    /// What can be had of the first `limit` bytes; failures end it early.
    pub(crate) async fn start(mut self, limit: u64) -> Bytes {
        let mut all = BytesMut::new();
        let deadline = Instant::now() + self.stall;
        while let Ok(Some(piece)) = self.chunk().await {
            let room = usize::try_from(limit).unwrap_or(usize::MAX) - all.len();
            all.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.len() >= room || Instant::now() >= deadline {
                break;
            }
        }
        all.freeze()
    }

    /// Reads and forgets a short rest, so that the connection can be used again.
    pub(crate) async fn drain(self) {
        if self.announced().is_some_and(|n| n <= crate::limits::ERROR_LIMIT) {
            let _ = self.start(crate::limits::ERROR_LIMIT + 1).await;
        }
    }
}

/// The words for a line that broke.
pub(crate) fn cut(host: &str, error: &hyper::Error) -> Error {
    if error.is_incomplete_message() {
        return Error::unavailable(format!("{host}: unexpected EOF: the connection was cut"));
    }
    if error.is_parse() {
        return Error::unavailable(format!("{host}: malformed HTTP response: {error}"));
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(e) = cause {
        if let Some(io) = e.downcast_ref::<io::Error>() {
            let text = io.to_string();
            let plain = text.split(" (os error").next().unwrap_or(&text).to_lowercase();
            return Error::unavailable(format!("{host}: {plain}"));
        }
        cause = e.source();
    }
    Error::unavailable(format!("{host}: {error}"))
}
