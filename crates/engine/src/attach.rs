//! The two halves of an attached client. A client may come before the process: then both halves wait for its start.

use crate::model::AttachOptions;
use crate::task::Task;
use bytes::Bytes;
use oci::{Error, Result};
use shim::client::{Attachment, Input, Output};
use std::sync::Arc;
use tokio::sync::oneshot;

/// An attached client: output to read, input to write.
pub struct AttachStream {
    /// What the process writes.
    pub output: AttachOutput,
    /// What it reads; `None` if standard input was not asked for.
    pub input: Option<AttachInput>,
    /// The bytes of `output` are a terminal's, without frames.
    pub tty: bool,
}

/// A half that is there, or will be.
enum Half<T> {
    Waiting(oneshot::Receiver<Result<T>>),
    Open(T),
    Closed,
}

impl<T> Half<T> {
    /// The half once there is one; `None` if there will be none.
    async fn get(&mut self) -> Result<Option<&mut T>> {
        if let Self::Waiting(receiver) = self {
            let arrived = receiver.await;
            *self = Self::Closed;
            match arrived {
                Ok(Ok(half)) => *self = Self::Open(half),
                Ok(Err(error)) => return Err(error),
                Err(_) => {}
            }
        }
        Ok(match self {
            Self::Open(half) => Some(half),
            _ => None,
        })
    }
}

/// The reading half.
pub struct AttachOutput {
    /// Comes first: what was logged before.
    before: std::vec::IntoIter<Bytes>,
    half: Half<Output>,
    /// Resolves when the process's end is noted. The stream's end waits for it, so that whoever saw the one can ask
    /// for the other.
    noted: Option<oneshot::Receiver<()>>,
}

impl AttachOutput {
    /// The next piece: raw bytes of a terminal, otherwise Docker's frames (stream, three zero bytes, length as u32 in
    /// network order, data), possibly cut anywhere. `None` after the process has ended and everything was delivered,
    /// or if it was never started.
    ///
    /// # Errors
    /// If the client was too slow and was cut off, or the shim went away.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        if let Some(bytes) = self.before.next() {
            return Some(Ok(bytes));
        }
        let piece = match self.half.get().await {
            Ok(Some(output)) => output.next().await,
            Ok(None) => None,
            Err(error) => Some(Err(error)),
        };
        if piece.is_none()
            && let Some(noted) = self.noted.take()
        {
            let _ = noted.await;
        }
        piece
    }
}

/// The writing half. Dropping it is the same as [`close`](Self::close).
pub struct AttachInput {
    half: Half<Input>,
}

impl AttachInput {
    /// Waits until the process's input took the bytes (or for its start, if it has not started).
    ///
    /// # Errors
    /// If the process has closed its input or ended.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        match self.half.get().await? {
            Some(input) => input.write(&bytes).await,
            None => Err(Error::conflict("the container was not started")),
        }
    }

    /// The client has no more input. The process sees the end of file if the container was made with `stdin_once` (or
    /// it is an exec).
    ///
    /// # Errors
    /// If the shim went away.
    pub async fn close(mut self) -> Result<()> {
        self.half.get().await?;
        match self.half {
            Half::Open(input) => input.close().await,
            _ => Ok(()),
        }
    }
}

/// A client that waits for the next start.
pub(crate) struct Pending {
    options: shim::client::AttachOptions,
    output: oneshot::Sender<Result<Output>>,
    input: Option<oneshot::Sender<Result<Input>>>,
}

impl Pending {
    /// The client has gone away.
    pub(crate) fn is_gone(&self) -> bool {
        self.output.is_closed()
    }

    /// Connects the client to a task that is made and not yet started.
    pub(crate) async fn connect(self, task: &Arc<Task>) {
        if self.is_gone() {
            return;
        }
        match task.attach("", self.options).await {
            Ok(attachment) => {
                let _ = self.output.send(Ok(attachment.output));
                if let (Some(sender), Some(input)) = (self.input, attachment.input) {
                    let _ = sender.send(Ok(input));
                }
            }
            Err(error) => {
                if let Some(sender) = self.input {
                    let _ = sender.send(Err(Error::new(error.kind(), error.to_string())));
                }
                let _ = self.output.send(Err(error));
            }
        }
    }
}

/// The shim's form of the options.
pub(crate) fn shim_options(options: AttachOptions, close_stdin: bool) -> shim::client::AttachOptions {
    shim::client::AttachOptions { stdin: options.stdin, stdout: options.stdout, stderr: options.stderr, close_stdin }
}

impl AttachStream {
    /// Streams of a process that is there.
    pub(crate) fn open(attachment: Attachment, before: Vec<Bytes>) -> Self {
        Self {
            output: AttachOutput { before: before.into_iter(), half: Half::Open(attachment.output), noted: None },
            input: attachment.input.map(|input| AttachInput { half: Half::Open(input) }),
            tty: attachment.tty,
        }
    }

    /// The same streams; the output's end waits until `noted` resolves.
    pub(crate) fn until_noted(mut self, noted: oneshot::Receiver<()>) -> Self {
        self.output.noted = Some(noted);
        self
    }

    /// Streams of a process that will be started, and what connects them then.
    pub(crate) fn pending(options: shim::client::AttachOptions, tty: bool, before: Vec<Bytes>) -> (Self, Pending) {
        let (output, output_half) = oneshot::channel();
        let (input, input_half) = oneshot::channel();
        let stream = Self {
            output: AttachOutput { before: before.into_iter(), half: Half::Waiting(output_half), noted: None },
            input: options.stdin.then_some(AttachInput { half: Half::Waiting(input_half) }),
            tty,
        };
        (stream, Pending { options, output, input: options.stdin.then_some(input) })
    }

    /// Only what was logged.
    pub(crate) fn only(before: Vec<Bytes>, tty: bool) -> Self {
        Self { output: AttachOutput { before: before.into_iter(), half: Half::Closed, noted: None }, input: None, tty }
    }
}
