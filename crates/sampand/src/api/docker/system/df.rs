//! `GET /system/df`

use crate::api::docker::call::Call;
use crate::api::docker::reply::{self, Reply};
use crate::api::docker::{containers, images, show};
use oci::{Error, Result};
use wire::docker::system::DiskUsage;

const TYPES: &[&str] = &["container", "image", "volume", "build-cache"];

/// What takes space on disk, all of it or by type.
pub async fn df(call: Call) -> Result<Reply> {
    let types: Vec<&str> = call.query.all("type").collect();
    if let Some(unknown) = types.iter().find(|kind| !TYPES.contains(kind)) {
        return Err(Error::invalid(format!("unknown object type: {unknown}")));
    }
    let wants = |kind: &str| types.is_empty() || types.contains(&kind);
    let mut usage = DiskUsage::default();
    if wants("image") {
        let records = call.engine().containers().list();
        let list = call.engine().images().list().await?;
        usage.layers_size = list.iter().map(|image| i64::try_from(image.size).unwrap_or(0)).sum();
        let users = |image: &engine::images::Image| records.iter().filter(|c| c.image.id == image.id).count();
        usage.images =
            Some(list.iter().map(|image| images::summary(image, Some(users(image)), call.version)).collect());
    }
    if wants("container") {
        usage.containers = Some(containers::every(&call).await?);
    }
    if wants("volume") {
        let volumes = call.engine().volumes();
        let mut shown = Vec::new();
        for volume in volumes.list().await? {
            let size = volumes.size(&volume.name).await.unwrap_or(0);
            shown.push(show::volume(&volume, Some((volumes.users(&volume.name).len(), size))));
        }
        usage.volumes = Some(shown);
    }
    if wants("build-cache") {
        usage.build_cache = Some(Vec::new());
    }
    usage.builder_size = (!call.version.since(42)).then_some(0);
    Ok(reply::json(&usage))
}
