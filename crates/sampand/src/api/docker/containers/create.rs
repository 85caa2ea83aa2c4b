//! `POST /containers/create`

use crate::api::docker::call::Call;
use crate::api::docker::reply::{self, Reply};
use crate::api::docker::spec;
use http::StatusCode;
use oci::{Context, Result};
use wire::docker::config::CreateRequest;
use wire::docker::container::CreateResponse;

/// Makes a container.
pub async fn create(mut call: Call) -> Result<Reply> {
    let request: CreateRequest = call.json().await?;
    let platform = match call.query.get("platform") {
        Some(text) => Some(text.parse().context(|| "invalid platform")?),
        None => None,
    };
    let spec = spec::container(request, call.query.get("name"), platform)?;
    let made = call.engine().containers().create(spec).await?;
    Ok(reply::json_with(StatusCode::CREATED, &CreateResponse { id: made.id, warnings: made.warnings }))
}
