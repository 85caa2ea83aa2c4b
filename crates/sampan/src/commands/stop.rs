//! `stop`: asks containers to end, and makes them after a while.

use super::shared;
use crate::Context;
use crate::args::{Arity, Flags, value, verb};
use crate::client::{Call, Query};
use crate::failure::Result;
use clap::{Arg, ArgMatches};

verb!("stop", "[OPTIONS] CONTAINER [CONTAINER...]", "Stop one or more running containers", Arity::AtLeast(1));

fn flags() -> Vec<Arg> {
    signal_and_time()
}

/// `--signal` and `--timeout`, which `restart` has, too.
pub(super) fn signal_and_time() -> Vec<Arg> {
    vec![
        value(Some('s'), "signal", "string", "Signal to send to the container"),
        value(Some('t'), "timeout", "int", "Seconds to wait before killing the container").alias("time"),
    ]
}

/// The query for both verbs.
pub(super) fn query(m: &ArgMatches) -> Result<Query> {
    let seconds = m.integer("timeout")?.map(|t| t.to_string()).unwrap_or_default();
    Ok(Query::new().text("signal", m.text("signal")).text("t", &seconds))
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let query = query(m)?;
    shared::each(cx, m, |name| Call::post(shared::container(name, "stop")).query(query.clone())).await
}
