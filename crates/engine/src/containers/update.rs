//! New limits and a new policy for a container that exists.

use super::supervisor::Supervisor;
use crate::model::{Phase, RestartPolicy, Update};
use crate::{devices, spec};
use oci::{Error, Result};

impl Supervisor {
    pub(super) async fn update(&mut self, update: Update) -> Result<Vec<String>> {
        if matches!(self.record.phase, Phase::Removing | Phase::Dead) {
            return Err(Error::conflict("container is marked for removal and cannot be \"update\""));
        }
        if let Some(policy) = update.restart
            && policy != RestartPolicy::No
            && self.record.spec.auto_remove
        {
            return Err(Error::invalid(
                "Restart policy cannot be updated because AutoRemove is enabled for the container",
            ));
        }
        let mut merged = spec::merge_resources(&self.record.spec.resources, &update.resources);
        let warnings = spec::check_resources(&mut merged, &self.core.host)?;
        if let Some(run) = &self.run
            && merged != self.record.spec.resources
        {
            let looked = merged.clone();
            let throttled = crate::blocking(move || devices::throttled(&looked)).await?;
            let number = |path: &str| {
                throttled.get(path).copied().ok_or_else(|| Error::invalid(format!("device {path} was not looked up")))
            };
            run.task.update(&spec::resource_limits(&merged, &number)?).await?;
        }
        self.record.spec.resources = merged;
        if let Some(policy) = update.restart {
            self.record.spec.restart = policy;
        }
        self.save().await?;
        self.event("update", &[]);
        Ok(warnings)
    }
}
