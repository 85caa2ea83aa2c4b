//! `POST /containers/{id}/update`

use crate::api::docker::call::Call;
use crate::api::docker::reply::{self, Reply};
use crate::api::docker::spec;
use oci::Result;
use wire::docker::container::{UpdateRequest, UpdateResponse};

/// Changes limits and restart policy.
pub async fn update(mut call: Call) -> Result<Reply> {
    let request: UpdateRequest = call.json().await?;
    let update = spec::update(&request)?;
    let warnings = call.engine().containers().update(call.param("id"), update).await?;
    Ok(reply::json(&UpdateResponse { warnings: (!warnings.is_empty()).then_some(warnings) }))
}
