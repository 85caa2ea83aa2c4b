//! `--security-opt`.

use crate::failure::{Failure, Result};

pub(super) struct Security {
    pub(super) options: Option<Vec<String>>,
    pub(super) masked_paths: Option<Vec<String>>,
    pub(super) readonly_paths: Option<Vec<String>>,
}

/// No profile is longer than this.
const PROFILE_LIMIT: u64 = 4 << 20;

pub(super) fn options(list: &[String]) -> Result<Security> {
    let mut security = Security { options: None, masked_paths: None, readonly_paths: None };
    let mut options = Vec::new();
    for text in list {
        // The daemon of old took a colon, too.
        let (name, value) = match text.split_once('=').or_else(|| text.split_once(':')) {
            Some((name, value)) => (name, Some(value)),
            None => (text.as_str(), None),
        };
        match (name, value) {
            ("no-new-privileges", None) => options.push(text.clone()),
            (_, None) => return Err(Failure::new(format!("Invalid --security-opt: {text:?}")).with_code(125)),
            ("systempaths", Some("unconfined")) => {
                security.masked_paths = Some(Vec::new());
                security.readonly_paths = Some(Vec::new());
            }
            ("seccomp", Some(profile)) if profile != "unconfined" && profile != "builtin" => {
                options.push(format!("seccomp={}", read_profile(profile)?));
            }
            _ => options.push(text.clone()),
        }
    }
    security.options = Some(options).filter(|options| !options.is_empty());
    Ok(security)
}

/// The profile's JSON without white space, since it travels inside of a string.
fn read_profile(path: &str) -> Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path).and_then(|file| file.take(PROFILE_LIMIT).read_to_string(&mut text)).map_err(|error| {
        Failure::new(format!("opening seccomp profile ({path}) failed: open {path}: {}", super::env::plain(&error)))
            .with_code(125)
    })?;
    let value: crate::value::Val = serde_json::from_str(&text).map_err(|error| {
        Failure::new(format!("compacting json for seccomp profile ({path}) failed: {error}")).with_code(125)
    })?;
    Ok(value.to_json())
}
