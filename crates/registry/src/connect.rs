//! A connection to a target: name look-up, TCP, a proxy's tunnel, TLS.

use crate::address::Target;
use crate::config::{Config, Timeouts};
use crate::errors::{Failure, Stage};
use crate::proxy::Proxy;
use crate::{limits, tls, verify};
use oci::{Error, Kind};
use rustls_pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Where several addresses answer slowly, the next is tried beside the first after this.
const HEAD_START: Duration = Duration::from_millis(250);
/// Addresses of one name that are tried.
const ADDRESSES: usize = 8;

/// Bytes both ways, over whatever lies below.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A stream, and whether requests on it need absolute URLs, as a proxy does for plain HTTP.
pub(crate) struct Line {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) forward: bool,
}

/// Connects.
pub(crate) async fn connect(config: &Arc<Config>, target: &Target) -> Result<Line, Failure> {
    let timeouts = &config.timeouts;
    let Some(proxy) = config.proxies.select(target.tls, &target.host, target.port) else {
        let stream = tcp(&target.host, target.port, timeouts).await?;
        let stream =
            if target.tls { handshake(config, target, Box::new(stream)).await? } else { Box::new(stream) as _ };
        return Ok(Line { stream, forward: false });
    };
    let place = format!("{}:{}", proxy.host, proxy.port);
    let through = |f: Failure| Failure { error: f.error.prefixed(format!("proxy {place}")), ..f };
    let stream = tcp(&proxy.host, proxy.port, timeouts).await.map_err(through)?;
    let mut stream: Box<dyn Stream> = Box::new(stream);
    if proxy.tls {
        let authority = place.clone();
        let itself = Target { tls: true, host: proxy.host.clone(), port: proxy.port, authority };
        stream = handshake(config, &itself, stream).await.map_err(through)?;
    }
    if !target.tls {
        return Ok(Line { stream, forward: true });
    }
    let tunnel = timeout(timeouts.handshake, tunnel(stream, proxy, target)).await;
    let late = |_| Failure::passing(Error::deadline(format!("no answer within {:?}", timeouts.handshake)));
    let stream = tunnel.map_err(late).and_then(|r| r).map_err(through)?;
    Ok(Line { stream: handshake(config, target, stream).await?, forward: false })
}

/// Looks the name up through the system (getaddrinfo, on the blocking pool) and connects to the
/// first address that answers.
async fn tcp(host: &str, port: u16, timeouts: &Timeouts) -> Result<TcpStream, Failure> {
    let place = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let fail = |kind, why: String| Failure::passing(Error::new(kind, why)).at(Stage::Connect);
    let work = async {
        let found = tokio::net::lookup_host((host, port)).await;
        let found: Vec<SocketAddr> = found
            .map_err(|e| fail(Kind::Unavailable, format!("lookup {host}: {}", lookup_error(&e))))?
            .take(ADDRESSES)
            .collect();
        race(found).await.map_err(|e| {
            let kind = if e.kind() == io::ErrorKind::TimedOut { Kind::DeadlineExceeded } else { Kind::Unavailable };
            fail(kind, format!("dial tcp {place}: connect: {}", plain(&e)))
        })
    };
    let stream = timeout(timeouts.connect, work).await.map_err(|_| {
        fail(Kind::DeadlineExceeded, format!("dial tcp {place}: no answer within {:?}", timeouts.connect))
    })??;
    // Requests are written whole; waiting to merge small writes only delays them.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

async fn race(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut running = JoinSet::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no such host");
    for address in addresses {
        running.spawn(TcpStream::connect(address));
        match timeout(HEAD_START, running.join_next()).await {
            Ok(Some(Ok(Ok(stream)))) => return Ok(stream),
            Ok(Some(Ok(Err(error)))) => last = error,
            _ => {}
        }
    }
    while let Some(done) = running.join_next().await {
        match done {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(error) => last = io::Error::other(error),
        }
    }
    Err(last)
}

/// The system's words without `(os error 111)`.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

fn lookup_error(error: &io::Error) -> String {
    let text = plain(error);
    let why = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
    if why.contains("not known") || why.contains("no address") { "no such host".into() } else { why.into() }
}

async fn handshake(config: &Arc<Config>, target: &Target, stream: Box<dyn Stream>) -> Result<Box<dyn Stream>, Failure> {
    let (config, target) = (config.clone(), target.clone());
    let (host, wait) = (target.host.clone(), config.timeouts.handshake);
    let settings = tokio::task::spawn_blocking(move || tls::client_config(&config, &target.authority, &target.host))
        .await
        .map_err(|e| Failure::fatal(Error::internal(format!("TLS settings: {e}"))))?
        .map_err(Failure::fatal)?;
    let name = ServerName::try_from(host.clone())
        .map_err(|_| Failure::fatal(Error::invalid(format!("{host:?} is not a host name TLS can check"))))?;
    let connector = tokio_rustls::TlsConnector::from(settings);
    match timeout(wait, connector.connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => Err(handshake_failure(&host, &error)),
        Err(_) => {
            Err(Failure::passing(Error::deadline(format!("{host}: net/http: TLS handshake timeout after {wait:?}")))
                .at(Stage::Handshake))
        }
    }
}

fn handshake_failure(host: &str, error: &io::Error) -> Failure {
    match error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
        // A certificate that is refused is not reason enough to go on without TLS.
        Some(e @ rustls::Error::InvalidCertificate(_)) => Failure::fatal(verify::explain(host, e)),
        Some(e @ rustls::Error::InvalidMessage(_)) => Failure::fatal(verify::explain(host, e)).at(Stage::Handshake),
        Some(e) => Failure::fatal(verify::explain(host, e)),
        None => Failure::passing(Error::unavailable(format!("{host}: tls handshake: {}", plain(error))))
            .at(Stage::Handshake),
    }
}

/// Asks a proxy for a tunnel (RFC 9110, 9.3.6).
async fn tunnel(mut stream: Box<dyn Stream>, proxy: &Proxy, target: &Target) -> Result<Box<dyn Stream>, Failure> {
    let host = if target.host.contains(':') { format!("[{}]", target.host) } else { target.host.clone() };
    let place = format!("{host}:{}", target.port);
    let mut ask = format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n").into_bytes();
    if let Some(value) = &proxy.authorization {
        ask.extend_from_slice(b"Proxy-Authorization: ");
        ask.extend_from_slice(value.as_bytes());
        ask.extend_from_slice(b"\r\n");
    }
    ask.extend_from_slice(b"\r\n");
    let io = |e: io::Error| Failure::passing(Error::from(e)).at(Stage::Connect);
    stream.write_all(&ask).await.map_err(io)?;
    // Byte by byte, as what follows the head already belongs to the tunnel.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > limits::BUFFER {
            return Err(Failure::broken("the answer to CONNECT is too long"));
        }
        head.push(stream.read_u8().await.map_err(io)?);
    }
    let line = String::from_utf8_lossy(head.split(|b| *b == b'\r').next().unwrap_or_default()).into_owned();
    match line.split(' ').nth(1) {
        Some(code) if code.len() == 3 && code.starts_with('2') => Ok(stream),
        Some("407") => Err(Failure::fatal(Error::unauthorized("proxy authentication required"))),
        _ => Err(Failure::fatal(Error::unavailable(format!(
            "CONNECT {place} refused: {}",
            line.chars().filter(|c| !c.is_control()).take(100).collect::<String>()
        )))),
    }
}
