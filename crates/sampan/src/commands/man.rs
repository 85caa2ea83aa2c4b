//! `man DIRECTORY`: writes the manual pages there, for `make install`.

use crate::args::{Arity, Flags, verb};
use crate::failure::{Failure, Result};
use crate::{Context, tree};
use clap::{Arg, ArgMatches};

verb!("man", "DIRECTORY", "Write manual pages", Arity::Exactly(1));

fn flags() -> Vec<Arg> {
    Vec::new()
}

#[allow(clippy::unused_async, reason = "every verb is asynchronous")]
async fn run(_cx: &Context, m: &ArgMatches) -> Result<i32> {
    let directory = &m.arguments()[0];
    let mut tree = tree();
    tree.build();
    clap_mangen::generate_to(tree, directory)
        .map_err(|error| Failure::new(format!("write manual pages to {directory}: {error}")))?;
    Ok(0)
}
