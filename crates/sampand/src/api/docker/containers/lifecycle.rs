//! Start, stop, restart, kill, pause, unpause, rename, remove.

use crate::api::docker::call::Call;
use crate::api::docker::reply::{self, Reply};
use oci::{Error, Result};

/// `POST /containers/{id}/start`
pub async fn start(call: Call) -> Result<Reply> {
    call.query.refuse(&["checkpoint", "checkpoint-dir"])?;
    Ok(if call.engine().containers().start(call.param("id")).await? { reply::done() } else { reply::unchanged() })
}

/// `POST /containers/{id}/stop`
pub async fn stop(call: Call) -> Result<Reply> {
    let timeout = call.query.value("t")?;
    let stopped = call.engine().containers().stop(call.param("id"), timeout, call.query.get("signal")).await?;
    Ok(if stopped { reply::done() } else { reply::unchanged() })
}

/// `POST /containers/{id}/restart`
pub async fn restart(call: Call) -> Result<Reply> {
    let timeout = call.query.value("t")?;
    call.engine().containers().restart(call.param("id"), timeout, call.query.get("signal")).await?;
    Ok(reply::done())
}

/// `POST /containers/{id}/kill`
pub async fn kill(call: Call) -> Result<Reply> {
    call.engine().containers().kill(call.param("id"), call.query.get("signal")).await?;
    Ok(reply::done())
}

/// `POST /containers/{id}/pause`
pub async fn pause(call: Call) -> Result<Reply> {
    call.engine().containers().pause(call.param("id")).await?;
    Ok(reply::done())
}

/// `POST /containers/{id}/unpause`
pub async fn unpause(call: Call) -> Result<Reply> {
    call.engine().containers().unpause(call.param("id")).await?;
    Ok(reply::done())
}

/// `POST /containers/{id}/rename`
pub async fn rename(call: Call) -> Result<Reply> {
    let name = call.query.get("name").ok_or_else(|| Error::invalid("Neither old nor new names may be empty"))?;
    let name = crate::api::docker::spec::container_name(name)?;
    call.engine().containers().rename(call.param("id"), &name).await?;
    Ok(reply::done())
}

/// `DELETE /containers/{id}`
pub async fn remove(call: Call) -> Result<Reply> {
    call.query.refuse(&["link"])?;
    let containers = call.engine().containers();
    containers.remove(call.param("id"), call.query.flag("force"), call.query.flag("v")).await?;
    Ok(reply::done())
}
