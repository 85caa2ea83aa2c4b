//! One verb, one file.

mod checkpoint;
mod create;
mod delete;
mod events;
mod exec;
mod features;
mod kill;
mod list;
mod pause;
mod ps;
mod restore;
mod resume;
mod run;
mod spec;
mod start;
mod state;
mod unsupported;
mod update;

use oci::Result;
use oci::runtime::VERSION;

use crate::cli::{Args, Count, Failure, Flag, Global, Takes, name};

/// One verb.
pub(crate) struct Command {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) usage: &'static str,
    pub(crate) flags: &'static [Flag],
    /// How many positionals it takes.
    pub(crate) arguments: Count,
    /// After this many positionals, the words are another program's.
    pub(crate) command_after: Option<usize>,
    /// Whether it makes a process in a container.
    pub(crate) makes: bool,
    pub(crate) run: fn(&Global, &Args) -> Result<i32, Failure>,
}

static COMMANDS: [&Command; 19] = [
    &checkpoint::COMMAND,
    &create::COMMAND,
    &delete::COMMAND,
    &events::COMMAND,
    &exec::COMMAND,
    &features::COMMAND,
    &unsupported::INIT,
    &kill::COMMAND,
    &list::COMMAND,
    &pause::COMMAND,
    &ps::COMMAND,
    &restore::COMMAND,
    &resume::COMMAND,
    &run::COMMAND,
    &spec::COMMAND,
    &start::COMMAND,
    &state::COMMAND,
    &update::COMMAND,
    &unsupported::HELP,
];

/// The verb of that name.
pub(crate) fn find(name: &str) -> Option<&'static Command> {
    let name = if name == "h" { "help" } else { name };
    COMMANDS.iter().copied().find(|c| c.name == name)
}

/// `--version`: callers look for the words before the colons.
pub(crate) fn version() {
    say!("{} version {}", name(), env!("CARGO_PKG_VERSION"));
    say!("commit: {}\nspec: {VERSION}", option_env!("SAMPAN_COMMIT").unwrap_or("unknown"));
}

/// Prints options below each other, what they mean in a column beside them.
fn print_flags(flags: &[Flag]) {
    let shown: Vec<(String, &str)> = flags
        .iter()
        .filter(|flag| !flag.help.is_empty())
        .map(|flag| {
            let value = if flag.takes == Takes::Nothing { "" } else { " value" };
            let dashes = |n: &str| if n.len() == 1 { "-" } else { "--" };
            let names: Vec<String> = flag.names.iter().map(|n| format!("{}{n}{value}", dashes(n))).collect();
            (names.join(", "), flag.help)
        })
        .collect();
    let width = shown.iter().map(|(names, _)| names.len()).max().unwrap_or(0);
    for (names, help) in shown {
        say!("   {names:width$}  {help}");
    }
}

/// `--help`.
pub(crate) fn help(global: &[Flag]) {
    let name = name();
    say!("NAME:\n   {name} - Open Container Initiative runtime\n");
    say!("It makes, runs and removes containers from bundles: directories with a config.json and a root filesystem.\n");
    say!("USAGE:\n   {name} [global options] command [command options] [arguments...]\n\nCOMMANDS:");
    for command in COMMANDS.iter().filter(|c| c.name != "init") {
        let names = if command.name == "help" { "help, h" } else { command.name };
        say!("   {names:12}{}", command.about);
    }
    say!("\nGLOBAL OPTIONS:");
    print_flags(global);
}

/// `<command> --help`.
pub(crate) fn help_of(command: &Command) {
    let (name, options) = (name(), if command.flags.is_empty() { "" } else { "[command options] " });
    say!("NAME:\n   {name} {} - {}\n", command.name, command.about);
    say!("USAGE:\n   {name} {} {options}{}", command.name, command.usage);
    if !command.flags.is_empty() {
        say!("\nOPTIONS:");
        print_flags(command.flags);
    }
}
