//! What images keep from being collected.

use super::records::{KIND, NameRecord};
use oci::Result;
use storage::{Root, Store};

/// The roots of all names in all namespaces. The collector follows manifests to their layers.
pub(super) fn roots(store: &Store, snapshotter: &str) -> Result<Vec<Root>> {
    let mut roots = Vec::new();
    for (_, _, record) in store.meta().list_all::<NameRecord>(KIND)? {
        roots.extend([record.target, record.manifest, record.config].map(|d| Root::Content(d.digest)));
        roots.extend(
            record.chain.map(|chain| Root::Snapshot { snapshotter: snapshotter.to_owned(), key: chain.to_string() }),
        );
    }
    Ok(roots)
}
