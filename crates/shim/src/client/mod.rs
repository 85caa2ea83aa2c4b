//! The engine's end: starting shims, calling them, attaching to streams. On tokio.
//!
//! - [`Launch`]: runs a shim's `start` or `delete` action, ours or anybody's
//! - [`ShimClient`]: one connection, many calls at a time
//! - [`Attachment`]: a process's streams

mod attach;
mod launch;
mod mux;

pub use attach::{AttachOptions, Attachment, Input, Output};
pub use launch::Launch;

use mux::Mux;
use oci::{Error, Result, Timestamp};
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use wire::task::*;
use wire::well_known::{Any, Empty};

/// How long a call may take that only asks.
const ASK: Duration = Duration::from_secs(10);
/// How long a call may take that makes the shim run the OCI runtime.
const ACT: Duration = Duration::from_secs(120);

/// A connection to a shim. Cloning shares it.
#[derive(Clone)]
pub struct ShimClient {
    mux: Arc<Mux>,
    address: Arc<str>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Its pid on the host; 0 where the call does not tell.
    pub pid: u32,
    /// 0 to 255; 128+n for signal n.
    pub status: u32,
    /// When.
    pub at: Timestamp,
}

fn time(stamp: Option<wire::well_known::Timestamp>) -> Timestamp {
    stamp.map_or(Timestamp::ZERO, |t| Timestamp::from_unix(t.seconds, t.nanos.max(0) as u32))
}

impl ShimClient {
    /// Connects to a shim at `address`, as its `start` action printed it (`unix:///path`).
    ///
    /// # Errors
    /// `Unavailable` if nobody listens there.
    pub async fn connect(address: &str) -> Result<Self> {
        let mux = Mux::connect(launch::socket_path(address)?).await?;
        Ok(Self { mux: Arc::new(mux), address: address.into() })
    }

    /// Where it is connected to.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.mux.is_closed()
    }

    async fn call<Out: Message + Default>(
        &self,
        method: &str,
        request: &impl Message,
        limit: Option<Duration>,
    ) -> Result<Out> {
        self.mux.call("containerd.task.v2.Task", method, request, limit).await
    }

    /// Makes a task; its process waits for [`start`](Self::start). Returns the pid.
    ///
    /// # Errors
    /// The runtime's message as the shim gives it.
    pub async fn create(&self, request: &CreateTaskRequest) -> Result<u32> {
        self.call::<CreateTaskResponse>("Create", request, Some(ACT)).await.map(|r| r.pid)
    }

    /// Starts the task's process, or an exec made before.
    ///
    /// # Errors
    /// The runtime's message, as in `exec: "x": executable file not found in $PATH`.
    pub async fn start(&self, id: &str, exec_id: &str) -> Result<u32> {
        let request = StartRequest { id: id.into(), exec_id: exec_id.into() };
        self.call::<StartResponse>("Start", &request, Some(ACT)).await.map(|r| r.pid)
    }

    /// State of a process.
    ///
    /// # Errors
    /// `NotFound` for an unknown one.
    pub async fn state(&self, id: &str, exec_id: &str) -> Result<StateResponse> {
        self.call("State", &StateRequest { id: id.into(), exec_id: exec_id.into() }, Some(ASK)).await
    }

    /// Waits for a process to end, however long that takes.
    ///
    /// # Errors
    /// `NotFound` for an unknown one; `Unavailable` when the shim goes away.
    pub async fn wait(&self, id: &str, exec_id: &str) -> Result<Ended> {
        let request = WaitRequest { id: id.into(), exec_id: exec_id.into() };
        let answer: WaitResponse = self.call("Wait", &request, None).await?;
        Ok(Ended { pid: 0, status: answer.exit_status, at: time(answer.exited_at) })
    }

    /// Signals a process, or with `all` every process of the container.
    ///
    /// # Errors
    /// `NotFound` if it has ended.
    pub async fn kill(&self, id: &str, exec_id: &str, signal: u32, all: bool) -> Result<()> {
        let request = KillRequest { id: id.into(), exec_id: exec_id.into(), signal, all };
        self.call::<Empty>("Kill", &request, Some(ACT)).await.map(drop)
    }

    /// Adds a process; [`start`](Self::start) starts it. `spec` is a runtime-spec process as JSON.
    ///
    /// # Errors
    /// `AlreadyExists` for an `exec_id` in use.
    pub async fn exec(&self, request: &ExecProcessRequest) -> Result<()> {
        self.call::<Empty>("Exec", request, Some(ACT)).await.map(drop)
    }

    /// Sets a terminal's size.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` without a terminal.
    pub async fn resize(&self, id: &str, exec_id: &str, width: u32, height: u32) -> Result<()> {
        let request = ResizePtyRequest { id: id.into(), exec_id: exec_id.into(), width, height };
        self.call::<Empty>("ResizePty", &request, Some(ASK)).await.map(drop)
    }

    /// Closes a process's standard input.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn close_io(&self, id: &str, exec_id: &str) -> Result<()> {
        let request = CloseIoRequest { id: id.into(), exec_id: exec_id.into(), stdin: true };
        self.call::<Empty>("CloseIO", &request, Some(ASK)).await.map(drop)
    }

    /// Host pids of all processes in the container.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn pids(&self, id: &str) -> Result<Vec<u32>> {
        let answer: PidsResponse = self.call("Pids", &PidsRequest { id: id.into() }, Some(ASK)).await?;
        Ok(answer.processes.into_iter().map(|p| p.pid).collect())
    }

    /// Metrics: an `io.containerd.cgroups.v1.Metrics` or `...v2.Metrics`, told by its type URL.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn stats(&self, id: &str) -> Result<Any> {
        let answer: StatsResponse = self.call("Stats", &StatsRequest { id: id.into() }, Some(ASK)).await?;
        answer.stats.ok_or_else(|| Error::internal("the shim answered Stats without metrics"))
    }

    /// Freezes the container.
    ///
    /// # Errors
    /// The runtime's message.
    pub async fn pause(&self, id: &str) -> Result<()> {
        self.call::<Empty>("Pause", &PauseRequest { id: id.into() }, Some(ACT)).await.map(drop)
    }

    /// Thaws the container.
    ///
    /// # Errors
    /// The runtime's message.
    pub async fn resume(&self, id: &str) -> Result<()> {
        self.call::<Empty>("Resume", &ResumeRequest { id: id.into() }, Some(ACT)).await.map(drop)
    }

    /// Changes limits; `resources` is a runtime-spec `LinuxResources` as JSON.
    ///
    /// # Errors
    /// The runtime's message.
    pub async fn update(&self, id: &str, resources: Vec<u8>) -> Result<()> {
        let resources = Any {
            type_url: "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources".into(),
            value: resources,
        };
        let request = UpdateTaskRequest { id: id.into(), resources: Some(resources), ..UpdateTaskRequest::default() };
        self.call::<Empty>("Update", &request, Some(ACT)).await.map(drop)
    }

    /// Forgets a process that has ended: the container with its mounts, or an exec.
    ///
    /// # Errors
    /// `Conflict` if it runs.
    pub async fn delete(&self, id: &str, exec_id: &str) -> Result<Ended> {
        let request = DeleteRequest { id: id.into(), exec_id: exec_id.into() };
        let answer: DeleteResponse = self.call("Delete", &request, Some(ACT)).await?;
        Ok(Ended { pid: answer.pid, status: answer.exit_status, at: time(answer.exited_at) })
    }

    /// Pids of shim and task.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn info(&self, id: &str) -> Result<ConnectResponse> {
        self.call("Connect", &ConnectRequest { id: id.into() }, Some(ASK)).await
    }

    /// Asks the shim to end, which it does if it has no tasks left.
    ///
    /// # Errors
    /// `Unavailable` if it was gone already.
    pub async fn shutdown(&self, id: &str) -> Result<()> {
        match self.call::<Empty>("Shutdown", &ShutdownRequest { id: id.into(), now: false }, Some(ASK)).await {
            // The shim may be gone before its answer is read.
            Err(error) if error.kind() == oci::Kind::Unavailable => Ok(()),
            other => other.map(drop),
        }
    }

    /// Takes part in the streams of a process (`exec_id` empty for the container's own), from now on. After create and
    /// before start is early enough to miss nothing.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if it has ended.
    pub async fn attach(&self, id: &str, exec_id: &str, options: AttachOptions) -> Result<Attachment> {
        attach::attach(&self.address, id, exec_id, options).await
    }
}
