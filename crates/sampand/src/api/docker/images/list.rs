//! `GET /images/json`

use super::names;
use crate::api::docker::call::Call;
use crate::api::docker::containers::until;
use crate::api::docker::filter;
use crate::api::docker::reply::{self, Reply};
use crate::api::docker::version::ApiVersion;
use engine::images::Image;
use oci::{Result, Timestamp};
use std::collections::BTreeMap;
use wire::docker::image::Summary;

/// Lists images, the newest first.
pub async fn list(call: Call) -> Result<Reply> {
    call.query.refuse(&["manifests", "identity"])?;
    let filters = call.query.filters(&["before", "dangling", "label", "label!", "reference", "since", "until"])?;
    let dangling = filter::flag(&filters, "dangling")?;
    let until = until(&filters)?;
    let images = call.engine().images();
    let created = async |name: &str| -> Result<Vec<Timestamp>> {
        let mut times = Vec::new();
        for given in filter::values(&filters, name) {
            times.push(images.get(given).await?.created());
        }
        Ok(times)
    };
    let (before, since) = (created("before").await?, created("since").await?);
    let takes = |image: &Image| {
        dangling.is_none_or(|wanted| image.is_dangling() == wanted)
            && until.is_none_or(|until| image.created() <= until)
            && filter::labels(&filters, &labels(image))
            && filter::any(&filters, "reference", |p| {
                image.tags.iter().chain(&image.digests).any(|name| names::matches(p, name))
            })
            && before.iter().all(|time| image.created() < *time)
            && since.iter().all(|time| image.created() > *time)
    };
    let shown: Vec<_> = images
        .list()
        .await?
        .iter()
        .filter(|image| takes(image))
        .map(|image| summary(image, None, call.version))
        .collect();
    Ok(reply::json(&shown))
}

/// An image's labels.
pub fn labels(image: &Image) -> BTreeMap<String, String> {
    image.config.config.as_ref().and_then(|config| config.labels.clone()).unwrap_or_default()
}

/// An entry of the list; `users` is the number of containers made from it.
pub fn summary(image: &Image, users: Option<usize>, version: ApiVersion) -> Summary {
    let size = i64::try_from(image.size).unwrap_or(i64::MAX);
    let labels = labels(image);
    Summary {
        containers: users.map_or(-1, |n| i64::try_from(n).unwrap_or(i64::MAX)),
        created: image.created().seconds().max(0),
        id: image.id.to_string(),
        labels: (!labels.is_empty()).then_some(labels),
        repo_digests: Some(image.digests.iter().map(oci::ImageRef::familiar).collect()),
        repo_tags: Some(image.tags.iter().map(oci::ImageRef::familiar).collect()),
        shared_size: if users.is_some() { 0 } else { -1 },
        size,
        virtual_size: (!version.since(44)).then_some(size),
        ..Summary::default()
    }
}
