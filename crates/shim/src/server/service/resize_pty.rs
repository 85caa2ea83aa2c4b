//! ResizePty.

use crate::server::connection::Reply;
use crate::server::process::Key;
use crate::server::shim::Shim;
use oci::Error;
use wire::task::ResizePtyRequest;
use wire::well_known::Empty;

pub(super) fn call(shim: &mut Shim, reply: Reply, request: ResizePtyRequest) {
    let side = |n: u32| u16::try_from(n).map_err(|_| Error::invalid(format!("a terminal cannot be {n} wide or high")));
    let answer = side(request.width).and_then(|width| {
        let height = side(request.height)?;
        shim.resize(&Key::new(&request.id, &request.exec_id), width, height)
    });
    shim.answer(reply, answer.map(|()| Empty {}));
}
