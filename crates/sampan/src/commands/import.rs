//! `import`: an image with one layer from a tar archive of files.

use super::shared;
use crate::Context;
use crate::args::{Arity, Flags, list, value, verb};
use crate::client::{Call, Query};
use crate::failure::Result;
use crate::progress::{self, Place};
use crate::transfer;
use clap::{Arg, ArgMatches};

verb!(
    "import",
    "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    "Import the contents from a tarball to create a filesystem image",
    Arity::Between(1, 2)
);

fn flags() -> Vec<Arg> {
    vec![
        list(Some('c'), "change", "list", "Apply Dockerfile instruction to the created image"),
        value(Some('m'), "message", "string", "Set commit message for imported image"),
        value(None, "platform", "string", "Set platform if server is multi-platform capable"),
    ]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let words = m.arguments();
    let source = words[0].as_str();
    let remote = source.starts_with("http://") || source.starts_with("https://");
    let mut query = Query::new().with("fromSrc", if remote { source } else { "-" });
    if let Some(name) = words.get(1) {
        shared::reference(name)?;
        query = query.with("repo", name);
    }
    query = query.text("message", m.text("message")).text("platform", &m.text("platform").to_ascii_lowercase());
    for change in m.texts("change") {
        query = query.with("changes", change);
    }
    let mut call = Call::post("/images/create").query(query);
    if !remote {
        let input = if source == "-" { "" } else { source };
        call = call.header("Content-Type", "application/x-tar").body(transfer::send(transfer::Source::open(input)?)?);
    }
    let mut messages = cx.client.follow(call).await?;
    progress::show(&mut messages, Place::Stdout).await?;
    Ok(0)
}
