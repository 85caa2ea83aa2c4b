//! The command line: runc's words, by hand. Options may stand before or after the container's id.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci::{Context, Error, Result};

use crate::{commands, descriptors, guard, log};

/// One option of a command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    /// Names without dashes, the long one first.
    pub(crate) names: &'static [&'static str],
    /// Whether it takes a value.
    pub(crate) value: bool,
    pub(crate) help: &'static str,
}

/// An option that takes a value.
pub(crate) const fn value(names: &'static [&'static str], help: &'static str) -> Flag {
    Flag { names, value: true, help }
}

/// An option that is there or not.
pub(crate) const fn switch(names: &'static [&'static str], help: &'static str) -> Flag {
    Flag { names, value: false, help }
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
            let name = word.trim_start_matches('-');
            let (name, inline) = name.split_once('=').map_or((name, None), |(n, v)| (n, Some(v.to_owned())));
            let Some(flag) = flags.iter().find(|f| f.names.contains(&name)) else {
                return Err(Error::invalid(format!("flag provided but not defined: -{name}")));
            };
            let given = match (flag.value, inline) {
                (true, Some(text)) => text,
                (true, None) => {
                    words.next().cloned().ok_or_else(|| Error::invalid(format!("flag needs an argument: -{name}")))?
                }
                (false, None) => "true".into(),
                (false, Some(text)) => match text.as_str() {
                    "true" | "1" | "t" | "T" | "TRUE" | "True" => "true".into(),
                    "false" | "0" | "f" | "F" | "FALSE" | "False" => "false".into(),
                    _ => return Err(Error::invalid(format!("invalid boolean value {text:?} for -{name}"))),
                },
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
            _ => Err(Error::invalid(format!("{NAME}: \"{command}\" requires exactly 1 argument(s)"))),
        }
    }
}

/// The program's name in messages.
pub(crate) const NAME: &str = "sampan-runtime";

/// Options that stand before the command.
pub(crate) const GLOBAL: [Flag; 9] = [
    switch(&["debug"], "enable debug logging"),
    value(&["log"], "set the log file (default: '/dev/stderr')"),
    value(&["log-format"], "set the log format ('text' (default), or 'json')"),
    value(&["root"], "root directory for storage of container state (this should be located in tmpfs)"),
    value(&["criu"], "(obsoleted; do not use)"),
    switch(&["systemd-cgroup"], "enable systemd cgroup support (not supported yet)"),
    value(&["rootless"], "ignore cgroup permission errors ('true', 'false', or 'auto')"),
    switch(&["help", "h"], "show help"),
    switch(&["version", "v"], "print the version"),
];

/// What every command may need.
#[derive(Debug, Default)]
pub(crate) struct Global {
    /// Directory of the containers' state.
    pub(crate) root: PathBuf,
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
    let args = Args::parse(words, &GLOBAL, Some(0))?;
    log::init(args.get("log").map(Path::new), args.get("log-format"), args.on("debug"))?;
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
    match args.get("rootless") {
        None | Some("auto" | "true" | "false") => {}
        Some(other) => return Err(Error::invalid(format!("invalid --rootless {other:?}: true, false or auto")).into()),
    }
    let Some(command) = commands::find(name) else {
        return Err(Failure { error: Error::invalid(format!("No help topic for '{name}'")), status: 3 });
    };
    if args.on("systemd-cgroup") && command.makes {
        return Err(
            Error::unsupported("--systemd-cgroup: the systemd cgroup driver is not supported; use cgroupfs").into()
        );
    }
    if rest.iter().take_while(|w| *w != "--").any(|w| w == "--help" || w == "-h") && command.command_after.is_none()
        || matches!(rest.first().map(String::as_str), Some("--help" | "-h"))
    {
        commands::help_of(command);
        return Ok(0);
    }
    let arguments = Args::parse(rest, command.flags, command.command_after)?;
    if command.makes {
        guard::protect()?;
        let status: Option<i32> = arguments.number("status-fd")?;
        // An added process gets no sockets of a service manager, as runc has it.
        descriptors::close_others(name != "exec", arguments.number("preserve-fds")?.unwrap_or(0), status.as_slice())?;
    }
    let global = Global { root: root_directory(args.get("root"))? };
    (command.run)(&global, &arguments)
}

/// `--root`, or a directory that every user has for such things.
fn root_directory(given: Option<&str>) -> Result<PathBuf> {
    if let Some(root) = given.filter(|r| !r.is_empty()) {
        return std::path::absolute(root).context(|| format!("--root {root}"));
    }
    if !rustix::process::geteuid().is_root()
        && let Some(runtime) = std::env::var_os("XDG_RUNTIME_DIR").filter(|d| !d.is_empty())
    {
        return Ok(Path::new(&runtime).join(NAME));
    }
    Ok(Path::new("/run").join(NAME))
}

/// `--bundle`, absolute, or the current directory.
pub(crate) fn bundle(args: &Args) -> Result<PathBuf> {
    let path = args.get("bundle").filter(|b| !b.is_empty()).unwrap_or(".");
    Path::new(path).canonicalize().context(|| format!("bundle {path}"))
}

/// Connects to `--console-socket`, after checking that a terminal and a socket go together.
pub(crate) fn console_socket(args: &Args, terminal: bool, detached: bool) -> Result<Option<OwnedFd>> {
    let path = args.get("console-socket").filter(|p| !p.is_empty());
    match (path, terminal) {
        (None, true) if detached => Err(Error::invalid(
            "cannot allocate tty if the runtime will detach without setting console socket (--console-socket)",
        )),
        (None, _) => Ok(None),
        (Some(_), false) => Err(Error::invalid("cannot use console socket if the process has no terminal")),
        (Some(_), true) if !detached => Err(Error::invalid("cannot use console socket if the runtime will not detach")),
        (Some(path), true) => {
            let socket = std::os::unix::net::UnixStream::connect(path)
                .context(|| format!("connect to console socket {path}"))?;
            Ok(Some(socket.as_fd().try_clone_to_owned()?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: [Flag; 3] = [value(&["bundle", "b"], ""), switch(&["force", "f"], ""), value(&["env", "e"], "")];

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
    fn mistakes_are_named() {
        for (line, word) in [("--nope id", "nope"), ("id --bundle", "bundle"), ("--force=maybe id", "maybe")] {
            assert!(parse(line, None).expect_err("refused").to_string().contains(word));
        }
        assert!(parse("a b", None).expect("parses").id("start").is_err());
    }
}
