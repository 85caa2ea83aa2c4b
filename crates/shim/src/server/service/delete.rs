//! Delete: forgets a process that has ended; of a container, its mounts and the runtime's state too.

use crate::exits::{self, Exit};
use crate::server::connection::Reply;
use crate::server::process::{Key, Process, Status};
use crate::server::rootfs;
use crate::server::shim::{Shim, stamp};
use oci::{Error, Result, Timestamp};
use wire::task::{DeleteRequest, DeleteResponse};

/// The code of a process that was never started.
const KILLED: u32 = 128 + 9;

pub(super) fn call(shim: &mut Shim, reply: Reply, request: DeleteRequest) {
    let key = Key::new(&request.id, &request.exec_id);
    match check(shim, &key) {
        Ok(exit) if key.exec_id.is_empty() => delete_container(shim, reply, &key.id, exit),
        Ok(exit) => {
            delete_exec(shim, &key);
            shim.answer(reply, Ok(response(&exit)));
        }
        Err(error) => shim.answer::<DeleteResponse>(reply, Err(error)),
    }
}

fn response(exit: &Exit) -> DeleteResponse {
    DeleteResponse { pid: exit.pid, exit_status: exit.status, exited_at: Some(stamp(exit.exited_at)) }
}

fn check(shim: &mut Shim, key: &Key) -> Result<Exit> {
    let process = shim.process(key)?;
    match process.status {
        Status::Stopped => {}
        // Never started: an exec is just forgotten, a container is killed by the runtime's delete.
        Status::Created if !process.starting => {}
        _ => return Err(Error::conflict(format!("process of {} is running: kill it first", key.id))),
    }
    Ok(process.exit.unwrap_or(Exit {
        pid: process.pid,
        status: KILLED,
        exited_at: Timestamp::now(),
        oom_killed: false,
    }))
}

fn delete_exec(shim: &mut Shim, key: &Key) {
    let Ok(container) = shim.container(&key.id) else { return };
    let bundle = container.bundle.clone();
    let removed = container.execs.remove(&key.exec_id);
    if let Some(process) = removed {
        forget(shim, process);
    }
    let _ = std::fs::remove_file(bundle.join(format!("exec-{}.json", key.exec_id)));
    let _ = exits::remove(&bundle, &key.exec_id);
}

fn delete_container(shim: &mut Shim, reply: Reply, id: &str, exit: Exit) {
    let Ok(container) = shim.container(id) else { return };
    let log = container.bundle.join("delete-log.json");
    let mut command = container.runtime.command(&container.bundle, &log);
    command.args(["delete", "--force", id]);
    let name = container.runtime.name();
    let id = id.to_owned();
    shim.run("delete", name, command, log, move |shim, outcome| {
        let deleted = outcome.and_then(|()| {
            let container = shim.container(&id)?;
            rootfs::unmount_all(&container.bundle.join("rootfs"))
        });
        // One that never started was killed just now.
        shim.reap();
        let key = Key::new(&id, "");
        shim.finish(&key);
        let exit = shim.process(&key).ok().and_then(|p| p.exit).unwrap_or(exit);
        if deleted.is_ok()
            && let Some(container) = shim.containers.remove(&id)
        {
            if let Some((fd, token)) = container.oom {
                shim.poll.remove(&fd, token);
            }
            for process in std::iter::once(container.init).chain(container.execs.into_values()) {
                forget(shim, process);
            }
            shim.publish_delete(&id, &exit);
        }
        shim.answer(reply, deleted.map(|()| response(&exit)));
    });
}

/// Lets go of everyone who has to do with a process that is deleted.
fn forget(shim: &mut Shim, process: Process) {
    for waiter in process.waiters {
        shim.answer::<DeleteResponse>(waiter, Err(Error::not_found("the process was deleted")));
    }
    shim.close_streams(process.streams);
}
