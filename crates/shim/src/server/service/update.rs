//! Update: new limits, through the runtime.

use crate::server::connection::Reply;
use crate::server::shim::Shim;
use oci::{Context, Error, Result};
use std::path::PathBuf;
use std::process::Command;
use wire::task::UpdateTaskRequest;
use wire::well_known::Empty;

pub(super) fn call(shim: &mut Shim, reply: Reply, request: UpdateTaskRequest) {
    match prepare(shim, &request) {
        Ok((command, name, log, file)) => shim.run("update", name, command, log, move |shim, outcome| {
            let _ = std::fs::remove_file(file);
            shim.answer(reply, outcome.map(|()| Empty {}));
        }),
        Err(error) => shim.answer::<Empty>(reply, Err(error)),
    }
}

fn prepare(shim: &mut Shim, request: &UpdateTaskRequest) -> Result<(Command, String, PathBuf, PathBuf)> {
    let container = shim.container(&request.id)?;
    let resources = request.resources.as_ref().ok_or_else(|| Error::invalid("an update needs resources"))?;
    let file = container.bundle.join("resources.json");
    std::fs::write(&file, &resources.value).context(|| format!("write {}", file.display()))?;
    let log = container.bundle.join("update-log.json");
    let mut command = container.runtime.command(&container.bundle, &log);
    command.arg("update").arg("--resources").arg(&file).arg(&request.id);
    Ok((command, container.runtime.name(), log, file))
}
