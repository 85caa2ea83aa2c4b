//! Connections and requests: accept, bound, route, answer.

use super::call::Call;
use super::query::Query;
use super::reply::{self, Body, Reply};
use super::{Door, router, unsupported, version};
use http::{HeaderValue, Method, Request, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use oci::{Error, Result};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};

/// How many connections are served at a time; more wait in the socket's queue. Each `logs -f` holds one.
const CONNECTIONS: usize = 2048;
/// How long a connection may take to send a request's head, or idle before it.
const HEAD_DEADLINE: Duration = Duration::from_secs(120);
/// How long open connections may go on after the daemon was asked to end.
const DRAIN: Duration = Duration::from_secs(2);

/// Serves `listener` until `stop` becomes true.
pub async fn serve(door: Arc<Door>, listener: UnixListener, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let door = door.clone();
                let stop = stop.clone();
                tokio::spawn(async move {
                    connection(door, stream, stop).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of descriptors or memory: both pass, and accepting at once again would spin.
                tracing::warn!("accept on the docker socket: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    // Requests that are being answered get a moment; streams without end are cut.
    let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(DRAIN, places.acquire_many(all)).await;
}

async fn connection(door: Arc<Door>, stream: UnixStream, mut stop: watch::Receiver<bool>) {
    let service = service_fn(move |request| answer(door.clone(), request));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let stopped = async { drop(stop.wait_for(|stop| *stop).await) };
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stopped => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!("docker connection: {error}");
    }
}

async fn answer(door: Arc<Door>, request: Request<Incoming>) -> Result<Reply, Infallible> {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let mut reply = match dispatch(door, request).await {
        Ok(reply) => reply,
        Err(error) => {
            tracing::debug!("{method} {path}: {error:?}");
            reply::failure(&error)
        }
    };
    let headers = reply.headers_mut();
    headers.insert("Api-Version", value(&version::MAX.to_string()));
    headers.insert("Docker-Experimental", HeaderValue::from_static("false"));
    headers.insert("Ostype", HeaderValue::from_static("linux"));
    headers.insert(header::SERVER, HeaderValue::from_static(concat!("Sampan/", env!("CARGO_PKG_VERSION"), " (linux)")));
    if method == Method::HEAD {
        *reply.body_mut() = Body::Whole(None);
    }
    Ok(reply)
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

async fn dispatch(door: Arc<Door>, mut request: Request<Incoming>) -> Result<Reply> {
    let upgrade = request.headers().contains_key(header::UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let (head, body) = request.into_parts();
    let (version, path) = version::split(head.uri.path())?;
    let Some((route, params)) = router::find(&door.routes, &head.method, path)? else {
        return Err(unsupported::endpoint(path));
    };
    let query = Query::parse(head.uri.query().unwrap_or_default())?;
    let handler = route.handler;
    let call = Call { door: door.clone(), version, params, query, headers: head.headers, body: Some(body), upgrade };
    if matches!(head.method, Method::GET | Method::HEAD) {
        return handler(call).await;
    }
    // What changes something goes on to its end even if the client leaves half-way.
    match tokio::spawn(handler(call)).await {
        Ok(result) => result,
        Err(error) => Err(Error::internal(format!("the request's handler failed: {error}"))),
    }
}
