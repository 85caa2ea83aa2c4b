//! `search`: known, and refused.

use crate::Context;
use crate::args::{Arity, filter_flag, flag, format_flag, value, verb};
use crate::failure::{Failure, Result};
use clap::{Arg, ArgMatches};

verb!("search", "[OPTIONS] TERM", "Search Docker Hub for images (not supported)", Arity::Exactly(1));

fn flags() -> Vec<Arg> {
    vec![
        filter_flag(),
        format_flag(),
        value(None, "limit", "int", "Max number of search results"),
        flag(None, "no-trunc", "Don't truncate output"),
    ]
}

#[allow(clippy::unused_async, reason = "every verb is asynchronous")]
async fn run(_cx: &Context, _m: &ArgMatches) -> Result<i32> {
    Err(Failure::new("search is not supported: it is an interface of Docker Hub alone, not of registries"))
}
