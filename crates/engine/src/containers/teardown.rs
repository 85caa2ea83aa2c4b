//! What a run leaves is taken away: process, shim, mounts, bundle, network. Idempotent; it needs the record alone.

use super::supervisor::Supervisor;
use crate::engine::Core;
use crate::model::ContainerRecord;
use crate::task::Task;
use std::sync::Arc;

impl Supervisor {
    /// Takes shim, mounts and bundle of the last run away. Trouble is told to the log: the sweep at the next start of
    /// the daemon tries again.
    pub(super) async fn teardown_run(&mut self) {
        self.handle.set_task(None);
        self.run = None;
        self.core.teardown(&self.record).await;
        self.record.shim = None;
    }

    /// Gives addresses and ports back.
    pub(super) async fn release_network(&mut self) {
        if let Err(error) = self.core.net.detach(&self.record.id).await {
            tracing::warn!(container = %self.record.id, %error, "disconnect from networks");
        }
        self.record.ports.clear();
        for (name, endpoint) in &mut self.record.endpoints {
            if endpoint.ip.take().is_some() {
                self.core.network_event(name, &endpoint.network_id, "disconnect", &self.record.id);
            }
            endpoint.prefix = 0;
            endpoint.gateway = None;
            endpoint.mac.clear();
        }
    }
}

impl Core {
    /// Takes away what is left of a container's run.
    pub(crate) async fn teardown(self: &Arc<Self>, record: &ContainerRecord) {
        let bundle = self.bundle_dir(record);
        if !tokio::fs::try_exists(&bundle).await.unwrap_or(true) {
            return;
        }
        if let Err(error) = Task::delete_remains(self, record).await {
            tracing::warn!(container = %record.id, %error, "the shim could not be cleaned up");
        }
        if let Err(error) = self.remove_dir(bundle).await {
            tracing::warn!(container = %record.id, %error, "the bundle could not be removed");
        }
    }
}

impl Core {
    /// Takes away the run of a container that has no record: with what its bundle tells.
    pub(crate) async fn teardown_orphan(&self, namespace: &str, id: &str) {
        let bundle = self.bundles_dir().join(namespace).join(id);
        if let Err(error) = Task::delete_orphan(self, namespace, id, &bundle).await {
            tracing::warn!(container = %id, %error, "the shim of an orphan could not be cleaned up");
        }
        if let Err(error) = self.remove_dir(bundle).await {
            tracing::warn!(container = %id, %error, "the bundle of an orphan could not be removed");
        }
    }
}
