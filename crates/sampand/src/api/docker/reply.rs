//! Answers: bodies, streams, and the one place where an error becomes a status.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use oci::{Error, Kind, Result};
use serde::Serialize;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use wire::docker::error::ErrorResponse;
use wire::docker::progress::Message;

/// An answer.
pub type Reply = Response<Body>;

/// How many pieces of a stream wait for a slow client before the producer waits too.
const QUEUE: usize = 16;

/// A body: known at once, or streamed.
pub enum Body {
    /// Known at once; `None` once it was taken.
    Whole(Option<Bytes>),
    /// Pieces as they come.
    Stream(Stream),
}

/// The client's end of a streamed body.
pub struct Stream {
    first: Option<Bytes>,
    pieces: mpsc::Receiver<Result<Bytes>>,
    /// A failure becomes a last progress message; otherwise it cuts the connection, so that no client takes the
    /// beginning for the whole.
    messages: bool,
    ended: bool,
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let stream = match self.get_mut() {
            Self::Whole(bytes) => return Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(stream) => stream,
        };
        if let Some(first) = stream.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if stream.ended {
            return Poll::Ready(None);
        }
        match stream.pieces.poll_recv(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                stream.ended = true;
                Poll::Ready(None)
            }
            Poll::Ready(Some(Ok(bytes))) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Poll::Ready(Some(Err(error))) => {
                stream.ended = true;
                Poll::Ready(Some(if stream.messages {
                    Ok(Frame::data(line(&Message::failure(error.to_string()))))
                } else {
                    Err(io::Error::other(error.to_string()))
                }))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}

/// Go's `json.Encoder`: the value and a newline.
pub fn line<T: Serialize>(value: &T) -> Bytes {
    let mut text = serde_json::to_vec(value).unwrap_or_else(|error| error.to_string().into_bytes());
    text.push(b'\n');
    text.into()
}

fn with_body(status: StatusCode, content_type: &'static str, body: Body) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

/// `value` with `status`.
pub fn json_with<T: Serialize>(status: StatusCode, value: &T) -> Reply {
    with_body(status, "application/json", Body::Whole(Some(line(value))))
}

/// `value` with 200.
pub fn json<T: Serialize>(value: &T) -> Reply {
    json_with(StatusCode::OK, value)
}

/// Plain text.
pub fn text(text: &'static str) -> Reply {
    with_body(StatusCode::OK, "text/plain; charset=utf-8", Body::Whole(Some(Bytes::from_static(text.as_bytes()))))
}

/// A status without a body.
pub fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Body::Whole(None));
    *reply.status_mut() = status;
    reply
}

/// 204.
pub fn done() -> Reply {
    empty(StatusCode::NO_CONTENT)
}

/// 304: it was so already.
pub fn unchanged() -> Reply {
    empty(StatusCode::NOT_MODIFIED)
}

/// The status that each kind of error amounts to.
pub fn status_of(kind: Kind) -> StatusCode {
    match kind {
        Kind::InvalidArgument => StatusCode::BAD_REQUEST,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::AlreadyExists | Kind::Conflict => StatusCode::CONFLICT,
        Kind::PermissionDenied => StatusCode::FORBIDDEN,
        Kind::Unauthorized => StatusCode::UNAUTHORIZED,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Kind::ResourceExhausted => StatusCode::INSUFFICIENT_STORAGE,
        Kind::Unsupported => StatusCode::NOT_IMPLEMENTED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The answer that tells of `error`.
pub fn failure(error: &Error) -> Reply {
    json_with(status_of(error.kind()), &ErrorResponse { message: error.to_string() })
}

/// The producer's end of a streamed body.
#[derive(Clone)]
pub struct Sender(mpsc::Sender<Result<Bytes>>);

/// The client has left; producing on makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gone;

impl From<Gone> for Error {
    fn from(_: Gone) -> Self {
        Self::cancelled("the client has left")
    }
}

impl Sender {
    /// Sends bytes, waiting for a slow client.
    ///
    /// # Errors
    /// If the client has left.
    pub async fn bytes(&self, bytes: Bytes) -> Result<(), Gone> {
        self.0.send(Ok(bytes)).await.map_err(|_| Gone)
    }

    /// Sends a value and a newline.
    ///
    /// # Errors
    /// If the client has left.
    pub async fn json<T: Serialize>(&self, value: &T) -> Result<(), Gone> {
        self.bytes(line(value)).await
    }
}

/// What becomes of a failure in the middle of a stream, and when the head is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Progress messages; the head waits for the first, so that an early failure has a status of its own.
    Progress,
    /// Bytes; the head waits for the first. A failure cuts the connection.
    Data,
    /// Bytes or objects; the head goes out at once.
    Live,
}

/// Streams what `produce` sends. The producer is dropped when the client leaves.
///
/// # Errors
/// What `produce` fails with before its first piece, unless the mode is [`Mode::Live`].
pub async fn stream<F, P>(content_type: &'static str, mode: Mode, produce: P) -> Result<Reply>
where
    P: FnOnce(Sender) -> F,
    F: Future<Output = Result<()>> + Send + 'static,
{
    let (sender, mut pieces) = mpsc::channel(QUEUE);
    let work = produce(Sender(sender.clone()));
    tokio::spawn(async move {
        let result = tokio::select! {
            result = work => result,
            () = sender.closed() => return,
        };
        if let Err(error) = result {
            let _ = sender.send(Err(error)).await;
        }
    });
    let first = match mode {
        Mode::Live => None,
        Mode::Progress | Mode::Data => pieces.recv().await.transpose()?,
    };
    let stream = Stream { first, pieces, messages: mode == Mode::Progress, ended: false };
    Ok(with_body(StatusCode::OK, content_type, Body::Stream(stream)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn an_early_failure_has_a_status_of_its_own() {
        let produce = |_| async { Err(Error::not_found("no such thing")) };
        let error = stream("application/json", Mode::Progress, produce).await.map(|_| ()).unwrap_err();
        assert_eq!(failure(&error).status(), StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn a_late_failure_ends_the_stream_with_a_message_or_a_cut() {
        let produce = |sender: Sender| async move {
            sender.json(&Message::status("", "begun")).await?;
            Err(Error::unavailable("cut off"))
        };
        let reply = stream("application/json", Mode::Progress, produce).await.unwrap();
        let text = reply.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert!(text.starts_with("{\"status\":\"begun\"}\n") && text.contains("\"error\":\"cut off\""), "{text}");
        let reply = stream("application/x-tar", Mode::Data, produce).await.unwrap();
        assert!(reply.into_body().collect().await.is_err());
    }

    #[tokio::test]
    async fn the_producer_ends_when_the_client_leaves() {
        let (gone, told) = tokio::sync::oneshot::channel::<()>();
        let produce = |sender: Sender| async move {
            let _held = gone;
            sender.json(&1).await?;
            std::future::pending::<Result<()>>().await
        };
        let reply = stream("application/json", Mode::Live, produce).await.unwrap();
        drop(reply);
        assert!(told.await.is_err());
    }
}
