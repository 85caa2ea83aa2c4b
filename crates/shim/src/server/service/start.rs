//! Start: of the container's own process, or of an exec.

use super::create::{give_streams, read_pid};
use crate::server::connection::Reply;
use crate::server::process::{Key, Status};
use crate::server::shim::Shim;
use crate::server::stdio::ConsoleSocket;
use oci::{Context, Error, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use wire::task::{StartRequest, StartResponse};

struct Prepared {
    command: Command,
    runtime: String,
    log: PathBuf,
    pid_file: Option<PathBuf>,
    console: Option<ConsoleSocket>,
}

pub(super) fn call(shim: &mut Shim, reply: Reply, request: StartRequest) {
    let key = Key::new(&request.id, &request.exec_id);
    match prepare(shim, &key) {
        Ok(Prepared { command, runtime, log, pid_file, console }) => {
            let verb = match (key.exec_id.is_empty(), &pid_file) {
                (true, None) => "start",
                (true, Some(_)) => "restore",
                (false, _) => "exec",
            };
            shim.run(verb, runtime, command, log, move |shim, outcome| {
                let started = outcome.and_then(|()| started(shim, &key, pid_file, console.as_ref()));
                if let Ok(process) = shim.process(&key) {
                    process.starting = false;
                }
                let started = started.map_err(|error| error.prefixed(format!("OCI runtime {verb} failed")));
                if started.is_err() && !key.exec_id.is_empty() {
                    fail(shim, &key);
                }
                shim.answer(reply, started.map(|pid| StartResponse { pid }));
            });
        }
        Err(error) => shim.answer::<StartResponse>(reply, Err(error)),
    }
}

fn prepare(shim: &mut Shim, key: &Key) -> Result<Prepared> {
    let process = shim.process(key)?;
    if process.status != Status::Created || process.starting || process.ended.is_some() {
        return Err(Error::conflict(format!("process of {} cannot be started in its present state", key.id)));
    }
    let container = shim.container(&key.id)?;
    let (bundle, runtime) = (container.bundle.clone(), container.runtime.clone());
    let log = bundle.join(format!("start-{}log.json", key.exec_id));
    let mut command = runtime.command(&bundle, &log);
    let prepared = if let Some(images) = container.checkpoint.clone().filter(|_| key.exec_id.is_empty()) {
        let pid_file = bundle.join("init.pid");
        command.args(["restore", "--detach", "--no-subreaper", "--bundle"]).arg(&bundle);
        command.arg("--image-path").arg(images).arg("--work-path").arg(bundle.join(super::checkpoint::WORK));
        command.arg("--pid-file").arg(&pid_file);
        if runtime.no_pivot {
            command.arg("--no-pivot");
        }
        let process = shim.process(key)?;
        let console = if process.terminal { Some(ConsoleSocket::new(&bundle, "console.sock")?) } else { None };
        if let Some(console) = &console {
            command.arg("--console-socket").arg(&console.path);
        }
        give_streams(&mut command, &mut process.streams);
        command.arg(&key.id);
        Prepared { command, runtime: runtime.name(), log, pid_file: Some(pid_file), console }
    } else if key.exec_id.is_empty() {
        command.args(["start", &key.id]);
        Prepared { command, runtime: runtime.name(), log, pid_file: None, console: None }
    } else {
        if container.init.status != Status::Running || container.init.ended.is_some() {
            return Err(Error::conflict(format!("container {} is not running", key.id)));
        }
        let kills = container.cgroups.oom_kills();
        let process = shim.process(key)?;
        process.oom_kills_before = kills;
        let pid_file = bundle.join(format!("exec-{}.pid", key.exec_id));
        let spec = bundle.join(format!("exec-{}.json", key.exec_id));
        if let Some((columns, rows)) = process.streams.size() {
            set_console_size(&spec, columns, rows)?;
        }
        command.args(["exec", "--detach", "--process"]).arg(spec).arg("--pid-file").arg(&pid_file);
        let socket = format!("exec-{}.sock", key.exec_id);
        let console = if process.terminal { Some(ConsoleSocket::new(&bundle, &socket)?) } else { None };
        if let Some(console) = &console {
            command.arg("--console-socket").arg(&console.path);
        }
        give_streams(&mut command, &mut process.streams);
        command.arg(&key.id);
        Prepared { command, runtime: runtime.name(), log, pid_file: Some(pid_file), console }
    };
    shim.process(key)?.starting = true;
    Ok(prepared)
}

/// Gives the terminal the size that it was told before there was one: the process sees it from its first moment.
fn set_console_size(spec: &Path, columns: u16, rows: u16) -> Result<()> {
    let what = || format!("set the terminal's size in {}", spec.display());
    let bytes = std::fs::read(spec).context(what)?;
    let mut process: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| Error::invalid(what()).with_source(error))?;
    process["consoleSize"] = serde_json::json!({ "height": rows, "width": columns });
    std::fs::write(spec, process.to_string()).context(what)
}

fn started(shim: &mut Shim, key: &Key, pid_file: Option<PathBuf>, console: Option<&ConsoleSocket>) -> Result<u32> {
    if let Some(file) = pid_file {
        let pid = read_pid(&file)?;
        if key.exec_id.is_empty() {
            super::create::begun(shim, &key.id, pid, console)?;
            return Ok(running(shim, key, pid));
        }
        let _ = std::fs::remove_file(file);
        shim.process(key)?.pid = pid;
    }
    if let Some(console) = console {
        let master = console.receive()?;
        shim.adopt_console(key, master)?;
    }
    shim.let_flow(key);
    let pid = shim.process(key)?.pid;
    Ok(running(shim, key, pid))
}

fn running(shim: &mut Shim, key: &Key, pid: u32) -> u32 {
    if let Ok(process) = shim.process(key)
        && process.status == Status::Created
    {
        process.status = Status::Running;
    }
    shim.publish_start(key, pid);
    pid
}

/// An exec that could not be started is over.
fn fail(shim: &mut Shim, key: &Key) {
    let Ok(process) = shim.process(key) else { return };
    process.status = Status::Stopped;
    let streams = std::mem::take(&mut process.streams);
    shim.close_streams(streams);
}
