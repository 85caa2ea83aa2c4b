//! The URIs of the [module](super).

use oci::{Error, Result};
use std::fmt::Write;
use std::path::PathBuf;

/// Where a stream goes, or comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Nowhere.
    Null,
    /// A FIFO of a foreign client.
    Fifo(PathBuf),
    /// A plain file, appended to.
    File(PathBuf),
    /// Docker's json-file format.
    JsonFile(super::json_file::Options),
}

impl Target {
    /// Reads a URI.
    ///
    /// # Errors
    /// `InvalidArgument` for a malformed one, `Unsupported` for another scheme (`binary://`, `npipe://`).
    pub fn parse(uri: &str) -> Result<Self> {
        if uri.is_empty() {
            return Ok(Self::Null);
        }
        let bad = |why: &str| Error::invalid(format!("stdio URI {uri:?}: {why}"));
        let (scheme, rest) = match uri.split_once("://") {
            Some((scheme, rest)) => (scheme, rest),
            None if uri.starts_with('/') => ("fifo", uri),
            None => return Err(bad("expected an absolute path or scheme://path")),
        };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        if !path.starts_with('/') {
            return Err(bad("the path is not absolute"));
        }
        let path = PathBuf::from(path);
        match scheme {
            "fifo" => Ok(Self::Fifo(path)),
            "file" => Ok(Self::File(path)),
            "json-file" => {
                let mut options = super::json_file::Options { path, max_size: None, max_file: 1, attrs: None };
                for pair in query.split('&').filter(|p| !p.is_empty()) {
                    let (key, value) = pair.split_once('=').ok_or_else(|| bad("expected name=value"))?;
                    let number = || value.parse::<u64>().map_err(|_| bad(&format!("{key} is not a number")));
                    match key {
                        "max-size" => options.max_size = Some(number()?.max(1)),
                        "max-file" => options.max_file = number()?.clamp(1, 1000) as u32,
                        "attrs" => {
                            options.attrs = Some(decode(value).ok_or_else(|| bad("attrs is not encoded right"))?)
                        }
                        _ => return Err(Error::unsupported(format!("log option {key:?} of the json-file driver"))),
                    }
                }
                Ok(Self::JsonFile(options))
            }
            _ => Err(Error::unsupported(format!("stdio URI {uri:?}: scheme {scheme:?} is not supported"))),
        }
    }
}

/// The URI of a json-file log.
pub fn json_file_uri(options: &super::json_file::Options) -> String {
    let mut uri = format!("json-file://{}?max-file={}", options.path.display(), options.max_file);
    if let Some(size) = options.max_size {
        let _ = write!(uri, "&max-size={size}");
    }
    if let Some(attrs) = &options.attrs {
        uri.push_str("&attrs=");
        for byte in attrs.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                uri.push(char::from(byte));
            } else {
                let _ = write!(uri, "%{byte:02X}");
            }
        }
    }
    uri
}

fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next()?, bytes.next()?];
            out.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::json_file::Options;

    #[test]
    fn a_json_file_uri_is_read_back() {
        let options = Options {
            path: "/a/b-json.log".into(),
            max_size: Some(10),
            max_file: 3,
            attrs: Some("{\"a\":\"b&c=é\"}".into()),
        };
        assert_eq!(Target::parse(&json_file_uri(&options)).unwrap(), Target::JsonFile(options));
    }

    #[test]
    fn others_are_told_apart_or_refused() {
        assert_eq!(Target::parse("").unwrap(), Target::Null);
        assert_eq!(Target::parse("/run/x").unwrap(), Target::Fifo("/run/x".into()));
        assert_eq!(Target::parse("fifo:///run/x").unwrap(), Target::Fifo("/run/x".into()));
        assert_eq!(Target::parse("file:///run/x").unwrap(), Target::File("/run/x".into()));
        for bad in ["x", "binary:///bin/logger", "file://x", "json-file:///x?max-size=a", "json-file:///x?zip=1"] {
            assert!(Target::parse(bad).is_err(), "{bad}");
        }
    }
}
