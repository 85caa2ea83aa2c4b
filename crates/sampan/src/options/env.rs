//! Variables and labels, from files and from the command line.

use crate::args::bad_flag;
use crate::failure::{Failure, Result};
use std::io::Read;

/// What the texts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A name alone takes the value from this program's environment.
    Variable,
    /// A name alone has an empty value.
    Label,
}

/// No file is longer than this.
const FILE_LIMIT: u64 = 16 << 20;

/// The texts of all files, then those of the flags.
pub(crate) fn gather(files: &[String], flags: &[String], kind: Kind) -> Result<Vec<String>> {
    let look_up = |name: &str| std::env::var(name).ok();
    let mut all = Vec::new();
    for file in files {
        let mut bytes = Vec::new();
        std::fs::File::open(file)
            .and_then(|f| f.take(FILE_LIMIT).read_to_end(&mut bytes))
            .map_err(|error| Failure::new(format!("open {file}: {}", plain(&error))).with_code(125))?;
        let parsed = parse_file(file, &bytes, kind, look_up);
        all.extend(parsed.map_err(|why| Failure::new(why).with_code(125))?);
    }
    for text in flags {
        all.push(one(text, kind, look_up)?);
    }
    Ok(all)
}

/// The system's words without Rust's number.
pub(crate) fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next().unwrap_or_default();
    let mut words = words.to_owned();
    if let Some(first) = words.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    words
}

fn one(text: &str, kind: Kind, look_up: impl Fn(&str) -> Option<String>) -> Result<String> {
    let name = text.split('=').next().unwrap_or_default();
    match kind {
        Kind::Variable if name.is_empty() => {
            Err(bad_flag("env", text, &format!("invalid environment variable: {text}")))
        }
        Kind::Label if name.trim().is_empty() => {
            Err(bad_flag("label", text, &format!("invalid label '{text}': empty name")))
        }
        // An unset name is sent as it is: it takes the image's variable away.
        Kind::Variable if !text.contains('=') => {
            Ok(look_up(text).map_or_else(|| text.to_owned(), |value| format!("{text}={value}")))
        }
        _ => Ok(text.to_owned()),
    }
}

/// The lines of a file: comments and blank lines are left out, values are taken as they are.
fn parse_file(
    file: &str,
    bytes: &[u8],
    kind: Kind,
    look_up: impl Fn(&str) -> Option<String>,
) -> Result<Vec<String>, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut lines = Vec::new();
    for (number, line) in bytes.split(|b| *b == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = std::str::from_utf8(line).map_err(|_| {
            format!("invalid env file ({file}): env file contains invalid utf8 bytes at line {}", number + 1)
        })?;
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').map_or((line, None), |(name, value)| (name, Some(value)));
        let name = name.trim_start();
        if name.is_empty() {
            return Err(format!("invalid env file ({file}): no variable name on line '{line}'"));
        }
        if name.contains([' ', '\t']) {
            return Err(format!("invalid env file ({file}): variable '{name}' contains whitespaces"));
        }
        match (value, kind) {
            (Some(value), _) => lines.push(format!("{name}={value}")),
            (None, Kind::Label) => lines.push(name.to_owned()),
            (None, Kind::Variable) => lines.extend(look_up(name).map(|value| format!("{name}={value}"))),
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        (name == "SET").then(|| "from here".to_owned())
    }

    #[test]
    fn flags() {
        assert_eq!(one("A=b=c", Kind::Variable, env).unwrap(), "A=b=c");
        assert_eq!(one("SET", Kind::Variable, env).unwrap(), "SET=from here");
        assert_eq!(one("UNSET", Kind::Variable, env).unwrap(), "UNSET");
        assert_eq!(one("SET", Kind::Label, env).unwrap(), "SET");
        assert!(one("=x", Kind::Variable, env).is_err());
    }

    #[test]
    fn files() {
        let text = b"\xef\xbb\xbfA=1\n\n# no\n  B= x \"y\" \r\nSET\nUNSET\nC=\n";
        assert_eq!(parse_file("f", text, Kind::Variable, env).unwrap(), ["A=1", "B= x \"y\" ", "SET=from here", "C="]);
        let bad = parse_file("f", b"A B=1", Kind::Variable, env).unwrap_err();
        assert_eq!(bad, "invalid env file (f): variable 'A B' contains whitespaces");
        assert!(parse_file("f", b"=1", Kind::Variable, env).unwrap_err().contains("no variable name on line '=1'"));
        assert!(parse_file("f", b"A=\xff", Kind::Variable, env).unwrap_err().contains("line 1"));
    }
}
