//! A person and a container, connected: standard input goes in, output comes out, keys detach.
//!
//! ```text
//! stdin ──thread──▶ (detach keys) ──▶ writer ──▶ daemon ──▶ reader ──▶ (frames) ──thread──▶ stdout, stderr
//! ```
//! Reading and writing this program's own descriptors blocks, and therefore has threads of its own: a stalled pipe
//! never holds up signals or the other direction.

use crate::client::{Call, Client, Hijacked, Query};
use crate::failure::{Failure, Result};
use crate::terminal::{self, Escape, Raw};
use bytes::{Bytes, BytesMut};
use std::io::Write;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use wire::docker::stream::{HEADER, Stream, parse_header};

/// What is connected.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    /// The container has a terminal: the output is not framed, and the person's terminal goes into raw mode.
    pub(crate) tty: bool,
    /// Send standard input.
    pub(crate) stdin: bool,
    /// Print the container's standard output.
    pub(crate) stdout: bool,
    /// Print the container's standard error.
    pub(crate) stderr: bool,
    /// The keys that detach.
    pub(crate) keys: Vec<u8>,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The container's output is at its end.
    Closed,
    /// The person typed the keys that detach.
    Detached,
}

/// Where a piece of output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Stdout,
    Stderr,
}

/// A thread that writes what it is given.
pub(crate) struct Output {
    sender: mpsc::Sender<(Target, Bytes)>,
    done: oneshot::Receiver<Result<()>>,
}

impl Output {
    /// Starts the thread.
    pub(crate) fn start() -> Result<Self> {
        let (sender, mut receiver) = mpsc::channel::<(Target, Bytes)>(16);
        let (finished, done) = oneshot::channel();
        let work = move || {
            let mut outcome = Ok(());
            while let Some((target, data)) = receiver.blocking_recv() {
                let written = match target {
                    Target::Stdout => write(&mut std::io::stdout().lock(), &data),
                    Target::Stderr => write(&mut std::io::stderr().lock(), &data),
                };
                if let Err(error) = written {
                    outcome = Err(match error.kind() {
                        // As SIGPIPE would have it.
                        std::io::ErrorKind::BrokenPipe => Failure::silent(141),
                        _ => Failure::new(format!("write the container's output: {error}")),
                    });
                    break;
                }
            }
            let _ = finished.send(outcome);
        };
        spawn("output", work)?;
        Ok(Self { sender, done })
    }

    /// Queues a piece; an error means that [`Output::finish`] has an error to tell.
    pub(crate) async fn put(&self, target: Target, data: Bytes) -> Result<(), ()> {
        self.sender.send((target, data)).await.map_err(drop)
    }

    /// Waits until all is written.
    pub(crate) async fn finish(self) -> Result<()> {
        drop(self.sender);
        self.done.await.unwrap_or_else(|_| Err(Failure::new("the thread that writes output has died")))
    }
}

fn write(to: &mut impl Write, data: &[u8]) -> std::io::Result<()> {
    to.write_all(data)?;
    to.flush()
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<()> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map(drop)
        .map_err(|error| Failure::new(format!("start a thread for {name}: {error}")))
}

/// What is typed or piped in; the channel closes at its end.
fn read_stdin() -> Result<mpsc::Receiver<Bytes>> {
    let (sender, receiver) = mpsc::channel(4);
    spawn("input", move || {
        let mut buffer = vec![0u8; 32 << 10];
        loop {
            match rustix::io::read(std::io::stdin(), &mut buffer) {
                Ok(0) => return,
                Ok(n) => {
                    if sender.blocking_send(Bytes::copy_from_slice(&buffer[..n])).is_err() {
                        return;
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    })?;
    Ok(receiver)
}

/// Runs a session to its end. Raw mode lasts exactly as long.
pub(crate) async fn run(stream: Hijacked, plan: &Plan) -> Result<Ended> {
    let raw = if plan.tty && plan.stdin { Raw::enter()? } else { None };
    let Hijacked { reader, mut writer, framed } = stream;
    let framed = framed.unwrap_or(!plan.tty) && !plan.tty;
    let output = Output::start()?;
    let input = async {
        if !plan.stdin {
            // Nothing to send, and the container isn't told that its input has ended.
            return std::future::pending().await;
        }
        let mut typed = read_stdin()?;
        let mut escape = plan.tty.then(|| Escape::new(plan.keys.clone()));
        while let Some(data) = typed.recv().await {
            let (data, detached) = match &mut escape {
                Some(escape) => escape.feed(&data),
                None => (data.to_vec(), false),
            };
            if !data.is_empty() && writer.send(&data).await.is_err() {
                // The container doesn't read any more; its output may go on.
                break;
            }
            if detached {
                return Ok(Ended::Detached);
            }
        }
        let _ = writer.close().await;
        if plan.stdout || plan.stderr {
            return std::future::pending().await;
        }
        Ok(Ended::Closed)
    };
    let copied = tokio::select! {
        copied = copy(reader, framed, plan, &output) => copied.map(|()| Ended::Closed),
        ended = input => ended,
    };
    let written = output.finish().await;
    drop(raw);
    let ended = copied?;
    written?;
    Ok(ended)
}

/// Prints an answer of logs: framed unless the container has a terminal.
pub(crate) async fn print_frames(reader: impl AsyncRead + Unpin, framed: bool) -> Result<()> {
    let output = Output::start()?;
    let plan = Plan { stdout: true, stderr: true, ..Plan::default() };
    let copied = copy(reader, framed, &plan, &output).await;
    output.finish().await?;
    copied
}

async fn copy(mut reader: impl AsyncRead + Unpin, framed: bool, plan: &Plan, output: &Output) -> Result<()> {
    let mut buffer = BytesMut::with_capacity(64 << 10);
    let mut frames = Frames::default();
    loop {
        buffer.reserve(32 << 10);
        let n = match reader.read_buf(&mut buffer).await {
            Ok(n) => n,
            // A daemon that closes hard after the last byte has said all it had to say.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(Failure::new(format!("read the container's output: {error}"))),
        };
        if n == 0 {
            return if buffer.is_empty() && frames.left == 0 {
                Ok(())
            } else {
                Err(Failure::new("the container's output broke off in the middle of a frame"))
            };
        }
        if !framed {
            if output.put(Target::Stdout, buffer.split().freeze()).await.is_err() {
                return Ok(());
            }
            continue;
        }
        while let Some((stream, data)) = frames.next(&mut buffer)? {
            let target = match stream {
                Stream::Stdin | Stream::Stdout if plan.stdout => Target::Stdout,
                Stream::Stderr if plan.stderr => Target::Stderr,
                Stream::SystemError => {
                    return Err(Failure::new(format!(
                        "error from daemon in stream: {}",
                        String::from_utf8_lossy(&data).trim()
                    )));
                }
                _ => continue,
            };
            if output.put(target, data).await.is_err() {
                return Ok(());
            }
        }
    }
}

/// Takes frames apart. A frame's payload is passed on in pieces, as it comes.
#[derive(Default)]
struct Frames {
    current: Option<Stream>,
    left: usize,
}

impl Frames {
    fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<(Stream, Bytes)>> {
        loop {
            if let (Some(stream), true) = (self.current, self.left > 0) {
                // An error's text is wanted as a whole.
                if buffer.is_empty() || (stream == Stream::SystemError && buffer.len() < self.left.min(4096)) {
                    return Ok(None);
                }
                let piece = buffer.split_to(self.left.min(buffer.len())).freeze();
                self.left -= piece.len();
                return Ok(Some((stream, piece)));
            }
            let Some(head) = buffer.first_chunk::<HEADER>() else { return Ok(None) };
            let (stream, length) = parse_header(head)
                .ok_or_else(|| Failure::new("the container's output is not framed as the API says"))?;
            let _ = buffer.split_to(HEADER);
            self.current = Some(stream);
            self.left = length as usize;
        }
    }
}

/// Which terminal a size is for.
#[derive(Debug, Clone)]
pub(crate) enum Screen {
    Container(String),
    Exec(String),
}

impl Screen {
    async fn resize(&self, client: &Client) -> Result<()> {
        self.resize_by(client, 0).await
    }

    /// Gives the terminal one row more than it has. The resize that follows makes a program that waits at its prompt
    /// draw it again, for a person who has just come.
    pub(crate) async fn nudge(&self, client: &Client) {
        let _ = self.resize_by(client, 1).await;
    }

    async fn resize_by(&self, client: &Client, more: u16) -> Result<()> {
        let Some((rows, columns)) = terminal::size() else { return Ok(()) };
        let (rows, columns) = (rows.saturating_add(more), columns.saturating_add(more));
        let path = match self {
            Self::Container(id) => format!("/containers/{id}/resize"),
            Self::Exec(id) => format!("/exec/{id}/resize"),
        };
        let query = Query::new().with("h", rows.to_string()).with("w", columns.to_string());
        client.tell(Call::post(path).query(query)).await
    }

    /// Sets the size now and whenever the person's terminal changes, for ever.
    pub(crate) async fn follow(&self, client: &Client) -> Result<()> {
        let mut changes =
            signal(SignalKind::window_change()).map_err(|error| Failure::new(format!("catch SIGWINCH: {error}")))?;
        // The process may not be there yet.
        for attempt in 1..=10u64 {
            if self.resize(client).await.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10 * attempt)).await;
        }
        while changes.recv().await.is_some() {
            let _ = self.resize(client).await;
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::docker::stream::header;

    #[test]
    fn frames_arrive_in_any_pieces() {
        let mut bytes = Vec::new();
        for (stream, text) in [(Stream::Stdout, "hello"), (Stream::Stderr, ""), (Stream::Stderr, "bad")] {
            bytes.extend(header(stream, text.len() as u32));
            bytes.extend(text.as_bytes());
        }
        for size in 1..bytes.len() {
            let mut frames = Frames::default();
            let mut buffer = BytesMut::new();
            let (mut out, mut err) = (Vec::new(), Vec::new());
            for piece in bytes.chunks(size) {
                buffer.extend_from_slice(piece);
                while let Some((stream, data)) = frames.next(&mut buffer).unwrap() {
                    if stream == Stream::Stdout { out.extend(data) } else { err.extend(data) }
                }
            }
            assert_eq!((out.as_slice(), err.as_slice()), (&b"hello"[..], &b"bad"[..]), "pieces of {size}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let mut buffer = BytesMut::from(&b"plain text"[..]);
        assert!(Frames::default().next(&mut buffer).is_err());
    }
}
