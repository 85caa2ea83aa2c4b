//! Values and their bytes, as the D-Bus specification lays them out ("Marshaling").

use oci::{Error, Result};

/// One value of one of D-Bus's types.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Byte(u8),
    Bool(bool),
    Int16(i16),
    Uint16(u16),
    Int32(i32),
    Uint32(u32),
    Int64(i64),
    Uint64(u64),
    Double(f64),
    Str(String),
    Path(String),
    Signature(String),
    /// The signature of the elements, which an empty array has too, and the elements.
    Array(String, Vec<Value>),
    Struct(Vec<Value>),
    /// Only inside of an array.
    Entry(Box<(Value, Value)>),
    Variant(Box<Value>),
}

/// The deepest nesting that is read.
const MAX_DEPTH: usize = 32;

impl Value {
    pub(crate) fn str(text: impl Into<String>) -> Self {
        Self::Str(text.into())
    }

    pub(crate) fn variant(self) -> Self {
        Self::Variant(Box::new(self))
    }

    /// An array of strings.
    #[cfg(test)]
    pub(crate) fn strings<S: Into<String>>(list: impl IntoIterator<Item = S>) -> Self {
        Self::Array("s".into(), list.into_iter().map(|s| Self::Str(s.into())).collect())
    }

    pub(crate) fn bytes(bytes: &[u8]) -> Self {
        Self::Array("y".into(), bytes.iter().map(|b| Self::Byte(*b)).collect())
    }

    /// The type, in D-Bus's letters.
    pub(crate) fn signature(&self) -> String {
        let letter = match self {
            Self::Byte(_) => 'y',
            Self::Bool(_) => 'b',
            Self::Int16(_) => 'n',
            Self::Uint16(_) => 'q',
            Self::Int32(_) => 'i',
            Self::Uint32(_) => 'u',
            Self::Int64(_) => 'x',
            Self::Uint64(_) => 't',
            Self::Double(_) => 'd',
            Self::Str(_) => 's',
            Self::Path(_) => 'o',
            Self::Signature(_) => 'g',
            Self::Variant(_) => 'v',
            Self::Array(element, _) => return format!("a{element}"),
            Self::Struct(fields) => return format!("({})", signature_of(fields)),
            Self::Entry(pair) => return format!("{{{}{}}}", pair.0.signature(), pair.1.signature()),
        };
        letter.to_string()
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) | Self::Path(text) | Self::Signature(text) => Some(text),
            Self::Variant(inner) => inner.as_str(),
            _ => None,
        }
    }
}

/// The types of several values, one after the other.
pub(crate) fn signature_of(values: &[Value]) -> String {
    values.iter().map(Value::signature).collect()
}

/// The boundary that a value of this type begins at.
fn alignment(letter: u8) -> usize {
    match letter {
        b'y' | b'g' | b'v' => 1,
        b'n' | b'q' => 2,
        b'x' | b't' | b'd' | b'(' | b'{' => 8,
        _ => 4,
    }
}

/// Makes bytes, little-endian. Boundaries count from the beginning.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn align(&mut self, boundary: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(boundary), 0);
    }

    pub(crate) fn u32(&mut self, number: u32) {
        self.align(4);
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.u32(text.len() as u32);
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.bytes.push(text.len() as u8);
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
    }

    pub(crate) fn value(&mut self, value: &Value) {
        macro_rules! number {
            ($number:expr, $boundary:expr) => {{
                self.align($boundary);
                self.bytes.extend_from_slice(&$number.to_le_bytes());
            }};
        }
        match value {
            Value::Byte(byte) => self.bytes.push(*byte),
            Value::Bool(on) => self.u32(u32::from(*on)),
            Value::Int16(n) => number!(n, 2),
            Value::Uint16(n) => number!(n, 2),
            Value::Int32(n) => number!(n, 4),
            Value::Uint32(n) => number!(n, 4),
            Value::Int64(n) => number!(n, 8),
            Value::Uint64(n) => number!(n, 8),
            Value::Double(n) => number!(n, 8),
            Value::Str(text) | Value::Path(text) => self.text(text),
            Value::Signature(text) => self.signature(text),
            Value::Array(element, values) => {
                self.u32(0);
                let length_at = self.bytes.len() - 4;
                self.align(alignment(element.bytes().next().unwrap_or(b'y')));
                // The padding before the first element does not count.
                let start = self.bytes.len();
                values.iter().for_each(|v| self.value(v));
                let length = (self.bytes.len() - start) as u32;
                self.bytes[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
            }
            Value::Struct(fields) => {
                self.align(8);
                fields.iter().for_each(|v| self.value(v));
            }
            Value::Entry(pair) => {
                self.align(8);
                self.value(&pair.0);
                self.value(&pair.1);
            }
            Value::Variant(inner) => {
                self.signature(&inner.signature());
                self.value(inner);
            }
        }
    }
}

fn garbled(what: &str) -> Error {
    Error::corrupt(format!("D-Bus: a garbled message: {what}"))
}

/// Reads bytes of either byte order; never past their end, never deeper than [`MAX_DEPTH`].
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big_endian: bool,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], big_endian: bool) -> Self {
        Self { bytes, at: 0, big_endian }
    }

    #[cfg(test)]
    pub(crate) fn at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(length).filter(|e| *e <= self.bytes.len());
        let end = end.ok_or_else(|| garbled("it ends too early"))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn align(&mut self, boundary: usize) -> Result<()> {
        let padding = self.at.next_multiple_of(boundary) - self.at;
        self.take(padding).map(drop)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.align(N)?;
        let mut bytes: [u8; N] = self.take(N)?.try_into().map_err(|_| garbled("a number"))?;
        if self.big_endian {
            bytes.reverse();
        }
        Ok(bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.number().map(u32::from_le_bytes)
    }

    fn text(&mut self, length: usize) -> Result<String> {
        let bytes = self.take(length)?;
        if self.take(1)? != [0] {
            return Err(garbled("a string without its end"));
        }
        String::from_utf8(bytes.to_vec()).map_err(|_| garbled("a string that is not UTF-8"))
    }

    /// Every value of a signature.
    pub(crate) fn values(&mut self, signature: &str) -> Result<Vec<Value>> {
        let mut rest = signature;
        let mut values = Vec::new();
        while !rest.is_empty() {
            let (first, after) = split(rest, 0)?;
            values.push(self.value(first, 0)?);
            rest = after;
        }
        Ok(values)
    }

    fn value(&mut self, signature: &str, depth: usize) -> Result<Value> {
        if depth > MAX_DEPTH {
            return Err(garbled("it is nested too deeply"));
        }
        let inner = signature.get(1..signature.len().max(1)).unwrap_or("");
        Ok(match signature.as_bytes().first() {
            Some(b'y') => Value::Byte(self.take(1)?[0]),
            Some(b'b') => Value::Bool(self.u32()? != 0),
            Some(b'n') => Value::Int16(i16::from_le_bytes(self.number()?)),
            Some(b'q') => Value::Uint16(u16::from_le_bytes(self.number()?)),
            Some(b'i') => Value::Int32(i32::from_le_bytes(self.number()?)),
            Some(b'u') => Value::Uint32(self.u32()?),
            Some(b'x') => Value::Int64(i64::from_le_bytes(self.number()?)),
            Some(b't') => Value::Uint64(u64::from_le_bytes(self.number()?)),
            Some(b'd') => Value::Double(f64::from_le_bytes(self.number()?)),
            // A handle is the number of a descriptor that is passed beside; none are accepted here.
            Some(b'h') => Value::Uint32(self.u32()?),
            Some(kind @ (b's' | b'o')) => {
                let length = self.u32()? as usize;
                let text = self.text(length)?;
                if *kind == b's' { Value::Str(text) } else { Value::Path(text) }
            }
            Some(b'g') => {
                let length = usize::from(self.take(1)?[0]);
                Value::Signature(self.text(length)?)
            }
            Some(b'v') => {
                let length = usize::from(self.take(1)?[0]);
                let signature = self.text(length)?;
                let (first, rest) = split(&signature, 0)?;
                if !rest.is_empty() {
                    return Err(garbled("a variant with more than one type"));
                }
                self.value(first, depth + 1)?.variant()
            }
            Some(b'a') => {
                let length = self.u32()? as usize;
                self.align(alignment(inner.bytes().next().unwrap_or(b'y')))?;
                let end = self.at.checked_add(length).filter(|e| *e <= self.bytes.len());
                let end = end.ok_or_else(|| garbled("an array that is longer than the message"))?;
                let mut values = Vec::new();
                while self.at < end {
                    let before = self.at;
                    values.push(self.value(inner, depth + 1)?);
                    if self.at == before {
                        return Err(garbled("an array of nothing"));
                    }
                }
                Value::Array(inner.to_owned(), values)
            }
            Some(b'(' | b'{') => {
                self.align(8)?;
                let mut rest = &inner[..inner.len() - 1];
                let mut fields = Vec::new();
                while !rest.is_empty() {
                    let (first, after) = split(rest, depth)?;
                    fields.push(self.value(first, depth + 1)?);
                    rest = after;
                }
                match (signature.starts_with('{'), <[Value; 2]>::try_from(fields)) {
                    (true, Ok([key, value])) => Value::Entry(Box::new((key, value))),
                    (true, Err(_)) => return Err(garbled("a dictionary entry that is no pair")),
                    (false, Ok(pair)) => Value::Struct(pair.into()),
                    (false, Err(fields)) => Value::Struct(fields),
                }
            }
            _ => return Err(garbled("an unknown type")),
        })
    }
}

/// Splits the first complete type off a signature.
pub(crate) fn split(signature: &str, depth: usize) -> Result<(&str, &str)> {
    if depth > MAX_DEPTH {
        return Err(garbled("its signature is nested too deeply"));
    }
    let bytes = signature.as_bytes();
    let length = match bytes.first() {
        Some(b'a') => 1 + split(&signature[1..], depth + 1)?.0.len(),
        Some(open @ (b'(' | b'{')) => {
            let close = if *open == b'(' { b')' } else { b'}' };
            let mut at = 1;
            while bytes.get(at).is_some_and(|b| *b != close) {
                at += split(&signature[at..], depth + 1)?.0.len();
            }
            if at >= bytes.len() || at == 1 {
                return Err(garbled("a signature without its end"));
            }
            at + 1
        }
        Some(b'y' | b'b' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b'h' | b's' | b'o' | b'g' | b'v') => 1,
        _ => return Err(garbled("an unknown type in a signature")),
    };
    Ok(signature.split_at(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &Value) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.value(value);
        writer.bytes
    }

    #[test]
    fn values_have_the_bytes_of_the_specification() {
        assert_eq!(written(&Value::str("foo")), b"\x03\0\0\0foo\0");
        assert_eq!(written(&Value::Signature("as".into())), b"\x02as\0");
        assert_eq!(written(&Value::Bool(true)), [1, 0, 0, 0]);
        assert_eq!(written(&Value::Uint64(u64::MAX).variant()), b"\x01t\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff");
        // An array's length leaves out the padding before its first element, which an empty one has too.
        assert_eq!(written(&Value::Array("t".into(), vec![Value::Uint64(5)])), b"\x08\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0");
        assert_eq!(written(&Value::Array("(sv)".into(), vec![])), [0; 8]);
        assert_eq!(written(&Value::bytes(&[1, 2])), [2, 0, 0, 0, 1, 2]);
        let property =
            Value::Struct(vec![Value::str("PIDs"), Value::Array("u".into(), vec![Value::Uint32(7)]).variant()]);
        assert_eq!(written(&property), b"\x04\0\0\0PIDs\0\x02au\0\0\0\0\x04\0\0\0\x07\0\0\0");
        assert_eq!(property.signature(), "(sv)");
    }

    #[test]
    fn what_is_written_is_read() {
        let entry = |key: &str, value| Value::Entry(Box::new((Value::str(key), value)));
        let values = vec![
            Value::Byte(9),
            Value::Int16(-2),
            Value::Array(
                "{sv}".into(),
                vec![entry("a", Value::Int64(-1).variant()), entry("b", Value::strings(["x", "y"]).variant())],
            ),
            Value::Struct(vec![Value::Path("/a".into()), Value::Double(0.5), Value::Bool(false)]),
            Value::Array("as".into(), vec![]),
        ];
        let mut writer = Writer::default();
        values.iter().for_each(|v| writer.value(v));
        let signature = signature_of(&values);
        assert_eq!(signature, "yna{sv}(odb)aas");
        let mut reader = Reader::new(&writer.bytes, false);
        assert_eq!(reader.values(&signature).expect("read"), values);
        assert!(reader.at_end());
        // Cut off anywhere, it is refused.
        for length in 0..writer.bytes.len() {
            assert!(Reader::new(&writer.bytes[..length], false).values(&signature).is_err(), "{length}");
        }
    }

    #[test]
    fn the_other_byte_order_is_read() {
        let bytes = [0, 0, 0, 2, b'h', b'i', 0, 0, 0, 0, 0, 7];
        let values = Reader::new(&bytes, true).values("su").expect("read");
        assert_eq!(values, [Value::str("hi"), Value::Uint32(7)]);
    }

    #[test]
    fn bad_bytes_are_refused() {
        for (signature, bytes) in [
            ("s", &b"\xff\xff\xff\xff"[..]),
            ("s", b"\x01\0\0\0a!"),
            ("as", b"\xff\0\0\0"),
            ("v", b"\x02ss\0\0\0\0\0"),
            ("v", b"\x00\0"),
            ("(s", b"\0\0\0\0\0"),
            ("()", b""),
            ("z", b"\0"),
            ("a", b"\0\0\0\0"),
        ] {
            assert!(Reader::new(bytes, false).values(signature).is_err(), "{signature}");
        }
        // Variants in variants, as deep as a message allows.
        let deep = b"\x01v\0".repeat(1000);
        assert!(Reader::new(&deep, false).values("v").is_err());
        let deep = "a".repeat(255);
        assert!(Reader::new(&[0; 64], false).values(&deep).is_err());
    }
}
