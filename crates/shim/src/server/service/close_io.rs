//! CloseIO: the end of standard input.

use crate::server::connection::Reply;
use crate::server::process::Key;
use crate::server::shim::Shim;
use wire::task::CloseIoRequest;
use wire::well_known::Empty;

pub(super) fn call(shim: &mut Shim, reply: Reply, request: CloseIoRequest) {
    let key = Key::new(&request.id, &request.exec_id);
    let known = shim.process(&key).map(drop);
    if known.is_ok() && request.stdin {
        shim.end_stdin(&key);
    }
    shim.answer(reply, known.map(|()| Empty {}));
}
