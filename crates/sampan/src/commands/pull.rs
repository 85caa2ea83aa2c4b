//! `pull`: an image from a registry.

use super::shared;
use crate::Context;
use crate::args::{Arity, Flags, flag, value, verb};
use crate::client::{Call, Query};
use crate::failure::{Failure, Result};
use crate::output;
use crate::progress::{self, Place};
use clap::{Arg, ArgMatches};
use oci::ImageRef;

verb!("pull", "[OPTIONS] NAME[:TAG|@DIGEST]", "Download an image from a registry", Arity::Exactly(1));

fn flags() -> Vec<Arg> {
    vec![
        flag(Some('a'), "all-tags", "Download all tagged images in the repository"),
        value(None, "platform", "string", "Set platform if server is multi-platform capable"),
        flag(Some('q'), "quiet", "Suppress verbose output"),
    ]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let text = &m.arguments()[0];
    let name = shared::reference(text)?;
    let quiet = m.on("quiet");
    let place = if quiet { Place::Nowhere } else { Place::Stdout };
    if m.on("all-tags") {
        if shared::names_version(text) {
            return Err(Failure::new("tag can't be used with --all-tags/-a"));
        }
        fetch_all(cx, &name, m.text("platform"), place).await?;
        output::line(&name.repository());
        return Ok(0);
    }
    let tagged = shared::tagged(&name)?;
    if !shared::names_version(text) && !quiet {
        output::line("Using default tag: latest");
    }
    fetch(cx, &tagged, m.text("platform"), place).await?;
    output::line(&tagged.to_string());
    Ok(0)
}

/// Pulls, and shows how it goes.
pub(super) async fn fetch(cx: &Context, name: &ImageRef, platform: &str, place: Place) -> Result<()> {
    let tag = match (name.digest(), name.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or("latest").to_owned(),
    };
    pull(cx, name, &tag, platform, place).await
}

/// Pulls every tag of the repository.
async fn fetch_all(cx: &Context, name: &ImageRef, platform: &str, place: Place) -> Result<()> {
    pull(cx, name, "", platform, place).await
}

async fn pull(cx: &Context, name: &ImageRef, tag: &str, platform: &str, place: Place) -> Result<()> {
    let query = Query::new()
        .with("fromImage", name.familiar_repository())
        .text("tag", tag)
        .text("platform", &platform.to_ascii_lowercase());
    let auth = cx.config.header_for(name).await?;
    let call = Call::post("/images/create").query(query).header("X-Registry-Auth", auth);
    let mut messages = cx.client.follow(call).await?;
    progress::show(&mut messages, place).await.map(drop)
}
