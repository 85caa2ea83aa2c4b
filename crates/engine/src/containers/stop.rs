//! stop, restart, kill, pause, unpause: everything that is done to a running process.

use super::supervisor::{Reply, Supervisor};
use crate::model::Phase;
use crate::signals;
use oci::{Error, Kind, Result};
use std::time::{Duration, Instant};

impl Supervisor {
    pub(super) async fn stop(&mut self, grace: Option<Duration>, signal: u32, reply: Reply<bool>) {
        if self.run.is_none() {
            let waited = self.restart_at.take().is_some();
            if waited || self.record.phase == Phase::Restarting {
                self.record.stopped_by_hand = true;
                self.set_phase(Phase::Exited);
                self.save_or_log().await;
                self.event("stop", &[]);
            }
            let _ = reply.send(Ok(waited));
            return;
        }
        self.note_stopped_by_hand(true).await;
        self.after.stops.push(reply);
        self.begin_stop(grace, signal).await;
    }

    pub(super) async fn restart(&mut self, grace: Option<Duration>, signal: u32, reply: Reply<()>) {
        if self.run.is_none() {
            let result = self.start_by_hand().await;
            if result.is_ok() {
                self.event("restart", &[]);
            }
            let _ = reply.send(result);
            self.remove_if_wanted_after_failure().await;
            return;
        }
        self.note_stopped_by_hand(true).await;
        self.after.restarts.push(reply);
        self.begin_stop(grace, signal).await;
    }

    /// Before the signal is sent: a crash in between must not lead to a restart by policy.
    /// `stopping`: it has to end, not only to get a signal that it may live with.
    async fn note_stopped_by_hand(&mut self, stopping: bool) {
        if !self.record.stopped_by_hand || (stopping && !self.record.stopping) {
            self.record.stopped_by_hand = true;
            self.record.stopping |= stopping;
            self.save_or_log().await;
        }
    }

    pub(super) async fn begin_stop(&mut self, grace: Option<Duration>, signal: u32) {
        let kill_at = grace.map(|grace| Instant::now() + grace);
        // The earliest of several callers' deadlines counts.
        self.after.kill_at = match (self.after.kill_at, kill_at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        if signal == signals::KILL {
            self.after.kill_at = None;
            self.arm_give_up();
        }
        if let Err(error) = self.signal(signal).await {
            // A process that can't be signalled may have ended; its exit is on the way. Otherwise SIGKILL follows.
            tracing::debug!(container = %self.record.id, %error, "signal for stop");
        }
    }

    pub(super) async fn send_kill(&mut self) {
        match self.signal(signals::KILL).await {
            // It has ended by itself; its exit is on the way.
            Err(error) if error.kind() != Kind::NotFound => {
                tracing::warn!(container = %self.record.id, %error, "SIGKILL");
            }
            _ => {}
        }
    }

    /// Sends a signal, and thaws a frozen container so that it can act on it.
    async fn signal(&mut self, signal: u32) -> Result<()> {
        let Some(run) = &self.run else {
            return Err(Error::conflict(format!("container {} is not running", self.record.id)));
        };
        let task = run.task.clone();
        task.kill(signal, false).await?;
        if self.record.phase == Phase::Paused {
            task.resume().await?;
            self.set_phase(Phase::Running);
            self.save_or_log().await;
        }
        self.event("kill", &[("signal", signal.to_string())]);
        Ok(())
    }

    pub(super) async fn kill(&mut self, signal: u32) -> Result<()> {
        if self.run.is_none() {
            if self.record.phase == Phase::Restarting && self.restart_at.take().is_some() {
                self.record.stopped_by_hand = true;
                self.set_phase(Phase::Exited);
                self.save_or_log().await;
                return Ok(());
            }
            return Err(Error::conflict(format!("container {} is not running", self.record.id))
                .prefixed(format!("cannot kill container: {}", self.record.id)));
        }
        // As Docker does: its stop signal or SIGKILL by hand ends the policy, others don't.
        let ends = signal == signals::KILL || signals::parse(&self.record.process.stop_signal).ok() == Some(signal);
        if ends {
            self.note_stopped_by_hand(signal == signals::KILL).await;
        }
        match self.signal(signal).await {
            // It has ended just now.
            Err(error) if error.kind() == Kind::NotFound => Err(Error::conflict(format!(
                "cannot kill container: {}: container {} is not running",
                self.record.id, self.record.id
            ))),
            other => other,
        }
    }

    pub(super) async fn pause(&mut self) -> Result<()> {
        let id = &self.record.id;
        match (self.record.phase, &self.run) {
            (Phase::Paused, _) => Err(Error::conflict(format!("Container {id} is already paused"))),
            (Phase::Running, Some(run)) => {
                run.task.pause().await?;
                self.set_phase(Phase::Paused);
                self.save_or_log().await;
                self.event("pause", &[]);
                Ok(())
            }
            _ => Err(Error::conflict(format!("Container {id} is not running"))),
        }
    }

    pub(super) async fn unpause(&mut self) -> Result<()> {
        match (self.record.phase, &self.run) {
            (Phase::Paused, Some(run)) => {
                run.task.resume().await?;
                self.set_phase(Phase::Running);
                self.save_or_log().await;
                self.event("unpause", &[]);
                Ok(())
            }
            _ => Err(Error::conflict(format!("Container {} is not paused", self.record.id))),
        }
    }
}
