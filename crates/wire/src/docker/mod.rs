//! Models of the Docker Engine REST API, for its server and its clients.
//!
//! Input is read the way Go reads it: a missing key and a `null` both mean the zero value, and unknown keys are no
//! error. Output is written the way dockerd writes it: Go's names, `null` for a nil slice or map (here: `None`), and
//! left out where dockerd leaves it out.
//!
//! - [`config`]: what a container is made from (`Config`, networking), [`host_config`]: the host's side of it
//! - [`container`]: create, list, inspect, wait, top, changes, update; [`exec`]; [`stats`]
//! - [`image`], [`progress`]: images and the streams of pull, push and load
//! - [`volume`], [`network`], [`event`], [`system`]: the rest; [`auth`]: registry credentials; [`error`]: failures
//! - [`stream`]: the frames in which an attached container's output travels
#![allow(missing_docs, reason = "the fields' names and meanings are the Engine API's own, one to one")]

use serde::{Deserialize, Deserializer, Serialize};

/// Structs whose every field may be missing or `null`. Keys are in `PascalCase` unless `keys "...";` says otherwise.
macro_rules! model {
    (keys $case:tt; $(
        $(#[$meta:meta])*
        pub struct $name:ident {
            $( $(#[$fmeta:meta])* $field:ident : $ty:ty, )*
            $( @flatten $(#[$xmeta:meta])* $flat:ident : $fty:ty, )*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = $case)]
        pub struct $name {
            $(
                $(#[$fmeta])*
                #[serde(default, deserialize_with = "crate::docker::nullable")]
                pub $field: $ty,
            )*
            $(
                $(#[$xmeta])*
                #[serde(flatten)]
                pub $flat: $fty,
            )*
        }
    )*};
    ($($rest:tt)*) => { model! { keys "PascalCase"; $($rest)* } };
}

pub mod auth;
pub mod config;
pub mod container;
pub mod error;
pub mod event;
pub mod exec;
pub mod host_config;
pub mod image;
pub mod network;
pub mod progress;
pub mod stats;
pub mod stream;
pub mod system;
pub mod volume;

/// A string-keyed map in sorted order, as Go's encoder writes maps.
pub type Map<V> = std::collections::BTreeMap<String, V>;

/// Go's `struct{}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

model! {
    /// An answer that is only an id.
    pub struct IdResponse {
        id: String,
    }
}

/// Reads `null` as the default.
pub(crate) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

/// Go's `omitempty` for numbers, booleans, strings and lists.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A command that may be written as one string or as a list (Go's `strslice`); written as a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Words(pub Vec<String>);

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            One(String),
            Many(Vec<String>),
        }
        Ok(Self(match Either::deserialize(d)? {
            Either::One(word) => vec![word],
            Either::Many(words) => words,
        }))
    }
}

impl From<Vec<String>> for Words {
    fn from(words: Vec<String>) -> Self {
        Self(words)
    }
}

/// Filters in the form of the `filters` query parameter: name to values. Both the current form
/// (`{"label":["a"]}`) and the one before API 1.22 (`{"label":{"a":true}}`) are read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Filters(pub Map<Vec<String>>);

impl<'de> Deserialize<'de> for Filters {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Values {
            List(Vec<String>),
            Set(Map<bool>),
        }
        let map = Option::<Map<Values>>::deserialize(d)?.unwrap_or_default();
        Ok(Self(
            map.into_iter()
                .map(|(name, values)| {
                    let values = match values {
                        Values::List(list) => list,
                        Values::Set(set) => set.into_iter().filter(|(_, on)| *on).map(|(v, _)| v).collect(),
                    };
                    (name, values)
                })
                .collect(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_one_or_many() {
        assert_eq!(serde_json::from_str::<Words>(r#""a b""#).unwrap().0, ["a b"]);
        assert_eq!(serde_json::from_str::<Words>(r#"["a","b"]"#).unwrap().0, ["a", "b"]);
        assert!(serde_json::from_str::<Words>("3").is_err());
    }

    #[test]
    fn filters_old_and_new() {
        let new: Filters = serde_json::from_str(r#"{"label":["a","b"]}"#).unwrap();
        let old: Filters = serde_json::from_str(r#"{"label":{"a":true,"b":true,"c":false}}"#).unwrap();
        assert_eq!(new, old);
    }
}
