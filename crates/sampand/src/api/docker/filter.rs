//! Filters of lists: what a filter's value means and when it matches.

use oci::{Error, ImageRef, Result, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;
use wire::docker::Filters;

/// The values of the filter `name`.
pub fn values<'f>(filters: &'f Filters, name: &str) -> &'f [String] {
    filters.0.get(name).map_or(&[], Vec::as_slice)
}

/// Whether a filter is absent or one of its values `matches`.
pub fn any(filters: &Filters, name: &str, matches: impl Fn(&str) -> bool) -> bool {
    match filters.0.get(name) {
        None => true,
        Some(list) => list.is_empty() || list.iter().any(|value| matches(value)),
    }
}

/// Whether all label filters (`key` or `key=value`) match, and none of `label!` does.
pub fn labels(filters: &Filters, labels: &BTreeMap<String, String>) -> bool {
    let has = |wanted: &String| match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|v| v == value),
        None => labels.contains_key(wanted),
    };
    values(filters, "label").iter().all(has) && !values(filters, "label!").iter().any(has)
}

/// A filter with one truth value.
///
/// # Errors
/// `InvalidArgument`, naming filter and value.
pub fn flag(filters: &Filters, name: &str) -> Result<Option<bool>> {
    match values(filters, name) {
        [] => Ok(None),
        [one] => match one.as_str() {
            "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(Some(true)),
            "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(Some(false)),
            _ => Err(Error::invalid(format!("invalid filter '{name}={one}'"))),
        },
        _ => Err(Error::invalid(format!("invalid filter '{name}': more than one value"))),
    }
}

/// A moment as Docker's clients write it: seconds since the epoch with an optional fraction, RFC 3339, or how long ago
/// (`1h30m`). `0` and the empty text are none.
///
/// # Errors
/// `InvalidArgument`, naming the text.
pub fn moment(text: &str) -> Result<Option<Timestamp>> {
    let bad = || Error::invalid(format!("invalid time {text:?}: expected seconds since 1970, RFC 3339 or a duration"));
    if text.is_empty() || text == "0" {
        return Ok(None);
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    if digits(seconds.strip_prefix('-').unwrap_or(seconds)) && digits(fraction) && !seconds.is_empty() {
        let nanos = format!("{:0<9}", fraction.get(..9).unwrap_or(fraction));
        return Ok(Some(Timestamp::from_unix(seconds.parse().map_err(|_| bad())?, nanos.parse().map_err(|_| bad())?)));
    }
    if let Some(ago) = duration(text) {
        return Ok(Some(Timestamp::from(std::time::SystemTime::now() - ago)));
    }
    text.parse().map(Some).map_err(|_| bad())
}

/// Go's notation of durations: `1h30m`, `1.5s`.
fn duration(text: &str) -> Option<Duration> {
    let mut total = 0f64;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        total += number
            * match &rest[..unit] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    Duration::try_from_secs_f64(total).ok()
}

/// Whether an image that was given as `given` and has the id `id` is meant by `wanted`.
pub fn ancestor(wanted: &str, given: &str, reference: Option<&ImageRef>, id: &str) -> bool {
    let hex = wanted.strip_prefix("sha256:").unwrap_or(wanted);
    let id = id.strip_prefix("sha256:").unwrap_or(id);
    wanted == given
        || (hex.len() >= 4 && id.starts_with(hex))
        || wanted.parse::<ImageRef>().is_ok_and(|wanted| Some(&wanted) == reference)
}

/// The part of regular expressions that people use to find names: literals, `.`, `*`, `^`, `$` and `\`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    start: bool,
    end: bool,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    /// `None` is any character.
    wanted: Option<char>,
    repeated: bool,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// `Unsupported` for the rest of regular expressions.
    pub fn new(text: &str) -> Result<Self> {
        let refuse = || Error::unsupported(format!("not implemented: the regular expression {text:?} in a filter"));
        let start = text.starts_with('^');
        let mut steps: Vec<Step> = Vec::new();
        let mut end = false;
        let mut rest = text.strip_prefix('^').unwrap_or(text).chars().peekable();
        while let Some(c) = rest.next() {
            let wanted = match c {
                '$' if rest.peek().is_none() => {
                    end = true;
                    continue;
                }
                '*' => {
                    steps.last_mut().filter(|step| !step.repeated).ok_or_else(refuse)?.repeated = true;
                    continue;
                }
                '.' => None,
                '\\' => Some(rest.next().filter(|c| !c.is_alphanumeric()).ok_or_else(refuse)?),
                '+' | '?' | '[' | ']' | '(' | ')' | '{' | '}' | '|' | '^' | '$' => return Err(refuse()),
                literal => Some(literal),
            };
            steps.push(Step { wanted, repeated: false });
        }
        Ok(Self { start, end, steps })
    }

    /// Whether the pattern is found in `text`.
    pub fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let starts = if self.start { 0..=0 } else { 0..=text.len() };
        starts.into_iter().any(|at| self.from(&text[at..]))
    }

    /// All positions reachable step by step: linear in text and pattern, whatever the pattern.
    fn from(&self, text: &[char]) -> bool {
        let fits = |step: &Step, at: usize| text.get(at).is_some_and(|c| step.wanted.is_none_or(|w| w == *c));
        let mut reached = vec![false; text.len() + 1];
        reached[0] = true;
        for step in &self.steps {
            let mut next = vec![false; text.len() + 1];
            for at in 0..=text.len() {
                if step.repeated {
                    next[at] |= reached[at];
                    if next[at] && fits(step, at) {
                        next[at + 1] = true;
                    }
                } else if reached[at] && fits(step, at) {
                    next[at + 1] = true;
                }
            }
            reached = next;
        }
        if self.end { reached[text.len()] } else { reached.contains(&true) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let matches = |pattern: &str, text: &str| Pattern::new(pattern).unwrap().matches(text);
        for (pattern, text) in [
            ("eb", "web1"),
            ("^web", "web1"),
            ("1$", "web1"),
            ("^web1$", "web1"),
            ("w.b", "web1"),
            ("^w.*1$", "web1"),
            ("", "x"),
            ("a*b", "b"),
            ("a\\.b", "a.b"),
            (".*", ""),
            ("^$", ""),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("^eb", "web1"), ("b$", "web1"), ("a\\.b", "axb"), ("^web$", "web1"), ("z", "")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
        for pattern in ["[ab]", "a|b", "(a)", "a+", "*", "\\w", "a**"] {
            assert!(Pattern::new(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn moments() {
        assert_eq!(moment("").unwrap(), None);
        assert_eq!(moment("12.5").unwrap(), Some(Timestamp::from_unix(12, 500_000_000)));
        assert_eq!(moment("1700000000.000000001").unwrap(), Some(Timestamp::from_unix(1_700_000_000, 1)));
        assert_eq!(moment("1970-01-01T00:00:01Z").unwrap(), Some(Timestamp::from_unix(1, 0)));
        assert!(moment("1h30m").unwrap().unwrap() < Timestamp::now());
        assert!(moment("yesterday").is_err());
        assert_eq!(duration("1h2m3.5s"), Some(Duration::from_millis(3_723_500)));
    }

    #[test]
    fn label_filters() {
        let have = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
        let filters = |json: &str| serde_json::from_str::<Filters>(json).unwrap();
        assert!(labels(&filters(r#"{"label":["a"]}"#), &have));
        assert!(labels(&filters(r#"{"label":["a=1"]}"#), &have));
        assert!(!labels(&filters(r#"{"label":["a","b"]}"#), &have));
        assert!(!labels(&filters(r#"{"label!":["a=1"]}"#), &have));
        assert!(labels(&filters(r#"{"label!":["a=2"]}"#), &have));
    }

    #[test]
    fn ancestors() {
        let reference: ImageRef = "busybox".parse().unwrap();
        let id = "sha256:abcdef";
        assert!(ancestor("busybox:latest", "busybox", Some(&reference), id));
        assert!(ancestor("abcde", "busybox", Some(&reference), id));
        assert!(ancestor("sha256:abcdef", "busybox", Some(&reference), id));
        assert!(!ancestor("busybox:1", "busybox", Some(&reference), id));
    }
}
