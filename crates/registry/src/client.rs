//! One request and its answer: a pooled connection, and redirects.

use crate::address::{Target, join, shown};
use crate::body::{Answer, Arriving, Outgoing, Watch, cut};
use crate::config::Config;
use crate::connect::{Line, connect};
use crate::errors::Failure;
use crate::limits;
use crate::pool::{Connection, Pool};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use oci::Error;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// A body that can be made again for another attempt.
#[derive(Clone)]
pub(crate) enum Payload {
    Bytes(Bytes),
    Stream {
        /// Starts a new reader.
        open: Arc<dyn Fn() -> Outgoing + Send + Sync>,
        watch: Arc<Watch>,
    },
}

impl Payload {
    pub(crate) fn empty() -> Self {
        Self::Bytes(Bytes::new())
    }
}

/// A request.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Payload,
}

impl Call {
    pub(crate) fn new(method: Method, uri: Uri) -> Self {
        Self { method, uri, headers: HeaderMap::new(), payload: Payload::empty() }
    }
}

/// Sends calls.
pub(crate) struct Client {
    pub(crate) config: Arc<Config>,
    pool: Arc<Pool>,
}

impl Client {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self { config, pool: Arc::default() }
    }

    /// Sends, and follows redirects. What identifies us to the first host goes to no other.
    pub(crate) async fn follow(&self, mut call: Call) -> Result<Answer, Failure> {
        for _ in 0..=limits::REDIRECTS {
            let answer = self.send(&call).await?;
            let keeps_method = matches!(answer.status.as_u16(), 307 | 308);
            let moved = keeps_method || matches!(answer.status.as_u16(), 301..=303);
            let reading = matches!(call.method, Method::GET | Method::HEAD);
            if !moved || !(reading || keeps_method) {
                return Ok(answer);
            }
            let from = shown(&call.uri);
            let location = answer.header(header::LOCATION).and_then(|l| join(&call.uri, l));
            let next =
                location.ok_or_else(|| Failure::broken(format!("{from}: redirect without a usable Location")))?;
            let (here, there) = (Target::of(&call.uri)?, Target::of(&next)?);
            if (here.tls, &here.host, here.port) != (there.tls, &there.host, there.port) {
                call.headers.retain_for_strangers();
            }
            answer.body.drain().await;
            call.uri = next;
        }
        Err(Failure::broken(format!("{}: stopped after {} redirects", shown(&call.uri), limits::REDIRECTS)))
    }

    /// Sends once. A kept connection that turns out closed is replaced by a new one.
    pub(crate) async fn send(&self, call: &Call) -> Result<Answer, Failure> {
        let target = Target::of(&call.uri)?;
        if let Some(connection) = self.pool.take(&target).await {
            match self.exchange(call, &target, connection).await {
                Ok(answer) => return Ok(answer),
                Err((failure, false)) => return Err(failure),
                Err((_, true)) => {}
            }
        }
        let connection = self.open(&target).await?;
        self.exchange(call, &target, connection).await.map_err(|(failure, _)| failure)
    }

    async fn open(&self, target: &Target) -> Result<Connection, Failure> {
        let Line { stream, forward } = connect(&self.config, target).await?;
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(limits::BUFFER)
            .max_headers(limits::HEADERS)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| Failure::passing(cut(&target.authority, &e)))?;
        // Ends when both the sender and the body are gone; its errors reach us through them.
        tokio::spawn(async move {
            let _ = driver.await;
        });
        Ok(Connection { sender, forward })
    }

    /// On failure also tells whether the connection broke before an answer began.
    async fn exchange(
        &self,
        call: &Call,
        target: &Target,
        mut connection: Connection,
    ) -> Result<Answer, (Failure, bool)> {
        let request = self.request(call, target, connection.forward).map_err(|f| (f, false))?;
        let response = match self.head(call, target, connection.sender.send_request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                let failure = match source_error(call) {
                    Some(error) => Failure::fatal(error),
                    None => Failure::passing(cut(&target.authority, &error)),
                };
                // A body that was partly sent must not be sent again unasked: the upload's offset has moved.
                let again = !error.is_parse() && matches!(call.payload, Payload::Bytes(_));
                return Err((failure, again));
            }
            Err(failure) => return Err((failure, false)),
        };
        let (parts, incoming) = response.into_parts();
        let body = Arriving::new(incoming, self.pool.clone(), target.clone(), connection, self.config.timeouts.stall);
        Ok(Answer { status: parts.status, headers: parts.headers, body, uri: call.uri.clone() })
    }

    /// Waits for the head of the answer; while a body is being sent, only standing still counts.
    async fn head<T>(&self, call: &Call, target: &Target, answer: impl Future<Output = T>) -> Result<T, Failure> {
        let timeouts = &self.config.timeouts;
        let mut answer = std::pin::pin!(answer);
        let sent = match &call.payload {
            Payload::Bytes(_) => None,
            Payload::Stream { watch, .. } => Some(watch),
        };
        let count = || sent.map_or(0, |watch| watch.sent.load(Ordering::Relaxed));
        let mut before = count();
        loop {
            if let Ok(done) = tokio::time::timeout(timeouts.response, &mut answer).await {
                return Ok(done);
            }
            let now = count();
            if now == before {
                let text = format!("{}: timeout awaiting response headers ({:?})", target.authority, timeouts.response);
                return Err(Failure::passing(Error::deadline(text)));
            }
            before = now;
        }
    }

    fn request(&self, call: &Call, target: &Target, forward: bool) -> Result<Request<Outgoing>, Failure> {
        let bad = |what: &str| Failure::fatal(Error::invalid(format!("{}: invalid {what}", shown(&call.uri))));
        let path = call.uri.path_and_query().map_or("/", |p| p.as_str());
        let line = if forward { format!("http://{}{path}", target.authority) } else { path.to_owned() };
        let body = match &call.payload {
            Payload::Bytes(bytes) => Outgoing::Whole(Some(bytes.clone())),
            Payload::Stream { open, .. } => open(),
        };
        let mut request = Request::new(body);
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = line.parse().map_err(|_| bad("URL"))?;
        let headers = request.headers_mut();
        headers.insert(header::HOST, HeaderValue::try_from(&target.authority).map_err(|_| bad("host"))?);
        let agent = HeaderValue::try_from(&self.config.user_agent).map_err(|_| bad("user agent"))?;
        headers.insert(header::USER_AGENT, agent);
        if forward && let Some(proxy) = self.config.proxies.select(false, &target.host, target.port) {
            headers.extend(proxy.authorization.clone().map(|value| (header::PROXY_AUTHORIZATION, value)));
        }
        headers.extend(call.headers.iter().map(|(name, value)| (name.clone(), value.clone())));
        Ok(request)
    }
}

/// The error of our own side's reader, if that is what broke the request.
fn source_error(call: &Call) -> Option<Error> {
    let Payload::Stream { watch, .. } = &call.payload else { return None };
    let fault = watch.fault.lock().unwrap_or_else(PoisonError::into_inner).take()?;
    Some(Error::from(fault).prefixed("read the blob to push"))
}

/// Headers that may go to another host than the one they were made for.
trait Strangers {
    fn retain_for_strangers(&mut self);
}

impl Strangers for HeaderMap {
    fn retain_for_strangers(&mut self) {
        const SHARED: [header::HeaderName; 6] = [
            header::ACCEPT,
            header::ACCEPT_ENCODING,
            header::RANGE,
            header::IF_RANGE,
            header::CONTENT_TYPE,
            header::CONTENT_RANGE,
        ];
        let kept = SHARED.into_iter().filter_map(|name| self.get(&name).cloned().map(|value| (name, value)));
        *self = kept.collect();
    }
}
