//! `POST /containers/{id}/attach` and `/resize`

use crate::api::docker::call::Call;
use crate::api::docker::detach::Detector;
use crate::api::docker::hijack;
use crate::api::docker::reply::{self, Reply};
use engine::model::AttachOptions;
use oci::{Error, Result};

/// Connects the client with a container's streams.
pub async fn attach(mut call: Call) -> Result<Reply> {
    let query = &call.query;
    let options = AttachOptions {
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        logs: query.flag("logs"),
        stream: query.flag("stream"),
    };
    let keys = Detector::new(query.get("detachKeys").unwrap_or_default())?;
    let attached = call.engine().containers().attach(call.param("id"), options).await?;
    // Without a terminal nobody types, and the bytes may hold anything.
    let detach = (attached.tty && options.stdin).then_some(keys);
    hijack::connect(&mut call, attached, detach).await
}

/// Sets the size of a container's terminal.
pub async fn resize(call: Call) -> Result<Reply> {
    let (rows, columns) = size(&call)?;
    call.engine().containers().resize(call.param("id"), rows, columns).await?;
    Ok(reply::empty(http::StatusCode::OK))
}

/// Rows and columns of a resize.
pub fn size(call: &Call) -> Result<(u16, u16)> {
    let side = |name: &str| {
        call.query
            .value(name)?
            .ok_or_else(|| Error::invalid(format!("invalid resize: the parameter {name:?} is missing")))
    };
    Ok((side("h")?, side("w")?))
}
