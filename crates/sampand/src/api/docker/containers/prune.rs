//! `POST /containers/prune`

use crate::api::docker::call::Call;
use crate::api::docker::filter;
use crate::api::docker::reply::{self, Reply};
use oci::{Result, Timestamp};
use wire::docker::Filters;
use wire::docker::container::PruneReport;

/// Removes containers that don't run.
pub async fn prune(call: Call) -> Result<Reply> {
    let filters = call.query.filters(&["label", "label!", "until"])?;
    let until = until(&filters)?;
    let takes = |record: &engine::model::ContainerRecord| {
        until.is_none_or(|until| record.created <= until) && filter::labels(&filters, &record.process.labels)
    };
    let pruned = call.engine().containers().prune(&takes).await?;
    let deleted = (!pruned.removed.is_empty()).then_some(pruned.removed);
    Ok(reply::json(&PruneReport { containers_deleted: deleted, space_reclaimed: pruned.reclaimed }))
}

/// The moment of the filter `until`.
pub fn until(filters: &Filters) -> Result<Option<Timestamp>> {
    filter::moment(filter::values(filters, "until").first().map_or("", String::as_str))
}
