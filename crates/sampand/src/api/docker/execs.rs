//! Further processes in running containers.

use super::call::Call;
use super::containers::size;
use super::detach::Detector;
use super::reply::{self, Reply};
use super::{hijack, spec};
use engine::model::ExecSpec;
use http::StatusCode;
use oci::{Error, Kind, Result};
use wire::docker::IdResponse;
use wire::docker::exec::{ExecCreate, ExecInspect, ExecStart, ProcessConfig};

/// `POST /containers/{id}/exec`
pub async fn create(mut call: Call) -> Result<Reply> {
    let request: ExecCreate = call.json().await?;
    let args = request.cmd.unwrap_or_default().0;
    if args.is_empty() {
        return Err(Error::invalid("No exec command specified"));
    }
    Detector::new(&request.detach_keys)?;
    let exec = ExecSpec {
        args,
        env: request.env.unwrap_or_default(),
        user: request.user,
        cwd: request.working_dir,
        tty: request.tty,
        console_size: spec::console_size(request.console_size.unwrap_or_default())?,
        stdin: request.attach_stdin,
        stdout: request.attach_stdout,
        stderr: request.attach_stderr,
        privileged: request.privileged,
        detach_keys: request.detach_keys,
    };
    let id = call.engine().execs().create(call.param("id"), exec).await?;
    Ok(reply::json_with(StatusCode::CREATED, &IdResponse { id }))
}

/// `POST /exec/{id}/start`
pub async fn start(mut call: Call) -> Result<Reply> {
    let request: ExecStart = call.json_or_default().await?;
    let execs = call.engine().execs();
    let exec = execs.inspect(call.param("id"))?;
    let console_size = spec::console_size(request.console_size.unwrap_or_default())?;
    let keys = Detector::new(&exec.spec.detach_keys)?;
    match execs.start(&exec.id, !request.detach, console_size).await {
        Ok(Some(attached)) => {
            let detach = (attached.tty && exec.spec.stdin).then_some(keys);
            hijack::connect(&mut call, attached, detach).await
        }
        Ok(None) => Ok(reply::empty(StatusCode::OK)),
        // What the runtime refuses is told in the exec's output, as dockerd does: clients read the exit code then.
        Err(error) if !request.detach && !matches!(error.kind(), Kind::NotFound | Kind::Conflict) => {
            hijack::tell(&mut call, &error, exec.spec.tty).await
        }
        Err(error) => Err(error),
    }
}

/// `POST /exec/{id}/resize`
pub async fn resize(call: Call) -> Result<Reply> {
    let (rows, columns) = size(&call)?;
    call.engine().execs().resize(call.param("id"), rows, columns).await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `GET /exec/{id}/json`
pub async fn inspect(call: Call) -> Result<Reply> {
    let exec = call.engine().execs().inspect(call.param("id"))?;
    let (entrypoint, arguments) =
        exec.spec.args.split_first().map(|(e, a)| (e.clone(), a.to_vec())).unwrap_or_default();
    Ok(reply::json(&ExecInspect {
        id: exec.id,
        running: exec.running,
        exit_code: exec.exit_code.map(i64::from),
        process_config: ProcessConfig {
            tty: exec.spec.tty,
            entrypoint,
            arguments,
            privileged: exec.spec.privileged,
            user: exec.spec.user,
        },
        open_stdin: exec.spec.stdin,
        open_stderr: exec.spec.stderr,
        open_stdout: exec.spec.stdout,
        can_remove: exec.exit_code.is_some(),
        container_id: exec.container_id,
        detach_keys: exec.spec.detach_keys,
        pid: i64::from(exec.pid),
    }))
}
