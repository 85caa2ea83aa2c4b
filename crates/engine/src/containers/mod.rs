//! What can be done with containers: one file per flow, all behind [`Containers`].
//!
//! - [`directory`]: found by id and name; [`supervisor`]: the only writer of each record
//! - flows: `create`, `start`, `connect`, `stop` (kill, pause), `exit`, `remove`, `teardown`, `found` (recovery), `update`
//! - reads: `wait`, `top`, `stats`, `archive`
//! - [`policy`]: when to start again; `mounts`: from what was asked for to what there is

mod archive;
mod changes;
mod connect;
mod create;
mod directory;
mod exit;
mod found;
mod mounts;
mod policy;
mod remove;
mod start;
mod stats;
mod stop;
mod supervisor;
mod teardown;
mod top;
mod update;
mod wait;

pub(crate) use directory::{Directory, Handle, Published};
pub(crate) use found::Found;
pub(crate) use start::exit_code_of;
pub(crate) use supervisor::Supervisor;

use crate::attach::{self, AttachStream};
use crate::engine::Namespace;
use crate::logs::{self, LogStream};
use crate::model::*;
use crate::{names, signals};
use oci::{Error, Result};
use std::sync::Arc;
use supervisor::{Command, Reply};
use tokio::sync::oneshot;

/// Containers of one namespace. Where an id is asked for, the id, a unique beginning of it, or the name will do, tried
/// in Docker's order: id, name, beginning.
pub struct Containers {
    pub(crate) ns: Namespace,
}

/// A choice among containers.
pub type Filter<'a> = &'a (dyn Fn(&ContainerRecord) -> bool + Send + Sync);

/// The same error for one more listener.
fn clone_error(error: &Error) -> Error {
    Error::new(error.kind(), error.to_string())
}

fn being_removed(id: &str) -> Error {
    Error::conflict(format!("container {id} is being removed"))
}

/// Sends a command, and waits for its answer.
async fn tell<T>(handle: &Handle, command: impl FnOnce(Reply<T>) -> Command) -> Result<T> {
    let gone = || Error::not_found(format!("No such container: {}", handle.id));
    let (reply, answer) = oneshot::channel();
    handle.commands.send(command(reply)).await.map_err(|_| gone())?;
    answer.await.map_err(|_| Error::unavailable("the engine is shutting down"))?
}

impl Containers {
    fn find(&self, given: &str) -> Result<Arc<Handle>> {
        self.ns.core().containers.find(self.ns.name(), given)
    }

    /// Starts it. Starting one that runs does nothing and returns `false`.
    ///
    /// # Errors
    /// If the process could not be started; the message is Docker's, the container keeps it with exit code 126, 127
    /// or 128.
    pub async fn start(&self, id: &str) -> Result<bool> {
        let handle = self.find(id)?;
        if handle.record().phase == Phase::Paused {
            return Err(Error::conflict("cannot start a paused container, try unpause instead"));
        }
        tell(&handle, Command::Start).await
    }

    /// Asks it to end, then kills it. `timeout`: seconds, negative for no limit, `None` for the container's own.
    /// Returns `false` if it did not run.
    ///
    /// # Errors
    /// `NotFound`; the shim's.
    pub async fn stop(&self, id: &str, timeout: Option<i64>, signal: Option<&str>) -> Result<bool> {
        let handle = self.find(id)?;
        let (grace, signal) = remove::stop_terms(&handle.record(), timeout, signal)?;
        tell(&handle, |reply| Command::Stop { grace, signal, reply }).await
    }

    /// Sends a signal by name or number; `KILL` where absent.
    ///
    /// # Errors
    /// `Conflict` if it doesn't run; `InvalidArgument` for an unknown signal.
    pub async fn kill(&self, id: &str, signal: Option<&str>) -> Result<()> {
        let signal = match signal.filter(|s| !s.is_empty()) {
            Some(text) => signals::parse(text)?,
            None => signals::KILL,
        };
        tell(&*self.find(id)?, |reply| Command::Kill(signal, reply)).await
    }

    /// Stops it if it runs, and starts it.
    ///
    /// # Errors
    /// Those of stop and start.
    pub async fn restart(&self, id: &str, timeout: Option<i64>, signal: Option<&str>) -> Result<()> {
        let handle = self.find(id)?;
        let (grace, signal) = remove::stop_terms(&handle.record(), timeout, signal)?;
        tell(&handle, |reply| Command::Restart { grace, signal, reply }).await
    }

    /// Freezes its processes.
    ///
    /// # Errors
    /// `Conflict` if it doesn't run or is frozen.
    pub async fn pause(&self, id: &str) -> Result<()> {
        tell(&*self.find(id)?, Command::Pause).await
    }

    /// Thaws its processes.
    ///
    /// # Errors
    /// `Conflict` if it is not frozen.
    pub async fn unpause(&self, id: &str) -> Result<()> {
        tell(&*self.find(id)?, Command::Unpause).await
    }

    /// Removes it; with `force` also one that runs, with `volumes` its anonymous volumes too.
    ///
    /// # Errors
    /// `Conflict` if it runs. What could not be removed is told together; a repeated call goes on.
    pub async fn remove(&self, id: &str, force: bool, volumes: bool) -> Result<()> {
        tell(&*self.find(id)?, |reply| Command::Remove { force, volumes, reply }).await
    }

    /// Gives it another name.
    ///
    /// # Errors
    /// `Conflict` for a name in use, `InvalidArgument` for one that can't be.
    pub async fn rename(&self, id: &str, name: &str) -> Result<()> {
        let name = name.strip_prefix('/').unwrap_or(name).to_owned();
        names::check(&name, "container")?;
        tell(&*self.find(id)?, |reply| Command::Rename(name, reply)).await
    }

    /// Its record as published last.
    ///
    /// # Errors
    /// `NotFound`; `InvalidArgument` for an ambiguous beginning.
    pub fn get(&self, id: &str) -> Result<Arc<ContainerRecord>> {
        Ok(self.find(id)?.record())
    }

    /// The directory of its log, `hosts`, `hostname` and `resolv.conf`.
    pub fn directory(&self, record: &ContainerRecord) -> std::path::PathBuf {
        self.ns.core().container_dir(record)
    }

    /// All records, the newest first. Those still being made are left out.
    pub fn list(&self) -> Vec<Arc<ContainerRecord>> {
        let mut records: Vec<_> = self.ns.core().containers.list(self.ns.name()).iter().map(|h| h.record()).collect();
        records.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        records
    }

    /// Bytes on disk.
    ///
    /// # Errors
    /// `NotFound`; storage's.
    pub async fn size(&self, id: &str) -> Result<ContainerSize> {
        let (core, record) = (self.ns.core().clone(), self.get(id)?);
        crate::blocking(move || {
            let snapshotter = core.store.snapshotter(&record.snapshotter)?;
            let rw = snapshotter.usage(&record.snapshot_key())?.bytes;
            let mut total = rw;
            let mut parent = snapshotter.stat(&record.snapshot_key())?.parent;
            while let Some(key) = parent {
                total += snapshotter.usage(&key)?.bytes;
                parent = snapshotter.stat(&key)?.parent;
            }
            Ok(ContainerSize { rw, total })
        })
        .await
    }

    /// Sets the terminal's size.
    ///
    /// # Errors
    /// `Conflict` if it doesn't run.
    pub async fn resize(&self, id: &str, rows: u16, columns: u16) -> Result<()> {
        let handle = self.find(id)?;
        handle.task()?.resize("", rows, columns).await?;
        let more = [("height", rows.to_string()), ("width", columns.to_string())];
        self.ns.core().container_event(&handle.record(), "resize", &more);
        Ok(())
    }

    /// Connects to its streams; also before its start, then nothing is lost.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if it is frozen or being removed.
    pub async fn attach(&self, id: &str, options: AttachOptions) -> Result<AttachStream> {
        let handle = self.find(id)?;
        let record = handle.record();
        match record.phase {
            Phase::Paused => {
                return Err(Error::conflict(format!(
                    "container {} is paused, unpause the container before attach",
                    record.id
                )));
            }
            Phase::Restarting => {
                return Err(Error::conflict(format!(
                    "container {} is restarting, wait until the container is running",
                    record.id
                )));
            }
            Phase::Removing | Phase::Dead => return Err(being_removed(&record.id)),
            _ => {}
        }
        let tty = record.spec.tty;
        let before = if options.logs && !record.log_path.is_empty() {
            logs::replay(record.log_path.clone().into(), options.stdout, options.stderr, tty).await?
        } else {
            Vec::new()
        };
        self.ns.core().container_event(&record, "attach", &[]);
        if !options.stream {
            return Ok(AttachStream::only(before, tty));
        }
        let stdin = options.stdin && record.spec.open_stdin;
        let shim = attach::shim_options(AttachOptions { stdin, ..options }, record.spec.stdin_once);
        match handle.task() {
            Ok(task) => Ok(AttachStream::open(task.attach("", shim).await?, before)),
            Err(_) => {
                let (stream, pending) = AttachStream::pending(shim, tty, before);
                handle.add_pending(pending);
                Ok(stream)
            }
        }
    }

    /// Its log.
    ///
    /// # Errors
    /// `NotFound`; `Unsupported` for the log driver `none`.
    pub async fn logs(&self, id: &str, options: LogOptions) -> Result<LogStream> {
        let handle = self.find(id)?;
        let record = handle.record();
        if record.log_path.is_empty() {
            return Err(Error::unsupported("configured logging driver does not support reading"));
        }
        Ok(logs::read(handle, record.log_path.clone().into(), options))
    }

    /// Changes limits and policy, of a running one too. Returns warnings.
    ///
    /// # Errors
    /// `InvalidArgument`; the shim's.
    pub async fn update(&self, id: &str, update: Update) -> Result<Vec<String>> {
        tell(&*self.find(id)?, |reply| Command::Update(Box::new(update), reply)).await
    }

    /// Removes containers that don't run and that `filter` takes.
    ///
    /// # Errors
    /// None; a container that can't be removed is left out.
    pub async fn prune(&self, filter: Filter<'_>) -> Result<Pruned> {
        let mut pruned = Pruned::default();
        for record in self.list() {
            let stopped = matches!(record.phase, Phase::Created | Phase::Exited | Phase::Dead);
            if !stopped || !filter(&record) {
                continue;
            }
            let size = self.size(&record.id).await.map_or(0, |s| s.rw);
            match self.remove(&record.id, false, false).await {
                Ok(()) => {
                    pruned.reclaimed += size;
                    pruned.removed.push(record.id.clone());
                }
                Err(error) => tracing::debug!(container = %record.id, %error, "prune"),
            }
        }
        Ok(pruned)
    }
}
