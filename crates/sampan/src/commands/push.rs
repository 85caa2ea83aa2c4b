//! `push`: an image to a registry.

use super::shared;
use crate::Context;
use crate::args::{Arity, Flags, flag, value, verb};
use crate::client::{Call, Query};
use crate::failure::{Failure, Result};
use crate::output;
use crate::progress::{self, Place};
use clap::{Arg, ArgMatches};

verb!("push", "[OPTIONS] NAME[:TAG]", "Upload an image to a registry", Arity::Exactly(1));

fn flags() -> Vec<Arg> {
    vec![
        flag(Some('a'), "all-tags", "Push all tags of an image to the repository"),
        value(None, "platform", "string", "Push a platform-specific manifest as a single-platform image"),
        flag(Some('q'), "quiet", "Suppress verbose output"),
    ]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let text = &m.arguments()[0];
    let name = shared::reference(text)?;
    let quiet = m.on("quiet");
    if name.digest().is_some() {
        return Err(Failure::new("cannot push a digest reference"));
    }
    let all = m.on("all-tags");
    if all && shared::names_version(text) {
        return Err(Failure::new("tag can't be used with --all-tags/-a"));
    }
    if !all && !shared::names_version(text) && !quiet {
        output::line("Using default tag: latest");
    }
    let tag = if all { "" } else { name.tag().unwrap_or("latest") };
    let mut query = Query::new().text("tag", tag);
    if let Some(text) = m.given("platform") {
        let platform: oci::Platform = text.parse()?;
        query = query.with("platform", serde_json::to_string(&platform)?);
    }
    let auth = cx.config.header_for(&name).await?;
    let path = shared::image(&name.familiar_repository(), "push");
    let call = Call::post(path).query(query).header("X-Registry-Auth", auth);
    let mut messages = cx.client.follow(call).await?;
    progress::show(&mut messages, if quiet { Place::Nowhere } else { Place::Stdout }).await?;
    if quiet {
        output::line(&name.to_string());
    }
    Ok(0)
}
