//! Attached streams. The protocol stands in [`crate::attach`].

use crate::attach::{Answer, HELLO_LIMIT, Hello, MAGIC};
use bytes::{Bytes, BytesMut};
use oci::{Context, Error, Kind, Result};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// Which streams, and what the end of input means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AttachOptions {
    /// Write standard input.
    pub stdin: bool,
    /// Read standard output.
    pub stdout: bool,
    /// Read standard error.
    pub stderr: bool,
    /// The process's input ends with this one (Docker's StdinOnce; always so for an exec).
    pub close_stdin: bool,
}

/// A process's streams.
#[derive(Debug)]
pub struct Attachment {
    /// What it writes.
    pub output: Output,
    /// What it reads, if asked for.
    pub input: Option<Input>,
    /// The bytes are a terminal's, without frames.
    pub tty: bool,
}

/// The reading half.
#[derive(Debug)]
pub struct Output {
    stream: OwnedReadHalf,
    ahead: BytesMut,
}

impl Output {
    /// The next bytes (Docker's frames cut anywhere, or a terminal's raw bytes); `None` at the end.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        if self.ahead.is_empty() {
            self.ahead.reserve(32 * 1024);
            match self.stream.read_buf(&mut self.ahead).await {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return Some(Err(error).context(|| "read from the shim")),
            }
        }
        Some(Ok(self.ahead.split().freeze()))
    }
}

/// The writing half. Dropping it ends the input (see [`AttachOptions::close_stdin`]).
#[derive(Debug)]
pub struct Input {
    stream: OwnedWriteHalf,
}

impl Input {
    /// Writes, waiting for the process to read.
    ///
    /// # Errors
    /// `Conflict` if it has closed its input or ended.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream
            .write_all(bytes)
            .await
            .map_err(|error| Error::conflict("the process no longer reads its standard input").with_source(error))
    }

    /// Ends the input.
    ///
    /// # Errors
    /// If the connection is gone.
    pub async fn close(mut self) -> Result<()> {
        self.stream.shutdown().await.context(|| "end standard input")
    }
}

pub(super) async fn attach(address: &str, id: &str, exec_id: &str, options: AttachOptions) -> Result<Attachment> {
    let what = || format!("attach to {id}");
    let path = super::launch::socket_path(address)?;
    let mut stream = UnixStream::connect(path)
        .await
        .map_err(|error| Error::unavailable(format!("connect to shim at {}", path.display())).with_source(error))?;
    let hello = Hello {
        id: id.into(),
        exec_id: exec_id.into(),
        stdin: options.stdin,
        stdout: options.stdout,
        stderr: options.stderr,
        close_stdin: options.close_stdin,
    };
    let mut first = vec![MAGIC];
    serde_json::to_writer(&mut first, &hello).map_err(|error| Error::internal(what()).with_source(error))?;
    first.push(b'\n');
    stream.write_all(&first).await.context(what)?;
    let mut ahead = BytesMut::new();
    let line_end = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            if let Some(at) = ahead.iter().position(|b| *b == b'\n') {
                return Ok(at);
            }
            if ahead.len() > HELLO_LIMIT || stream.read_buf(&mut ahead).await.context(what)? == 0 {
                return Err(Error::unavailable(format!("{}: the shim closed the connection", what())));
            }
        }
    })
    .await
    .map_err(|_| Error::deadline(format!("{}: the shim does not answer", what())))??;
    let line = ahead.split_to(line_end + 1);
    let answer: Answer = serde_json::from_slice(&line).map_err(|error| Error::corrupt(what()).with_source(error))?;
    if let Some(error) = answer.error {
        let kind = if answer.kind.as_deref() == Some("not_found") { Kind::NotFound } else { Kind::Conflict };
        return Err(Error::new(kind, error));
    }
    let (read, mut write) = stream.into_split();
    let input = if options.stdin {
        Some(Input { stream: write })
    } else {
        write.shutdown().await.context(what)?;

        None
    };
    Ok(Attachment { output: Output { stream: read, ahead }, input, tty: answer.tty })
}
