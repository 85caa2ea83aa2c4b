//! Connect: who is there.

use crate::server::connection::Reply;
use crate::server::shim::Shim;
use wire::task::{ConnectRequest, ConnectResponse};

pub(super) fn call(shim: &mut Shim, reply: Reply, request: ConnectRequest) {
    let task_pid = shim.container(&request.id).map(|c| c.init.pid).unwrap_or(0);
    let version = env!("CARGO_PKG_VERSION").to_owned();
    shim.answer(reply, Ok(ConnectResponse { shim_pid: std::process::id(), task_pid, version }));
}
