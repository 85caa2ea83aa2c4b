//! Removal: the same teardown for a container that was removed, one that was half made, and one that ended by itself
//! with `auto_remove`. Every step counts "already gone" as done, goes on past errors, and all errors are told together.

use super::directory::Published;
use super::supervisor::{Reply, Supervisor};
use crate::engine::Core;
use crate::model::{ContainerRecord, MountKind, Phase};
use crate::signals;
use oci::{Error, Result};
use std::sync::Arc;
use std::time::Duration;

impl Supervisor {
    pub(super) async fn remove_command(&mut self, force: bool, volumes: bool, reply: Reply<()>) {
        if self.run.is_some() {
            if !force {
                let state = if self.record.phase == Phase::Paused { "paused" } else { "running" };
                let remedy = if state == "paused" { "unpause and then stop" } else { "stop" };
                let _ = reply.send(Err(Error::conflict(format!(
                    "cannot remove container \"/{}\": container is {state}: {remedy} the container before removing or \
                     force remove",
                    self.record.name
                ))));
                return;
            }
            self.record.stopped_by_hand = true;
            self.record.stopping = true;
            self.after.removals.push((volumes, reply));
            self.after.kill_at = None;
            self.arm_give_up();
            self.send_kill().await;
            return;
        }
        if self.record.phase == Phase::Restarting && !force {
            let _ = reply.send(Err(Error::conflict(format!(
                "cannot remove container \"/{}\": container is restarting: stop the container before removing or force \
                 remove",
                self.record.name
            ))));
            return;
        }
        self.restart_at = None;
        let result = self.remove_now(volumes).await;
        let _ = reply.send(result);
    }

    /// Removes a container that doesn't run.
    pub(super) async fn remove_now(&mut self, volumes: bool) -> Result<()> {
        self.set_phase(Phase::Removing);
        // On a full disk nothing can be noted, and removing is what helps.
        self.save_or_log().await;
        let mut errors = Vec::new();
        self.teardown_run().await;
        self.core.destroy(&self.record, volumes, &mut errors).await;
        if !errors.is_empty() {
            self.set_phase(Phase::Dead);
            self.save_or_log().await;
            return Err(Error::internal(format!(
                "container {} could not be removed completely, try again: {}",
                self.record.id,
                errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
            )));
        }
        self.core.containers.remove(&self.record.namespace, &self.record.id);
        self.gone = true;
        self.event("destroy", &[]);
        let record = Arc::new(self.record.clone());
        self.handle.published.send_replace(Published { record, gone: true });
        drop(self.handle.take_pending());
        self.core.collect_garbage_soon();
        Ok(())
    }

    /// Takes another name.
    pub(super) async fn rename(&mut self, name: String) -> Result<()> {
        let old = self.record.name.clone();
        if old == name {
            return Err(Error::invalid(format!(
                "Error when allocating new name: Renaming a container with the same name as its current name: {name}"
            )));
        }
        self.core.containers.reserve(&self.record.namespace, &name, &self.record.id)?;
        self.record.name = name;
        if let Err(error) = self.save().await {
            let failed = std::mem::replace(&mut self.record.name, old);
            self.core.containers.release(&self.record.namespace, &failed, &self.record.id);
            return Err(error);
        }
        self.core.containers.release(&self.record.namespace, &old, &self.record.id);
        self.event("rename", &[("oldName", format!("/{old}"))]);
        Ok(())
    }
}

impl Core {
    /// Undoes what create made: snapshot, files, anonymous volumes, and at last the record.
    pub(crate) async fn destroy(self: &Arc<Self>, record: &ContainerRecord, volumes: bool, errors: &mut Vec<Error>) {
        self.execs.forget(&record.id);
        let mut note = |result: Result<()>| errors.extend(result.err());
        note(self.remove_snapshot(record).await);
        note(self.remove_dir(self.container_dir(record)).await);
        if volumes {
            for mount in record.mounts.iter().filter(|m| m.anonymous && m.kind == MountKind::Volume) {
                note(self.remove_anonymous_volume(&record.namespace, &mount.name, &record.id).await);
            }
        }
        if errors.is_empty() {
            let (core, ns, id) = (self.clone(), record.namespace.clone(), record.id.clone());
            let gone = crate::blocking(move || core.store.meta().delete(&ns, crate::engine::CONTAINER, &id)).await;
            errors.extend(gone.err());
        }
    }
}

/// The signal and grace of a stop, from what the caller said and the container has.
pub(super) fn stop_terms(
    record: &ContainerRecord,
    timeout: Option<i64>,
    signal: Option<&str>,
) -> Result<(Option<Duration>, u32)> {
    let signal = signals::parse(signal.filter(|s| !s.is_empty()).unwrap_or(&record.process.stop_signal))?;
    let seconds = timeout.or(record.spec.stop_timeout).unwrap_or(10);
    Ok((u64::try_from(seconds).ok().map(Duration::from_secs), signal))
}
