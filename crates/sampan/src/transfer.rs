//! Archives on their way between the daemon and a file or a pipe.
//!
//! Files block, so they have threads of their own, joined to the connection by short channels.

use crate::client::{Body, Download};
use crate::failure::{Failure, Result};
use crate::terminal;
use bytes::Bytes;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use tokio::sync::mpsc;

/// Pieces in flight.
const DEPTH: usize = 8;
/// A piece's size.
const PIECE: usize = 128 << 10;

/// Where a received archive goes.
pub(crate) enum Target {
    Stdout,
    /// A file under another name until it is whole.
    File {
        file: File,
        temporary: PathBuf,
        path: PathBuf,
        kept: bool,
    },
}

impl Target {
    /// The file `output`, or standard output, which must not be a terminal.
    pub(crate) fn choose(output: &str, verb: &str) -> Result<Self> {
        if output.is_empty() {
            if terminal::stdout_is_terminal() {
                return Err(Failure::new(format!(
                    "cowardly refusing to {verb} to a terminal. Use the -o flag or redirect"
                )));
            }
            return Ok(Self::Stdout);
        }
        let path = PathBuf::from(output);
        let what = if verb == "save" { "save image" } else { "export container" };
        let plain = crate::options::env::plain;
        let above = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
        if let Err(error) = std::fs::metadata(above) {
            let why = format!("stat {}: {}", above.display(), plain(&error));
            return Err(Failure::new(format!("failed to {what}: invalid output path: {why}")));
        }
        let fail = |error: std::io::Error| Failure::new(format!("failed to {what}: {output}: {}", plain(&error)));
        match std::fs::metadata(&path) {
            Ok(there) if there.is_dir() => {
                return Err(Failure::new(format!("failed to {what}: {output} is a directory")));
            }
            // A device or a pipe is written as it is.
            Ok(there) if !there.is_file() => {
                let file = File::options().write(true).open(&path).map_err(fail)?;
                return Ok(Self::File { file, temporary: PathBuf::new(), path, kept: true });
            }
            _ => {}
        }
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("archive");
        let temporary = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
        let file = File::options().write(true).create_new(true).open(&temporary).map_err(fail)?;
        Ok(Self::File { file, temporary, path, kept: false })
    }

    fn write(&mut self, data: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Stdout => std::io::stdout().lock().write_all(data),
            Self::File { file, .. } => file.write_all(data),
        }
    }

    fn finish(&mut self) -> std::io::Result<()> {
        match self {
            Self::Stdout => std::io::stdout().lock().flush(),
            Self::File { kept: true, .. } => Ok(()),
            Self::File { temporary, path, kept, .. } => {
                std::fs::rename(temporary, path)?;
                *kept = true;
                Ok(())
            }
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Self::File { temporary, kept: false, .. } = self {
            let _ = std::fs::remove_file(temporary);
        }
    }
}

/// Writes an answer's bytes to the target, all or nothing.
pub(crate) async fn receive(mut download: Download, mut target: Target) -> Result<()> {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(DEPTH);
    let writer = tokio::task::spawn_blocking(move || -> std::io::Result<Target> {
        while let Some(data) = receiver.blocking_recv() {
            target.write(&data)?;
        }
        Ok(target)
    });
    let mut outcome = Ok(());
    loop {
        match download.next().await {
            Ok(Some(data)) => {
                if sender.send(data).await.is_err() {
                    break;
                }
            }
            Ok(None) => break,
            Err(failure) => {
                outcome = Err(failure);
                break;
            }
        }
    }
    drop(sender);
    let fail = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::silent(141),
        _ => Failure::new(format!("write the archive: {error}")),
    };
    let written = writer.await.map_err(|_| Failure::new("the thread that writes the archive has died"))?;
    let mut target = written.map_err(fail)?;
    outcome?;
    target.finish().map_err(fail)
}

/// Where a sent archive comes from.
pub(crate) struct Source(Box<dyn Read + Send>);

impl Source {
    /// The file `input`, or standard input.
    pub(crate) fn open(input: &str) -> Result<Self> {
        if input.is_empty() {
            return Ok(Self(Box::new(std::io::stdin())));
        }
        let file = File::open(input)
            .map_err(|error| Failure::new(format!("open {input}: {}", crate::options::env::plain(&error))))?;
        Ok(Self(Box::new(file)))
    }
}

/// A request's body of the source's bytes.
pub(crate) fn send(mut source: Source) -> Result<Body> {
    produce(move |sender| {
        let mut buffer = vec![0; PIECE];
        loop {
            match source.0.read(&mut buffer) {
                Ok(0) => return,
                Ok(n) => {
                    if sender.blocking_send(Ok(Bytes::copy_from_slice(&buffer[..n]))).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let _ = sender.blocking_send(Err(error));
                    return;
                }
            }
        }
    })
}

/// A request's body of what a thread sends.
pub(crate) fn produce(work: impl FnOnce(mpsc::Sender<std::io::Result<Bytes>>) + Send + 'static) -> Result<Body> {
    let (sender, receiver) = mpsc::channel::<std::io::Result<Bytes>>(DEPTH);
    std::thread::Builder::new()
        .name("archive".into())
        .spawn(move || work(sender))
        .map_err(|error| Failure::new(format!("start a thread for the archive: {error}")))?;
    let frames = futures_util::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|piece| (piece.map(Frame::data), receiver))
    });
    Ok(BodyExt::boxed_unsync(StreamBody::new(frames)))
}
