//! Files in and out of containers: cp, export, diff.

use super::Containers;
use crate::engine::Core;
use crate::model::{ArchivePut, ByteStream, Change, ChangeKind, ContainerRecord, MountKind, MountPoint, PathStat};
use crate::rootfs::check_inside;
use bytes::{Buf, Bytes, BytesMut};
use oci::{Context, Error, Result};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use storage::archive::{self, TarIn};
use tokio::sync::mpsc;

/// Pieces on the way between a door and a blocking thread.
const AHEAD: usize = 4;
/// Size of an outgoing piece.
const PIECE: usize = 64 * 1024;

/// Writes into a stream from a blocking thread.
struct Sender {
    pieces: mpsc::Sender<Result<Bytes>>,
    piece: BytesMut,
}

impl Sender {
    fn send(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = self.piece.split().freeze();
        self.pieces.blocking_send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE);
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() >= PIECE {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

/// Lets `write` fill a stream on a blocking thread. Its error ends the stream.
fn stream(write: impl FnOnce(&mut dyn Write) -> Result<()> + Send + 'static) -> ByteStream {
    let (pieces, stream) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut sender = Sender { pieces, piece: BytesMut::with_capacity(PIECE) };
        let result = write(&mut sender).and_then(|()| sender.flush().map_err(Error::from));
        if let Err(error) = result {
            // Whoever went away doesn't want to hear.
            let _ = sender.pieces.blocking_send(Err(error));
        }
    });
    stream
}

/// Reads a stream on a blocking thread.
struct Receiver {
    pieces: ByteStream,
    piece: Bytes,
}

impl Read for Receiver {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Ok(0),
            }
        }
        let taken = into.len().min(self.piece.len());
        self.piece.copy_to_slice(&mut into[..taken]);
        Ok(taken)
    }
}

/// What a handle is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Look,
    Read,
    Write,
}

/// A handle, and the path that was asked for as it is called from there.
struct Opened {
    core: Arc<Core>,
    record: Arc<ContainerRecord>,
    root: OwnedFd,
    path: String,
}

/// In a container that doesn't run nothing is mounted: a path that a bind or volume would show is looked for in that.
fn behind_mount<'a>(record: &'a ContainerRecord, path: &str) -> Result<Option<(&'a MountPoint, String)>> {
    if record.phase.is_running() {
        return Ok(None);
    }
    let clean = super::mounts::clean(&format!("/{path}"))?;
    let inside = |m: &&MountPoint| clean.strip_prefix(&m.target).is_some_and(|r| r.is_empty() || r.starts_with('/'));
    let mount = record.mounts.iter().filter(inside).max_by_key(|m| m.target.len());
    let Some(mount) = mount else { return Ok(None) };
    if mount.kind == MountKind::Tmpfs {
        return Err(Error::conflict(format!(
            "{} is in memory and empty while the container doesn't run",
            mount.target
        )));
    }
    let rest = &clean[mount.target.len()..];
    Ok(Some((mount, if rest.is_empty() { "/".into() } else { rest.to_owned() })))
}

fn missing(record: &ContainerRecord, path: &str, error: Error) -> Error {
    if error.kind() == oci::Kind::NotFound {
        return Error::not_found(format!("Could not find the file {path} in container {}", record.id));
    }
    error
}

impl Containers {
    async fn root(&self, id: &str, path: &str, access: Access) -> Result<Opened> {
        check_inside(path)?;
        let (core, record) = (self.ns.core().clone(), self.get(id)?);
        let (shared, copied) = (core.clone(), record.clone());
        let wanted = path.to_owned();
        let (root, path) = crate::blocking(move || match behind_mount(&copied, &wanted)? {
            Some((mount, rest)) if access == Access::Read && rest == "/" && !wanted.ends_with("/.") => {
                Err(Error::unsupported(format!(
                    "copying the whole mount {} of a container that doesn't run; copy {}/. or start it",
                    mount.target, mount.target
                )))
            }
            Some((mount, _)) if access == Access::Write && !mount.rw => {
                Err(Error::permission_denied(format!("mounted volume {} is marked read-only", mount.target)))
            }
            Some((mount, rest)) => {
                let dir = File::open(&mount.source).context(|| format!("open {}", mount.source))?;
                let rest = if wanted.ends_with("/.") { format!("{}/.", rest.trim_end_matches('/')) } else { rest };
                Ok((OwnedFd::from(dir), rest))
            }
            None => Ok((shared.open_root(&copied, access != Access::Write)?, wanted)),
        })
        .await?;
        Ok(Opened { core, record, root, path })
    }

    /// A tar of what is at `path` inside.
    ///
    /// # Errors
    /// `NotFound` for container or path.
    pub async fn archive_get(&self, id: &str, path: &str) -> Result<(PathStat, ByteStream)> {
        let Opened { core, record, root, path: wanted } = self.root(id, path, Access::Read).await?;
        let (stat, root, wanted) = crate::blocking(move || Ok((archive::stat_in_root(&root, &wanted)?, root, wanted)))
            .await
            .map_err(|e| missing(&record, path, e))?;
        core.container_event(&record, "archive-path", &[]);
        Ok((shown(stat), stream(move |out| archive::tar_out(&root, &wanted, out))))
    }

    /// What is at `path` inside.
    ///
    /// # Errors
    /// `NotFound` for container or path.
    pub async fn archive_stat(&self, id: &str, path: &str) -> Result<PathStat> {
        let Opened { record, root, path: wanted, .. } = self.root(id, path, Access::Look).await?;
        let whole_mount = wanted == "/";
        let stat = crate::blocking(move || archive::stat_in_root(&root, &wanted)).await;
        let mut stat = stat.map(shown).map_err(|e| missing(&record, path, e))?;
        let asked = path.trim_end_matches('/').rsplit('/').next().filter(|n| !n.is_empty());
        if let (true, Some(name)) = (whole_mount, asked) {
            // The directory behind a mount has another name than the one inside.
            name.clone_into(&mut stat.name);
        }
        Ok(stat)
    }

    /// Unpacks a tar (gzip and zstd are recognized) into the directory `path` inside.
    ///
    /// # Errors
    /// `NotFound` for container or path; `InvalidArgument` for something else than a directory or a broken archive;
    /// `PermissionDenied` on a read-only root filesystem.
    pub async fn archive_put(&self, id: &str, path: &str, options: ArchivePut, body: ByteStream) -> Result<()> {
        let record = self.get(id)?;
        if record.spec.readonly_rootfs {
            return Err(Error::permission_denied("container rootfs is marked read-only"));
        }
        let Opened { core, record, root, path: wanted } = self.root(id, path, Access::Write).await?;
        let how =
            TarIn { keep_kinds: options.no_overwrite_dir_non_dir, owner: (!options.copy_uid_gid).then_some((0, 0)) };
        crate::blocking(move || archive::tar_in(&root, &wanted, how, Receiver { pieces: body, piece: Bytes::new() }))
            .await
            .map_err(|e| missing(&record, path, e))?;
        core.container_event(&record, "extract-to-dir", &[]);
        Ok(())
    }

    /// A tar of the root filesystem, without mounts.
    ///
    /// # Errors
    /// `NotFound`; storage's, also later in the stream.
    pub async fn export(&self, id: &str) -> Result<ByteStream> {
        let Opened { core, record, root, .. } = self.root(id, "/", Access::Read).await?;
        core.container_event(&record, "export", &[]);
        Ok(stream(move |out| archive::export(&root, out)))
    }

    /// What differs from the image.
    ///
    /// # Errors
    /// `NotFound`; storage's.
    pub async fn changes(&self, id: &str) -> Result<Vec<Change>> {
        let (core, record) = (self.ns.core().clone(), self.get(id)?);
        let mounts = record.mounts.clone();
        let changes = crate::blocking(move || core.store.changes(&record.snapshotter, &record.snapshot_key())).await?;
        let kind = |kind| match kind {
            storage::ChangeKind::Modified => ChangeKind::Modified,
            storage::ChangeKind::Added => ChangeKind::Added,
            storage::ChangeKind::Deleted => ChangeKind::Deleted,
        };
        let change =
            |c: storage::Change| Change { path: String::from_utf8_lossy(&c.path).into_owned(), kind: kind(c.kind) };
        let targets: Vec<&str> = mounts.iter().map(|mount| mount.target.as_str()).collect();
        Ok(super::changes::without_mount_points(changes.into_iter().map(change).collect(), &targets))
    }
}

fn shown(stat: archive::PathStat) -> PathStat {
    PathStat { name: stat.name, size: stat.size, mode: stat.mode, mtime: stat.mtime, link_target: stat.link_target }
}
