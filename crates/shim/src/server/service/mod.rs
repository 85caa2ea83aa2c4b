//! The task service, `containerd.task.v2.Task` and its twin v3: one call, one file.

mod checkpoint;
mod close_io;
mod connect;
mod create;
mod delete;
mod exec;
mod kill;
mod pause;
mod pids;
mod resize_pty;
mod shutdown;
mod start;
mod state;
mod stats;
mod update;
mod wait;

use super::connection::Reply;
use super::shim::Shim;
use oci::{Error, Kind, Result};
use prost::Message;
use wire::ttrpc::Request;
use wire::well_known::Empty;

/// gRPC's code of an error's kind.
pub(super) fn code_of(kind: Kind) -> i32 {
    match kind {
        Kind::Cancelled => 1,
        Kind::InvalidArgument => 3,
        Kind::DeadlineExceeded => 4,
        Kind::NotFound => 5,
        Kind::AlreadyExists => 6,
        Kind::PermissionDenied => 7,
        Kind::ResourceExhausted => 8,
        Kind::Conflict => 9,
        Kind::Unsupported => 12,
        Kind::Internal => 13,
        Kind::Unavailable => 14,
        Kind::Corrupt => 15,
        Kind::Unauthorized => 16,
        _ => 2,
    }
}

fn decode<M: Message + Default>(request: &Request) -> Result<M> {
    M::decode(&*request.payload)
        .map_err(|error| Error::invalid(format!("malformed {} request", request.method)).with_source(error))
}

/// Hands a call to its file. A call is answered there, at once or when a run of the runtime has ended.
pub(super) fn dispatch(shim: &mut Shim, reply: Reply, request: &Request) {
    macro_rules! call {
        ($function:path) => {
            match decode(request) {
                Ok(message) => $function(shim, reply, message),
                Err(error) => shim.answer::<Empty>(reply, Err(error)),
            }
        };
    }
    if !matches!(request.service.as_str(), "containerd.task.v2.Task" | "containerd.task.v3.Task") {
        let error = Error::unsupported(format!("service {}", request.service));
        return shim.answer::<Empty>(reply, Err(error));
    }
    match request.method.as_str() {
        "Checkpoint" => call!(checkpoint::call),
        "CloseIO" => call!(close_io::call),
        "Connect" => call!(connect::call),
        "Create" => call!(create::call),
        "Delete" => call!(delete::call),
        "Exec" => call!(exec::call),
        "Kill" => call!(kill::call),
        "Pause" => call!(pause::pause),
        "Pids" => call!(pids::call),
        "ResizePty" => call!(resize_pty::call),
        "Resume" => call!(pause::resume),
        "Shutdown" => call!(shutdown::call),
        "Start" => call!(start::call),
        "State" => call!(state::call),
        "Stats" => call!(stats::call),
        "Update" => call!(update::call),
        "Wait" => call!(wait::call),
        other => shim.answer::<Empty>(reply, Err(Error::unsupported(format!("task call {other}")))),
    }
}
