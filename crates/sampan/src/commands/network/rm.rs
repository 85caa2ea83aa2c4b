//! `network rm`.

use super::path;
use crate::args::{Arity, Flags, flag, verb};
use crate::client::Call;
use crate::failure::{Failures, Result};
use crate::{Context, output};
use clap::{Arg, ArgMatches};

verb!("rm", "NETWORK [NETWORK...]", "Remove one or more networks", Arity::AtLeast(1));

fn flags() -> Vec<Arg> {
    vec![flag(Some('f'), "force", "Do not error if the network does not exist")]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let mut failures = Failures::default();
    for name in m.arguments() {
        match cx.client.tell(Call::delete(path(&name, ""))).await {
            Ok(()) => output::line(&name),
            Err(failure) if m.on("force") && failure.is_not_found() => {}
            Err(failure) => failures.push(failure),
        }
    }
    failures.finish()
}
