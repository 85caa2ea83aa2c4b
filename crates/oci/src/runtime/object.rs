//! How every JSON object of the specification is read and written, said once.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// Whether a field's value means "not there", so that writing leaves the field out.
pub(super) trait Field {
    /// True only for absent options and empty collections; plain scalars are always written.
    fn absent(&self) -> bool {
        false
    }
}

impl<T> Field for Option<T> {
    fn absent(&self) -> bool {
        self.is_none()
    }
}

impl<T> Field for Vec<T> {
    fn absent(&self) -> bool {
        self.is_empty()
    }
}

impl<K, V> Field for BTreeMap<K, V> {
    fn absent(&self) -> bool {
        self.is_empty()
    }
}

macro_rules! always_written {
    ($($type:ty)*) => { $(impl Field for $type {})* };
}
always_written!(bool u8 u16 u32 u64 i32 i64 String std::path::PathBuf super::User);

/// Reads `null` as the default, as Go's encoder writes nil slices and pointers.
pub(super) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Defines one object: camelCase names, every field optional and nullable, absent ones left out.
macro_rules! object {
    (
        $(#[$meta:meta])*
        pub struct $name:ident { $( $(#[$field_meta:meta])* pub $field:ident: $type:ty, )* }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[serde(
                    deserialize_with = "crate::runtime::object::nullable",
                    skip_serializing_if = "crate::runtime::object::Field::absent"
                )]
                pub $field: $type,
            )*
        }
    };
}
