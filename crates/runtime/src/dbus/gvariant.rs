//! Values as text, in the form that GLib's GVariant prints and that annotations `org.systemd.property.*` use:
//! `true`, `uint64 5`, `'text'`, `['a', 'b']`, `@as []`, `[('/dev/null', 'rw')]`, `{'a': <1>}`, `b'bytes'`.
//!
//! Text is read into a tree first; types are settled after that, because `[1, uint64 2]` is known only at its end.

use oci::{Error, Result};

use super::value::{Value, split};

/// What the text says, before types are settled.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    Bool(bool),
    /// Sign and digits, `0x` and `0` for other bases, or a fraction.
    Number(String),
    Text(String),
    Bytes(Vec<u8>),
    Array(Vec<Node>),
    Tuple(Vec<Node>),
    Dictionary(Vec<(Node, Node)>),
    Variant(Box<Node>),
    Typed(String, Box<Node>),
}

/// The deepest nesting that is read, and the longest text.
const MAX_DEPTH: usize = 16;
const MAX_LENGTH: usize = 64 << 10;

const KEYWORDS: [(&str, &str); 13] = [
    ("boolean", "b"),
    ("byte", "y"),
    ("int16", "n"),
    ("uint16", "q"),
    ("int32", "i"),
    ("uint32", "u"),
    ("handle", "u"),
    ("int64", "x"),
    ("uint64", "t"),
    ("double", "d"),
    ("string", "s"),
    ("objectpath", "o"),
    ("signature", "g"),
];

/// Reads one value.
pub(crate) fn parse(text: &str) -> Result<Value> {
    if text.len() > MAX_LENGTH {
        return Err(Error::invalid(format!("longer than {MAX_LENGTH} bytes")));
    }
    let mut parser = Parser { text: text.as_bytes(), at: 0 };
    let node = parser.node(0)?;
    parser.space();
    if parser.at < text.len() {
        return Err(parser.unexpected());
    }
    let signature = infer(&node)?.unwrap_or_else(|| default_of(&node));
    settle(&node, &signature)
}

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn unexpected(&self) -> Error {
        match self.text.get(self.at) {
            None => Error::invalid("unexpected end of text"),
            Some(_) => {
                let rest = String::from_utf8_lossy(&self.text[self.at..]);
                Error::invalid(format!("unexpected {:?}", rest.chars().take(20).collect::<String>()))
            }
        }
    }

    fn space(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        self.space();
        let found = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self) -> &str {
        let start = self.at;
        let of_word = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'+' | b'-');
        while self.text.get(self.at).is_some_and(of_word) {
            self.at += 1;
        }
        // Only ASCII was taken.
        std::str::from_utf8(&self.text[start..self.at]).unwrap_or("")
    }

    fn node(&mut self, depth: usize) -> Result<Node> {
        if depth > MAX_DEPTH {
            return Err(Error::invalid("nested too deeply"));
        }
        self.space();
        match self.text.get(self.at) {
            Some(b'\'' | b'"') => {
                let bytes = self.quoted(false)?;
                String::from_utf8(bytes).map(Node::Text).map_err(|_| Error::invalid("a string that is not UTF-8"))
            }
            Some(b'b') if matches!(self.text.get(self.at + 1), Some(b'\'' | b'"')) => {
                self.at += 1;
                let mut bytes = self.quoted(true)?;
                bytes.push(0);
                Ok(Node::Bytes(bytes))
            }
            Some(b'[') => self.list(b']', depth).map(Node::Array),
            Some(b'(') => self.list(b')', depth).map(Node::Tuple),
            Some(b'{') => self.dictionary(depth),
            Some(b'<') => {
                self.at += 1;
                let inner = self.node(depth + 1)?;
                if self.eat(b'>') { Ok(Node::Variant(Box::new(inner))) } else { Err(self.unexpected()) }
            }
            Some(b'@') => {
                self.at += 1;
                let start = self.at;
                while self.text.get(self.at).is_some_and(|b| !b.is_ascii_whitespace()) {
                    self.at += 1;
                }
                let signature = String::from_utf8_lossy(&self.text[start..self.at]).into_owned();
                if !split(&signature, 0).is_ok_and(|(_, rest)| rest.is_empty()) {
                    return Err(Error::invalid(format!("{signature:?} is not a type")));
                }
                Ok(Node::Typed(signature, Box::new(self.node(depth + 1)?)))
            }
            Some(_) => {
                let start = self.at;
                let word = self.word().to_owned();
                if let Some((_, letter)) = KEYWORDS.iter().find(|(name, _)| *name == word) {
                    return Ok(Node::Typed((*letter).to_owned(), Box::new(self.node(depth + 1)?)));
                }
                match word.as_str() {
                    "true" => Ok(Node::Bool(true)),
                    "false" => Ok(Node::Bool(false)),
                    "inf" | "nan" | "-inf" | "+inf" => Ok(Node::Number(word)),
                    _ if word.bytes().any(|b| b.is_ascii_digit()) && !word.starts_with(char::is_alphabetic) => {
                        Ok(Node::Number(word))
                    }
                    _ => {
                        self.at = start;
                        Err(self.unexpected())
                    }
                }
            }
            None => Err(self.unexpected()),
        }
    }

    fn list(&mut self, close: u8, depth: usize) -> Result<Vec<Node>> {
        self.at += 1;
        let mut nodes = Vec::new();
        loop {
            if self.eat(close) {
                return Ok(nodes);
            }
            nodes.push(self.node(depth + 1)?);
            if !self.eat(b',') {
                return if self.eat(close) { Ok(nodes) } else { Err(self.unexpected()) };
            }
        }
    }

    fn dictionary(&mut self, depth: usize) -> Result<Node> {
        self.at += 1;
        let mut pairs = Vec::new();
        loop {
            if self.eat(b'}') {
                return Ok(Node::Dictionary(pairs));
            }
            let key = self.node(depth + 1)?;
            if !self.eat(b':') {
                return Err(self.unexpected());
            }
            pairs.push((key, self.node(depth + 1)?));
            if !self.eat(b',') {
                return if self.eat(b'}') { Ok(Node::Dictionary(pairs)) } else { Err(self.unexpected()) };
            }
        }
    }

    fn quoted(&mut self, bytes: bool) -> Result<Vec<u8>> {
        let quote = self.text[self.at];
        self.at += 1;
        let mut taken = Vec::new();
        loop {
            let byte = *self.text.get(self.at).ok_or_else(|| self.unexpected())?;
            self.at += 1;
            match byte {
                b if b == quote => return Ok(taken),
                b'\\' => {
                    let escaped = *self.text.get(self.at).ok_or_else(|| self.unexpected())?;
                    self.at += 1;
                    match escaped {
                        b'a' => taken.push(7),
                        b'b' => taken.push(8),
                        b'f' => taken.push(12),
                        b'n' => taken.push(b'\n'),
                        b'r' => taken.push(b'\r'),
                        b't' => taken.push(b'\t'),
                        b'v' => taken.push(11),
                        b'u' if !bytes => self.code_point(4, &mut taken)?,
                        b'U' if !bytes => self.code_point(8, &mut taken)?,
                        b'0'..=b'7' if bytes => {
                            let digits = self.text[self.at - 1..].iter().take(3);
                            let digits: Vec<u8> = digits.take_while(|b| (b'0'..=b'7').contains(*b)).copied().collect();
                            self.at += digits.len() - 1;
                            let number = digits.iter().fold(0u32, |n, d| n * 8 + u32::from(d - b'0'));
                            taken.push(u8::try_from(number).map_err(|_| Error::invalid("an escape beyond a byte"))?);
                        }
                        other => taken.push(other),
                    }
                }
                other => taken.push(other),
            }
        }
    }

    fn code_point(&mut self, digits: usize, taken: &mut Vec<u8>) -> Result<()> {
        let hex = self.text.get(self.at..self.at + digits).and_then(|h| std::str::from_utf8(h).ok());
        let number = hex.and_then(|h| u32::from_str_radix(h, 16).ok()).and_then(char::from_u32);
        let letter = number.ok_or_else(|| Error::invalid("a bad \\u escape"))?;
        self.at += digits;
        taken.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }
}

/// The type that the text itself demands; `None` where anything like it would do (a plain number, an empty array).
fn infer(node: &Node) -> Result<Option<String>> {
    Ok(match node {
        Node::Bool(_) => Some("b".into()),
        Node::Number(text) => is_fraction(text).then(|| "d".into()),
        Node::Text(_) => None,
        Node::Bytes(_) => Some("ay".into()),
        Node::Variant(_) => Some("v".into()),
        Node::Typed(signature, _) => Some(signature.clone()),
        Node::Array(nodes) => first_of(nodes.iter())?.map(|s| format!("a{s}")),
        Node::Tuple(nodes) => {
            let mut signature = String::from("(");
            for node in nodes {
                signature += &infer(node)?.unwrap_or_else(|| default_of(node));
            }
            Some(signature + ")")
        }
        Node::Dictionary(pairs) => {
            let key = first_of(pairs.iter().map(|p| &p.0))?;
            let value = first_of(pairs.iter().map(|p| &p.1))?;
            key.zip(value).map(|(k, v)| format!("a{{{k}{v}}}"))
        }
    })
}

/// The type that one of several alike demands, otherwise what the first is by default.
fn first_of<'a>(mut nodes: impl Iterator<Item = &'a Node> + Clone) -> Result<Option<String>> {
    for node in nodes.clone() {
        if let Some(signature) = infer(node)? {
            return Ok(Some(signature));
        }
    }
    Ok(nodes.next().map(default_of))
}

fn default_of(node: &Node) -> String {
    match node {
        Node::Text(_) => "s".into(),
        Node::Number(_) => "i".into(),
        // Nothing says what would be in it; settling it refuses.
        _ => String::new(),
    }
}

fn is_fraction(text: &str) -> bool {
    let plain = text.trim_start_matches(['+', '-']);
    !plain.starts_with("0x") && !plain.starts_with("0X") && plain.contains(['.', 'e', 'E', 'n'])
}

fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let number = if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        i128::from_str_radix(hex, 16)
    } else if digits.len() > 1 && digits.starts_with('0') {
        i128::from_str_radix(&digits[1..], 8)
    } else {
        digits.parse()
    };
    number.ok().filter(|_| digits.bytes().all(|b| b.is_ascii_alphanumeric())).map(|n| if negative { -n } else { n })
}

/// Makes a value of a type.
fn settle(node: &Node, signature: &str) -> Result<Value> {
    let mismatch = || {
        if signature.is_empty() {
            return Error::invalid("the type of something empty is not known; write it before, as in @as []");
        }
        Error::invalid(format!("a value that is not of type {signature:?}"))
    };
    match node {
        Node::Typed(own, inner) if own == signature => return settle(inner, own),
        Node::Typed(..) => return Err(mismatch()),
        _ => {}
    }
    let element = signature.get(1..).unwrap_or("");
    match (signature.as_bytes().first(), node) {
        (Some(b'b'), Node::Bool(on)) => Ok(Value::Bool(*on)),
        (Some(b's'), Node::Text(text)) => Ok(Value::Str(text.clone())),
        (Some(b'o'), Node::Text(text)) if text.starts_with('/') => Ok(Value::Path(text.clone())),
        (Some(b'g'), Node::Text(text)) if text.len() < 256 => Ok(Value::Signature(text.clone())),
        (Some(b'd'), Node::Number(text)) => text.parse().map(Value::Double).map_err(|_| mismatch()),
        (Some(letter), Node::Number(text)) => {
            let number = integer(text).ok_or_else(mismatch)?;
            let range = || Error::invalid(format!("{text} is out of range for type {signature:?}"));
            macro_rules! fit {
                ($make:path) => {
                    number.try_into().map($make).map_err(|_| range())
                };
            }
            match letter {
                b'y' => fit!(Value::Byte),
                b'n' => fit!(Value::Int16),
                b'q' => fit!(Value::Uint16),
                b'i' => fit!(Value::Int32),
                b'u' => fit!(Value::Uint32),
                b'x' => fit!(Value::Int64),
                b't' => fit!(Value::Uint64),
                _ => Err(mismatch()),
            }
        }
        (Some(b'v'), Node::Variant(inner)) => {
            let own = infer(inner)?.unwrap_or_else(|| default_of(inner));
            Ok(settle(inner, &own)?.variant())
        }
        (Some(b'a'), Node::Bytes(bytes)) if element == "y" => Ok(Value::bytes(bytes)),
        (Some(b'a'), Node::Array(nodes)) => {
            let values = nodes.iter().map(|n| settle(n, element)).collect::<Result<_>>()?;
            Ok(Value::Array(element.to_owned(), values))
        }
        (Some(b'a'), Node::Dictionary(pairs)) if element.starts_with('{') => {
            let (key, value) = split(&element[1..element.len() - 1], 0)?;
            let entry = |(k, v): &(Node, Node)| Ok(Value::Entry(Box::new((settle(k, key)?, settle(v, value)?))));
            Ok(Value::Array(element.to_owned(), pairs.iter().map(entry).collect::<Result<_>>()?))
        }
        (Some(b'('), Node::Tuple(nodes)) => {
            let mut rest = &element[..element.len() - 1];
            let mut fields = Vec::new();
            for node in nodes {
                let (first, after) = split(rest, 0).map_err(|_| mismatch())?;
                fields.push(settle(node, first)?);
                rest = after;
            }
            if rest.is_empty() { Ok(Value::Struct(fields)) } else { Err(mismatch()) }
        }
        _ => Err(mismatch()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_values() {
        let entry = |key: &str, value: Value| Value::Entry(Box::new((Value::str(key), value)));
        for (text, value) in [
            ("true", Value::Bool(true)),
            ("uint64 123456789", Value::Uint64(123_456_789)),
            ("@t 5", Value::Uint64(5)),
            ("5", Value::Int32(5)),
            ("-5", Value::Int32(-5)),
            ("0x1f", Value::Int32(31)),
            ("int64 -1", Value::Int64(-1)),
            ("byte 017", Value::Byte(15)),
            ("1.5", Value::Double(1.5)),
            ("double 2", Value::Double(2.0)),
            ("'inactive-or-failed'", Value::str("inactive-or-failed")),
            (r#""a\"b\u00e4\n""#, Value::str("a\"bä\n")),
            ("objectpath '/a'", Value::Path("/a".into())),
            ("['a.service', 'b.service']", Value::strings(["a.service", "b.service"])),
            ("@as []", Value::strings::<&str>([])),
            ("[1, uint32 2]", Value::Array("u".into(), vec![Value::Uint32(1), Value::Uint32(2)])),
            (
                "[('/dev/null', 'rw')]",
                Value::Array("(ss)".into(), vec![Value::Struct(vec![Value::str("/dev/null"), Value::str("rw")])]),
            ),
            ("('/', uint64 9)", Value::Struct(vec![Value::str("/"), Value::Uint64(9)])),
            (
                "{'a': <1>, 'b': <'x'>}",
                Value::Array(
                    "{sv}".into(),
                    vec![entry("a", Value::Int32(1).variant()), entry("b", Value::str("x").variant())],
                ),
            ),
            (r"b'a\001'", Value::bytes(&[b'a', 1, 0])),
            (
                " [ [ true ] , [ ] ] ",
                Value::Array(
                    "ab".into(),
                    vec![Value::Array("b".into(), vec![Value::Bool(true)]), Value::Array("b".into(), vec![])],
                ),
            ),
        ] {
            assert_eq!(parse(text).map_err(|e| e.to_string()), Ok(value), "{text}");
        }
    }

    #[test]
    fn bad_text_is_refused() {
        for text in [
            "",
            "tru",
            "'a",
            "5 6",
            "[1, 'a']",
            "uint64 -1",
            "byte 256",
            "[]",
            "@zz 5",
            "@as 5",
            "uint32 'a'",
            "{'a' 1}",
            "<5",
            "09",
            "5.5.5",
            "0x",
            "int32 uint32 5",
            "(1",
            "\\",
            "@(s ('a')",
            "b'\\777'",
            "--5",
            "1e",
            "é",
        ] {
            assert!(parse(text).is_err(), "{text}: {:?}", parse(text));
        }
        assert!(parse(&"[".repeat(10_000)).is_err());
        assert!(parse(&"@v ".repeat(5_000)).is_err());
        assert!(parse(&format!("'{}'", "x".repeat(MAX_LENGTH))).is_err());
    }
}
