//! `image inspect`.

use crate::Context;
use crate::args::{Arity, value, verb};
use crate::failure::Result;
use clap::{Arg, ArgMatches};

verb!("inspect", "[OPTIONS] IMAGE [IMAGE...]", "Display detailed information on one or more images", Arity::AtLeast(1));

fn flags() -> Vec<Arg> {
    vec![value(Some('f'), "format", "string", "Format output using a Go template, or 'json'")]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    super::inspect::inspect(cx, m, &["image"], false).await
}
