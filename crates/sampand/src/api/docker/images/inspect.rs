//! `GET /images/{name}/json` and `/history`

use crate::api::docker::call::Call;
use crate::api::docker::reply::{self, Reply};
use crate::api::docker::version::ApiVersion;
use engine::images::Image;
use oci::{ImageRef, Result};
use wire::docker::config::Config;
use wire::docker::container::GraphDriver;
use wire::docker::image::{HistoryItem, Inspect, Metadata, RootFs};

/// Everything about an image.
pub async fn inspect(call: Call) -> Result<Reply> {
    call.query.refuse(&["manifests"])?;
    let image = call.engine().images().get(call.param("name")).await?;
    let snapshotter = &call.engine().engine().config().snapshotter;
    Ok(reply::json(&shown(&image, snapshotter, call.version)))
}

fn shown(image: &Image, snapshotter: &str, version: ApiVersion) -> Inspect {
    let familiar = |names: &[ImageRef]| names.iter().map(ImageRef::familiar).collect();
    let size = i64::try_from(image.size).unwrap_or(i64::MAX);
    let last = image.config.history.as_ref().and_then(|history| history.last());
    let config = image.config.config.as_ref().map(|config| {
        // The same keys; those that are none of Docker's are left out.
        serde_json::to_value(config).ok().and_then(|v| serde_json::from_value::<Config>(v).ok()).unwrap_or_default()
    });
    Inspect {
        id: image.id.to_string(),
        repo_tags: familiar(&image.tags),
        repo_digests: familiar(&image.digests),
        comment: last.and_then(|line| line.comment.clone()).unwrap_or_default(),
        created: image.created().to_string(),
        author: image.config.author.clone().unwrap_or_default(),
        config,
        architecture: image.config.platform.architecture.clone(),
        variant: image.config.platform.variant.clone().unwrap_or_default(),
        os: image.config.platform.os.clone(),
        size,
        virtual_size: (!version.since(44)).then_some(size),
        graph_driver: GraphDriver { data: None, name: snapshotter.to_owned() },
        root_fs: RootFs {
            kind: "layers".into(),
            layers: Some(image.config.rootfs.diff_ids.iter().map(ToString::to_string).collect()),
        },
        metadata: Metadata { last_tag_time: image.tagged.to_string() },
        descriptor: if version.since(48) { serde_json::to_value(&image.target).ok() } else { None },
        ..Inspect::default()
    }
}

/// How an image came to be, the newest step first.
pub async fn history(call: Call) -> Result<Reply> {
    let lines = call.engine().images().history(call.param("name")).await?;
    let shown: Vec<HistoryItem> = lines
        .into_iter()
        .map(|line| HistoryItem {
            comment: line.comment,
            created: line.created.seconds().max(0),
            created_by: line.created_by,
            id: line.id.map_or_else(|| "<missing>".into(), |id| id.to_string()),
            size: i64::try_from(line.size).unwrap_or(i64::MAX),
            tags: (!line.tags.is_empty()).then(|| line.tags.iter().map(ImageRef::familiar).collect()),
        })
        .collect();
    Ok(reply::json(&shown))
}
