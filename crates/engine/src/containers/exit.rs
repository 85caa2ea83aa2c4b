//! A run's end: cleaned up, noted, told; then the policy, or whoever waited for it, has its turn.

use super::policy;
use super::supervisor::{AfterExit, Supervisor};
use crate::model::Phase;
use crate::task::TaskExit;
use std::time::{Duration, Instant};

impl Supervisor {
    pub(super) async fn on_exit(&mut self, exit: TaskExit) {
        let ran = self.run.take().map_or(Duration::ZERO, |run| run.since.elapsed());
        self.finish(exit, ran).await;
    }

    /// The process has ended with `exit` after a run of `ran`.
    pub(super) async fn finish(&mut self, exit: TaskExit, ran: Duration) {
        self.handle.set_task(None);
        self.core.execs.container_ended(&self.record.id);
        self.record.exit_code = exit.code;
        self.record.finished_at = exit.at;
        self.record.oom_killed = exit.oom_killed;
        self.record.exits += 1;
        self.record.stopping = false;
        let after = std::mem::take(&mut self.after);
        let by_command = !after.restarts.is_empty() || !after.removals.is_empty();
        let again = !by_command && self.policy_wants_restart();
        self.set_phase(if again { Phase::Restarting } else { Phase::Exited });
        // The exit file goes with the bundle, so the record comes first. Ports and addresses are free before anyone
        // hears of the end.
        self.release_network().await;
        if let Err(error) = self.core.save(&self.record).await {
            tracing::error!(container = %self.record.id, %error, "the container's record can't be written");
        }
        self.teardown_run().await;
        self.publish();
        if exit.oom_killed {
            self.event("oom", &[]);
        }
        let seconds = ran.as_secs();
        self.event("die", &[("exitCode", exit.code.to_string()), ("execDuration", seconds.to_string())]);
        if again {
            self.delay = Some(policy::next_delay(self.delay, ran));
            self.restart_at = self.delay.map(|delay| Instant::now() + delay);
        }
        self.serve(after, again).await;
    }

    /// Those who waited for the end get what they wanted.
    async fn serve(&mut self, after: AfterExit, again: bool) {
        if !after.stops.is_empty() || !after.restarts.is_empty() {
            self.event("stop", &[]);
        }
        after.stops.into_iter().for_each(|reply| drop(reply.send(Ok(true))));
        if !after.removals.is_empty() {
            let volumes = after.removals.iter().any(|(volumes, _)| *volumes) || self.record.spec.auto_remove;
            let result = self.remove_now(volumes).await;
            for (_, reply) in after.removals {
                let _ = reply.send(result.as_ref().copied().map_err(super::clone_error));
            }
            for reply in after.restarts {
                let _ = reply.send(Err(super::being_removed(&self.record.id)));
            }
        } else if !after.restarts.is_empty() {
            let result = self.start_by_hand().await;
            if result.is_ok() {
                self.event("restart", &[]);
            }
            for reply in after.restarts {
                let _ = reply.send(result.as_ref().copied().map_err(super::clone_error));
            }
            self.remove_if_wanted_after_failure().await;
        } else if self.record.spec.auto_remove && !again {
            self.auto_remove().await;
        }
    }

    /// A container with `auto_remove` that doesn't run any more goes, with its anonymous volumes.
    pub(super) async fn auto_remove(&mut self) {
        if let Err(error) = self.remove_now(true).await {
            tracing::warn!(container = %self.record.id, %error, "automatic removal");
        }
    }

    /// After a start that failed.
    pub(super) async fn remove_if_wanted_after_failure(&mut self) {
        let failed = !self.record.phase.is_running() && self.record.phase != Phase::Restarting && !self.gone;
        if failed && self.record.spec.auto_remove {
            self.auto_remove().await;
        }
    }
}
