//! `cp`: files into and out of a container.
//!
//! | the destination | a file goes | a directory goes |
//! |---|---|---|
//! | is not there | to that name | to that name (a name with a slash at its end must be a directory) |
//! | is a file | over it | nowhere |
//! | is a directory | into it | into it; with `/.` at the source's end only what it holds |

use super::shared;
use crate::args::{Arity, Flags, flag, verb};
use crate::client::{Call, Download, Query};
use crate::failure::{Failure, Result};
use crate::format::units::decimal_size;
use crate::tar::{Builder, Extract, extract};
use crate::{Context, output, transfer};
use base64::Engine;
use bytes::Bytes;
use clap::{Arg, ArgMatches};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;
use wire::docker::container::PathStat;

verb!(
    "cp",
    "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n        sampan cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    "Copy files/folders between a container and the local filesystem",
    Arity::Exactly(2)
);

fn flags() -> Vec<Arg> {
    vec![
        flag(Some('a'), "archive", "Archive mode (copy all uid/gid information)"),
        flag(Some('L'), "follow-link", "Always follow symbol link in SRC_PATH"),
        flag(Some('q'), "quiet", "Suppress progress output during copy"),
    ]
}

/// Bits of Go's `os.FileMode`.
const GO_DIRECTORY: u32 = 1 << 31;
const GO_SYMLINK: u32 = 1 << 27;

/// One side of the copy: a container's name and a path in it, or a local path.
fn side(text: &str) -> (Option<&str>, &str) {
    // A path that begins like a path is local, whatever colons it has.
    if text == "-" || text.starts_with(['/', '.']) {
        return (None, text);
    }
    match text.split_once(':') {
        Some((container, path)) if !container.is_empty() => (Some(container), path),
        _ => (None, text),
    }
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let words = m.arguments();
    if words.iter().any(String::is_empty) {
        return Err(Failure::new("source and destination can not be empty"));
    }
    let (source, target) = (side(&words[0]), side(&words[1]));
    let bytes = match (source, target) {
        ((Some(container), from), (None, to)) => from_container(cx, m, container, from, to).await?,
        ((None, from), (Some(container), to)) => to_container(cx, m, from, container, to).await?,
        ((Some(_), _), (Some(_), _)) => return Err(Failure::new("copying between containers is not supported")),
        _ => return Err(Failure::new("must specify at least one container source")),
    };
    if let Some(bytes) = bytes.filter(|_| !m.on("quiet")) {
        output::error(&format!("Successfully copied {} to {}", decimal_size(bytes as f64, 3), words[1]));
    }
    Ok(0)
}

/// The last part of a path, and what is before it; a path that ends in `/.` ends in `.`.
fn split(path: &str) -> (&str, &str) {
    if path == "." || path.ends_with("/.") {
        return (path.strip_suffix('.').unwrap_or(path), ".");
    }
    let trimmed = path.trim_end_matches('/');
    match trimmed.rsplit_once('/') {
        Some((above, name)) => (if above.is_empty() { "/" } else { above }, name),
        None if trimmed.is_empty() => ("/", "."),
        None => (".", trimmed),
    }
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

/// What the container has at a path; `None` if nothing.
async fn stat(cx: &Context, container: &str, path: &str) -> Result<Option<PathStat>> {
    let call = Call::head(shared::container(container, "archive")).query(Query::new().with("path", path));
    match cx.client.download(call).await {
        Ok(answer) => path_stat(&answer).map(Some),
        // The answer to a HEAD has no words; that the container is missing is told by its next use.
        Err(failure) if failure.is_not_found() => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn path_stat(answer: &Download) -> Result<PathStat> {
    let header = answer.header("X-Docker-Container-Path-Stat").unwrap_or_default();
    let decoded = base64::engine::general_purpose::STANDARD.decode(header).unwrap_or_default();
    serde_json::from_slice(&decoded).map_err(|_| Failure::new("the daemon doesn't say what is at the container's path"))
}

/// A link's target as a path in the container.
fn link_target(path: &str, stat: &PathStat) -> String {
    if stat.link_target.starts_with('/') {
        return stat.link_target.clone();
    }
    format!("{}/{}", split(path).0.trim_end_matches('/'), stat.link_target)
}

/// Where an archive is put down, and what its first part becomes.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    directory: String,
    first: Option<String>,
}

/// Decides by what is at the destination: nothing, a directory or something else.
fn place(target: &str, there: Option<bool>, source_is_directory: bool) -> Result<Place> {
    let (above, name) = split(target);
    match there {
        Some(true) => Ok(Place { directory: target.to_owned(), first: None }),
        Some(false) if source_is_directory => {
            Err(Failure::new(format!("cannot copy directory: {target} is there and no directory")))
        }
        Some(false) if target.ends_with('/') => Err(Failure::new(format!("not a directory: {target}"))),
        None if target.ends_with('/') && !source_is_directory => {
            Err(Failure::new(format!("no such directory: {target}")))
        }
        _ => Ok(Place { directory: above.to_owned(), first: Some(name.to_owned()) }),
    }
}

async fn from_container(cx: &Context, m: &ArgMatches, container: &str, from: &str, to: &str) -> Result<Option<u64>> {
    let mut path = absolute(from);
    let mut wanted = None;
    if m.on("follow-link")
        && let Some(stat) = stat(cx, container, &path).await?
        && stat.mode & GO_SYMLINK != 0
    {
        // What is found behind the link keeps the link's name.
        wanted = Some(split(&path).1.to_owned());
        path = link_target(&path, &stat);
    }
    let call = Call::get(shared::container(container, "archive")).query(Query::new().with("path", path.as_str()));
    let mut download = cx.client.download(call).await?;
    if to == "-" {
        transfer::receive(download, transfer::Target::choose("", "copy")?).await?;
        return Ok(None);
    }
    let source_is_directory = path_stat(&download)?.mode & GO_DIRECTORY != 0;
    let there = std::fs::metadata(to).ok().map(|meta| meta.is_dir());
    let above = split(to).0;
    if there.is_none() && !Path::new(above).is_dir() {
        let above = above.trim_end_matches('/');
        return Err(Failure::new(format!("invalid output path: directory {above:?} does not exist")));
    }
    let mut place = place(to, there, source_is_directory)?;
    if place.first.is_none() {
        place.first = wanted;
    }
    let rule = Extract { first: place.first.map(String::into_bytes), owners: m.on("archive") };
    let (sender, receiver) = mpsc::channel::<Bytes>(8);
    let whole = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut reader = Incoming { receiver, current: Bytes::new(), whole: Arc::clone(&whole) };
    let directory = PathBuf::from(&place.directory);
    let work = tokio::task::spawn_blocking(move || extract(&mut reader, &directory, &rule));
    let (mut outcome, mut count) = (Ok(()), 0u64);
    loop {
        match download.next().await {
            Ok(Some(data)) => {
                count += data.len() as u64;
                if sender.send(data).await.is_err() {
                    break;
                }
            }
            Ok(None) => {
                whole.store(true, Ordering::Release);
                break;
            }
            Err(failure) => {
                outcome = Err(failure);
                break;
            }
        }
    }
    drop(sender);
    let extracted = work.await.map_err(|_| Failure::new("the thread that writes files has died"))?;
    outcome?;
    extracted.map(|()| Some(count)).map_err(|error| Failure::new(format!("copy to {to}: {error}")))
}

/// The pieces of an answer for a thread. An answer that broke off is an error, not an end.
struct Incoming {
    receiver: mpsc::Receiver<Bytes>,
    current: Bytes,
    whole: Arc<std::sync::atomic::AtomicBool>,
}

impl Read for Incoming {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(data) => self.current = data,
                None if self.whole.load(Ordering::Acquire) => return Ok(0),
                None => return Err(std::io::Error::other("the daemon broke off the archive")),
            }
        }
        let n = self.current.len().min(buf.len());
        buf[..n].copy_from_slice(&self.current.split_to(n));
        Ok(n)
    }
}

async fn to_container(cx: &Context, m: &ArgMatches, from: &str, container: &str, to: &str) -> Result<Option<u64>> {
    let mut target = absolute(to);
    let mut there = stat(cx, container, &target).await?;
    if let Some(found) = there.as_ref().filter(|found| found.mode & GO_SYMLINK != 0) {
        target = link_target(&target, found);
        there = stat(cx, container, &target).await?;
    }
    let is_directory = there.map(|found| found.mode & GO_DIRECTORY != 0);
    let upload = |directory: &str, body| {
        let query = Query::new()
            .with("path", directory)
            .with("noOverwriteDirNonDir", "true")
            .flag("copyUIDGID", m.on("archive"));
        Call::put(shared::container(container, "archive"))
            .query(query)
            .header("Content-Type", "application/x-tar")
            .body(body)
    };
    if from == "-" {
        if is_directory != Some(true) {
            return Err(Failure::new(format!("destination \"{container}:{to}\" must be a directory")));
        }
        let body = transfer::send(transfer::Source::open("")?)?;
        cx.client.tell(upload(&target, body)).await?;
        return Ok(None);
    }
    let local = PathBuf::from(from);
    let named = |error: std::io::Error| Failure::new(format!("lstat {from}: {}", crate::options::env::plain(&error)));
    let meta = if m.on("follow-link") || from.ends_with('/') || from.ends_with("/.") {
        std::fs::metadata(&local)
    } else {
        std::fs::symlink_metadata(&local)
    }
    .map_err(named)?;
    if from.ends_with('/') && !meta.is_dir() {
        return Err(Failure::new(format!("{from}: not a directory")));
    }
    let place = place(&target, is_directory, meta.is_dir())?;
    let (_, own) = split(from);
    // `..` and `/` have no name of their own.
    let own = if own == ".." { ".".to_owned() } else { own.to_owned() };
    let name = place.first.unwrap_or(own);
    let read = if m.on("follow-link") { std::fs::canonicalize(&local).map_err(named)? } else { local };
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    let body = transfer::produce(move |sender| {
        let mut out = std::io::BufWriter::with_capacity(128 << 10, Outgoing { sender: sender.clone(), count: counted });
        let mut builder = Builder::new(&mut out);
        let built = builder.add_tree(&read, name.as_bytes()).and_then(|()| builder.finish());
        if let Err(error) = built.and_then(|()| out.flush()) {
            let _ = sender.blocking_send(Err(error));
        }
    })?;
    cx.client.tell(upload(&place.directory, body)).await?;
    Ok(Some(count.load(Ordering::Relaxed)))
}

/// Sends what is written, and counts it.
struct Outgoing {
    sender: mpsc::Sender<std::io::Result<Bytes>>,
    count: Arc<AtomicU64>,
}

impl Write for Outgoing {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.sender
            .blocking_send(Ok(Bytes::copy_from_slice(data)))
            .map_err(|_| std::io::Error::from(std::io::ErrorKind::BrokenPipe))?;
        self.count.fetch_add(data.len() as u64, Ordering::Relaxed);
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides() {
        assert_eq!(side("c:/x"), (Some("c"), "/x"));
        assert_eq!(side("./a:b"), (None, "./a:b"));
        assert_eq!(side("/a:b"), (None, "/a:b"));
        assert_eq!(side("-"), (None, "-"));
    }

    #[test]
    fn places() {
        let at =
            |directory: &str, first: Option<&str>| Place { directory: directory.into(), first: first.map(Into::into) };
        assert_eq!(place("/d", Some(true), false).unwrap(), at("/d", None));
        assert_eq!(place("/d/f", Some(false), false).unwrap(), at("/d", Some("f")));
        assert_eq!(place("/d/new", None, true).unwrap(), at("/d", Some("new")));
        assert_eq!(place("new/", None, true).unwrap(), at(".", Some("new")));
        assert!(place("/d/f", Some(false), true).is_err());
        assert!(place("/d/new/", None, false).is_err());
        assert_eq!(split("/a/."), ("/a/", "."));
        assert_eq!(split("/a"), ("/", "a"));
        assert_eq!(split("/"), ("/", "."));
    }
}
