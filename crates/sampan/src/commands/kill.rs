//! `kill`: a signal for containers.

use super::shared;
use crate::Context;
use crate::args::{Arity, Flags, value, verb};
use crate::client::{Call, Query};
use crate::failure::Result;
use clap::{Arg, ArgMatches};

verb!("kill", "[OPTIONS] CONTAINER [CONTAINER...]", "Kill one or more running containers", Arity::AtLeast(1));

fn flags() -> Vec<Arg> {
    vec![value(Some('s'), "signal", "string", "Signal to send to the container")]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let query = Query::new().text("signal", m.text("signal"));
    shared::each(cx, m, |name| Call::post(shared::container(name, "kill")).query(query.clone())).await
}
