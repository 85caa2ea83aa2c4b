//! `container inspect`.

use crate::Context;
use crate::args::{Arity, Flags, flag, value, verb};
use crate::failure::Result;
use clap::{Arg, ArgMatches};

verb!(
    "inspect",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Display detailed information on one or more containers",
    Arity::AtLeast(1)
);

fn flags() -> Vec<Arg> {
    vec![
        value(Some('f'), "format", "string", "Format output using a Go template, or 'json'"),
        flag(Some('s'), "size", "Display total file sizes"),
    ]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    super::inspect::inspect(cx, m, &["container"], m.on("size")).await
}
