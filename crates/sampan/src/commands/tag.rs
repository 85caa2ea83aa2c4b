//! `tag`: one more name for an image.

use super::shared;
use crate::Context;
use crate::args::{Arity, Flags, verb};
use crate::client::{Call, Query};
use crate::failure::{Failure, Result};
use clap::{Arg, ArgMatches};

verb!(
    "tag",
    "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    Arity::Exactly(2)
);

fn flags() -> Vec<Arg> {
    Vec::new()
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let words = m.arguments();
    let fail = |name: &str, why: &str| {
        Failure::new(format!("Error parsing reference: {name:?} is not a valid repository/tag: {why}"))
    };
    let target = shared::reference(&words[1]).map_err(|failure| fail(&words[1], &failure.message))?;
    if target.digest().is_some() {
        return Err(Failure::new("refusing to create a tag with a digest reference"));
    }
    let target = shared::tagged(&target)?;
    let query = Query::new().with("repo", target.familiar_repository()).with("tag", target.tag().unwrap_or_default());
    cx.client.tell(Call::post(shared::image(&words[0], "tag")).query(query)).await?;
    Ok(0)
}
