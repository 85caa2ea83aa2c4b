//! Volumes.

use super::call::Call;
use super::containers::until;
use super::filter::{self, Pattern};
use super::reply::{self, Reply};
use super::show;
use engine::model::VolumeSpec;
use http::StatusCode;
use oci::{Error, Result};
use wire::docker::volume::{CreateRequest, List, PruneReport};

/// `GET /volumes`
pub async fn list(call: Call) -> Result<Reply> {
    let filters = call.query.filters(&["dangling", "driver", "label", "name"])?;
    let dangling = filter::flag(&filters, "dangling")?;
    let names = filter::values(&filters, "name").iter().map(|n| Pattern::new(n)).collect::<Result<Vec<_>>>()?;
    let volumes = call.engine().volumes();
    let shown = volumes
        .list()
        .await?
        .iter()
        .filter(|volume| {
            filter::any(&filters, "driver", |driver| driver == volume.driver)
                && filter::labels(&filters, &volume.labels)
                && (names.is_empty() || names.iter().any(|name| name.matches(&volume.name)))
                && dangling.is_none_or(|wanted| volumes.users(&volume.name).is_empty() == wanted)
        })
        .map(|volume| show::volume(volume, None))
        .collect();
    Ok(reply::json(&List { volumes: shown, warnings: None }))
}

/// `POST /volumes/create`
pub async fn create(mut call: Call) -> Result<Reply> {
    let request: CreateRequest = call.json_or_default().await?;
    if request.cluster_volume_spec.is_some() {
        return Err(Error::unsupported("not implemented: the option ClusterVolumeSpec"));
    }
    let text = |text: String| (!text.is_empty()).then_some(text);
    let volume = VolumeSpec {
        name: text(request.name),
        driver: text(request.driver),
        options: request.driver_opts.unwrap_or_default(),
        labels: request.labels.unwrap_or_default(),
    };
    let made = call.engine().volumes().create(volume).await?;
    Ok(reply::json_with(StatusCode::CREATED, &show::volume(&made, None)))
}

/// `GET /volumes/{name}`
pub async fn inspect(call: Call) -> Result<Reply> {
    let volume = call.engine().volumes().get(call.param("name")).await?;
    Ok(reply::json(&show::volume(&volume, None)))
}

/// `DELETE /volumes/{name}`
pub async fn remove(call: Call) -> Result<Reply> {
    call.engine().volumes().remove(call.param("name"), call.query.flag("force")).await?;
    Ok(reply::done())
}

/// `POST /volumes/prune`: anonymous ones; with the filter `all`, and before API 1.42, named ones too.
pub async fn prune(call: Call) -> Result<Reply> {
    let filters = call.query.filters(&["all", "label", "label!", "until"])?;
    let all = filter::flag(&filters, "all")?.unwrap_or(!call.version.since(42));
    let until = until(&filters)?;
    let takes = |volume: &engine::model::Volume| {
        (all || volume.anonymous)
            && until.is_none_or(|until| volume.created <= until)
            && filter::labels(&filters, &volume.labels)
    };
    let pruned = call.engine().volumes().prune(&takes).await?;
    Ok(reply::json(&PruneReport { volumes_deleted: pruned.removed, space_reclaimed: pruned.reclaimed }))
}
