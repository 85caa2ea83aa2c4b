//! Connections that leave HTTP: attach and exec.
//!
//! A client that asks for `Upgrade: tcp` is answered 101, and the connection carries the container's raw bytes or
//! frames ([`wire::docker::stream`]) one way and its standard input the other; a half-closed connection is the input's
//! end. A client that doesn't ask is answered 200 with the output as body; its request's body is the input.

use super::call::Call;
use super::detach::Detector;
use super::frames;
use super::reply::{self, Body, Mode, Reply};
use super::version::ApiVersion;
use bytes::Bytes;
use engine::{AttachInput, AttachOutput, AttachStream};
use http::{HeaderValue, Response, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use oci::{Error, Result};
use std::os::fd::AsFd;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use wire::docker::stream;

/// The size of one read of standard input.
const PIECE: usize = 32 << 10;
/// How often a client that has no more input is looked at, whether it is still there.
const LOOK: Duration = Duration::from_secs(5);

/// The media type of an attached stream.
pub fn media_type(version: ApiVersion, tty: bool) -> &'static str {
    if !tty && version.since(42) { stream::MULTIPLEXED } else { stream::RAW }
}

/// Connects `attached` with the client of `call`.
///
/// # Errors
/// If the answer can't be made.
pub async fn connect(call: &mut Call, attached: AttachStream, detach: Option<Detector>) -> Result<Reply> {
    let media = media_type(call.version, attached.tty);
    let AttachStream { output, input, .. } = attached;
    let Some(upgrade) = call.upgrade.take() else { return in_body(call, media, output, input).await };
    tokio::spawn(async move {
        if let Some((before, reader, writer)) = leave(upgrade).await {
            pump(before, reader, writer, output, input, detach).await;
        }
    });
    Ok(switching(media))
}

/// Answers as an attached stream that holds nothing but `error`.
///
/// # Errors
/// If the answer can't be made.
pub async fn tell(call: &mut Call, error: &Error, tty: bool) -> Result<Reply> {
    let media = media_type(call.version, tty);
    let line = format!("{error}\r\n").into_bytes();
    let bytes = if tty { line.into() } else { frames::frame(stream::Stream::Stdout, &line) };
    let Some(upgrade) = call.upgrade.take() else {
        return reply::stream(media, Mode::Live, |sender| async move { Ok(sender.bytes(bytes).await?) }).await;
    };
    tokio::spawn(async move {
        if let Some((_, _reader, mut writer)) = leave(upgrade).await {
            let _ = writer.write_all(&bytes).await;
            let _ = writer.shutdown().await;
        }
    });
    Ok(switching(media))
}

fn switching(media: &'static str) -> Reply {
    let mut reply = Response::new(Body::Whole(None));
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("tcp"));
    reply
}

/// The connection, once it has left HTTP.
async fn leave(upgrade: OnUpgrade) -> Option<Halves> {
    let upgraded = match upgrade.await {
        Ok(upgraded) => upgraded,
        Err(error) => {
            tracing::debug!("attach: the connection was not upgraded: {error}");
            return None;
        }
    };
    let halves = split(upgraded).inspect_err(|error| tracing::warn!("attach: {error}")).ok()?;
    head_taken(halves.2.as_ref()).await;
    Some(halves)
}

/// Waits, for a bounded time, until the client has read the answer's head. Clients that read it through a buffer (the
/// Python SDK is one) lose what they find behind it, when they go over to the bare socket.
async fn head_taken(stream: &UnixStream) {
    const STEP: Duration = Duration::from_millis(1);
    for _ in 0..500 {
        if sys::socket::taken_by_peer(stream.as_fd()).unwrap_or(true) {
            return;
        }
        tokio::time::sleep(STEP).await;
    }
}

/// The old style: output as the answer's body, input from the request's.
async fn in_body(
    call: &mut Call,
    media: &'static str,
    mut output: AttachOutput,
    input: Option<AttachInput>,
) -> Result<Reply> {
    let mut body = call.stream();
    reply::stream(media, Mode::Live, |sender| async move {
        if let Some(mut input) = input {
            tokio::spawn(async move {
                while let Some(Ok(bytes)) = body.recv().await {
                    if input.write(bytes).await.is_err() {
                        return;
                    }
                }
                let _ = input.close().await;
            });
        }
        while let Some(piece) = output.next().await {
            sender.bytes(piece?).await?;
        }
        Ok(())
    })
    .await
}

type Halves = (Bytes, OwnedReadHalf, OwnedWriteHalf);

fn split(upgraded: Upgraded) -> Result<Halves> {
    let parts = upgraded
        .downcast::<TokioIo<UnixStream>>()
        .map_err(|_| Error::internal("an upgraded connection is no Unix socket"))?;
    let (reader, writer) = parts.io.into_inner().into_split();
    Ok((parts.read_buf, reader, writer))
}

/// Carries bytes both ways until the output ends or the client is gone or has typed the detach keys.
async fn pump(
    before: Bytes,
    reader: OwnedReadHalf,
    mut writer: OwnedWriteHalf,
    mut output: AttachOutput,
    input: Option<AttachInput>,
    detach: Option<Detector>,
) {
    let out = async {
        while let Some(piece) = output.next().await {
            match piece {
                Ok(bytes) if writer.write_all(&bytes).await.is_ok() => {}
                Ok(_) => return,
                Err(error) => {
                    tracing::debug!("attached output: {error}");
                    return;
                }
            }
        }
    };
    // The input's end is not the connection's: only the output's end, a detach or a client that is gone is.
    tokio::select! {
        () = out => {}
        () = feed(before, reader, input, detach) => {}
    }
    let _ = writer.shutdown().await;
}

/// Carries the client's bytes to the process. Returns when the client has detached or is gone.
async fn feed(before: Bytes, mut reader: OwnedReadHalf, input: Option<AttachInput>, mut detach: Option<Detector>) {
    let mut input = input;
    let mut piece = before;
    loop {
        if !piece.is_empty() {
            let mut detached = false;
            if let Some(detector) = &mut detach {
                let scanned = detector.scan(&piece);
                (piece, detached) = (scanned.pass.into(), scanned.detached);
            }
            // Whoever doesn't read any more (the process has closed its input) is no reason to hang up.
            if let Some(writer) = &mut input
                && !piece.is_empty()
                && writer.write(piece).await.is_err()
            {
                input = None;
            }
            if detached {
                return;
            }
        }
        let mut buffer = Vec::with_capacity(PIECE);
        match reader.read_buf(&mut buffer).await {
            Ok(0) => break,
            Ok(_) => piece = buffer.into(),
            Err(_) => return,
        }
    }
    if let Some(input) = input {
        let _ = input.close().await;
    }
    gone(&reader).await;
}

/// Returns when the peer has closed both directions. A peer that has only closed its sending half still reads.
async fn gone(reader: &OwnedReadHalf) {
    let stream: &UnixStream = reader.as_ref();
    loop {
        tokio::time::sleep(LOOK).await;
        match stream.ready(Interest::WRITABLE).await {
            Ok(ready) if !ready.is_write_closed() => {}
            _ => return,
        }
    }
}
