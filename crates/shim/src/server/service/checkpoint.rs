//! Checkpoint: a running container to image files, through the runtime.

use crate::server::connection::Reply;
use crate::server::shim::Shim;
use oci::{Context, Error, Result};
use prost::Message;
use std::path::{Path, PathBuf};
use std::process::Command;
use wire::runc_options::CheckpointOptions;
use wire::task::CheckpointTaskRequest;
use wire::well_known::Empty;

/// Where criu works and logs, below the bundle.
pub(super) const WORK: &str = "criu-work";

pub(super) fn call(shim: &mut Shim, reply: Reply, request: CheckpointTaskRequest) {
    let (id, path) = (request.id.clone(), request.path.clone());
    let (command, name, log, work) = match prepare(shim, &request) {
        Ok(prepared) => prepared,
        Err(error) => return shim.answer::<Empty>(reply, Err(error)),
    };
    shim.run("checkpoint", name, command, log, move |shim, outcome| {
        let outcome = outcome.map_err(|error| with_log(error, &work));
        if outcome.is_ok() {
            shim.publish_checkpointed(&id, &path);
        }
        // A directory that the caller has named is the caller's.
        if work.own {
            let _ = std::fs::remove_dir_all(&work.path);
        }
        shim.answer(reply, outcome.map(|()| Empty {}));
    });
}

struct Work {
    path: PathBuf,
    own: bool,
    bundle: PathBuf,
}

fn options(request: &CheckpointTaskRequest) -> Result<CheckpointOptions> {
    let Some(any) = &request.options else { return Ok(CheckpointOptions::default()) };
    match any.type_url.rsplit('/').next().unwrap_or_default() {
        "containerd.runc.v1.CheckpointOptions" => CheckpointOptions::decode(&*any.value)
            .map_err(|error| Error::invalid("malformed containerd.runc.v1.CheckpointOptions").with_source(error)),
        "" => Ok(CheckpointOptions::default()),
        other => Err(Error::unsupported(format!("checkpoint options of type {other}"))),
    }
}

fn prepare(shim: &mut Shim, request: &CheckpointTaskRequest) -> Result<(Command, String, PathBuf, Work)> {
    let options = options(request)?;
    let container = shim.container(&request.id)?;
    let bundle = container.bundle.clone();
    if container.init.pid == 0 || container.init.exit.is_some() {
        return Err(Error::conflict(format!("container {} is not running", request.id)));
    }
    let images = if options.image_path.is_empty() { &request.path } else { &options.image_path };
    if !Path::new(images).is_absolute() {
        return Err(Error::invalid(format!("checkpoint path {images:?}: must be absolute")));
    }
    let own = options.work_path.is_empty();
    let path = if own { bundle.join(WORK) } else { PathBuf::from(&options.work_path) };
    let log = bundle.join("checkpoint-log.json");
    let mut command = container.runtime.command(&bundle, &log);
    command.arg("checkpoint").arg("--image-path").arg(images).arg("--work-path").arg(&path);
    for (option, on) in [
        ("--leave-running", !options.exit),
        ("--tcp-established", options.open_tcp),
        ("--ext-unix-sk", options.external_unix_sockets),
        ("--shell-job", options.terminal),
        ("--file-locks", options.file_locks),
    ] {
        if on {
            command.arg(option);
        }
    }
    if !options.cgroups_mode.is_empty() {
        command.arg("--manage-cgroups-mode").arg(&options.cgroups_mode);
    }
    for namespace in &options.empty_namespaces {
        command.arg("--empty-ns").arg(namespace);
    }
    command.arg(&request.id);
    Ok((command, container.runtime.name(), log, Work { path, own, bundle }))
}

/// criu's log is kept for whoever looks for the reason, and the error says where.
fn with_log(error: Error, work: &Work) -> Error {
    let kept = work.bundle.join("criu-dump.log");
    match std::fs::copy(work.path.join("dump.log"), &kept).context(|| "keep criu's log") {
        Ok(_) => Error::new(error.kind(), format!("{} path= {}", error.message(), kept.display())),
        Err(_) => error,
    }
}
