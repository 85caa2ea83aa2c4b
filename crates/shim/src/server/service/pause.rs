//! Pause and Resume: the freezer, through the runtime.

use crate::server::connection::Reply;
use crate::server::shim::Shim;
use wire::task::{PauseRequest, ResumeRequest};
use wire::well_known::Empty;

pub(super) fn pause(shim: &mut Shim, reply: Reply, request: PauseRequest) {
    freeze(shim, reply, request.id, true);
}

pub(super) fn resume(shim: &mut Shim, reply: Reply, request: ResumeRequest) {
    freeze(shim, reply, request.id, false);
}

fn freeze(shim: &mut Shim, reply: Reply, id: String, paused: bool) {
    let verb = if paused { "pause" } else { "resume" };
    let (command, name, log) = match shim.container(&id) {
        Ok(container) => {
            let log = container.bundle.join(format!("{verb}-log.json"));
            let mut command = container.runtime.command(&container.bundle, &log);
            command.args([verb, &id]);
            (command, container.runtime.name(), log)
        }
        Err(error) => return shim.answer::<Empty>(reply, Err(error)),
    };
    shim.run(verb, name, command, log, move |shim, outcome| {
        if outcome.is_ok() {
            if let Ok(container) = shim.container(&id) {
                container.paused = paused;
            }
            shim.publish_paused(&id, paused);
        }
        shim.answer(reply, outcome.map(|()| Empty {}));
    });
}
