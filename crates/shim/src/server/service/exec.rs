//! Exec: adds a process to be started.

use crate::exits;
use crate::server::args::check_id;
use crate::server::connection::Reply;
use crate::server::process::{Key, Process, Status};
use crate::server::shim::Shim;
use oci::{Context, Error, Result};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use wire::task::ExecProcessRequest;
use wire::well_known::Empty;

/// Execs of one container at a time.
const LIMIT: usize = 4096;

pub(super) fn call(shim: &mut Shim, reply: Reply, request: ExecProcessRequest) {
    let key = Key::new(&request.id, &request.exec_id);
    let added = add(shim, &key, request);
    if added.is_ok() {
        shim.publish_exec_added(&key);
    }
    shim.answer(reply, added.map(|()| Empty {}));
}

fn add(shim: &mut Shim, key: &Key, request: ExecProcessRequest) -> Result<()> {
    check_id(&key.exec_id)?;
    let container = shim.container(&key.id)?;
    if container.execs.contains_key(&key.exec_id) {
        return Err(Error::already_exists(format!("exec {} exists already in {}", key.exec_id, key.id)));
    }
    if container.execs.len() >= LIMIT {
        return Err(Error::exhausted(format!("{} has {LIMIT} execs that were not deleted", key.id)));
    }
    let bundle = container.bundle.clone();
    let spec = request.spec.ok_or_else(|| Error::invalid("an exec needs a process specification"))?;
    exits::remove(&bundle, &key.exec_id)?;
    let file = bundle.join(format!("exec-{}.json", key.exec_id));
    // Its environment may hold secrets.
    let mut open = std::fs::File::options();
    let written = open.write(true).create(true).truncate(true).mode(0o600).open(&file);
    written.and_then(|mut f| f.write_all(&spec.value)).context(|| format!("write {}", file.display()))?;
    let uris = [request.stdin, request.stdout, request.stderr];
    let streams = match shim.open_streams(key, &uris, request.terminal) {
        Ok(streams) => streams,
        Err(error) => {
            let _ = std::fs::remove_file(file);
            return Err(error);
        }
    };
    let process = Process {
        pid: 0,
        status: Status::Created,
        terminal: request.terminal,
        uris,
        ended: None,
        exit: None,
        waiters: Vec::new(),
        streams,
        starting: false,
        oom_kills_before: 0,
    };
    shim.container(&key.id)?.execs.insert(key.exec_id.clone(), process);
    Ok(())
}
