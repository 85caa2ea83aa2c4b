//! What several verbs do alike.

use crate::Context;
use crate::args::{Flags, bad_flag};
use crate::client::{Call, Query, escape};
use crate::failure::{Failure, Failures, Result};
use crate::output;
use clap::ArgMatches;
use oci::ImageRef;
use serde_json::json;
use wire::docker::Map;

/// A container's path below the version.
pub(crate) fn container(name: &str, rest: &str) -> String {
    let rest = if rest.is_empty() { String::new() } else { format!("/{rest}") };
    format!("/containers/{}{rest}", escape(name, false))
}

/// An image's path below the version.
pub(crate) fn image(name: &str, rest: &str) -> String {
    let rest = if rest.is_empty() { String::new() } else { format!("/{rest}") };
    format!("/images/{}{rest}", escape(name, true))
}

/// The value of the query parameter `filters` for texts like `label=x`; empty if there are none.
pub(crate) fn filters(texts: &[String]) -> Result<String> {
    let mut map: Map<Map<bool>> = Map::new();
    for text in texts {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| bad_flag("filter", text, "bad format of filter (expected name=value)"))?;
        let name = name.trim().to_ascii_lowercase();
        map.entry(name).or_default().insert(value.trim().to_owned(), true);
    }
    Ok(if map.is_empty() { String::new() } else { json!(map).to_string() })
}

/// Does something to every argument, says the name of each that went well, and fails at the end if one did not.
pub(crate) async fn each(cx: &Context, m: &ArgMatches, call: impl Fn(&str) -> Call) -> Result<i32> {
    let mut failures = Failures::default();
    for name in m.arguments() {
        if name.is_empty() {
            failures.push(Failure::new("invalid container name or ID: value is empty"));
            continue;
        }
        match cx.client.tell(call(&name)).await {
            Ok(()) => output::line(&name),
            Err(failure) => failures.push(failure),
        }
    }
    failures.finish()
}

/// Reads an image's name.
pub(crate) fn reference(text: &str) -> Result<ImageRef> {
    text.parse().map_err(|error: oci::Error| {
        let message = error.message();
        let said = message.starts_with("invalid reference format");
        Failure::new(if said { message.to_owned() } else { format!("invalid reference format: {message}") })
    })
}

/// Whether an image's name as written has a tag or a digest.
pub(crate) fn names_version(text: &str) -> bool {
    text.contains('@') || text.rsplit('/').next().is_some_and(|last| last.contains(':'))
}

/// A name with `:latest` where it has neither tag nor digest.
pub(crate) fn tagged(reference: &ImageRef) -> Result<ImageRef> {
    if reference.tag().is_some() || reference.digest().is_some() {
        return Ok(reference.clone());
    }
    Ok(reference.with_tag("latest")?)
}

/// The values of `--platform` as the API wants them.
pub(crate) fn platforms(m: &ArgMatches) -> Result<Vec<String>> {
    let json = |text: String| {
        let platform: oci::Platform = text.parse()?;
        Ok(serde_json::to_string(&platform)?)
    };
    m.texts("platform").into_iter().map(json).collect()
}

/// Asks a person; anything but yes is no.
pub(crate) fn confirm(question: &str) -> Result<()> {
    output::print(&format!("{question} [y/N] "));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|error| Failure::new(format!("read the answer: {error}")))?;
    if matches!(answer.trim(), "y" | "Y" | "yes" | "YES" | "Yes") {
        return Ok(());
    }
    output::line("");
    Err(Failure::new("operation was cancelled"))
}

/// The exit code for a container that could not be started: 127 where there is no such command, 126 where it can't be
/// invoked, else 125.
pub(crate) fn start_code(message: &str) -> i32 {
    const MISSING: &[&str] =
        &["executable file not found", "no such file or directory", "cannot find the file specified"];
    const REFUSED: &[&str] = &["permission denied", "is a directory"];
    if MISSING.iter().any(|words| message.contains(words)) {
        127
    } else if REFUSED.iter().any(|words| message.contains(words)) {
        126
    } else {
        125
    }
}

/// The query of an attach.
pub(crate) fn attach_query(stdin: bool, stdout: bool, stderr: bool, keys: &str) -> Query {
    Query::new()
        .text("detachKeys", keys)
        .with("stream", "1")
        .flag("stdin", stdin)
        .flag("stdout", stdout)
        .flag("stderr", stderr)
}

/// The keys that detach: the flag's, else the configuration's.
pub(crate) fn detach_keys<'a>(cx: &'a Context, m: &'a ArgMatches) -> &'a str {
    m.given("detach-keys").unwrap_or_else(|| cx.config.text("detachKeys"))
}

/// Refuses a terminal for the container where standard input is none.
pub(crate) fn check_terminal(stdin: bool, tty: bool) -> Result<()> {
    if stdin && tty && !crate::terminal::stdin_is_terminal() {
        return Err(Failure::new("the input device is not a TTY"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_a_set_by_name() {
        let texts = ["status=exited", "label=a=b", "label=c"].map(str::to_owned);
        assert_eq!(filters(&texts).unwrap(), r#"{"label":{"a=b":true,"c":true},"status":{"exited":true}}"#);
        assert_eq!(filters(&[]).unwrap(), "");
        assert!(filters(&["x".into()]).is_err());
    }

    #[test]
    fn codes() {
        assert_eq!(start_code("exec: \"x\": executable file not found in $PATH"), 127);
        assert_eq!(start_code("exec: \"/tmp\": permission denied"), 126);
        assert_eq!(start_code("port is already allocated"), 125);
    }
}
