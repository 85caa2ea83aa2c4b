//! Many calls at a time over one ttrpc connection: a task reads answers and hands them to who waits.

use oci::{Context, Error, Kind, Result};
use prost::Message;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::oneshot;
use wire::ttrpc::{self, Header, Request, Response};

type Waiters = HashMap<u32, oneshot::Sender<Response>>;

/// Calls under way; `None` once the connection has ended.
type Pending = Arc<Mutex<Option<Waiters>>>;

pub(super) struct Mux {
    pending: Pending,
    writer: tokio::sync::Mutex<(OwnedWriteHalf, u32)>,
    reader: tokio::task::AbortHandle,
}

impl Drop for Mux {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

fn gone() -> Error {
    Error::unavailable("the shim closed the connection")
}

/// The [`Kind`] of a gRPC code, as ttrpc servers send it.
fn kind_of(code: i32) -> Kind {
    match code {
        1 => Kind::Cancelled,
        3 => Kind::InvalidArgument,
        4 => Kind::DeadlineExceeded,
        5 => Kind::NotFound,
        6 => Kind::AlreadyExists,
        7 => Kind::PermissionDenied,
        8 => Kind::ResourceExhausted,
        9 => Kind::Conflict,
        12 => Kind::Unsupported,
        14 => Kind::Unavailable,
        15 => Kind::Corrupt,
        16 => Kind::Unauthorized,
        _ => Kind::Internal,
    }
}

async fn read_answers(mut stream: OwnedReadHalf, pending: &Pending) -> std::io::Result<()> {
    loop {
        let mut head = [0; ttrpc::HEADER];
        stream.read_exact(&mut head).await?;
        let header = Header::decode(&head);
        if header.length > ttrpc::LIMIT {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        let mut body = vec![0; header.length];
        stream.read_exact(&mut body).await?;
        let waiter = pending
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
            .and_then(|waiters| waiters.remove(&header.stream));
        if let (Some(waiter), Ok(response)) = (waiter, Response::decode(&*body)) {
            // Whoever gave up waiting does not need the answer.
            let _ = waiter.send(response);
        }
    }
}

impl Mux {
    pub(super) async fn connect(path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path)
            .await
            .map_err(|error| Error::unavailable(format!("connect to shim at {}", path.display())).with_source(error))?;
        let (read, write) = stream.into_split();
        let pending: Pending = Arc::new(Mutex::new(Some(HashMap::new())));
        let shared = pending.clone();
        let reader = tokio::spawn(async move {
            let _ = read_answers(read, &shared).await;
            // Dropping the senders tells everyone who waits.
            shared.lock().unwrap_or_else(PoisonError::into_inner).take();
        });
        Ok(Self { pending, writer: tokio::sync::Mutex::new((write, 1)), reader: reader.abort_handle() })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// One call. `limit` bounds the wait for its answer.
    pub(super) async fn call<Out: Message + Default>(
        &self,
        service: &str,
        method: &str,
        request: &impl Message,
        limit: Option<Duration>,
    ) -> Result<Out> {
        let what = || format!("shim call {method}");
        let request = Request {
            service: service.into(),
            method: method.into(),
            payload: request.encode_to_vec(),
            timeout_nano: limit.map_or(0, |l| l.as_nanos() as i64),
            metadata: Vec::new(),
        };
        let exchange = async {
            let (stream, answer) = {
                let mut writer = self.writer.lock().await;
                let stream = writer.1;
                // Streams of a client are odd.
                writer.1 = stream.wrapping_add(2);
                let (sender, answer) = oneshot::channel();
                match &mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner) {
                    Some(waiters) => waiters.insert(stream, sender),
                    None => return Err(gone()),
                };
                let frame = ttrpc::frame(stream, ttrpc::REQUEST, &request);
                writer.0.write_all(&frame).await.map_err(|_| gone())?;
                (stream, answer)
            };
            let forget = Forget { pending: &self.pending, stream };
            let response = answer.await.map_err(|_| gone())?;
            drop(forget);
            Ok(response)
        };
        let response = match limit {
            // A little more than the shim has, so that its own answer comes first.
            Some(limit) => tokio::time::timeout(limit + Duration::from_secs(1), exchange)
                .await
                .map_err(|_| Error::deadline(format!("{}: no answer within {} s", what(), limit.as_secs())))?,
            None => exchange.await,
        }
        .context(what)?;
        if let Some(status) = response.status.filter(|s| s.code != 0) {
            return Err(Error::new(kind_of(status.code), status.message));
        }
        Out::decode(&*response.payload).map_err(|error| Error::corrupt(what()).with_source(error))
    }
}

/// Removes a waiter when its caller gives up.
struct Forget<'a> {
    pending: &'a Pending,
    stream: u32,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        if let Some(waiters) = &mut *self.pending.lock().unwrap_or_else(PoisonError::into_inner) {
            waiters.remove(&self.stream);
        }
    }
}
