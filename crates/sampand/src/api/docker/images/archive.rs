//! `GET /images/get`, `GET /images/{name}/get` (docker save) and `POST /images/load`

use super::progress::{report, silent};
use crate::api::docker::call::Call;
use crate::api::docker::containers::tar;
use crate::api::docker::reply::{self, Mode, Reply};
use crate::api::docker::stream::stream_of;
use oci::{Error, Result};
use wire::docker::progress::Message;

/// Images as an archive.
pub async fn save(call: Call) -> Result<Reply> {
    refuse_platform(&call)?;
    let mut names: Vec<String> = call.query.all("names").filter(|name| !name.is_empty()).map(Into::into).collect();
    if !call.param("name").is_empty() {
        names.push(call.param("name").to_owned());
    }
    if names.is_empty() {
        return Err(Error::invalid("no image names: the parameter names is empty"));
    }
    tar(call.engine().images().save(&names).await?).await
}

/// Takes images from an archive.
pub async fn load(mut call: Call) -> Result<Reply> {
    refuse_platform(&call)?;
    let quiet = call.query.flag("quiet");
    let images = call.engine().images();
    let body = stream_of(call.stream());
    reply::stream("application/json", Mode::Progress, move |sender| async move {
        if !quiet {
            report(&sender, |sink| images.load(body, sink)).await?;
            return Ok(());
        }
        for loaded in images.load(body, silent()).await? {
            let lines = match loaded.names.as_slice() {
                [] => vec![format!("Loaded image ID: {}\n", loaded.id)],
                names => names.iter().map(|name| format!("Loaded image: {}\n", name.familiar())).collect(),
            };
            for stream in lines {
                sender.json(&Message { stream, ..Message::default() }).await?;
            }
        }
        Ok(())
    })
    .await
}

fn refuse_platform(call: &Call) -> Result<()> {
    match call.query.get("platform") {
        Some(_) => Err(Error::unsupported("not implemented: the parameter platform of save and load")),
        None => Ok(()),
    }
}
