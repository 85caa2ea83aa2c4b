//! Kill: one process by its pid (a child of ours, so the pid cannot be another's), or all through the runtime.

use crate::server::connection::Reply;
use crate::server::process::Key;
use crate::server::shim::Shim;
use oci::{Context, Error, Result};
use rustix::process::{Pid, Signal, kill_process};
use wire::task::KillRequest;
use wire::well_known::Empty;

const SIGKILL: u32 = Signal::KILL.as_raw() as u32;

pub(super) fn call(shim: &mut Shim, reply: Reply, request: KillRequest) {
    if request.all && request.exec_id.is_empty() {
        let Ok(container) = shim.container(&request.id) else {
            let error = Error::not_found(format!("container {} not found in this shim", request.id));
            return shim.answer::<Empty>(reply, Err(error));
        };
        let log = container.bundle.join("kill-log.json");
        let mut command = container.runtime.command(&container.bundle, &log);
        command.args(["kill", "--all", &request.id, &request.signal.to_string()]);
        let name = container.runtime.name();
        shim.run("kill", name, command, log, move |shim, outcome| shim.answer(reply, outcome.map(|()| Empty {})));
        return;
    }
    let killed = kill(shim, &request);
    let frozen = shim.containers.get(&request.id).filter(|c| c.paused && request.signal == SIGKILL);
    let (Ok(()), Some(container)) = (&killed, frozen) else {
        return shim.answer(reply, killed.map(|()| Empty {}));
    };
    // A frozen process of cgroup v1 dies only when it is thawed.
    let log = container.bundle.join("kill-log.json");
    let mut command = container.runtime.command(&container.bundle, &log);
    command.args(["resume", &request.id]);
    let name = container.runtime.name();
    shim.run("resume", name, command, log, move |shim, outcome| {
        if outcome.is_ok()
            && let Ok(container) = shim.container(&request.id)
        {
            container.paused = false;
        }
        shim.answer(reply, outcome.map(|()| Empty {}));
    });
}

fn kill(shim: &mut Shim, request: &KillRequest) -> Result<()> {
    let process = shim.process(&Key::new(&request.id, &request.exec_id))?;
    if process.pid == 0 || process.ended.is_some() || process.exit.is_some() {
        return Err(Error::not_found(format!("process of {} already finished", request.id)));
    }
    let signal = i32::try_from(request.signal).ok().and_then(Signal::from_named_raw);
    let pid = Pid::from_raw(process.pid as i32).ok_or_else(|| Error::internal("a process without a pid"))?;
    match signal {
        Some(signal) => kill_process(pid, signal).map_err(std::io::Error::from),
        None => sys::kill::kill_raw(process.pid, request.signal),
    }
    .context(|| format!("signal {} to process {}", request.signal, process.pid))
}
