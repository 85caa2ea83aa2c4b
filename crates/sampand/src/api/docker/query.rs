//! Query strings and percent-encoding, as Go's `net/url` reads them.

use oci::{Error, Result};
use serde::de::DeserializeOwned;
use std::str::FromStr;
use wire::docker::Filters;

/// A decoded query string.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `a=1&b=2`.
    ///
    /// # Errors
    /// `InvalidArgument` for a broken escape or bytes that aren't UTF-8.
    pub fn parse(text: &str) -> Result<Self> {
        text.split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Ok((decode(name, true)?, decode(value, true)?))
            })
            .collect::<Result<_>>()
            .map(Self)
    }

    /// The first value of `name`, if it is given and not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    /// All values of `name`.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// Docker's truth: anything but empty, `0`, `no`, `false`, `none`.
    pub fn flag(&self, name: &str) -> bool {
        self.flag_or(name, false)
    }

    /// [`flag`](Self::flag), with a value for a name that isn't given.
    pub fn flag_or(&self, name: &str, default: bool) -> bool {
        match self.0.iter().find(|(n, _)| n == name) {
            Some((_, value)) => {
                !matches!(value.trim().to_ascii_lowercase().as_str(), "" | "0" | "no" | "false" | "none")
            }
            None => default,
        }
    }

    /// A number or other simple value.
    ///
    /// # Errors
    /// `InvalidArgument`, naming parameter and value.
    pub fn value<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        self.get(name)
            .map(|text| {
                text.parse().map_err(|_| Error::invalid(format!("invalid value {text:?} for the parameter {name:?}")))
            })
            .transpose()
    }

    /// A value in JSON.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the parameter.
    pub fn json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        self.get(name)
            .map(|text| {
                serde_json::from_str(text).map_err(|e| Error::invalid(format!("invalid JSON in parameter {name}: {e}")))
            })
            .transpose()
    }

    /// The parameter `filters`; only the names in `known` may be used.
    ///
    /// # Errors
    /// `InvalidArgument` for bad JSON, or in dockerd's words for an unknown filter.
    pub fn filters(&self, known: &[&str]) -> Result<Filters> {
        let filters: Filters = self.json("filters")?.unwrap_or_default();
        match filters.0.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(Error::invalid(format!("invalid filter '{name}'"))),
            None => Ok(filters),
        }
    }

    /// Refuses parameters that are set, by name: options of the endpoint that can't be honoured.
    ///
    /// # Errors
    /// `Unsupported`.
    pub fn refuse(&self, names: &[&str]) -> Result<()> {
        match names.iter().find(|name| self.flag(name)) {
            Some(name) => Err(Error::unsupported(format!("not implemented: the parameter {name}"))),
            None => Ok(()),
        }
    }
}

/// Decodes percent-escapes; with `form`, `+` is a space.
///
/// # Errors
/// `InvalidArgument` for a broken escape or bytes that aren't UTF-8.
pub fn decode(text: &str, form: bool) -> Result<String> {
    let bad = || Error::invalid(format!("invalid URL escape in {text:?}"));
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                let hex = text.get(at + 1..at + 3).ok_or_else(bad)?;
                if !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(bad());
                }
                out.push(u8::from_str_radix(hex, 16).map_err(|_| bad())?);
                at += 2;
            }
            b'+' if form => out.push(b' '),
            byte => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8(out).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse("a=1&b=x+y%2Fz&a=2&c&d=0&e=").unwrap();
        assert_eq!(query.get("a"), Some("1"));
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(query.get("b"), Some("x y/z"));
        assert!(!query.flag("c") && !query.flag("d") && query.flag("a"));
        assert!(query.flag_or("z", true) && !query.flag_or("d", true));
        assert_eq!(query.value::<u32>("a").unwrap(), Some(1));
        assert!(query.value::<u32>("b").is_err());
    }

    #[test]
    fn broken_escapes_are_refused() {
        for text in ["%", "a=%1", "%zz=1", "a=%ff", "a=%+1", "%é"] {
            assert!(Query::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn unknown_filters_are_refused_by_name() {
        let query = Query::parse("filters=%7B%22nope%22%3A%5B%22a%22%5D%7D").unwrap();
        assert!(query.filters(&["label"]).unwrap_err().message().contains("'nope'"));
        assert_eq!(query.filters(&["nope"]).unwrap().0["nope"], ["a"]);
        assert!(Query::parse("filters=x").unwrap().filters(&[]).is_err());
    }
}
