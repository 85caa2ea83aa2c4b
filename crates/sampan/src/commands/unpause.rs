//! `unpause`: lets paused containers go on.

use super::shared;
use crate::Context;
use crate::args::{Arity, verb};
use crate::client::Call;
use crate::failure::Result;
use clap::{Arg, ArgMatches};

verb!("unpause", "CONTAINER [CONTAINER...]", "Unpause all processes within one or more containers", Arity::AtLeast(1));

fn flags() -> Vec<Arg> {
    Vec::new()
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    shared::each(cx, m, |name| Call::post(shared::container(name, "unpause"))).await
}
