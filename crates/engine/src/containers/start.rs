//! The start of a run: each step is noted before it is taken. The names of everything made follow from the container's
//! id, so one note, `Starting`, stands for all of them, and teardown needs no more than the record.
//!
//! ```text
//! Starting (noted) ─► files, config.json ─► shim ─► rootfs + create ─► network ─► hosts ─► attach ─► start ─► Running
//!        any failure: the same teardown as after an exit; Created or Exited again, with the error
//! ```

use super::supervisor::Supervisor;
use crate::bundle;
use crate::model::{ContainerRecord, NamespaceMode, NetworkMode, Phase};
use crate::spec::{self, Facts};
use crate::task::{CreateTask, Task};
use oci::{Error, Kind, Result, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// Stages that belong to a run; those before it (resolve, fetch, unpack, snapshot) stay in the timeline.
const RUN_STAGES: &[&str] = &["prepare", "shim", "create", "network", "start"];

impl Supervisor {
    /// A start that somebody asked for.
    pub(super) async fn start_by_hand(&mut self) -> Result<()> {
        match self.record.phase {
            Phase::Removing | Phase::Dead => {
                return Err(Error::conflict("container is marked for removal and cannot be started"));
            }
            Phase::Creating => return Err(Error::conflict(format!("container {} is being made", self.record.id))),
            _ => {}
        }
        self.restart_at = None;
        self.delay = None;
        self.record.restart_count = 0;
        self.record.stopped_by_hand = false;
        self.record.stopping = false;
        self.start().await
    }

    /// A start that the policy wants.
    pub(super) async fn start_by_policy(&mut self) {
        self.record.restart_count += 1;
        if let Err(error) = self.start().await {
            tracing::warn!(container = %self.record.id, %error, "restart by policy failed");
            if self.policy_wants_restart() {
                self.delay = Some(super::policy::next_delay(self.delay, std::time::Duration::ZERO));
                self.restart_at = self.delay.map(|delay| Instant::now() + delay);
                self.set_phase(Phase::Restarting);
                self.save_or_log().await;
            } else {
                self.remove_if_wanted_after_failure().await;
            }
        }
    }

    async fn start(&mut self) -> Result<()> {
        self.record.timeline.retain(|stage| !RUN_STAGES.contains(&stage.stage.as_str()));
        self.record.error.clear();
        self.record.oom_killed = false;
        let before = self.record.phase;
        self.set_phase(Phase::Starting);
        if let Err(error) = self.save().await {
            self.set_phase(before);
            return Err(error.prefixed("note the start"));
        }
        match self.make_run().await {
            Ok((task, started_at)) => {
                self.record.phase = Phase::Running;
                self.record.started_at = started_at;
                self.record.exit_code = 0;
                self.watch(task);
                self.save_or_log().await;
                self.event("start", &[]);
                Ok(())
            }
            Err(error) => {
                self.start_failed(&error).await;
                Err(error)
            }
        }
    }

    async fn start_failed(&mut self, error: &Error) {
        self.release_network().await;
        self.teardown_run().await;
        drop(self.handle.take_pending());
        self.record.error = error.to_string();
        self.record.exit_code = exit_code_of(error);
        let ever_ran = !self.record.started_at.is_zero();
        self.set_phase(if ever_ran { Phase::Exited } else { Phase::Created });
        if ever_ran {
            self.record.finished_at = Timestamp::now();
        }
        self.save_or_log().await;
    }

    /// The task that runs, and when it was started.
    async fn make_run(&mut self) -> Result<(Arc<Task>, Timestamp)> {
        let begin = Instant::now();
        let facts = self.facts().await?;
        let host = self.core.host.clone();
        let (record, core) = (self.record.clone(), self.core.clone());
        // Before the shim: it reads the configuration when it starts.
        crate::blocking(move || {
            let config = spec::generate(&record, &facts, &host)?;
            bundle::make(&core.bundle_dir(&record), &config)?;
            core.write_name_files(&record, &BTreeMap::new())
        })
        .await?;
        self.stage("prepare", begin);
        let since = Instant::now();
        let (task, address) =
            Task::launch(&self.core, &self.record).await.map_err(|e| e.prefixed("failed to start shim"))?;
        self.stage("shim", since);
        self.record.shim = Some(address);
        let task = Arc::new(task);

        let since = Instant::now();
        let mounts = self.core.mounts(&self.record).await?;
        let runtime = self.core.runtime_of(&self.record)?;
        let pid = task
            .create(CreateTask {
                bundle: self.core.bundle_dir(&self.record),
                rootfs: mounts,
                terminal: self.record.spec.tty,
                stdin: self.record.spec.open_stdin,
                log: self.core.log_uri(&self.record),
                runtime,
            })
            .await
            .map_err(|e| task_failed(e, "failed to create task for container"))?;
        self.record.pid = pid;
        self.stage("create", since);

        let since = Instant::now();
        if self.connect_network(pid).await? {
            self.stage("network", since);
        }

        let since = Instant::now();
        for pending in self.handle.take_pending() {
            pending.connect(&task).await;
        }
        // Before it is: a short program ends before this hears of its start, and nothing ends before it starts.
        let started_at = Timestamp::now();
        task.start().await.map_err(|e| task_failed(e, "failed to start container"))?;
        self.stage("start", since);
        Ok((task, started_at))
    }

    /// What the configuration needs to know that isn't in the record.
    async fn facts(&self) -> Result<Facts> {
        let spec = &self.record.spec;
        let mut pids = BTreeMap::new();
        let mut join = |id: &str| -> Result<()> {
            let other = self.core.containers.find(&self.record.namespace, id)?.record();
            if !other.phase.is_running() {
                return Err(Error::conflict(format!(
                    "cannot join namespaces of a non running container: container {} is {}",
                    other.id,
                    other.phase.word()
                )));
            }
            pids.insert(id.to_owned(), other.pid);
            Ok(())
        };
        if let NetworkMode::Container(id) = &spec.network {
            join(id)?;
        }
        for mode in [&spec.pid_mode, &spec.ipc_mode, &spec.uts_mode] {
            if let NamespaceMode::Container(id) = mode {
                join(id)?;
            }
        }
        let (core, record) = (self.core.clone(), self.record.clone());
        crate::blocking(move || {
            let user = core.look_up_user(&record)?;
            let devices = crate::devices::look_up(&record.spec)?;
            let throttled = crate::devices::throttled(&record.spec.resources)?;
            let files = match &record.spec.network {
                NetworkMode::Container(id) => {
                    let other = core.containers.find(&record.namespace, id)?.record();
                    core.container_dir(&other)
                }
                _ => core.container_dir(&record),
            };
            let init = match (record.spec.init, &core.config.init_binary) {
                (true, Some(path)) => Some(path.clone()),
                (true, None) => return Err(Error::unsupported("--init: no init program is configured")),
                (false, _) => None,
            };
            let cgroup = core.cgroup_of(&record)?;
            Ok(Facts { user, files: Some(files), init, pids, devices, throttled, cgroup })
        })
        .await
    }
}

/// A command that isn't there or can't be executed is the caller's mistake (status 400), as dockerd has it.
fn task_failed(error: Error, what: &str) -> Error {
    let error = error.prefixed(what);
    if matches!(exit_code_of(&error), 126 | 127) { error.with_kind(Kind::InvalidArgument) } else { error }
}

/// Docker's exit codes for a start that failed: 127 where the command isn't there, 126 where it can't be executed.
pub(crate) fn exit_code_of(error: &Error) -> i32 {
    let text = error.to_string();
    let any = |words: &[&str]| words.iter().any(|w| text.contains(w));
    if any(&["executable file not found", "no such file or directory", "No such file or directory"]) {
        127
    } else if any(&["permission denied", "Permission denied", "is a directory", "Is a directory", "exec format error"])
        || error.kind() == Kind::PermissionDenied
    {
        126
    } else {
        128
    }
}

/// Whether the record tells of a run whose remains have to be looked for.
pub(super) fn may_have_run(record: &ContainerRecord) -> bool {
    matches!(record.phase, Phase::Starting | Phase::Running | Phase::Paused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_as_dockers_command_line_expects() {
        let code = |text: &str| exit_code_of(&Error::internal(text));
        assert_eq!(code("exec: \"x\": executable file not found in $PATH"), 127);
        assert_eq!(code("exec: \"/x\": stat /x: no such file or directory"), 127);
        assert_eq!(code("exec: \"/etc/passwd\": permission denied"), 126);
        assert_eq!(code("network is gone"), 128);
    }
}
