//! Names of entries, taken apart without asking the file system.

use oci::{Error, Result};

/// `path` without leading and repeated slashes, `.` and inner `..`; empty for the root itself.
/// A `..` that would leave the root is an error.
pub(crate) fn clean(path: &[u8]) -> Result<Vec<u8>> {
    if path.contains(&0) {
        return Err(Error::invalid("its name contains NUL"));
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                if parts.pop().is_none() {
                    return Err(Error::invalid(format!("\"{}\" leaves the root directory", crate::fs::show(path))));
                }
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join(&b'/'))
}

/// A clean path's parent and last component; `None` for the root.
pub(crate) fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    match path.iter().rposition(|b| *b == b'/') {
        Some(at) => Some((&path[..at], &path[at + 1..])),
        None if path.is_empty() => None,
        None => Some((&[], path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_and_escapes_refused() {
        for (given, expected) in [
            ("./", ""),
            ("/", ""),
            ("a//b/./c/", "a/b/c"),
            ("/etc/x", "etc/x"),
            ("a/../b", "b"),
            ("...", "..."),
            (".", ""),
        ] {
            assert_eq!(clean(given.as_bytes()).unwrap(), expected.as_bytes(), "{given}");
        }
        for given in ["..", "../x", "a/../../x", "/../x", "./../x"] {
            let error = clean(given.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(given), "{error}");
        }
        assert!(clean(b"a\0b").is_err());
    }

    #[test]
    fn split_gives_parent_and_name() {
        assert_eq!(split(b"a/b/c"), Some((b"a/b".as_slice(), b"c".as_slice())));
        assert_eq!(split(b"a"), Some((b"".as_slice(), b"a".as_slice())));
        assert_eq!(split(b""), None);
    }
}
