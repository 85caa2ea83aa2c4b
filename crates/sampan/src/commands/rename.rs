//! `rename`: gives a container another name.

use super::shared;
use crate::Context;
use crate::args::{Arity, Flags, verb};
use crate::client::{Call, Query};
use crate::failure::{Failure, Result};
use clap::{Arg, ArgMatches};

verb!("rename", "CONTAINER NEW_NAME", "Rename a container", Arity::Exactly(2));

fn flags() -> Vec<Arg> {
    Vec::new()
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let words = m.arguments();
    let (old, new) = (words[0].trim(), words[1].trim());
    if old.is_empty() || new.is_empty() {
        return Err(Failure::new("Error: Neither old nor new names may be empty"));
    }
    cx.client.tell(Call::post(shared::container(old, "rename")).query(Query::new().with("name", new))).await.map_err(
        |mut failure| {
            failure.message.push_str(&format!("\nError: failed to rename container named {old}"));
            failure
        },
    )?;
    Ok(0)
}
