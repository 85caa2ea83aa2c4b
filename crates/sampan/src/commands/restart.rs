//! `restart`: stops containers and starts them again.

use super::{shared, stop};
use crate::Context;
use crate::args::{Arity, verb};
use crate::client::Call;
use crate::failure::Result;
use clap::{Arg, ArgMatches};

verb!("restart", "[OPTIONS] CONTAINER [CONTAINER...]", "Restart one or more containers", Arity::AtLeast(1));

fn flags() -> Vec<Arg> {
    stop::signal_and_time()
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let query = stop::query(m)?;
    shared::each(cx, m, |name| Call::post(shared::container(name, "restart")).query(query.clone())).await
}
