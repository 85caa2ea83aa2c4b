//! `inspect`: everything about containers, images, networks and volumes.

use super::shared;
use crate::Context;
use crate::args::{Arity, Flags, flag, value, verb};
use crate::client::{Call, Query, escape};
use crate::failure::{Failure, Failures, Result};
use crate::output;
use crate::template::Template;
use crate::value::{Val, indent};
use clap::{Arg, ArgMatches};

verb!("inspect", "[OPTIONS] NAME|ID [NAME|ID...]", "Return low-level information on Docker objects", Arity::AtLeast(1));

fn flags() -> Vec<Arg> {
    vec![
        value(Some('f'), "format", "string", "Format output using a Go template; 'json' prints one line per object"),
        flag(Some('s'), "size", "Display total file sizes if the type is container"),
        value(None, "type", "string", "Only inspect objects of the given type (container, image, network, volume)"),
    ]
}

/// The kinds of things, in the order in which a name is looked for.
const KINDS: &[&str] = &["container", "image", "network", "volume"];

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let kind = m.text("type");
    if !kind.is_empty() && !KINDS.contains(&kind) {
        return Err(Failure::new(format!("unknown type: {kind:?}: must be one of {}", KINDS.join(", "))));
    }
    let kinds = if kind.is_empty() {
        KINDS
    } else {
        std::slice::from_ref(KINDS.iter().find(|k| **k == kind).unwrap_or(&KINDS[0]))
    };
    inspect(cx, m, kinds, m.on("size")).await
}

/// Prints each argument, which is one of `kinds`.
pub(super) async fn inspect(cx: &Context, m: &ArgMatches, kinds: &[&str], size: bool) -> Result<i32> {
    let template = match m.text("format") {
        "" => None,
        "json" => Some(Template::parse("{{json .}}")?),
        text => Some(Template::parse(text).map_err(|failure| failure.with_code(64))?),
    };
    let mut failures = Failures::default();
    let mut objects = Vec::new();
    for name in m.arguments() {
        match look_up(cx, &name, kinds, size).await {
            Err(failure) => failures.push(failure),
            Ok(text) => match &template {
                None => objects.push(text),
                Some(template) => {
                    let value: Val = serde_json::from_str(&text)?;
                    match template.render(&value) {
                        Ok(line) => output::line(&line),
                        Err(failure) => failures.push(failure.prefixed("template parsing error")),
                    }
                }
            },
        }
    }
    if template.is_none() {
        output::line(&indent(&format!("[{}]", objects.join(",")), ""));
    }
    failures.finish()
}

async fn look_up(cx: &Context, name: &str, kinds: &[&str], size: bool) -> Result<String> {
    let mut last = Failure::new(format!("Error: No such object: {name}"));
    for kind in kinds {
        let call = match *kind {
            "container" => Call::get(shared::container(name, "json")).query(Query::new().flag("size", size)),
            "image" => Call::get(shared::image(name, "json")),
            "network" => Call::get(format!("/networks/{}", escape(name, false))),
            _ => Call::get(format!("/volumes/{}", escape(name, false))),
        };
        match cx.client.fetch(call).await {
            Ok(bytes) => return Ok(String::from_utf8_lossy(&bytes).trim().to_owned()),
            // A name of one kind may be no name at all of another.
            Err(failure) if failure.is_not_found() || (kinds.len() > 1 && failure.status == Some(400)) => {
                if kinds.len() == 1 {
                    last = failure;
                }
            }
            Err(failure) => return Err(failure),
        }
    }
    Err(last)
}
