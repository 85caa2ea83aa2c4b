//! Waiting for a container's end.

use super::Containers;
use super::directory::Published;
use crate::model::{Condition, Exit, Phase};
use oci::{Error, Result};

fn exit_of(published: &Published, condition: Condition) -> Exit {
    let record = &published.record;
    // Who waits for the removal has got what it wanted, however the last start went.
    let error = if condition == Condition::Removed { String::new() } else { record.error.clone() };
    Exit { code: record.exit_code, at: record.finished_at, error }
}

/// Whether what is waited for has come.
fn come(published: &Published, condition: Condition, exits_before: u64) -> bool {
    let record = &published.record;
    match condition {
        Condition::Removed => published.gone,
        Condition::NextExit => record.exits > exits_before || published.gone,
        Condition::NotRunning => {
            published.gone || matches!(record.phase, Phase::Created | Phase::Exited | Phase::Dead | Phase::Removing)
        }
    }
}

impl Containers {
    /// Waits. The wait begins with the call to this function, not with the first poll of what it returns, so that a
    /// container started afterwards can't end unseen.
    ///
    /// # Errors
    /// `NotFound` at once.
    pub fn wait(
        &self,
        id: &str,
        condition: Condition,
    ) -> Result<impl Future<Output = Result<Exit>> + Send + 'static + use<>> {
        let handle = self.find(id)?;
        let mut published = handle.published.subscribe();
        let exits = published.borrow().record.exits;
        let mut shutdown = self.ns.core().shutdown.subscribe();
        Ok(async move {
            tokio::select! {
                found = published.wait_for(|p| come(p, condition, exits)) => match found {
                    Ok(published) => Ok(exit_of(&published, condition)),
                    Err(_) => Err(Error::unavailable("the engine is shutting down")),
                },
                () = crate::down(&mut shutdown) => Err(Error::unavailable("the engine is shutting down")),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ContainerSpec;
    use std::sync::Arc;

    fn published(phase: Phase, exits: u64, gone: bool) -> Published {
        let mut record = crate::spec::test_record(ContainerSpec::default());
        record.phase = phase;
        record.exits = exits;
        Published { record: Arc::new(record), gone }
    }

    #[test]
    fn conditions() {
        let created = published(Phase::Created, 0, false);
        assert!(come(&created, Condition::NotRunning, 0));
        assert!(!come(&created, Condition::NextExit, 0));
        assert!(!come(&published(Phase::Running, 3, false), Condition::NextExit, 3));
        // It ended and was started again by its policy before anyone looked.
        assert!(come(&published(Phase::Running, 4, false), Condition::NextExit, 3));
        assert!(!come(&published(Phase::Restarting, 4, false), Condition::NotRunning, 0));
        assert!(!come(&published(Phase::Exited, 1, false), Condition::Removed, 0));
        assert!(come(&published(Phase::Exited, 1, true), Condition::Removed, 0));
    }
}
