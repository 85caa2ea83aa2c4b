//! The command line: verbs, their flags in pflag's manner (`--flag=false`, the last one wins, values may begin with a
//! hyphen), and docker's words for what is wrong with one.

use crate::failure::{Failure, Result};
use crate::{Context, PROGRAM};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::future::Future;
use std::pin::Pin;

/// What a verb gives back: an exit code, or why it failed.
pub(crate) type Outcome<'a> = Pin<Box<dyn Future<Output = Result<i32>> + 'a>>;

/// How many arguments a verb takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arity {
    None,
    Exactly(usize),
    AtLeast(usize),
    AtMost(usize),
    Between(usize, usize),
    /// At least one; everything after the first belongs to the container's command, hyphens and all.
    Command(usize),
}

/// One verb.
pub(crate) struct Verb {
    pub(crate) name: &'static str,
    /// What follows the verb's name in its usage line.
    pub(crate) usage: &'static str,
    pub(crate) about: &'static str,
    pub(crate) arity: Arity,
    pub(crate) flags: fn() -> Vec<Arg>,
    pub(crate) run: for<'a> fn(&'a Context, &'a ArgMatches) -> Outcome<'a>,
}

/// Verbs about one kind of thing.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// The names that a verb has within the group, the chief one first.
    pub(crate) verbs: &'static [(&'static [&'static str], &'static Verb)],
}

/// Declares a verb from the `flags` and `run` of its module.
macro_rules! verb {
    ($name:literal, $usage:literal, $about:literal, $arity:expr) => {
        /// See [`crate::args::Verb`].
        pub(crate) const VERB: crate::args::Verb = crate::args::Verb {
            name: $name,
            usage: $usage,
            about: $about,
            arity: $arity,
            flags,
            run: |cx, m| Box::pin(run(cx, m)),
        };
    };
}
pub(crate) use verb;

impl Verb {
    /// The clap command, as a child of `parent` (the words before the verb's name).
    pub(crate) fn command(&self, parent: &str, names: &[&'static str]) -> Command {
        let name = names.first().copied().unwrap_or(self.name);
        let flags = (self.flags)();
        let short_h = flags.iter().any(|a| a.get_short() == Some('h'));
        let mut help = Arg::new("help").long("help").action(ArgAction::Help).help("Print usage");
        if !short_h {
            help = help.short('h');
        }
        let mut rest = Arg::new("args").num_args(0..).value_name("ARG").hide(true);
        if matches!(self.arity, Arity::Command(_)) {
            rest = rest.trailing_var_arg(true);
        }
        Command::new(name)
            .about(self.about)
            .aliases(names.iter().skip(1).copied())
            .override_usage(format!("{parent} {name} {}", self.usage))
            .disable_help_flag(true)
            .disable_version_flag(true)
            .args_override_self(true)
            .args(flags)
            .arg(help)
            .arg(rest)
    }

    /// Whether `count` arguments fit; docker's complaint if not.
    pub(crate) fn check(&self, path: &str, count: usize) -> Result<()> {
        let plural = |n: usize| if n == 1 { "argument" } else { "arguments" };
        let (problem, hint) = match self.arity {
            Arity::None if count > 0 => ("accepts no arguments".to_owned(), "Run"),
            Arity::Exactly(n) if count != n => (format!("requires {n} {}", plural(n)), "Run"),
            Arity::AtLeast(n) | Arity::Command(n) if count < n => {
                (format!("requires at least {n} {}", plural(n)), "See")
            }
            Arity::AtMost(n) if count > n => (format!("requires at most {n} {}", plural(n)), "Run"),
            Arity::Between(least, most) if count < least || count > most => {
                (format!("requires at least {least} and at most {most} {}", plural(most)), "Run")
            }
            _ => return Ok(()),
        };
        Err(Failure::new(format!(
            "{PROGRAM}: '{path}' {problem}\n\nUsage:  {path} {}\n\n{hint} '{path} --help' for more information",
            self.usage
        )))
    }
}

/// A switch: `--name`, `--name=true`, `--name=false`.
pub(crate) fn flag(short: Option<char>, name: &'static str, help: &'static str) -> Arg {
    let arg = Arg::new(name)
        .long(name)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .hide_possible_values(true)
        .action(ArgAction::Set)
        .value_name("bool")
        .help(help);
    with_short(arg, short)
}

/// An option with a value; the last one given counts.
pub(crate) fn value(short: Option<char>, name: &'static str, kind: &'static str, help: &'static str) -> Arg {
    with_short(
        Arg::new(name)
            .long(name)
            .num_args(1)
            .allow_hyphen_values(true)
            .action(ArgAction::Set)
            .value_name(kind)
            .help(help),
        short,
    )
}

/// An option that may be given several times.
pub(crate) fn list(short: Option<char>, name: &'static str, kind: &'static str, help: &'static str) -> Arg {
    value(short, name, kind, help).action(ArgAction::Append)
}

fn with_short(arg: Arg, short: Option<char>) -> Arg {
    match short {
        Some(short) => arg.short(short),
        None => arg,
    }
}

/// `--format`, for verbs whose output is a list.
pub(crate) fn format_flag() -> Arg {
    value(
        None,
        "format",
        "string",
        "Format output using a custom template: 'table', 'table TEMPLATE', 'json', or a Go template",
    )
}

/// `--filter`.
pub(crate) fn filter_flag() -> Arg {
    list(Some('f'), "filter", "filter", "Filter output based on conditions provided")
}

/// `--filter` beside a `-f` that is something else.
pub(crate) fn long_filter_flag() -> Arg {
    list(None, "filter", "filter", "Provide filter values (e.g. \"label=<key>=<value>\")")
}

/// Reading parsed flags.
pub(crate) trait Flags {
    /// Whether the switch is on.
    fn on(&self, name: &str) -> bool;
    /// The switch's value if it was given.
    fn switch(&self, name: &str) -> Option<bool>;
    /// The option's value, or nothing as an empty string.
    fn text(&self, name: &str) -> &str;
    /// The option's value if it was given.
    fn given(&self, name: &str) -> Option<&str>;
    /// All values of the option.
    fn texts(&self, name: &str) -> Vec<String>;
    /// The arguments.
    fn arguments(&self) -> Vec<String>;
    /// The option as a whole number, if it was given.
    fn integer(&self, name: &str) -> Result<Option<i64>>;
}

impl Flags for ArgMatches {
    fn on(&self, name: &str) -> bool {
        self.switch(name).unwrap_or(false)
    }

    fn switch(&self, name: &str) -> Option<bool> {
        self.given(name).map(|text| parse_bool(text).unwrap_or(false))
    }

    fn text(&self, name: &str) -> &str {
        self.given(name).unwrap_or_default()
    }

    fn given(&self, name: &str) -> Option<&str> {
        self.try_get_one::<String>(name).ok().flatten().map(String::as_str)
    }

    fn texts(&self, name: &str) -> Vec<String> {
        self.try_get_many::<String>(name).ok().flatten().map(|v| v.cloned().collect()).unwrap_or_default()
    }

    fn arguments(&self) -> Vec<String> {
        self.texts("args")
    }

    fn integer(&self, name: &str) -> Result<Option<i64>> {
        self.given(name).map(|text| parse_int(text).map_err(|reason| bad_flag(name, text, &reason))).transpose()
    }
}

/// Go's `strconv.ParseBool`.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A decimal, or `0x`, `0o`, `0b` number, with Go's complaint.
pub(crate) fn parse_int(text: &str) -> Result<i64, String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let parsed = match digits.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => i64::from_str_radix(&digits[2..], 16),
        Some("0o") => i64::from_str_radix(&digits[2..], 8),
        Some("0b") => i64::from_str_radix(&digits[2..], 2),
        _ => digits.parse(),
    };
    match parsed {
        Ok(number) if !digits.starts_with(['+', '-']) => Ok(if negative { -number } else { number }),
        Err(error) if matches!(error.kind(), std::num::IntErrorKind::PosOverflow) => {
            Err(format!("strconv.ParseInt: parsing {text:?}: value out of range"))
        }
        _ => Err(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")),
    }
}

/// A flag whose value can't be used. The verb's usage is added where the verb is known.
pub(crate) fn bad_flag(name: &str, value: &str, reason: &str) -> Failure {
    let marked = format!("{BAD_FLAG}{name}\u{1}{value}\u{1}{reason}");
    Failure::new(marked).with_code(125)
}

/// Begins a failure that [`finish`] completes with the verb's usage.
const BAD_FLAG: &str = "\u{1}flag\u{1}";

/// Completes a failure from [`bad_flag`], which didn't know its verb.
pub(crate) fn finish(mut failure: Failure, verb: &Verb, path: &str) -> Failure {
    if let Some(rest) = failure.message.strip_prefix(BAD_FLAG) {
        let mut parts = rest.splitn(3, '\u{1}');
        let name = parts.next().unwrap_or_default();
        let value = parts.next().unwrap_or_default();
        let reason = parts.next().unwrap_or_default();
        let short = (verb.flags)().iter().find(|a| a.get_id() == name).and_then(Arg::get_short);
        let shown = match short {
            Some(short) => format!("-{short}, --{name}"),
            None => format!("--{name}"),
        };
        failure.message = usage(&format!("invalid argument {value:?} for {shown:?} flag: {reason}"), path, verb.usage);
    }
    failure
}

fn usage(problem: &str, path: &str, usage: &str) -> String {
    format!("{problem}\n\nUsage:  {path} {usage}\n\nRun '{path} --help' for more information")
}

/// Checks that every switch with a value has one that Go's parser takes.
pub(crate) fn check_switches(verb: &Verb, matches: &ArgMatches) -> Result<()> {
    for arg in (verb.flags)() {
        if !arg.is_require_equals_set() {
            continue;
        }
        let name = arg.get_id().as_str();
        if let Some(text) = matches.given(name)
            && parse_bool(text).is_none()
        {
            let reason = format!("strconv.ParseBool: parsing {text:?}: invalid syntax");
            return Err(bad_flag(name, text, &reason));
        }
    }
    Ok(())
}

/// Turns clap's refusal into docker's; `None` where clap only wants to show help.
pub(crate) fn refusal(error: &clap::Error, path: &str, verb_usage: &str) -> Option<Failure> {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(" "),
        _ => String::new(),
    };
    let invalid = context(ContextKind::InvalidArg);
    let name = invalid.split([' ', '=', '<']).next().unwrap_or_default().to_owned();
    let problem = match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            return None;
        }
        ErrorKind::UnknownArgument => match name.strip_prefix("--") {
            Some(_) => format!("unknown flag: {name}"),
            None => format!("unknown shorthand flag: '{}' in {name}", name.trim_start_matches('-')),
        },
        ErrorKind::InvalidValue | ErrorKind::NoEquals | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            format!("flag needs an argument: {name}")
        }
        ErrorKind::InvalidUtf8 => "an argument is not UTF-8".to_owned(),
        _ => error.to_string().trim().trim_start_matches("error: ").to_owned(),
    };
    Some(Failure::new(usage(&problem, path, verb_usage)).with_code(125))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_as_go_reads_them() {
        assert_eq!(parse_int("-1"), Ok(-1));
        assert_eq!(parse_int("0x10"), Ok(16));
        assert_eq!(parse_int("x").unwrap_err(), "strconv.ParseInt: parsing \"x\": invalid syntax");
        assert!(parse_int("99999999999999999999").unwrap_err().ends_with("value out of range"));
        assert!(parse_int("--1").is_err());
        assert!(parse_int("").is_err());
    }

    #[test]
    fn booleans_as_go_reads_them() {
        assert_eq!(parse_bool("T"), Some(true));
        assert_eq!(parse_bool("0"), Some(false));
        assert_eq!(parse_bool("yes"), None);
    }
}
