//! Garbage collection: what no image, container, or pull in flight refers to goes. It runs a moment after something
//! was removed, so that many removals cost one run.

use crate::engine::{CONTAINER, Core};
use crate::model::ContainerRecord;
use oci::Result;
use std::sync::Arc;
use std::time::Duration;
use storage::Root;

/// How long to wait for more removals.
const SETTLE: Duration = Duration::from_secs(2);
/// How often to look although nothing was removed (leftovers of pulls that were given up).
const PERIOD: Duration = Duration::from_secs(3600);

/// Runs until the engine shuts down.
pub(crate) async fn run(core: Arc<Core>) {
    let mut shutdown = core.shutdown.subscribe();
    loop {
        tokio::select! {
            () = crate::down(&mut shutdown) => return,
            () = core.garbage.notified() => {}
            () = tokio::time::sleep(PERIOD) => {}
        }
        tokio::select! {
            () = crate::down(&mut shutdown) => return,
            () = tokio::time::sleep(SETTLE) => {}
        }
        if let Err(error) = collect(&core).await {
            tracing::warn!(%error, "garbage collection");
        }
    }
}

/// One collection. Returns the bytes that it freed.
pub(crate) async fn collect(core: &Arc<Core>) -> Result<u64> {
    let shared = core.clone();
    let report = crate::blocking(move || {
        shared.store.gc(|| {
            let mut roots = shared.images.roots()?;
            // The records on disk, not the directory: a container that is being made is in the former already.
            for (_, _, record) in shared.store.meta().list_all::<ContainerRecord>(CONTAINER)? {
                let key = record.snapshot_key();
                roots.push(Root::Snapshot { snapshotter: record.snapshotter.clone(), key });
                if let Some(chain) = &record.image.chain {
                    roots.push(Root::Snapshot { snapshotter: record.snapshotter, key: chain.to_string() });
                }
                // A container keeps its image, as its `inspect` and a new start need it.
                roots.push(Root::Content(record.image.manifest));
            }
            Ok(roots)
        })
    })
    .await?;
    for problem in &report.problems {
        tracing::warn!(%problem, "garbage collection");
    }
    Ok(report.content_bytes + report.snapshot_bytes)
}
