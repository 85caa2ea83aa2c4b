//! What the engine does before it serves: every container is found again, whatever the last daemon was doing when it
//! ended, and what belongs to no container is swept.
//!
//! ```text
//! phase in the record      what is done
//! Creating, Removing       undone, as by remove
//! Created, Exited, Dead    nothing (Exited with restart `always`: started)
//! Starting                 task runs: adopted; otherwise torn down, then the policy
//! Running, Paused          task runs: adopted; ended meanwhile: its exit is noted with its own time, then the policy
//! Restarting               the policy
//! ```
//! All containers are looked at side by side, each with its own deadline: one stuck shim delays nobody.

use crate::containers::{Found, Supervisor};
use crate::engine::{CONTAINER, Core};
use crate::model::{ContainerRecord, Phase};
use crate::volumes::subdirectories;
use oci::{Error, Result};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Finds every container again.
pub(crate) async fn all(core: &Arc<Core>) -> Result<()> {
    let shared = core.clone();
    let records = crate::blocking(move || shared.store.meta().list_all::<ContainerRecord>(CONTAINER)).await?;
    let records: Vec<ContainerRecord> = records.into_iter().map(|(_, _, record)| record).collect();
    let (half_made, records): (Vec<_>, Vec<_>) =
        records.into_iter().partition(|r| matches!(r.phase, Phase::Creating | Phase::Removing));
    for record in half_made {
        undo(core, &record).await;
    }

    let mut supervisors = Vec::new();
    for record in records {
        if let Err(error) = core.containers.reserve(&record.namespace, &record.name, &record.id) {
            tracing::error!(container = %record.id, %error, "two records with one name");
        }
        let supervisor = Supervisor::new(core.clone(), record);
        core.containers.insert(supervisor.namespace(), supervisor.handle().clone());
        supervisors.push(supervisor);
    }

    // Who lives is asked first, since the network's sweep has to know; policies come after it.
    let mut asked = JoinSet::new();
    for mut supervisor in supervisors {
        asked.spawn(async move {
            let found = supervisor.look().await;
            (supervisor, found)
        });
    }
    let mut looked = Vec::new();
    while let Some(result) = asked.join_next().await {
        looked.push(result.map_err(|e| Error::internal("looking for a container's process broke off").with_source(e))?);
    }
    let live: Vec<String> = looked
        .iter()
        .filter(|(_, found)| matches!(found, Found::Running(..)))
        .map(|(supervisor, _)| supervisor.handle().id.clone())
        .collect();
    match core.net.with(move |manager| manager.sweep(&live)).await {
        Ok(report) => {
            for problem in report.problems {
                tracing::warn!(%problem, "network sweep");
            }
        }
        Err(error) => tracing::error!(%error, "the networks could not be swept"),
    }
    sweep(core).await;

    let mut settled = JoinSet::new();
    for (mut supervisor, found) in looked {
        settled.spawn(async move {
            supervisor.settle(found).await;
            tokio::spawn(supervisor.run());
        });
    }
    while let Some(result) = settled.join_next().await {
        if let Err(error) = result {
            tracing::error!(%error, "a container could not be recovered");
        }
    }
    Ok(())
}

/// Removes what a broken off create or remove left.
async fn undo(core: &Arc<Core>, record: &ContainerRecord) {
    tracing::info!(container = %record.id, phase = record.phase.word(), "finishing what was broken off");
    core.teardown(record).await;
    if let Err(error) = core.net.detach(&record.id).await {
        tracing::warn!(container = %record.id, %error, "disconnect from networks");
    }
    let mut errors = Vec::new();
    // A container that was being made has nothing in its volumes yet. Whether a removal took the volumes along isn't
    // known any more; what may hold data is kept.
    let volumes = record.phase == Phase::Creating || record.spec.auto_remove;
    core.destroy(record, volumes, &mut errors).await;
    for error in errors {
        tracing::warn!(container = %record.id, %error, "undo");
    }
}

/// Removes what belongs to no container: bundles (with the shims and mounts in them), directories, snapshots, volumes.
async fn sweep(core: &Arc<Core>) {
    let known: BTreeSet<(String, String)> = core
        .containers
        .all()
        .into_iter()
        .map(|h| {
            let record = h.record();
            (record.namespace.clone(), record.id.clone())
        })
        .collect();
    if let Err(error) = sweep_bundles(core, &known).await {
        tracing::warn!(%error, "sweep of bundles");
    }
    if let Err(error) = crate::task::sweep_shims(core).await {
        tracing::warn!(%error, "sweep of shims");
    }
    let shared = core.clone();
    let result = crate::blocking(move || {
        let is_known = |ns: &str, id: &str| known.contains(&(ns.to_owned(), id.to_owned()));
        let dirs = shared.containers_dir();
        for ns in subdirectories(&dirs)? {
            for id in subdirectories(&dirs.join(&ns))?.into_iter().filter(|id| !is_known(&ns, id)) {
                tracing::info!(container = %id, "removing a directory without a container");
                let path = dirs.join(&ns).join(&id);
                if let Err(error) = std::fs::remove_dir_all(&path) {
                    tracing::warn!(path = %path.display(), %error, "sweep");
                }
            }
        }
        shared.sweep_volumes(&is_known)
    })
    .await;
    if let Err(error) = result {
        tracing::warn!(%error, "sweep of directories");
    }
}

async fn sweep_bundles(core: &Arc<Core>, known: &BTreeSet<(String, String)>) -> Result<()> {
    let bundles = core.bundles_dir();
    let found = crate::blocking(move || {
        let mut found = Vec::new();
        for ns in subdirectories(&bundles)? {
            for id in subdirectories(&bundles.join(&ns))? {
                found.push((ns.clone(), id));
            }
        }
        Ok(found)
    })
    .await?;
    for (ns, id) in found.into_iter().filter(|key| !known.contains(key)) {
        tracing::info!(container = %id, "removing a bundle without a container");
        core.teardown_orphan(&ns, &id).await;
    }
    Ok(())
}
