//! Stats: the cgroups' metrics.

use crate::server::connection::Reply;
use crate::server::shim::Shim;
use wire::task::{StatsRequest, StatsResponse};

pub(super) fn call(shim: &mut Shim, reply: Reply, request: StatsRequest) {
    let answer = shim.container(&request.id).map(|c| StatsResponse { stats: Some(c.cgroups.metrics()) });
    shim.answer(reply, answer);
}
