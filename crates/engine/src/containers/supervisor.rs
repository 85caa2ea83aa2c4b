//! One task per container: the only writer of its record. Commands come one after the other; between them it listens
//! for the process's end and for its own timers.
//!
//! ```text
//! doors ── Command ──►┐
//! shim  ── Exit ─────►│ Supervisor ──► record (disk) ──► published copy ──► doors, wait, events
//! timers (stop grace, ┘
//!   restart delay)
//! ```

use super::directory::{Handle, Published};
use super::policy;
use crate::engine::Core;
use crate::events::{Event, Subject};
use crate::model::{ContainerRecord, Phase, Stage, Update};
use crate::task::{Task, TaskExit};
use oci::{Error, Result, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// How many commands may wait for one container.
const QUEUE: usize = 64;
/// How long `SIGKILL` may take to end a process before `stop` and `rm` give up waiting.
const KILL_GRACE: Duration = Duration::from_secs(30);

/// An answer to a command.
pub(crate) type Reply<T> = oneshot::Sender<Result<T>>;

/// What a supervisor can be told.
pub(crate) enum Command {
    /// Starts the process.
    Start(Reply<bool>),
    /// Ends the process. `grace`: `None` for no limit.
    Stop { grace: Option<Duration>, signal: u32, reply: Reply<bool> },
    /// Ends the process, and starts it.
    Restart { grace: Option<Duration>, signal: u32, reply: Reply<()> },
    /// Sends a signal.
    Kill(u32, Reply<()>),
    /// Freezes.
    Pause(Reply<()>),
    /// Thaws.
    Unpause(Reply<()>),
    /// Removes.
    Remove { force: bool, volumes: bool, reply: Reply<()> },
    /// Takes another name.
    Rename(String, Reply<()>),
    /// Changes limits and policy.
    Update(Box<Update>, Reply<Vec<String>>),
}

/// A started process that is watched.
pub(super) struct Run {
    pub(super) task: Arc<Task>,
    /// Resolves with the process's end.
    pub(super) exit: JoinHandle<TaskExit>,
    pub(super) since: Instant,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.exit.abort();
    }
}

/// What happens once the process has ended.
#[derive(Default)]
pub(super) struct AfterExit {
    pub(super) stops: Vec<Reply<bool>>,
    pub(super) restarts: Vec<Reply<()>>,
    pub(super) removals: Vec<(bool, Reply<()>)>,
    /// When to use `SIGKILL`.
    pub(super) kill_at: Option<Instant>,
    /// When to tell those who wait that it doesn't end.
    pub(super) give_up_at: Option<Instant>,
}

/// The writer of one container's record.
pub(crate) struct Supervisor {
    pub(super) core: Arc<Core>,
    pub(super) handle: Arc<Handle>,
    pub(super) record: ContainerRecord,
    pub(super) run: Option<Run>,
    pub(super) after: AfterExit,
    pub(super) restart_at: Option<Instant>,
    pub(super) delay: Option<Duration>,
    commands: mpsc::Receiver<Command>,
    pub(super) gone: bool,
}

impl Supervisor {
    /// A supervisor for a record, and the handle to it. [`run`](Self::run) must be spawned.
    pub(crate) fn new(core: Arc<Core>, record: ContainerRecord) -> Self {
        let (sender, commands) = mpsc::channel(QUEUE);
        let handle = Arc::new(Handle::new(&record, sender));
        Self {
            core,
            handle,
            record,
            run: None,
            after: AfterExit::default(),
            restart_at: None,
            delay: None,
            commands,
            gone: false,
        }
    }

    /// The way to it.
    pub(crate) fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    /// Serves until the container is gone or the engine shuts down.
    pub(crate) async fn run(mut self) {
        let mut shutdown = self.core.shutdown.subscribe();
        while !self.gone {
            let timer = [self.restart_at, self.after.kill_at, self.after.give_up_at].into_iter().flatten().min();
            let running = self.run.is_some();
            tokio::select! {
                biased;
                () = crate::down(&mut shutdown) => return,
                exit = ended(&mut self.run), if running => self.on_exit(exit).await,
                command = self.commands.recv() => match command {
                    Some(command) => self.on_command(command).await,
                    None => return,
                },
                () = sleep_until(timer), if timer.is_some() => self.on_timer().await,
            }
        }
        // Whoever came too late hears that there is no such container.
        self.commands.close();
        while let Some(command) = self.commands.recv().await {
            self.refuse(command);
        }
    }

    async fn on_command(&mut self, command: Command) {
        // A caller that has gone away does not want it any more. Stop and remove are carried out nevertheless: their
        // callers often don't wait.
        match command {
            Command::Start(reply) => {
                if self.record.phase.is_running() {
                    let _ = reply.send(Ok(false));
                    return;
                }
                let result = self.start_by_hand().await;
                let _ = reply.send(result.map(|()| true));
                self.remove_if_wanted_after_failure().await;
            }
            Command::Stop { grace, signal, reply } => self.stop(grace, signal, reply).await,
            Command::Restart { grace, signal, reply } => self.restart(grace, signal, reply).await,
            Command::Kill(signal, reply) => {
                let result = self.kill(signal).await;
                let _ = reply.send(result);
            }
            Command::Pause(reply) => {
                let result = self.pause().await;
                let _ = reply.send(result);
            }
            Command::Unpause(reply) => {
                let result = self.unpause().await;
                let _ = reply.send(result);
            }
            Command::Remove { force, volumes, reply } => self.remove_command(force, volumes, reply).await,
            Command::Rename(name, reply) => {
                let result = self.rename(name).await;
                let _ = reply.send(result);
            }
            Command::Update(update, reply) => {
                let result = self.update(*update).await;
                let _ = reply.send(result);
            }
        }
    }

    fn refuse(&self, command: Command) {
        let gone = || Error::not_found(format!("No such container: {}", self.record.id));
        match command {
            Command::Start(reply) => drop(reply.send(Err(gone()))),
            // What they want is so already.
            Command::Stop { reply, .. } => drop(reply.send(Ok(false))),
            Command::Remove { reply, .. } => drop(reply.send(Ok(()))),
            Command::Update(_, reply) => drop(reply.send(Err(gone()))),
            Command::Restart { reply, .. }
            | Command::Kill(_, reply)
            | Command::Pause(reply)
            | Command::Unpause(reply)
            | Command::Rename(_, reply) => drop(reply.send(Err(gone()))),
        }
    }

    async fn on_timer(&mut self) {
        let now = Instant::now();
        if self.after.kill_at.is_some_and(|at| at <= now) {
            self.after.kill_at = None;
            self.after.give_up_at = Some(now + KILL_GRACE);
            self.send_kill().await;
        }
        if self.after.give_up_at.is_some_and(|at| at <= now) {
            self.after.give_up_at = None;
            self.give_up();
        }
        if self.restart_at.is_some_and(|at| at <= now) {
            self.restart_at = None;
            self.start_by_policy().await;
        }
    }

    /// Tells everyone who waits for the end that it doesn't come. The process is still watched.
    fn give_up(&mut self) {
        let error = || {
            Error::deadline(format!(
                "container {} did not end {} seconds after SIGKILL",
                self.record.id,
                KILL_GRACE.as_secs()
            ))
        };
        self.after.stops.drain(..).for_each(|reply| drop(reply.send(Err(error()))));
        self.after.restarts.drain(..).for_each(|reply| drop(reply.send(Err(error()))));
        self.after.removals.drain(..).for_each(|(_, reply)| drop(reply.send(Err(error()))));
    }

    pub(super) fn arm_give_up(&mut self) {
        self.after.give_up_at = Some(Instant::now() + KILL_GRACE);
    }

    /// Whether the policy wants another start now.
    pub(super) fn policy_wants_restart(&self) -> bool {
        policy::wants_restart(
            self.record.spec.restart,
            policy::Ended {
                code: self.record.exit_code,
                by_hand: self.record.stopped_by_hand,
                restarts: self.record.restart_count,
            },
        )
    }

    /// Shows the record to everyone, before it is on disk.
    pub(super) fn publish(&self) {
        let record = Arc::new(self.record.clone());
        self.handle.published.send_replace(Published { record, gone: false });
    }

    /// Writes the record, then shows it.
    pub(super) async fn save(&self) -> Result<()> {
        self.core.save(&self.record).await?;
        self.publish();
        Ok(())
    }

    /// As [`save`](Self::save) where nothing better can be done about a failure than to tell the log: what happened
    /// has happened.
    pub(super) async fn save_or_log(&self) {
        if let Err(error) = self.save().await {
            tracing::error!(container = %self.record.id, %error, "the container's record can't be written");
            self.publish();
        }
    }

    /// Publishes an event about this container.
    pub(super) fn event(&self, action: &str, more: &[(&str, String)]) {
        self.core.container_event(&self.record, action, more);
    }

    /// Notes how long a stage took.
    pub(super) fn stage(&mut self, stage: &str, since: Instant) {
        let ms = since.elapsed().as_secs_f64() * 1000.0;
        self.record.timeline.push(Stage { stage: stage.into(), ms: (ms * 1000.0).round() / 1000.0 });
    }

    /// Watches a started task.
    pub(super) fn watch(&mut self, task: Arc<Task>) {
        let watched = task.clone();
        let exit = tokio::spawn(async move { watched.exit().await });
        self.handle.set_task(Some(task.clone()));
        self.run = Some(Run { task, exit, since: Instant::now() });
    }

    /// Sets the phase; a process that is gone has no pid.
    pub(super) fn set_phase(&mut self, phase: Phase) {
        self.record.phase = phase;
        if !phase.is_running() {
            self.record.pid = 0;
        }
    }
}

async fn ended(run: &mut Option<Run>) -> TaskExit {
    match run {
        Some(run) => match (&mut run.exit).await {
            Ok(exit) => exit,
            // The watching task can only end early by a defect (or at shutdown): say so rather than hang.
            Err(error) => {
                tracing::error!(%error, "the watch of a task failed");
                TaskExit { code: 255, at: Timestamp::now(), oom_killed: false }
            }
        },
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

impl Core {
    /// Publishes an event about a container.
    pub(crate) fn container_event(&self, record: &ContainerRecord, action: &str, more: &[(&str, String)]) {
        let mut attributes: BTreeMap<String, String> = record.process.labels.clone();
        attributes.insert("name".into(), record.name.clone());
        attributes.insert("image".into(), record.image.given.clone());
        attributes.extend(more.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        self.events.publish(Event {
            namespace: record.namespace.clone(),
            subject: Subject::Container,
            action: action.into(),
            id: record.id.clone(),
            attributes,
            time: Timestamp::now(),
        });
    }
}
