//! `network inspect`.

use crate::Context;
use crate::args::{Arity, flag, value, verb};
use crate::failure::Result;
use clap::{Arg, ArgMatches};

verb!(
    "inspect",
    "[OPTIONS] NETWORK [NETWORK...]",
    "Display detailed information on one or more networks",
    Arity::AtLeast(1)
);

fn flags() -> Vec<Arg> {
    vec![
        value(Some('f'), "format", "string", "Format output using a Go template, or 'json'"),
        flag(Some('v'), "verbose", "Verbose output for diagnostics"),
    ]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    crate::commands::inspect::inspect(cx, m, &["network"], false).await
}
