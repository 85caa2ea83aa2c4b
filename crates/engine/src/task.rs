//! A container's shim and the task in it, as the engine uses them.

use crate::engine::Core;
use crate::model::{ContainerRecord, ShimAddress};
use oci::runtime::{Process, Resources};
use oci::{Context, Error, Kind, Result, Timestamp};
use shim::client::{AttachOptions, Attachment, Launch, ShimClient};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;
use wire::runc_options::Options;
use wire::task::{CreateTaskRequest, ExecProcessRequest, Mount, Status};
use wire::well_known::Any;

/// How long to go on asking a shim that doesn't answer before it counts as gone.
const RECONNECTS: u32 = 5;
/// How long a shim may take to answer the first question after the daemon's start.
const ANSWER: Duration = Duration::from_secs(5);
/// The code of a run whose end nobody saw.
const UNKNOWN: i32 = 255;

/// Stands for the daemon's own socket, beside which shims put theirs.
const SOCKET: &str = "engine.sock";
/// Where shims put their sockets, beside the daemon's.
const SOCKETS: &str = "s";

/// Standard input that stays open for attached clients.
const STDIN_ATTACH: &str = "attach://";

/// How a task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TaskExit {
    /// 0 to 255; 128+n for signal n.
    pub(crate) code: i32,
    /// When.
    pub(crate) at: Timestamp,
    /// The kernel killed a process of it for want of memory.
    pub(crate) oom_killed: bool,
}

/// What a task is doing, as its shim says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TaskState {
    /// Made, not started.
    Created,
    /// Running, with its pid.
    Running(u32),
    /// Frozen, with its pid.
    Paused(u32),
    /// Ended.
    Stopped,
}

/// What a task is made of.
pub(crate) struct CreateTask {
    pub(crate) bundle: PathBuf,
    pub(crate) rootfs: Vec<storage::Mount>,
    pub(crate) terminal: bool,
    pub(crate) stdin: bool,
    pub(crate) log: String,
    pub(crate) runtime: Options,
}

/// A connection to the shim of one container.
pub(crate) struct Task {
    client: ShimClient,
    launch: Launch,
}

impl Core {
    fn launch(&self, record: &ContainerRecord) -> Launch {
        Launch {
            program: self.config.shim.clone(),
            namespace: record.namespace.clone(),
            id: record.id.clone(),
            bundle: self.bundle_dir(record),
            address: self.config.state.join(SOCKET),
            debug: self.config.debug,
        }
    }
}

impl Task {
    /// Starts a shim.
    pub(crate) async fn launch(core: &Core, record: &ContainerRecord) -> Result<(Self, ShimAddress)> {
        let launch = core.launch(record);
        let client = launch.start().await?;
        let address = ShimAddress { address: client.address().to_owned() };
        Ok((Self { client, launch }, address))
    }

    /// Connects to the shim of a run that an earlier daemon started. Returns its address, too.
    pub(crate) async fn connect(core: &Core, record: &ContainerRecord) -> Result<(Self, ShimAddress)> {
        let launch = core.launch(record);
        let client = find_shim(&launch, record.shim.as_ref()).await?;
        let address = ShimAddress { address: client.address().to_owned() };
        Ok((Self { client, launch }, address))
    }

    fn id(&self) -> &str {
        &self.launch.id
    }

    /// Makes the task. Its process waits for [`start`](Self::start). Returns the pid.
    pub(crate) async fn create(&self, request: CreateTask) -> Result<u32> {
        let rootfs = request
            .rootfs
            .into_iter()
            .map(|m| Mount { r#type: m.kind, source: m.source, target: String::new(), options: m.options })
            .collect();
        self.client
            .create(&CreateTaskRequest {
                id: self.id().into(),
                bundle: request.bundle.to_string_lossy().into_owned(),
                rootfs,
                terminal: request.terminal,
                stdin: if request.stdin { STDIN_ATTACH.into() } else { String::new() },
                stdout: request.log.clone(),
                stderr: if request.terminal { String::new() } else { request.log },
                options: Some(Any::pack("containerd.runc.v1.Options", &request.runtime)),
                ..Default::default()
            })
            .await
    }

    /// Starts the task's process.
    pub(crate) async fn start(&self) -> Result<()> {
        self.client.start(self.id(), "").await.map(drop)
    }

    /// What the task is doing. `NotFound` if the shim has none.
    pub(crate) async fn state(&self) -> Result<TaskState> {
        let state = tokio::time::timeout(ANSWER, self.client.state(self.id(), ""))
            .await
            .map_err(|_| Error::deadline(format!("the shim of container {} does not answer", self.id())))??;
        Ok(match Status::try_from(state.status) {
            Ok(Status::Running) => TaskState::Running(state.pid),
            Ok(Status::Paused | Status::Pausing) => TaskState::Paused(state.pid),
            Ok(Status::Stopped) => TaskState::Stopped,
            _ => TaskState::Created,
        })
    }

    /// Waits for the end, across lost connections: a shim that is gone has left the exit on disk, or its `delete`
    /// action finds out.
    pub(crate) async fn exit(&self) -> TaskExit {
        let mut client = self.client.clone();
        for attempt in 0..=RECONNECTS {
            match client.wait(self.id(), "").await {
                Ok(ended) => return self.with_file(ended.status as i32, ended.at).await,
                Err(error) if error.kind() == Kind::NotFound => break,
                Err(error) => {
                    tracing::debug!(container = %self.id(), %error, "wait on the shim");
                    tokio::time::sleep(Duration::from_millis(50) * attempt).await;
                    match ShimClient::connect(self.client.address()).await {
                        Ok(again) => client = again,
                        // Nobody listens: the shim is gone.
                        Err(_) => break,
                    }
                }
            }
        }
        self.exit_without_shim().await
    }

    /// The exit file tells of memory, too.
    async fn with_file(&self, code: i32, at: Timestamp) -> TaskExit {
        let bundle = self.launch.bundle.clone();
        let oom_killed = crate::blocking(move || shim::exits::read(&bundle, "")).await.ok().flatten();
        TaskExit { code, at, oom_killed: oom_killed.is_some_and(|exit| exit.oom_killed) }
    }

    async fn exit_without_shim(&self) -> TaskExit {
        exit_without_shim(&self.launch).await
    }

    /// Signals the process, or all processes of the container.
    pub(crate) async fn kill(&self, signal: u32, all: bool) -> Result<()> {
        self.client.kill(self.id(), "", signal, all).await
    }

    pub(crate) async fn pause(&self) -> Result<()> {
        self.client.pause(self.id()).await
    }

    pub(crate) async fn resume(&self) -> Result<()> {
        self.client.resume(self.id()).await
    }

    /// Sets the terminal's size of the task, or of an exec.
    pub(crate) async fn resize(&self, exec_id: &str, rows: u16, columns: u16) -> Result<()> {
        self.client.resize(self.id(), exec_id, columns.into(), rows.into()).await
    }

    pub(crate) async fn pids(&self) -> Result<Vec<u32>> {
        self.client.pids(self.id()).await
    }

    pub(crate) async fn stats(&self) -> Result<Any> {
        self.client.stats(self.id()).await
    }

    pub(crate) async fn update(&self, resources: &Resources) -> Result<()> {
        let json = serde_json::to_vec(resources)
            .map_err(|e| Error::internal("limits can't be written as JSON").with_source(e))?;
        self.client.update(self.id(), json).await
    }

    /// Takes part in the streams of the task, or of an exec.
    pub(crate) async fn attach(&self, exec_id: &str, options: AttachOptions) -> Result<Attachment> {
        self.client.attach(self.id(), exec_id, options).await
    }

    /// Adds a process.
    pub(crate) async fn exec(&self, exec_id: &str, process: &Process, stdin: bool) -> Result<()> {
        let json = serde_json::to_vec(process)
            .map_err(|e| Error::internal("the process can't be written as JSON").with_source(e))?;
        self.client
            .exec(&ExecProcessRequest {
                id: self.id().into(),
                exec_id: exec_id.into(),
                terminal: process.terminal,
                stdin: if stdin { STDIN_ATTACH.into() } else { String::new() },
                stdout: String::new(),
                stderr: String::new(),
                spec: Some(Any {
                    type_url: "types.containerd.io/opencontainers/runtime-spec/1/Process".into(),
                    value: json,
                }),
            })
            .await
    }

    /// Starts an added process; returns its pid.
    pub(crate) async fn exec_start(&self, exec_id: &str) -> Result<u32> {
        self.client.start(self.id(), exec_id).await
    }

    /// Waits for the end of an added process.
    pub(crate) async fn exec_exit(&self, exec_id: &str) -> Result<i32> {
        self.client.wait(self.id(), exec_id).await.map(|ended| ended.status as i32)
    }

    /// Forgets an added process.
    pub(crate) async fn exec_delete(&self, exec_id: &str) -> Result<()> {
        self.client.delete(self.id(), exec_id).await.map(drop)
    }

    /// Kills what runs, deletes the task, ends the shim. With no shim there, its `delete` action does it.
    ///
    /// # Errors
    /// If something may be left: the bundle then stays for the next try.
    pub(crate) async fn delete_remains(core: &Core, record: &ContainerRecord) -> Result<()> {
        delete_remains(&core.launch(record), record.shim.as_ref()).await
    }

    /// As [`delete_remains`](Self::delete_remains), for a bundle without a record.
    pub(crate) async fn delete_orphan(core: &Core, namespace: &str, id: &str, bundle: &Path) -> Result<()> {
        let launch = Launch {
            program: core.config.shim.clone(),
            namespace: namespace.into(),
            id: id.into(),
            bundle: bundle.into(),
            address: core.config.state.join(SOCKET),
            debug: core.config.debug,
        };
        delete_remains(&launch, None).await
    }
}

/// Finds the shim of a bundle. Its address is in the record, or, if the daemon died before it noted it, in the bundle;
/// if the daemon died while the shim was being started, in neither: then it is started again, which gives the one that
/// runs by now, or a new one without a task.
async fn find_shim(launch: &Launch, known: Option<&ShimAddress>) -> Result<ShimClient> {
    let connect = async {
        if let Some(known) = known {
            return ShimClient::connect(&known.address).await;
        }
        match tokio::fs::read_to_string(launch.bundle.join("address")).await {
            Ok(address) if !address.is_empty() => ShimClient::connect(address.trim()).await,
            _ => launch.start().await,
        }
    };
    tokio::time::timeout(ANSWER, connect)
        .await
        .map_err(|_| Error::deadline(format!("the shim of container {} does not answer", launch.id)))?
}

async fn delete_remains(launch: &Launch, known: Option<&ShimAddress>) -> Result<()> {
    // Without a configuration no shim was started.
    if !tokio::fs::try_exists(launch.bundle.join("config.json")).await.unwrap_or(true) {
        return Ok(());
    }
    if let Ok(client) = find_shim(launch, known).await {
        match delete_task(&client, &launch.id).await {
            Ok(()) => return client.shutdown(&launch.id).await,
            Err(error) if error.kind() == Kind::Unavailable => {}
            Err(error) => return Err(error),
        }
    }
    launch.delete().await.map(drop)
}

/// Deletes a task in whatever state it is.
async fn delete_task(client: &ShimClient, id: &str) -> Result<()> {
    let gone = |error: &Error| error.kind() == Kind::NotFound;
    match client.delete(id, "").await {
        Ok(_) => return Ok(()),
        Err(error) if gone(&error) => return Ok(()),
        Err(error) if error.kind() == Kind::Unavailable => return Err(error),
        // It runs, or was made and never started.
        Err(_) => {}
    }
    match client.kill(id, "", crate::signals::KILL, true).await {
        Err(error) if !gone(&error) => tracing::debug!(container = %id, %error, "kill for delete"),
        _ => {}
    }
    tokio::time::timeout(Duration::from_secs(10), client.wait(id, ""))
        .await
        .map_err(|_| Error::deadline(format!("container {id} did not end within 10 s of SIGKILL")))?
        .or_else(
            |e| if gone(&e) { Ok(shim::client::Ended { pid: 0, status: 0, at: Timestamp::ZERO }) } else { Err(e) },
        )?;
    match client.delete(id, "").await {
        Err(error) if !gone(&error) => Err(error).context(|| format!("delete the task of container {id}")),
        _ => Ok(()),
    }
}

/// The exit of a container whose shim is gone.
pub(crate) async fn exit_without_shim(launch: &Launch) -> TaskExit {
    let bundle = launch.bundle.clone();
    match crate::blocking(move || shim::exits::read(&bundle, "")).await {
        Ok(Some(exit)) => {
            return TaskExit { code: exit.status as i32, at: exit.exited_at, oom_killed: exit.oom_killed };
        }
        Ok(None) => {}
        Err(error) => tracing::warn!(container = %launch.id, %error, "exit file"),
    }
    let unknown = TaskExit { code: UNKNOWN, at: Timestamp::now(), oom_killed: false };
    match launch.delete().await {
        Ok(ended) => TaskExit {
            code: ended.status as i32,
            at: if ended.at.is_zero() { unknown.at } else { ended.at },
            oom_killed: false,
        },
        Err(error) => {
            tracing::warn!(container = %launch.id, %error, "delete action of the shim");
            unknown
        }
    }
}

/// Ends shims that serve no container, and removes the sockets of those that are gone. Only while nothing is started.
pub(crate) async fn sweep_shims(core: &Core) -> Result<()> {
    let used: BTreeSet<String> =
        core.containers.all().iter().filter_map(|h| h.record().shim.as_ref().map(|s| s.address.clone())).collect();
    let dir = core.config.state.join(SOCKETS);
    let sockets = crate::blocking(move || match std::fs::read_dir(&dir) {
        Ok(entries) => Ok(entries.flatten().map(|e| e.path()).collect::<Vec<_>>()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::from(error).prefixed(format!("read {}", dir.display()))),
    })
    .await?;
    for socket in sockets {
        let address = format!("unix://{}", socket.display());
        if used.contains(&address) {
            continue;
        }
        let end = async {
            let client = ShimClient::connect(&address).await?;
            tracing::info!(%address, "ending a shim without a container");
            client.shutdown("").await
        };
        if let Ok(Err(error)) = tokio::time::timeout(ANSWER, end).await {
            tracing::debug!(%address, %error, "a shim's socket");
        }
        // What still listens behind it has no name any more; a new shim makes a new socket.
        if let Err(error) = tokio::fs::remove_file(&socket).await
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::debug!(%address, %error, "a shim's socket");
        }
    }
    Ok(())
}

impl Core {
    /// The exit of a container whose shim is gone.
    pub(crate) async fn exit_without_shim(&self, record: &ContainerRecord) -> TaskExit {
        exit_without_shim(&self.launch(record)).await
    }
}
