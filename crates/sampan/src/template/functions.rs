//! The functions of templates: Go's own, and docker's additions.

use crate::value::Val;
use std::cmp::Ordering;

const NAMES: &[&str] = &[
    "and", "or", "not", "len", "index", "slice", "print", "printf", "println", "eq", "ne", "lt", "le", "gt", "ge",
    "json", "split", "join", "title", "lower", "upper", "pad", "truncate",
];

/// No padding is wider than this.
const WIDTH_LIMIT: usize = 10_000;

/// Whether there is a function of that name.
pub(super) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// A type's name in messages.
pub(super) fn type_name(value: &Val) -> &'static str {
    match value {
        Val::Null => "nil",
        Val::Bool(_) => "bool",
        Val::Int(_) => "int",
        Val::Float(_) => "float64",
        Val::Str(_) => "string",
        Val::List(_) => "[]interface {}",
        Val::Map(_) => "map[string]interface {}",
        Val::Lookup(_) => "func(string) string",
    }
}

fn text(value: &Val) -> Result<&str, String> {
    match value {
        Val::Str(text) => Ok(text),
        other => Err(format!("wrong type for value; expected string; got {}", type_name(other))),
    }
}

fn size(value: &Val) -> Result<usize, String> {
    match value {
        Val::Int(n) => usize::try_from(*n).map_err(|_| format!("index out of range: {n}")),
        other => Err(format!("cannot index slice/array with type {}", type_name(other))),
    }
}

/// Calls a function.
pub(super) fn call(name: &str, args: &[Val]) -> Result<Val, String> {
    let arity = |least: usize, most: usize| {
        if args.len() < least || args.len() > most {
            Err(format!("wrong number of args for {name}: want {least} got {}", args.len()))
        } else {
            Ok(())
        }
    };
    Ok(match name {
        "and" | "or" => {
            arity(1, usize::MAX)?;
            let stop = |v: &&Val| v.is_true() == (name == "or");
            args.iter().find(stop).or(args.last()).cloned().unwrap_or(Val::Null)
        }
        "not" => {
            arity(1, 1)?;
            Val::Bool(!args[0].is_true())
        }
        "len" => {
            arity(1, 1)?;
            Val::Int(match &args[0] {
                Val::Str(s) => s.len(),
                Val::List(l) => l.len(),
                Val::Map(m) => m.len(),
                other => return Err(format!("len of type {}", type_name(other))),
            } as i128)
        }
        "index" => {
            arity(1, usize::MAX)?;
            let mut value = args[0].clone();
            for key in &args[1..] {
                value = index(&value, key)?;
            }
            value
        }
        "slice" => slice(args)?,
        "print" => Val::Str(print(args)),
        "println" => Val::Str(args.iter().map(Val::show).collect::<Vec<_>>().join(" ") + "\n"),
        "printf" => {
            arity(1, usize::MAX)?;
            Val::Str(printf(text(&args[0])?, &args[1..])?)
        }
        "eq" => {
            arity(2, usize::MAX)?;
            let mut equal = false;
            for other in &args[1..] {
                equal |= same(&args[0], other)?;
            }
            Val::Bool(equal)
        }
        "ne" => {
            arity(2, 2)?;
            Val::Bool(!same(&args[0], &args[1])?)
        }
        "lt" | "le" | "gt" | "ge" => {
            arity(2, 2)?;
            let order = compare(&args[0], &args[1])?;
            Val::Bool(match name {
                "lt" => order == Ordering::Less,
                "le" => order != Ordering::Greater,
                "gt" => order == Ordering::Greater,
                _ => order != Ordering::Less,
            })
        }
        "json" => {
            arity(1, 1)?;
            Val::Str(args[0].to_json())
        }
        "split" => {
            arity(2, 2)?;
            let (whole, separator) = (text(&args[0])?, text(&args[1])?);
            Val::List(match separator {
                "" => whole.chars().map(|c| Val::Str(c.into())).collect(),
                _ => whole.split(separator).map(Val::from).collect(),
            })
        }
        "join" => {
            arity(2, 2)?;
            let Val::List(items) = &args[0] else {
                return Err(format!("wrong type for value; expected []string; got {}", type_name(&args[0])));
            };
            Val::Str(items.iter().map(Val::show).collect::<Vec<_>>().join(text(&args[1])?))
        }
        "lower" => {
            arity(1, 1)?;
            Val::Str(text(&args[0])?.to_lowercase())
        }
        "upper" => {
            arity(1, 1)?;
            Val::Str(text(&args[0])?.to_uppercase())
        }
        "title" => {
            arity(1, 1)?;
            let mut start = true;
            let titled = text(&args[0])?.chars().map(|c| {
                let c = if start { c.to_uppercase().next().unwrap_or(c) } else { c };
                start = !c.is_alphanumeric() && c != '_' && c != '\'';
                c
            });
            Val::Str(titled.collect())
        }
        "pad" => {
            arity(3, 3)?;
            let (before, after) = (size(&args[1])?.min(WIDTH_LIMIT), size(&args[2])?.min(WIDTH_LIMIT));
            match text(&args[0])? {
                "" => Val::Str(String::new()),
                text => Val::Str(format!("{}{text}{}", " ".repeat(before), " ".repeat(after))),
            }
        }
        "truncate" => {
            arity(2, 2)?;
            Val::Str(text(&args[0])?.chars().take(size(&args[1])?).collect())
        }
        _ => return Err(format!("function {name:?} not defined")),
    })
}

fn index(value: &Val, key: &Val) -> Result<Val, String> {
    match value {
        Val::Map(entries) => Ok(value.get(text(key)?).cloned().unwrap_or_else(|| {
            // Among texts what is missing is an empty text, as in Go's maps of strings.
            let texts = !entries.is_empty() && entries.iter().all(|(_, value)| matches!(value, Val::Str(_)));
            if texts { Val::Str(String::new()) } else { Val::Null }
        })),
        Val::List(items) => {
            let at = size(key)?;
            items.get(at).cloned().ok_or_else(|| format!("reflect: slice index out of range: {at}"))
        }
        Val::Str(whole) => {
            let at = size(key)?;
            whole.as_bytes().get(at).map(|b| Val::Int((*b).into())).ok_or_else(|| format!("index out of range: {at}"))
        }
        Val::Null => Err("index of untyped nil".into()),
        other => Err(format!("can't index item of type {}", type_name(other))),
    }
}

fn slice(args: &[Val]) -> Result<Val, String> {
    let [value, bounds @ ..] = args else { return Err("wrong number of args for slice: want at least 1".into()) };
    let length = match value {
        Val::Str(s) => s.len(),
        Val::List(l) => l.len(),
        other => return Err(format!("can't slice item of type {}", type_name(other))),
    };
    let from = bounds.first().map_or(Ok(0), size)?;
    let to = bounds.get(1).map_or(Ok(length), size)?;
    if bounds.len() > 2 || from > to || to > length {
        return Err(format!("index out of range: {to}"));
    }
    match value {
        Val::Str(s) => s.get(from..to).map(Val::from).ok_or_else(|| "slice cuts a character in two".into()),
        Val::List(l) => Ok(Val::List(l[from..to].to_vec())),
        _ => Ok(Val::Null),
    }
}

fn same(a: &Val, b: &Val) -> Result<bool, String> {
    match (a, b) {
        (Val::Null, Val::Null) => Ok(true),
        (Val::Null, _) | (_, Val::Null) => Ok(false),
        (Val::List(_) | Val::Map(_) | Val::Lookup(_), _) | (_, Val::List(_) | Val::Map(_) | Val::Lookup(_)) => {
            Err("non-comparable type for comparison".into())
        }
        (Val::Bool(a), Val::Bool(b)) => Ok(a == b),
        _ => compare(a, b).map(|order| order == Ordering::Equal),
    }
}

fn compare(a: &Val, b: &Val) -> Result<Ordering, String> {
    match (a, b) {
        (Val::Int(a), Val::Int(b)) => Ok(a.cmp(b)),
        (Val::Str(a), Val::Str(b)) => Ok(a.cmp(b)),
        (Val::Float(a), Val::Float(b)) => a.partial_cmp(b).ok_or_else(|| "not a number".into()),
        _ => Err("incompatible types for comparison".into()),
    }
}

/// Go's `fmt.Sprint`: a blank between two that are both no strings.
fn print(args: &[Val]) -> String {
    let mut out = String::new();
    for (i, value) in args.iter().enumerate() {
        if i > 0 && !matches!(value, Val::Str(_)) && !matches!(args[i - 1], Val::Str(_)) {
            out.push(' ');
        }
        out.push_str(&value.show());
    }
    out
}

/// Go's `fmt.Sprintf` for the verbs `%s %d %v %q %t %x %f %c %%` with flags, width and precision.
fn printf(format: &str, args: &[Val]) -> Result<String, String> {
    let mut out = String::new();
    let mut args = args.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let (mut left, mut zero, mut plus) = (false, false, false);
        while let Some(flag) = chars.next_if(|c| matches!(c, '-' | '0' | '+' | '#' | ' ')) {
            left |= flag == '-';
            zero |= flag == '0';
            plus |= flag == '+';
        }
        let mut number = || {
            let mut n: Option<usize> = None;
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                let digit = digit.to_digit(10).unwrap_or(0) as usize;
                n = Some((n.unwrap_or(0) * 10 + digit).min(WIDTH_LIMIT));
            }
            n
        };
        let width = number().unwrap_or(0);
        let precision = if chars.next_if_eq(&'.').is_some() {
            let mut n = 0;
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                n = (n * 10 + digit.to_digit(10).unwrap_or(0) as usize).min(WIDTH_LIMIT);
            }
            Some(n)
        } else {
            None
        };
        let Some(verb) = chars.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some(value) = args.next() else {
            out.push_str(&format!("%!{verb}(MISSING)"));
            continue;
        };
        let mut piece = match (verb, value) {
            ('v', value) => value.show(),
            ('s', Val::Str(s)) => match precision {
                Some(n) => s.chars().take(n).collect(),
                None => s.clone(),
            },
            ('s', value @ (Val::List(_) | Val::Map(_))) => value.show(),
            ('d', Val::Int(n)) => n.to_string(),
            ('x', Val::Int(n)) => format!("{n:x}"),
            ('X', Val::Int(n)) => format!("{n:X}"),
            ('x', Val::Str(s)) => s.bytes().map(|b| format!("{b:02x}")).collect(),
            ('c', Val::Int(n)) => {
                u32::try_from(*n).ok().and_then(char::from_u32).map(String::from).unwrap_or_else(|| "\u{fffd}".into())
            }
            ('q', Val::Str(s)) => format!("{s:?}"),
            ('t', Val::Bool(b)) => b.to_string(),
            ('f', Val::Float(f)) => format!("{f:.*}", precision.unwrap_or(6)),
            ('g', Val::Float(f)) => crate::format::units::go_float(*f),
            (verb, value) => format!("%!{verb}({}={})", type_name(value), value.show()),
        };
        if plus && matches!(value, Val::Int(n) if *n >= 0) {
            piece.insert(0, '+');
        }
        let missing = width.saturating_sub(piece.chars().count());
        if left {
            out.push_str(&piece);
            out.push_str(&" ".repeat(missing));
        } else if zero && matches!(value, Val::Int(_) | Val::Float(_)) {
            let signed = usize::from(piece.starts_with(['-', '+']));
            out.push_str(&piece[..signed]);
            out.push_str(&"0".repeat(missing));
            out.push_str(&piece[signed..]);
        } else {
            out.push_str(&" ".repeat(missing));
            out.push_str(&piece);
        }
    }
    Ok(out)
}
