//! Text into tokens.

/// A piece of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Text(String),
    Open,
    Close,
    /// `.Name`, or the `.Name` after another term.
    Field(String),
    Dot,
    Variable(String),
    Word(String),
    Str(String),
    Int(i128),
    Float(f64),
    Pipe,
    LeftParen,
    RightParen,
    Declare,
    Assign,
    Comma,
    Space,
}

/// The tokens of `text`; the error ends docker's "template parsing error: template: ".
pub(super) fn lex(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut trim_left = false;
    loop {
        let Some(open) = rest.find("{{") else {
            push_text(&mut tokens, rest, trim_left, false);
            return Ok(tokens);
        };
        let (before, after) = rest.split_at(open);
        let mut inner = &after[2..];
        let trim_right = inner.starts_with('-') && inner[1..].starts_with([' ', '\t', '\n', '\r']);
        if trim_right {
            inner = &inner[1..];
        }
        push_text(&mut tokens, before, trim_left, trim_right);
        let trimmed = inner.trim_start();
        if let Some(comment) = trimmed.strip_prefix("/*") {
            let end = comment.find("*/").ok_or(":1: unclosed comment")?;
            let tail = comment[end + 2..].trim_start();
            trim_left = tail.starts_with("-}}");
            rest = tail
                .strip_prefix(if trim_left { "-}}" } else { "}}" })
                .ok_or(":1: comment ends before closing delimiter")?;
            continue;
        }
        tokens.push(Token::Open);
        let (used, trims) = action(inner, &mut tokens)?;
        tokens.push(Token::Close);
        trim_left = trims;
        rest = &inner[used..];
    }
}

fn push_text(tokens: &mut Vec<Token>, text: &str, left: bool, right: bool) {
    let space: &[char] = &[' ', '\t', '\r', '\n'];
    let text = if left { text.trim_start_matches(space) } else { text };
    let text = if right { text.trim_end_matches(space) } else { text };
    if !text.is_empty() {
        tokens.push(Token::Text(text.to_owned()));
    }
}

fn is_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// The tokens up to the closing delimiter: how many bytes they took, and whether white space after them is trimmed.
fn action(text: &str, tokens: &mut Vec<Token>) -> Result<(usize, bool), String> {
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        if rest.starts_with("}}") {
            return Ok((at + 2, false));
        }
        let name_after = |skip: usize| {
            let name = &rest[skip..];
            &name[..name.find(|c| !is_name(c)).unwrap_or(name.len())]
        };
        match c {
            ' ' | '\t' | '\r' | '\n' => {
                let length = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
                at += length;
                if text[at..].starts_with("-}}") {
                    return Ok((at + 3, true));
                }
                tokens.push(Token::Space);
            }
            '"' => {
                let mut escaped = false;
                let end = rest[1..]
                    .find(|c| {
                        let ends = c == '"' && !escaped;
                        escaped = c == '\\' && !escaped;
                        ends
                    })
                    .ok_or(":1: unterminated quoted string")?;
                tokens.push(Token::Str(unquote(&rest[1..=end])?));
                at += end + 2;
            }
            '`' => {
                let end = rest[1..].find('`').ok_or(":1: unterminated raw quoted string")?;
                tokens.push(Token::Str(rest[1..=end].to_owned()));
                at += end + 2;
            }
            '\'' => {
                let end = rest[1..].find('\'').ok_or(":1: unterminated character constant")?;
                let text = unquote(&rest[1..=end])?;
                let mut chars = text.chars();
                match (chars.next(), chars.next()) {
                    (Some(c), None) => tokens.push(Token::Int(i128::from(u32::from(c)))),
                    _ => return Err(format!(":1: malformed character constant: '{text}'")),
                }
                at += end + 2;
            }
            '|' => {
                tokens.push(Token::Pipe);
                at += 1;
            }
            '(' => {
                tokens.push(Token::LeftParen);
                at += 1;
            }
            ')' => {
                tokens.push(Token::RightParen);
                at += 1;
            }
            ',' => {
                tokens.push(Token::Comma);
                at += 1;
            }
            '=' => {
                tokens.push(Token::Assign);
                at += 1;
            }
            ':' if rest.starts_with(":=") => {
                tokens.push(Token::Declare);
                at += 2;
            }
            '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                let name = name_after(1);
                at += 1 + name.len();
                tokens.push(if name.is_empty() { Token::Dot } else { Token::Field(name.to_owned()) });
            }
            '$' => {
                let name = name_after(1);
                at += 1 + name.len();
                tokens.push(Token::Variable(format!("${name}")));
            }
            c if c.is_ascii_digit() || c == '+' || c == '-' || c == '.' => {
                let end = rest[1..]
                    .find(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_'))
                    .map_or(rest.len(), |n| n + 1);
                let number = &rest[..end];
                tokens.push(number_token(number).ok_or_else(|| format!(":1: bad number syntax: {number:?}"))?);
                at += end;
            }
            c if is_name(c) => {
                let name = name_after(0);
                at += name.len();
                tokens.push(Token::Word(name.to_owned()));
            }
            c => return Err(format!(":1: unexpected {c:?} in command")),
        }
    }
    Err(":1: unclosed action".into())
}

fn number_token(text: &str) -> Option<Token> {
    if let Ok(number) = crate::args::parse_int(text) {
        return Some(Token::Int(number.into()));
    }
    text.parse().ok().map(Token::Float)
}

/// What a Go string literal means.
fn unquote(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let c = match chars.next() {
            Some('n') => Some('\n'),
            Some('t') => Some('\t'),
            Some('r') => Some('\r'),
            Some('a') => Some('\u{7}'),
            Some(c @ ('\\' | '"' | '\'')) => Some(c),
            Some(kind @ ('x' | 'u' | 'U')) => {
                let digits = match kind {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                };
                let code: String = chars.by_ref().take(digits).collect();
                u32::from_str_radix(&code, 16).ok().filter(|_| code.len() == digits).and_then(char::from_u32)
            }
            _ => None,
        };
        out.push(c.ok_or(":1: invalid syntax")?);
    }
    Ok(out)
}
