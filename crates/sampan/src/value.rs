//! JSON that keeps the order of its keys, as templates see it, and indentation as Go writes it.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt::{self, Write};

/// A value in a template.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Val {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(String),
    List(Vec<Val>),
    Map(Vec<(String, Val)>),
    /// A method with one argument, as `.Label "key"`: looks the argument up.
    Lookup(Vec<(String, String)>),
}

impl Val {
    /// A map's value.
    pub(crate) fn get(&self, key: &str) -> Option<&Val> {
        match self {
            Self::Map(entries) => entries.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// Go's idea of truth: not zero, not empty.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(b) => *b,
            Self::Int(n) => *n != 0,
            Self::Float(f) => *f != 0.0,
            Self::Str(s) => !s.is_empty(),
            Self::List(l) => !l.is_empty(),
            Self::Map(m) => !m.is_empty(),
            Self::Lookup(_) => true,
        }
    }

    /// The value as `{{ . }}` prints it (Go's `%v`).
    pub(crate) fn show(&self) -> String {
        match self {
            Self::Null => "<nil>".into(),
            Self::Bool(b) => b.to_string(),
            Self::Int(n) => n.to_string(),
            Self::Float(f) => crate::format::units::go_float(*f),
            Self::Str(s) => s.clone(),
            Self::List(items) => {
                format!("[{}]", items.iter().map(Self::show).collect::<Vec<_>>().join(" "))
            }
            Self::Map(entries) => {
                let mut sorted: Vec<_> = entries.iter().collect();
                sorted.sort_by(|a, b| a.0.cmp(&b.0));
                format!(
                    "map[{}]",
                    sorted.iter().map(|(k, v)| format!("{k}:{}", v.show())).collect::<Vec<_>>().join(" ")
                )
            }
            Self::Lookup(_) => "<func>".into(),
        }
    }

    /// The value as compact JSON, with Go's escapes of `<`, `>` and `&` left out (docker does so too).
    pub(crate) fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }

    fn write_json(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Self::Int(n) => drop(write!(out, "{n}")),
            Self::Float(f) => drop(write!(out, "{f}")),
            Self::Str(s) => out.push_str(&quote(s)),
            Self::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    item.write_json(out);
                }
                out.push(']');
            }
            Self::Map(entries) => {
                out.push('{');
                let mut first = true;
                for (key, value) in entries.iter().filter(|(_, v)| !matches!(v, Self::Lookup(_))) {
                    if !first {
                        out.push(',');
                    }
                    first = false;
                    out.push_str(&quote(key));
                    out.push(':');
                    value.write_json(out);
                }
                out.push('}');
            }
            Self::Lookup(_) => out.push_str("null"),
        }
    }
}

/// A JSON string.
pub(crate) fn quote(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

impl From<&str> for Val {
    fn from(text: &str) -> Self {
        Self::Str(text.to_owned())
    }
}

impl From<String> for Val {
    fn from(text: String) -> Self {
        Self::Str(text)
    }
}

impl<'de> Deserialize<'de> for Val {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Val;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<Val, E> {
                Ok(Val::Null)
            }
            fn visit_bool<E>(self, b: bool) -> Result<Val, E> {
                Ok(Val::Bool(b))
            }
            fn visit_i64<E>(self, n: i64) -> Result<Val, E> {
                Ok(Val::Int(n.into()))
            }
            fn visit_u64<E>(self, n: u64) -> Result<Val, E> {
                Ok(Val::Int(n.into()))
            }
            fn visit_f64<E>(self, f: f64) -> Result<Val, E> {
                Ok(Val::Float(f))
            }
            fn visit_str<E>(self, s: &str) -> Result<Val, E> {
                Ok(Val::Str(s.to_owned()))
            }
            fn visit_string<E>(self, s: String) -> Result<Val, E> {
                Ok(Val::Str(s))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Val, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Val::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Val, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Val::Map(entries))
            }
        }
        deserializer.deserialize_any(Visit)
    }
}

/// A serializable thing as a template's value.
pub(crate) fn of(thing: &impl serde::Serialize) -> Val {
    // By way of text, so that the order of the keys stays.
    serde_json::to_string(thing).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or(Val::Null)
}

/// Go's `json.Indent` with four blanks: what stands in the text stays, only white space between tokens changes.
pub(crate) fn indent(json: &str, prefix: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0usize;
    let mut chars = json.chars().peekable();
    let newline = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(prefix);
        for _ in 0..depth {
            out.push_str("    ");
        }
    };
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                out.push(c);
                let mut escaped = false;
                for c in chars.by_ref() {
                    out.push(c);
                    if escaped {
                        escaped = false;
                    } else if c == '\\' {
                        escaped = true;
                    } else if c == '"' {
                        break;
                    }
                }
            }
            '{' | '[' => {
                out.push(c);
                while chars.peek().is_some_and(|c| c.is_ascii_whitespace()) {
                    chars.next();
                }
                if chars.peek().is_some_and(|next| matches!(next, '}' | ']')) {
                    out.extend(chars.next());
                } else {
                    depth += 1;
                    newline(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                newline(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                newline(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_numbers_stay() {
        let text = r#"{"b":1,"a":[true,null,"x<y"],"n":18446744073709551615}"#;
        let value: Val = serde_json::from_str(text).unwrap();
        assert_eq!(value.to_json(), text);
        assert_eq!(value.show(), "map[a:[true <nil> x<y] b:1 n:18446744073709551615]");
    }

    #[test]
    fn indentation() {
        assert_eq!(
            indent(r#"{"b":[],"a": {"c" : "x,{\"y"},"d":{ }}"#, ""),
            "{\n    \"b\": [],\n    \"a\": {\n        \"c\": \"x,{\\\"y\"\n    },\n    \"d\": {}\n}"
        );
    }
}
