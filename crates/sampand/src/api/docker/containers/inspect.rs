//! `GET /containers/{id}/json` and `/top`

use crate::api::docker::call::Call;
use crate::api::docker::reply::{self, Reply};
use crate::api::docker::show;
use oci::{Result, Timestamp};

/// Everything about a container.
pub async fn inspect(call: Call) -> Result<Reply> {
    let containers = call.engine().containers();
    let record = containers.get(call.param("id"))?;
    let size = if call.query.flag("size") { Some(containers.size(&record.id).await?) } else { None };
    let execs = call.engine().execs().of_container(&record.id);
    let default_runtime = &call.engine().engine().config().default_runtime;
    let directory = containers.directory(&record);
    Ok(reply::json(&show::inspect(&record, execs, size, default_runtime, &directory)))
}

/// A container's processes.
pub async fn top(call: Call) -> Result<Reply> {
    let processes = call.engine().containers().top(call.param("id")).await?;
    let arguments = call.query.get("ps_args").unwrap_or_default();
    Ok(reply::json(&show::top(&processes, arguments, Timestamp::now().seconds())?))
}
