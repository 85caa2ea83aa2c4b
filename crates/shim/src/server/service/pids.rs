//! Pids: every process in the container's cgroup.

use crate::server::connection::Reply;
use crate::server::shim::Shim;
use std::collections::BTreeMap;
use wire::runc_options::ProcessDetails;
use wire::task::{PidsRequest, PidsResponse, ProcessInfo};
use wire::well_known::Any;

pub(super) fn call(shim: &mut Shim, reply: Reply, request: PidsRequest) {
    let answer = shim.container(&request.id).map(|container| {
        let execs: BTreeMap<u32, &String> = container.execs.iter().map(|(id, process)| (process.pid, id)).collect();
        let mut pids = container.cgroups.pids();
        if pids.is_empty() && container.init.ended.is_none() && container.init.pid != 0 {
            // A runtime without cgroups: what we started is all we know.
            pids.push(container.init.pid);
            pids.extend(container.execs.values().filter(|p| p.ended.is_none() && p.pid != 0).map(|p| p.pid));
        }
        let details = |pid: &u32| {
            let exec_id = (*execs.get(pid)?).clone();
            Some(Any::pack("containerd.runc.v1.ProcessDetails", &ProcessDetails { exec_id }))
        };
        PidsResponse { processes: pids.into_iter().map(|pid| ProcessInfo { info: details(&pid), pid }).collect() }
    });
    shim.answer(reply, answer);
}
