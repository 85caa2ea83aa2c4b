//! `POST /images/{name}/push`

use super::progress::report;
use crate::api::docker::call::Call;
use crate::api::docker::reply::{self, Mode, Reply};
use oci::{Error, ImageRef, Result};
use wire::docker::auth::AuthConfig;

/// Pushes one tag, or all that the repository has here.
pub async fn push(call: Call) -> Result<Reply> {
    if call.query.get("platform").is_some() {
        return Err(Error::unsupported("not implemented: the parameter platform of push"));
    }
    let given = call.param("name");
    let repository: ImageRef = given.parse()?;
    let tagged = given.rsplit('/').next().is_some_and(|last| last.contains(':'));
    let credentials = super::credentials(call.header_json::<AuthConfig>("X-Registry-Auth")?)?;
    let images = call.engine().images();
    let names = match call.query.get("tag") {
        Some(tag) => vec![repository.with_tag(tag)?],
        None if tagged => vec![repository.clone()],
        None => {
            let all = images.list().await?.into_iter().flat_map(|image| image.tags);
            all.filter(|name| name.repository() == repository.repository()).collect()
        }
    };
    if names.is_empty() {
        return Err(Error::not_found(format!(
            "An image does not exist locally with the tag: {}",
            repository.familiar_repository()
        )));
    }
    reply::stream("application/json", Mode::Progress, |sender| async move {
        for name in names {
            report(&sender, |sink| images.push(&name, credentials.clone(), sink)).await?;
        }
        Ok(())
    })
    .await
}
