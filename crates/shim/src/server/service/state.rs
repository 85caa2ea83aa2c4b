//! State: what is known of a process.

use crate::server::connection::Reply;
use crate::server::process::{Key, Status};
use crate::server::shim::{Shim, stamp};
use oci::Result;
use wire::task::{StateRequest, StateResponse, Status as Word};

pub(super) fn call(shim: &mut Shim, reply: Reply, request: StateRequest) {
    let answer = state(shim, &request);
    shim.answer(reply, answer);
}

fn state(shim: &mut Shim, request: &StateRequest) -> Result<StateResponse> {
    let container = shim.container(&request.id)?;
    let (bundle, paused) = (container.bundle.to_string_lossy().into_owned(), container.paused);
    let process = shim.process(&Key::new(&request.id, &request.exec_id))?;
    let status = match process.status {
        Status::Creating | Status::Created => Word::Created,
        Status::Running if paused => Word::Paused,
        Status::Running => Word::Running,
        Status::Stopped => Word::Stopped,
    };
    let [stdin, stdout, stderr] = process.uris.clone();
    Ok(StateResponse {
        id: request.id.clone(),
        bundle,
        pid: process.pid,
        status: status as i32,
        stdin,
        stdout,
        stderr,
        terminal: process.terminal,
        exit_status: process.exit.map_or(0, |e| e.status),
        exited_at: process.exit.map(|e| stamp(e.exited_at)),
        exec_id: request.exec_id.clone(),
    })
}
