//! `completion`: the shell's help with this command line.

use crate::args::{Arity, Flags, verb};
use crate::failure::{Failure, Result};
use crate::{Context, PROGRAM, output, tree};
use clap::{Arg, ArgMatches};
use clap_complete::{Shell, generate};

verb!("completion", "bash|zsh|fish", "Generate the autocompletion script for the specified shell", Arity::Exactly(1));

fn flags() -> Vec<Arg> {
    Vec::new()
}

#[allow(clippy::unused_async, reason = "every verb is asynchronous")]
async fn run(_cx: &Context, m: &ArgMatches) -> Result<i32> {
    let name = &m.arguments()[0];
    let shell = match name.as_str() {
        "bash" => Shell::Bash,
        "zsh" => Shell::Zsh,
        "fish" => Shell::Fish,
        _ => return Err(Failure::new(format!("no completion for the shell {name:?}: use bash, zsh or fish"))),
    };
    let mut script = Vec::new();
    generate(shell, &mut tree(), PROGRAM, &mut script);
    output::bytes(&script);
    Ok(0)
}
