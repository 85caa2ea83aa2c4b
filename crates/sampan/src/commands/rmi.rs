//! `rmi`: removes images, or names of images.

use super::shared;
use crate::Context;
use crate::args::{Arity, Flags, flag, list, verb};
use crate::client::{Call, Query};
use crate::failure::{Failures, Result};
use crate::output;
use clap::{Arg, ArgMatches};
use wire::docker::image::DeleteItem;

verb!("rmi", "[OPTIONS] IMAGE [IMAGE...]", "Remove one or more images", Arity::AtLeast(1));

fn flags() -> Vec<Arg> {
    vec![
        flag(Some('f'), "force", "Force removal of the image"),
        flag(None, "no-prune", "Do not delete untagged parents"),
        list(
            None,
            "platform",
            "string",
            "Remove only the given platform variant. Formatted as \"os[/arch[/variant]]\"",
        ),
    ]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let force = m.on("force");
    let mut query = Query::new().flag("force", force).flag("noprune", m.on("no-prune"));
    for platform in shared::platforms(m)? {
        query = query.with("platforms", platform);
    }
    let mut failures = Failures::default();
    for name in m.arguments() {
        let call = Call::delete(shared::image(&name, "")).query(query.clone());
        match cx.client.ask::<Vec<DeleteItem>>(call).await {
            Ok(items) => {
                for item in items {
                    if item.deleted.is_empty() {
                        output::line(&format!("Untagged: {}", item.untagged));
                    } else {
                        output::line(&format!("Deleted: {}", item.deleted));
                    }
                }
            }
            Err(failure) if force && failure.is_not_found() => output::error(&failure.message),
            Err(failure) => failures.push(failure),
        }
    }
    failures.finish()
}
