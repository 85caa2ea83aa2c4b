//! Sections that speak to other platforms.

use serde::de::IgnoredAny;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A section for another platform: that it is there is all that matters of it. Its contents are neither kept nor judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Foreign;

impl<'de> Deserialize<'de> for Foreign {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

impl Serialize for Foreign {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_map(Some(0))?.end()
    }
}

#[cfg(test)]
mod tests {
    use crate::runtime::Spec;

    #[test]
    fn what_is_in_it_does_not_matter() {
        let text = format!(r#"{{"zos": {{"a": [1.7{}e96, {{}}]}}, "vm": null, "windows": {{}}}}"#, "7".repeat(60));
        let spec: Spec = serde_json::from_str(&text).expect("read");
        assert!(spec.zos.is_some() && spec.windows.is_some() && spec.vm.is_none());
        let written = serde_json::to_string(&spec).expect("written");
        assert!(written.contains(r#""zos":{}"#), "{written}");
        assert_eq!(serde_json::from_str::<Spec>(&written).expect("read again"), spec);
    }
}
