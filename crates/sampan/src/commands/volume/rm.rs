//! `volume rm`.

use crate::args::{Arity, Flags, flag, verb};
use crate::client::{Call, Query, escape};
use crate::failure::{Failures, Result};
use crate::{Context, output};
use clap::{Arg, ArgMatches};

verb!("rm", "[OPTIONS] VOLUME [VOLUME...]", "Remove one or more volumes", Arity::AtLeast(1));

fn flags() -> Vec<Arg> {
    vec![flag(Some('f'), "force", "Force the removal of one or more volumes")]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let mut failures = Failures::default();
    for name in m.arguments() {
        let call = Call::delete(format!("/volumes/{}", escape(&name, false)));
        match cx.client.tell(call.query(Query::new().flag("force", m.on("force")))).await {
            Ok(()) => output::line(&name),
            Err(failure) => failures.push(failure),
        }
    }
    failures.finish()
}
