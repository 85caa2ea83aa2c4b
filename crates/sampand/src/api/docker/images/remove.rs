//! `DELETE /images/{name}` and `POST /images/prune`

use super::list::labels;
use crate::api::docker::call::Call;
use crate::api::docker::containers::until;
use crate::api::docker::filter;
use crate::api::docker::reply::{self, Reply};
use engine::images::{Image, Removed};
use oci::Result;
use wire::docker::image::{DeleteItem, PruneReport};

/// Removes a name, or an image.
pub async fn remove(call: Call) -> Result<Reply> {
    // Parents without a name are not kept as images here: noprune has nothing to keep.
    let removed = call.engine().images().remove(call.param("name"), call.query.flag("force")).await?;
    Ok(reply::json(&items(removed)))
}

fn items(removed: Vec<Removed>) -> Vec<DeleteItem> {
    removed
        .into_iter()
        .map(|step| match step {
            Removed::Untagged(name) => DeleteItem { untagged: name.familiar(), ..DeleteItem::default() },
            Removed::Deleted(digest) => DeleteItem { deleted: digest.to_string(), ..DeleteItem::default() },
        })
        .collect()
}

/// Removes images that no container uses: those without a tag, or, with the filter `dangling=false`, all.
pub async fn prune(call: Call) -> Result<Reply> {
    let filters = call.query.filters(&["dangling", "label", "label!", "until"])?;
    let all = filter::flag(&filters, "dangling")? == Some(false);
    let until = until(&filters)?;
    let takes =
        |image: &Image| until.is_none_or(|until| image.created() <= until) && filter::labels(&filters, &labels(image));
    let pruned = call.engine().images().prune(all, &takes).await?;
    let deleted = (!pruned.removed.is_empty()).then(|| items(pruned.removed));
    Ok(reply::json(&PruneReport { images_deleted: deleted, space_reclaimed: pruned.freed }))
}
