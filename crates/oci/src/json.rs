//! Reading JSON with errors that say where in the document they are, by path and not by line.

use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// The longest message about a value: a document's strings are repeated in it.
const MAX_MESSAGE: usize = 300;

/// Reads a document. An error names the path of the wrong value, what it is, and what is expected there:
/// `process.user.uid: invalid type: string "x", expected u32`.
///
/// # Errors
/// An invalid argument: no JSON, or a value of a wrong type.
pub fn from_slice<T: DeserializeOwned>(text: &[u8]) -> Result<T> {
    serde_json::from_slice(text).map_err(|error| {
        let mut message = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        // Only for a value is the path worth more than the line.
        let path = error.is_data().then(|| path_at(text, error.line(), error.column())).filter(|p| !p.is_empty());
        if let Some(path) = path {
            message.truncate(message.len() - if message.ends_with(&place) { place.len() } else { 0 });
            if message.len() > MAX_MESSAGE {
                let end = (0..=MAX_MESSAGE).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
                message.truncate(end);
                message.push_str(" ...");
            }
            message = format!("{path}: {message}");
        }
        Error::invalid(message)
    })
}

/// The path of the last value that begins before a place in a document.
fn path_at(text: &[u8], line: usize, column: usize) -> String {
    let start = match line {
        0 | 1 => 0,
        _ => text.iter().enumerate().filter(|(_, b)| **b == b'\n').nth(line - 2).map_or(0, |(at, _)| at + 1),
    };
    let end = text.len().min(start + column);
    /// What the scanner is in: an object with its present key, or an array with its present index.
    enum Level {
        Object(Option<String>),
        Array(usize),
    }
    let mut levels: Vec<Level> = Vec::new();
    let mut at = 0;
    let mut expects_key = false;
    while at < end {
        match text[at] {
            b'{' => {
                levels.push(Level::Object(None));
                expects_key = true;
            }
            b'[' => levels.push(Level::Array(0)),
            b'}' | b']' => {
                levels.pop();
                expects_key = false;
            }
            b',' => match levels.last_mut() {
                Some(Level::Array(index)) => *index += 1,
                _ => expects_key = true,
            },
            b'"' => {
                let first = at + 1;
                at = first;
                while at < text.len() && text[at] != b'"' {
                    at += if text[at] == b'\\' { 2 } else { 1 };
                }
                if expects_key && let Some(Level::Object(key)) = levels.last_mut() {
                    let raw = text.get(first..at.min(text.len())).unwrap_or_default();
                    *key = Some(String::from_utf8_lossy(raw).into_owned());
                    expects_key = false;
                }
            }
            _ => {}
        }
        at += 1;
    }
    let mut path = String::new();
    for level in levels {
        match level {
            Level::Array(index) => path.push_str(&format!("[{index}]")),
            Level::Object(Some(key))
                if !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') =>
            {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&key);
            }
            Level::Object(Some(key)) => path.push_str(&format!("[\"{key}\"]")),
            Level::Object(None) => {}
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Spec;

    fn error(text: &str) -> String {
        from_slice::<Spec>(text.as_bytes()).expect_err("refused").to_string()
    }

    #[test]
    fn wrong_values_are_named_by_their_path() {
        for (text, words) in [
            (r#"{"process":{"user":{"uid":"x"}}}"#, "process.user.uid: invalid type: string \"x\", expected u32"),
            (r#"{"process":{"user":{"uid":-1}}}"#, "process.user.uid: invalid value: integer `-1`, expected u32"),
            (r#"{"process":{"user":{"uid":4294967296,"gid":1}}}"#, "process.user.uid: invalid value: integer"),
            (r#"{"process":{"args":["a",7]}}"#, "process.args[1]: invalid type: integer `7`, expected a string"),
            (r#"{"mounts":[{"destination":"/a"},{"destination":{}}]}"#, "mounts[1].destination: invalid type: map"),
            (r#"{"mounts":{}}"#, "mounts: invalid type: map, expected a sequence"),
            (r#"{"mounts":"x","root":{}}"#, "mounts: invalid type: string \"x\", expected a sequence"),
            (r#"{"annotations":{"a.b/c":1}}"#, "annotations[\"a.b/c\"]: invalid type: integer `1`, expected a string"),
            (r#"{"linux":{"resources":{"memory":{"limit":1.5}}}}"#, "linux.resources.memory.limit: invalid type"),
            (r#"{"process":{"terminal":"yes"},"root":{"path":"x"}}"#, "process.terminal: invalid type: string \"yes\""),
            (r#"{"a":{"b":["}","\"",{"c":1}]},"hostname":[]}"#, "hostname: invalid type: sequence, expected a string"),
            (
                "{\n \"process\": {\n  \"cwd\": true\n }\n}",
                "process.cwd: invalid type: boolean `true`, expected a string",
            ),
        ] {
            let error = error(text);
            assert!(error.starts_with(words), "{text}: {error}");
            assert!(!error.contains(" at line "), "{error}");
        }
    }

    #[test]
    fn what_is_no_json_is_named_by_its_line() {
        for text in ["", "{", "{\"process\":}", "{\"a\":1 \"b\":2}", "nonsense"] {
            assert!(error(text).contains("line 1 column"), "{text}");
        }
        // A document of a wrong kind has no path.
        assert!(error("7").contains("invalid type: integer `7`"));
    }

    #[test]
    fn long_values_are_cut() {
        let text = format!("{{\"process\":{{\"terminal\":\"{}\"}}}}", "ä".repeat(10_000));
        let error = error(&text);
        assert!(error.len() < 400 && error.ends_with(" ..."), "{error}");
    }
}
