//! Wait: answered when the process has ended and its output was read.

use crate::server::connection::Reply;
use crate::server::process::Key;
use crate::server::shim::{Shim, stamp};
use wire::task::{WaitRequest, WaitResponse};

/// Callers that may wait for one process.
const LIMIT: usize = 1024;

pub(super) fn call(shim: &mut Shim, reply: Reply, request: WaitRequest) {
    let answer = match shim.process(&Key::new(&request.id, &request.exec_id)) {
        Ok(process) => match process.exit {
            Some(exit) => Ok(WaitResponse { exit_status: exit.status, exited_at: Some(stamp(exit.exited_at)) }),
            None if process.waiters.len() < LIMIT => {
                process.waiters.push(reply);
                return;
            }
            None => Err(oci::Error::exhausted(format!("{LIMIT} callers wait for {} already", request.id))),
        },
        Err(error) => Err(error),
    };
    shim.answer(reply, answer);
}
