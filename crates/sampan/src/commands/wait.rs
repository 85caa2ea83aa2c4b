//! `wait`: until containers end; prints their exit codes.

use super::{run::exit_code, shared};
use crate::Context;
use crate::args::{Arity, Flags, verb};
use crate::client::Call;
use crate::failure::{Failures, Result};
use crate::output;
use clap::{Arg, ArgMatches};

verb!(
    "wait",
    "CONTAINER [CONTAINER...]",
    "Block until one or more containers stop, then print their exit codes",
    Arity::AtLeast(1)
);

fn flags() -> Vec<Arg> {
    Vec::new()
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let mut failures = Failures::default();
    for name in m.arguments() {
        let code = async {
            let mut exit = cx.client.follow(Call::post(shared::container(&name, "wait"))).await?;
            exit_code(&mut exit).await
        };
        match code.await {
            Ok(code) => output::line(&code.to_string()),
            Err(failure) => failures.push(failure.with_code(1)),
        }
    }
    failures.finish()
}
