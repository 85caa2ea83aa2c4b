//! Shutdown: leaves if no tasks are left. A pod's shim is asked once for each container, so "not yet" is no error.

use crate::server::connection::Reply;
use crate::server::shim::Shim;
use wire::task::ShutdownRequest;
use wire::well_known::Empty;

pub(super) fn call(shim: &mut Shim, reply: Reply, request: ShutdownRequest) {
    if shim.containers.is_empty() || request.now {
        shim.ending = true;
    }
    shim.answer(reply, Ok(Empty {}));
}
