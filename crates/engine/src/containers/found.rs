//! Recovery of one container: what its shim says, and what follows.

use super::policy::{self, Ended};
use super::supervisor::Supervisor;
use crate::model::Phase;
use crate::task::{Task, TaskExit, TaskState};
use oci::{Kind, Timestamp};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a container's shim says after a restart of the daemon.
pub(crate) enum Found {
    /// Nothing was to be expected.
    Nothing,
    /// It runs.
    Running(Arc<Task>, TaskState),
    /// It ended while nobody looked.
    Ended(TaskExit),
    /// The process was made, or not even that, when the daemon ended.
    NeverStarted,
}

impl Supervisor {
    /// The namespace.
    pub(crate) fn namespace(&self) -> &str {
        &self.record.namespace
    }

    /// Asks the shim.
    pub(crate) async fn look(&mut self) -> Found {
        if !super::start::may_have_run(&self.record) {
            return Found::Nothing;
        }
        let starting = self.record.phase == Phase::Starting;
        if !tokio::fs::try_exists(self.core.bundle_dir(&self.record)).await.unwrap_or(false) {
            return if starting { Found::NeverStarted } else { Found::Ended(self.lost()) };
        }
        let task = match Task::connect(&self.core, &self.record).await {
            Ok((task, address)) => {
                self.record.shim = Some(address);
                // The sweep of shims asks the published records which are in use.
                self.publish();
                Arc::new(task)
            }
            Err(error) => {
                tracing::info!(container = %self.record.id, %error, "no shim");
                return self.without_shim(starting).await;
            }
        };
        match task.state().await {
            Ok(TaskState::Created) => Found::NeverStarted,
            Ok(TaskState::Stopped) => Found::Ended(task.exit().await),
            Ok(state) => Found::Running(task, state),
            Err(error) if error.kind() == Kind::NotFound && starting => Found::NeverStarted,
            Err(error) => {
                tracing::warn!(container = %self.record.id, %error, "the shim has no answer");
                self.without_shim(starting).await
            }
        }
    }

    async fn without_shim(&self, starting: bool) -> Found {
        let bundle = self.core.bundle_dir(&self.record);
        let exit = crate::blocking(move || shim::exits::read(&bundle, "")).await.ok().flatten();
        match exit {
            Some(exit) => {
                Found::Ended(TaskExit { code: exit.status as i32, at: exit.exited_at, oom_killed: exit.oom_killed })
            }
            None if starting => Found::NeverStarted,
            None => Found::Ended(self.core.exit_without_shim(&self.record).await),
        }
    }

    /// The exit of a run that left no trace: the machine was restarted.
    fn lost(&self) -> TaskExit {
        TaskExit { code: 255, at: Timestamp::now(), oom_killed: false }
    }

    /// Acts on what was found.
    pub(crate) async fn settle(&mut self, found: Found) {
        match found {
            Found::Running(task, state) => {
                let (phase, pid) = match state {
                    TaskState::Paused(pid) => (Phase::Paused, pid),
                    TaskState::Running(pid) => (Phase::Running, pid),
                    TaskState::Created | TaskState::Stopped => (self.record.phase, self.record.pid),
                };
                if self.record.phase == Phase::Starting {
                    self.record.started_at = Timestamp::now();
                }
                self.record.phase = phase;
                self.record.pid = pid;
                self.restore_endpoints();
                self.watch(task);
                self.save_or_log().await;
                self.resume_stop().await;
            }
            Found::Ended(exit) => {
                if self.record.started_at.is_zero() {
                    self.record.started_at = exit.at;
                }
                let ran = exit.at.since(self.record.started_at);
                self.finish(exit, ran).await;
            }
            Found::NeverStarted => {
                self.release_network().await;
                self.teardown_run().await;
                let ever_ran = self.record.exits > 0 && !self.record.finished_at.is_zero();
                self.set_phase(if ever_ran { Phase::Exited } else { Phase::Created });
                self.record.error = "the daemon ended while the container was being started".into();
                self.save_or_log().await;
                if ever_ran && self.policy_wants_restart() {
                    self.schedule_restart().await;
                } else {
                    self.remove_if_wanted_after_failure().await;
                }
            }
            Found::Nothing => self.settle_stopped().await,
        }
    }

    async fn settle_stopped(&mut self) {
        if tokio::fs::try_exists(self.core.bundle_dir(&self.record)).await.unwrap_or(false) {
            // The last teardown was broken off.
            self.teardown_run().await;
        }
        match self.record.phase {
            Phase::Restarting => self.schedule_restart().await,
            Phase::Exited => {
                let ended = Ended {
                    code: self.record.exit_code,
                    by_hand: self.record.stopped_by_hand,
                    restarts: self.record.restart_count,
                };
                if self.record.spec.auto_remove {
                    self.auto_remove().await;
                } else if self.record.spec.restart != crate::model::RestartPolicy::No
                    && policy::wants_start_with_daemon(self.record.spec.restart, ended)
                {
                    self.schedule_restart().await;
                }
            }
            _ => {}
        }
    }

    /// Lets the loop start it at once.
    async fn schedule_restart(&mut self) {
        self.delay = Some(policy::next_delay(None, Duration::ZERO));
        self.restart_at = Some(Instant::now());
        self.record.stopped_by_hand = false;
        self.set_phase(Phase::Restarting);
        self.save_or_log().await;
    }

    /// A stop that was broken off by the daemon's end is carried through: the caller wanted it stopped.
    async fn resume_stop(&mut self) {
        if self.record.stopping {
            let terms = super::remove::stop_terms(&self.record, None, None);
            if let Ok((grace, signal)) = terms {
                self.begin_stop(grace, signal).await;
            }
        }
    }

    /// Addresses and ports as the network's records have them: the daemon may have ended before it noted them.
    fn restore_endpoints(&mut self) {
        let known = self.core.net.manager().endpoints_of(&self.record.id);
        for endpoint in known {
            for state in self.record.endpoints.values_mut().filter(|s| s.network_id == endpoint.network) {
                state.interface = endpoint.interface.clone();
                state.ip = Some(endpoint.ip.into());
                state.prefix = endpoint.prefix;
                state.gateway = Some(endpoint.gateway.into());
                state.mac = endpoint.mac.to_string();
            }
            self.record.ports = endpoint
                .ports
                .iter()
                .map(|port| crate::model::PublishedPort {
                    container_port: port.container_port,
                    protocol: port.protocol.to_string(),
                    host_ip: port.host_ip.into(),
                    host_port: port.host_port,
                })
                .collect();
        }
    }
}
