//! Processes added to running containers.
//!
//! ```text
//! create ─► noted ─► start ─► running ─► ended (kept until the container ends, so that it can be inspected)
//! ```

use crate::attach::AttachStream;
use crate::engine::{Core, Namespace};
use crate::model::{ContainerRecord, ExecSpec, ExecState, Phase};
use crate::spec;
use crate::task::Task;
use oci::runtime::{ConsoleSize, Process, User};
use oci::{Error, Result};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// How many execs of one container are remembered.
const REMEMBERED: usize = 256;

/// Execs of one namespace. They are not kept over a restart of the daemon.
pub struct Execs {
    pub(crate) ns: Namespace,
}

struct Exec {
    namespace: String,
    state: ExecState,
    started: bool,
    order: u64,
}

/// All execs of the engine, by id.
#[derive(Default)]
pub(crate) struct ExecTable {
    inner: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    by_id: HashMap<String, Exec>,
    next: u64,
}

impl ExecTable {
    fn with<R>(&self, work: impl FnOnce(&mut Table) -> R) -> R {
        work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Forgets the execs of a container.
    pub(crate) fn forget(&self, container: &str) {
        self.with(|table| table.by_id.retain(|_, exec| exec.state.container_id != container));
    }

    /// Execs that run when their container ends have ended, too; they are told by the container's exit.
    pub(crate) fn container_ended(&self, container: &str) {
        self.with(|table| {
            for exec in table.by_id.values_mut().filter(|e| e.state.container_id == container && e.state.running) {
                exec.state.running = false;
                exec.state.exit_code = Some(137);
            }
        });
    }

    fn add(&self, namespace: &str, state: ExecState) {
        self.with(|table| {
            let order = table.next;
            table.next += 1;
            let container = state.container_id.clone();
            let exec = Exec { namespace: namespace.to_owned(), state, started: false, order };
            table.by_id.insert(exec.state.id.clone(), exec);
            let mut done: Vec<(u64, String)> = table
                .by_id
                .values()
                .filter(|e| e.state.container_id == container && e.state.exit_code.is_some())
                .map(|e| (e.order, e.state.id.clone()))
                .collect();
            if done.len() > REMEMBERED {
                done.sort_unstable();
                for (_, id) in &done[..done.len() - REMEMBERED] {
                    table.by_id.remove(id);
                }
            }
        });
    }

    fn change(&self, id: &str, change: impl FnOnce(&mut ExecState)) {
        self.with(|table| {
            if let Some(exec) = table.by_id.get_mut(id) {
                change(&mut exec.state);
            }
        });
    }
}

fn missing(id: &str) -> Error {
    Error::not_found(format!("No such exec instance: {id}"))
}

impl Execs {
    /// Notes a process to be started in a container, and returns its id.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if the container doesn't run or is paused; `InvalidArgument` without a command.
    pub async fn create(&self, container: &str, spec: ExecSpec) -> Result<String> {
        let core = self.ns.core();
        let record = core.containers.find(self.ns.name(), container)?.record();
        if spec.args.is_empty() {
            return Err(Error::invalid("No exec command specified"));
        }
        check_running(&record)?;
        let id = crate::names::new_id()?;
        let command = spec.args.join(" ");
        let state = ExecState {
            id: id.clone(),
            container_id: record.id.clone(),
            spec,
            running: false,
            pid: 0,
            exit_code: None,
        };
        core.execs.add(self.ns.name(), state);
        core.container_event(&record, &format!("exec_create: {command}"), &[("execID", id.clone())]);
        Ok(id)
    }

    /// Starts it. With `attach`, nothing of its output is lost and the stream ends with it.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if it was started before; the runtime's refusal, in Docker's words.
    pub async fn start(&self, id: &str, attach: bool, size: Option<(u16, u16)>) -> Result<Option<AttachStream>> {
        let core = self.ns.core().clone();
        let mut state = core.execs.with(|table| {
            let exec = table.by_id.get_mut(id).filter(|e| *e.namespace == *self.ns.name).ok_or_else(|| missing(id))?;
            if exec.started {
                return Err(Error::conflict(if exec.state.running {
                    format!("exec {id} is already running")
                } else {
                    format!("Error: Exec command {id} has already run")
                }));
            }
            exec.started = true;
            Ok(exec.state.clone())
        })?;
        if size.is_some() {
            state.spec.console_size = size;
        }
        // In a task of its own: a caller that goes away must not leave a process that nobody watches.
        tokio::spawn(async move { start(&core, state, attach).await })
            .await
            .map_err(|e| Error::internal("the start of the exec broke off").with_source(e))?
    }

    /// How it is.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn inspect(&self, id: &str) -> Result<ExecState> {
        self.ns.core().execs.with(|table| {
            let exec = table.by_id.get(id).filter(|e| *e.namespace == *self.ns.name);
            exec.map(|e| e.state.clone()).ok_or_else(|| missing(id))
        })
    }

    /// Ids of a container's execs that have not ended.
    pub fn of_container(&self, container_id: &str) -> Vec<String> {
        self.ns.core().execs.with(|table| {
            let live = |e: &&Exec| e.state.container_id == container_id && e.state.exit_code.is_none();
            table.by_id.values().filter(live).map(|e| e.state.id.clone()).collect()
        })
    }

    /// Sets the terminal's size.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if it doesn't run.
    pub async fn resize(&self, id: &str, rows: u16, columns: u16) -> Result<()> {
        let state = self.inspect(id)?;
        if !state.running {
            return Err(Error::conflict(format!("exec {id} is not running")));
        }
        let task = self.ns.core().containers.find(self.ns.name(), &state.container_id)?.task()?;
        task.resize(id, rows, columns).await
    }
}

fn check_running(record: &ContainerRecord) -> Result<()> {
    match record.phase {
        Phase::Running => Ok(()),
        Phase::Paused => {
            Err(Error::conflict(format!("Container {} is paused, unpause the container before exec", record.id)))
        }
        Phase::Restarting => {
            Err(Error::conflict(format!("Container {} is restarting, wait until the container is running", record.id)))
        }
        _ => Err(Error::conflict(format!("container {} is not running", record.id))),
    }
}

async fn start(core: &Arc<Core>, state: ExecState, attach: bool) -> Result<Option<AttachStream>> {
    let result = launch(core, &state, attach).await;
    if let Err(error) = &result {
        let code = crate::containers::exit_code_of(error);
        core.execs.change(&state.id, |s| s.exit_code = Some(code));
    }
    result
}

async fn launch(core: &Arc<Core>, state: &ExecState, attach: bool) -> Result<Option<AttachStream>> {
    let handle = core
        .containers
        .all()
        .into_iter()
        .find(|h| h.id == state.container_id)
        .ok_or_else(|| Error::not_found(format!("No such container: {}", state.container_id)))?;
    let record = handle.record();
    check_running(&record)?;
    let task = handle.task()?;
    let (shared, copied, wanted) = (core.clone(), record.clone(), state.spec.clone());
    let process = crate::blocking(move || process(&shared, &copied, &wanted)).await?;
    let id = state.id.as_str();
    task.exec(id, &process, attach && state.spec.stdin).await?;
    let begin = async {
        let attachment = if attach {
            let options = shim::client::AttachOptions {
                stdin: state.spec.stdin,
                stdout: state.spec.stdout,
                stderr: state.spec.stderr,
                close_stdin: true,
            };
            Some(task.attach(id, options).await?)
        } else {
            None
        };
        Ok::<_, Error>((attachment, task.exec_start(id).await?))
    };
    let (attachment, pid) = match begin.await {
        Ok(started) => started,
        Err(error) => {
            if let Err(cleanup) = task.exec_delete(id).await {
                tracing::debug!(exec = %id, error = %cleanup, "delete a failed exec");
            }
            return Err(error);
        }
    };
    core.execs.change(id, |s| {
        s.running = true;
        s.pid = pid;
    });
    core.container_event(
        &record,
        &format!("exec_start: {}", state.spec.args.join(" ")),
        &[("execID", state.id.clone())],
    );
    let (noted, when_noted) = oneshot::channel();
    tokio::spawn(watch(core.clone(), task, record, state.id.clone(), noted));
    Ok(attachment.map(|a| AttachStream::open(a, Vec::new()).until_noted(when_noted)))
}

/// Waits for the end of an exec and notes it; then `noted` is dropped.
async fn watch(core: Arc<Core>, task: Arc<Task>, record: Arc<ContainerRecord>, id: String, noted: oneshot::Sender<()>) {
    let mut shutdown = core.shutdown.subscribe();
    let code = tokio::select! {
        code = task.exec_exit(&id) => code,
        () = crate::down(&mut shutdown) => return,
    };
    let code = match code {
        Ok(code) => code,
        Err(error) => {
            tracing::debug!(exec = %id, %error, "wait for an exec");
            137
        }
    };
    core.execs.change(&id, |s| {
        s.running = false;
        s.pid = 0;
        s.exit_code = Some(code);
    });
    drop(noted);
    core.container_event(&record, "exec_die", &[("execID", id.clone()), ("exitCode", code.to_string())]);
    if let Err(error) = task.exec_delete(&id).await {
        tracing::debug!(exec = %id, %error, "delete an ended exec");
    }
}

/// The process that an exec is. Blocks.
fn process(core: &Core, record: &ContainerRecord, wanted: &ExecSpec) -> Result<Process> {
    let user = if wanted.user.is_empty() { &record.process.user } else { &wanted.user };
    let user = core.look_up_user_inside(record, user)?;
    let container = &record.spec;
    let caps =
        if wanted.privileged { core.host.capabilities.clone() } else { spec::capabilities(container, &core.host)? };
    let mut env = spec::environment(&record.process, wanted.tty || container.tty);
    spec::overlay(&mut env, &wanted.env);
    Ok(Process {
        terminal: wanted.tty,
        console_size: wanted
            .console_size
            .map(|(rows, columns)| ConsoleSize { height: rows.into(), width: columns.into() }),
        user: User {
            uid: user.uid,
            gid: user.gid,
            additional_gids: spec::additional_gids(&user),
            ..Default::default()
        },
        args: wanted.args.clone(),
        env,
        cwd: if wanted.cwd.is_empty() { record.process.cwd.clone() } else { wanted.cwd.clone() },
        capabilities: Some(spec::capability_sets(caps, user.uid)),
        no_new_privileges: container.security.no_new_privileges,
        oom_score_adj: Some(container.oom_score_adj.unwrap_or(0).max(core.host.oom_score_adj_min)),
        ..Default::default()
    })
}
