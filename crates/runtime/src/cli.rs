//! The command line: runc's words, by hand. Options may stand before or after the container's id.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use oci::{Context, Error, Result};

use crate::cgroups::systemd::Manager;
use crate::{commands, descriptors, guard, log, rootless};

/// What an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Nothing: it is there or not.
    Nothing,
    Text,
    /// A whole number, checked before the command runs.
    Number,
}

/// One option of a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    /// Names without dashes, the long one first.
    pub(crate) names: &'static [&'static str],
    pub(crate) takes: Takes,
    /// What help says of it; an option without is known and not shown.
    pub(crate) help: &'static str,
}

/// An option that takes a value.
pub(crate) const fn value(names: &'static [&'static str], help: &'static str) -> Flag {
    Flag { names, takes: Takes::Text, help }
}

/// An option that takes a whole number.
pub(crate) const fn number(names: &'static [&'static str], help: &'static str) -> Flag {
    Flag { names, takes: Takes::Number, help }
}

/// An option that is there or not.
pub(crate) const fn switch(names: &'static [&'static str], help: &'static str) -> Flag {
    Flag { names, takes: Takes::Nothing, help }
}

/// How many words a command wants beside its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    Exactly(usize),
    AtLeast(usize),
    Between(usize, usize),
    Any,
}

impl Count {
    fn check(self, command: &str, given: usize) -> Result<()> {
        let wanted = match self {
            Self::Exactly(n) if given != n => format!("exactly {n}"),
            Self::AtLeast(n) | Self::Between(n, _) if given < n => format!("a minimum of {n}"),
            Self::Between(_, n) if given > n => format!("a maximum of {n}"),
            _ => return Ok(()),
        };
        Err(Error::invalid(format!("{}: {command:?} requires {wanted} argument(s)", name())))
    }
}

/// What was given to a command.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Args {
    options: BTreeMap<&'static str, Vec<String>>,
    pub(crate) positional: Vec<String>,
}

impl Args {
    /// Sorts the words out. With `command_after`, everything from that positional on belongs to another program: the
    /// first word there that is no option ends the options.
    pub(crate) fn parse(words: &[String], flags: &[Flag], command_after: Option<usize>) -> Result<Self> {
        let mut args = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "--" {
                args.positional.extend(words.cloned());
                break;
            }
            if !word.starts_with('-') || word == "-" {
                args.positional.push(word.clone());
                if command_after.is_some_and(|n| args.positional.len() > n) {
                    args.positional.extend(words.cloned());
                    break;
                }
                continue;
            }
            let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).unwrap_or(word);
            let (name, inline) = name.split_once('=').map_or((name, None), |(n, v)| (n, Some(v.to_owned())));
            let Some(flag) = flags.iter().find(|f| f.names.contains(&name)) else {
                // After the first word that is no option, only the options that exist are looked for: a signal can be
                // written -9.
                if !args.positional.is_empty() {
                    args.positional.push(word.clone());
                    if command_after.is_some_and(|n| args.positional.len() > n) {
                        args.positional.extend(words.cloned());
                        break;
                    }
                    continue;
                }
                return Err(Error::invalid(format!("flag provided but not defined: -{name}")));
            };
            let given = match (flag.takes, inline) {
                (Takes::Nothing, None) => "true".into(),
                (Takes::Nothing, Some(text)) => match parse_bool(&text) {
                    Some(on) => on.to_string(),
                    None => {
                        return Err(Error::invalid(format!("invalid boolean value {text:?} for -{name}: parse error")));
                    }
                },
                (takes, inline) => {
                    let Some(text) = inline.or_else(|| words.next().cloned()) else {
                        return Err(Error::invalid(format!("flag needs an argument: -{name}")));
                    };
                    if takes == Takes::Number && text.parse::<i64>().is_err() {
                        return Err(Error::invalid(format!("invalid value {text:?} for flag -{name}: parse error")));
                    }
                    text
                }
            };
            args.options.entry(flag.names[0]).or_default().push(given);
        }
        Ok(args)
    }

    /// The last value of an option.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.options.get(name).and_then(|v| v.last()).map(String::as_str)
    }

    /// Every value of an option, in order.
    pub(crate) fn all(&self, name: &str) -> &[String] {
        self.options.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether a switch is on.
    pub(crate) fn on(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// A value as a number.
    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Error::invalid(format!("invalid value {text:?} for flag -{name}")))
    }

    /// Exactly one positional, the container's id.
    pub(crate) fn id(&self, command: &str) -> Result<&str> {
        match self.positional.as_slice() {
            [id] => Ok(id),
            _ => Err(Error::invalid(format!("{}: {command:?} requires exactly 1 argument(s)", name()))),
        }
    }
}

/// A truth value in the words that Go reads.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "true" | "1" | "t" | "T" | "TRUE" | "True" => Some(true),
        "false" | "0" | "f" | "F" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// The program's own name.
pub(crate) const NAME: &str = "sampan-runtime";

/// The program's name in messages: the one it was called by, so that it also fits where it stands in for runc.
pub(crate) fn name() -> &'static str {
    static CALLED: OnceLock<String> = OnceLock::new();
    CALLED.get_or_init(|| {
        let called = std::env::args_os().next().unwrap_or_default();
        let base = Path::new(&called).file_name().map(|n| n.to_string_lossy().into_owned());
        base.filter(|b| !b.is_empty()).unwrap_or_else(|| NAME.into())
    })
}

/// Options that stand before the command.
pub(crate) const GLOBAL: [Flag; 9] = [
    switch(&["debug"], "log details"),
    value(&["log"], "write the log to this file (default: \"/dev/stderr\")"),
    value(&["log-format"], "form of the log, 'text' or 'json' (default: \"text\")"),
    value(&["root"], "keep the containers' state below this directory, best in a tmpfs"),
    value(&["criu"], ""),
    switch(&["systemd-cgroup"], "let systemd make the cgroups; cgroupsPath is then \"slice:prefix:name\""),
    value(&["rootless"], "ignore cgroup permission errors, 'true', 'false' or 'auto' (default: \"auto\")"),
    switch(&["help", "h"], "show help"),
    switch(&["version", "v"], "print the version"),
];

/// What every command may need.
#[derive(Debug, Default)]
pub(crate) struct Global {
    /// Directory of the containers' state.
    pub(crate) root: PathBuf,
    /// Whether the caller has named it.
    pub(crate) root_given: bool,
    /// The systemd that makes cgroups, where one was asked for.
    pub(crate) systemd: Option<Manager>,
}

/// Runs the program with its arguments and returns its exit status.
pub fn main() -> i32 {
    let mut words = Vec::new();
    for word in std::env::args_os().skip(1) {
        match word.into_string() {
            Ok(word) => words.push(word),
            Err(word) => {
                log::error(&format!("argument {word:?} is not valid UTF-8"));
                return 1;
            }
        }
    }
    match dispatch(&words) {
        Ok(status) => status,
        Err(Failure { error, status }) => {
            log::error(&error.to_string());
            status
        }
    }
}

/// An error with the status to exit with.
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) status: i32,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, status: 1 }
    }
}

fn dispatch(words: &[String]) -> Result<i32, Failure> {
    // Global options end at the first word that is none: the command.
    let args = Args::parse(words, &GLOBAL, Some(0)).inspect_err(|error| {
        say!("Incorrect Usage. {error}\n");
        commands::help(&GLOBAL);
    })?;
    if args.on("version") {
        commands::version();
        return Ok(0);
    }
    let (name, rest) = match args.positional.split_first() {
        Some((name, rest)) if !args.on("help") => (name.as_str(), rest),
        _ => {
            commands::help(&GLOBAL);
            return Ok(0);
        }
    };
    log::init(args.get("log").map(Path::new), args.get("log-format"), args.on("debug"))?;
    match args.get("rootless") {
        None | Some("" | "auto") => {}
        Some(text) => match parse_bool(text) {
            Some(given) => rootless::set(given),
            None => {
                return Err(Error::invalid(format!("invalid --rootless {text:?}: 'true', 'false' or 'auto'")).into());
            }
        },
    }
    let Some(command) = commands::find(name) else {
        return Err(Failure { error: Error::invalid(format!("No help topic for '{name}'\n")), status: 3 });
    };
    if wants_help(rest, command.command_after.is_some()) {
        commands::help_of(command);
        return Ok(0);
    }
    let arguments = Args::parse(rest, command.flags, command.command_after).inspect_err(|error| {
        say!("Incorrect Usage: {error}\n");
        commands::help_of(command);
    })?;
    command.arguments.check(command.name, arguments.positional.len()).inspect_err(|_| {
        say!("Incorrect Usage.\n");
        commands::help_of(command);
    })?;
    if command.makes {
        guard::protect()?;
        sys::signal::stop_ignoring();
        let status: Option<i32> = arguments.number("status-fd")?;
        // Read, and closed, before any process is made.
        let file = arguments.get("process").and_then(|path| descriptors::named(Path::new(path)));
        let others: Vec<i32> = status.into_iter().chain(file).collect();
        // An added process gets no sockets of a service manager, as runc has it.
        let preserve = arguments.number("preserve-fds")?.unwrap_or(0);
        descriptors::close_others(name != "exec", preserve, &others).map_err(|error| match name {
            "exec" => Failure { error: error.prefixed("exec failed"), status: 255 },
            _ => error.into(),
        })?;
    }
    // What is there already knows its own.
    let systemd = (args.on("systemd-cgroup") && command.makes).then(Manager::of_caller);
    let root_given = args.get("root").is_some_and(|r| !r.is_empty());
    let global = Global { root: root_directory(args.get("root"))?, root_given, systemd };
    (command.run)(&global, &arguments)
}

/// Whether a command's words ask for help. Where other programs' words follow, only the first can.
fn wants_help(words: &[String], first_only: bool) -> bool {
    let is_help = |w: &String| w == "--help" || w == "-h";
    if first_only {
        return words.first().is_some_and(is_help);
    }
    words.iter().take_while(|w| *w != "--").any(is_help)
}

/// `--root`, or a directory that every user has for such things.
fn root_directory(given: Option<&str>) -> Result<PathBuf> {
    if let Some(root) = given.filter(|r| !r.is_empty()) {
        return std::path::absolute(root).context(|| format!("--root {root}"));
    }
    if let Some(runtime) = std::env::var_os("XDG_RUNTIME_DIR").filter(|d| !d.is_empty())
        && rootless::has_own_directory()
    {
        return Ok(Path::new(&runtime).join(NAME));
    }
    Ok(Path::new("/run").join(NAME))
}

/// `--bundle`, absolute, or the current directory.
pub(crate) fn bundle(args: &Args) -> Result<PathBuf> {
    let path = args.get("bundle").filter(|b| !b.is_empty()).unwrap_or(".");
    let resolved = Path::new(path).canonicalize().context(|| format!("chdir {path}"))?;
    // As given, where that is a path of its own: hooks and `state` show the link by which a caller knows its bundle.
    let plain = path.split('/').all(|part| !matches!(part, "." | ".."));
    // Without a slash at its end, or two of them: the components have none.
    let tidy = |path: PathBuf| path.components().collect();
    if plain { std::path::absolute(path).map(tidy).context(|| format!("chdir {path}")) } else { Ok(resolved) }
}

/// Connects to `--console-socket`, after checking that a terminal and a socket go together.
pub(crate) fn console_socket(args: &Args, terminal: bool, detached: bool) -> Result<Option<OwnedFd>> {
    let path = args.get("console-socket").filter(|p| !p.is_empty());
    match (path, terminal) {
        (None, true) if detached => {
            Err(Error::invalid(format!("cannot allocate tty if {} will detach without setting console socket", name())))
        }
        (None, _) => Ok(None),
        (Some(path), true) if detached => connect(path, "console socket").map(Some),
        (Some(_), _) => {
            Err(Error::invalid(format!("cannot use console socket if {} will not detach or allocate tty", name())))
        }
    }
}

/// Connects to `--pidfd-socket`.
pub(crate) fn pidfd_socket(args: &Args) -> Result<Option<OwnedFd>> {
    args.get("pidfd-socket").filter(|p| !p.is_empty()).map(|path| connect(path, "pidfd socket")).transpose()
}

/// Connects to a socket of the caller.
pub(crate) fn connect(path: &str, what: &str) -> Result<OwnedFd> {
    let socket = std::os::unix::net::UnixStream::connect(path).context(|| format!("connect to {what} {path}"))?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: [Flag; 4] = [
        value(&["bundle", "b"], ""),
        switch(&["force", "f"], ""),
        value(&["env", "e"], ""),
        number(&["count", "n"], ""),
    ];

    fn parse(line: &str, after: Option<usize>) -> Result<Args> {
        let words: Vec<String> = line.split_whitespace().map(String::from).collect();
        Args::parse(&words, &FLAGS, after)
    }

    #[test]
    fn options_stand_anywhere() {
        for line in ["--bundle /b -f id", "id -b /b --force", "-b=/b id -force=true", "--force id --bundle=/b"] {
            let args = parse(line, None).expect(line);
            assert_eq!(
                (args.get("bundle"), args.on("force"), args.id("x").ok()),
                (Some("/b"), true, Some("id")),
                "{line}"
            );
        }
        assert!(!parse("--force=false id", None).expect("parses").on("force"));
    }

    #[test]
    fn a_command_keeps_its_own_options() {
        let args = parse("-e A=1 id --env B=2 sh -e --force", Some(1)).expect("parses");
        assert_eq!(args.all("env"), ["A=1", "B=2"]);
        assert_eq!(args.positional, ["id", "sh", "-e", "--force"]);
        let args = parse("id -- -f", Some(1)).expect("parses");
        assert_eq!(args.positional, ["id", "-f"]);
    }

    #[test]
    fn words_are_counted() {
        for (count, given, words) in [
            (Count::Exactly(1), 0, "exactly 1"),
            (Count::Exactly(0), 1, "exactly 0"),
            (Count::AtLeast(1), 0, "a minimum of 1"),
            (Count::Between(1, 2), 3, "a maximum of 2"),
        ] {
            let error = count.check("kill", given).expect_err("refused").to_string();
            assert!(error.ends_with(&format!(": \"kill\" requires {words} argument(s)")), "{error}");
        }
        assert!(Count::Between(1, 2).check("kill", 2).is_ok() && Count::Any.check("help", 9).is_ok());
    }

    #[test]
    fn mistakes_are_named() {
        for (line, words) in [
            ("--nope id", "flag provided but not defined: -nope"),
            ("id --bundle", "flag needs an argument: -bundle"),
            ("--force=maybe id", "invalid boolean value \"maybe\" for -force: parse error"),
            ("-n x id", "invalid value \"x\" for flag -n: parse error"),
        ] {
            assert_eq!(parse(line, None).expect_err("refused").to_string(), words);
        }
        assert_eq!(parse("id -9", None).expect("parses").positional, ["id", "-9"]);
        assert!(parse("a b", None).expect("parses").id("start").is_err());
    }
}
