//! One verb, one file.

mod create;
mod delete;
mod exec;
mod features;
mod kill;
mod list;
mod pause;
mod ps;
mod resume;
mod run;
mod spec;
mod start;
mod state;
mod unsupported;
mod update;

use oci::Result;
use oci::runtime::VERSION;

use crate::cli::{Args, Failure, Flag, Global, NAME};

/// One verb.
pub(crate) struct Command {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) usage: &'static str,
    pub(crate) flags: &'static [Flag],
    /// After this many positionals, the words are another program's.
    pub(crate) command_after: Option<usize>,
    /// Whether it makes a process in a container.
    pub(crate) makes: bool,
    pub(crate) run: fn(&Global, &Args) -> Result<i32, Failure>,
}

static COMMANDS: [&Command; 20] = [
    &unsupported::CHECKPOINT,
    &create::COMMAND,
    &delete::COMMAND,
    &unsupported::EVENTS,
    &exec::COMMAND,
    &features::COMMAND,
    &unsupported::INIT,
    &kill::COMMAND,
    &list::COMMAND,
    &pause::COMMAND,
    &ps::COMMAND,
    &unsupported::RESTORE,
    &resume::COMMAND,
    &run::COMMAND,
    &spec::COMMAND,
    &start::COMMAND,
    &state::COMMAND,
    &update::COMMAND,
    &unsupported::HELP,
    &unsupported::VERSION,
];

/// The verb of that name.
pub(crate) fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().copied().find(|c| c.name == name)
}

/// `--version`: the second line is what callers parse.
pub(crate) fn version() {
    println!("{NAME} version {}\nspec: {VERSION}", env!("CARGO_PKG_VERSION"));
}

fn print_flags(flags: &[Flag]) {
    for flag in flags {
        let names: Vec<String> =
            flag.names.iter().map(|n| format!("{}{n}", if n.len() == 1 { "-" } else { "--" })).collect();
        let names = format!("{}{}", names.join(", "), if flag.value { " value" } else { "" });
        println!("   {names:32} {}", flag.help);
    }
}

/// `--help`.
pub(crate) fn help(global: &[Flag]) {
    println!("NAME:\n   {NAME} - Open Container Initiative runtime\n");
    println!("USAGE:\n   {NAME} [global options] command [command options] [arguments...]\n\nCOMMANDS:");
    for command in COMMANDS.iter().filter(|c| c.name != "init") {
        println!("   {:12}{}", command.name, command.about);
    }
    println!("\nGLOBAL OPTIONS:");
    print_flags(global);
}

/// `<command> --help`.
pub(crate) fn help_of(command: &Command) {
    println!("NAME:\n   {NAME} {} - {}\n", command.name, command.about);
    println!("USAGE:\n   {NAME} {} [command options] {}\n", command.name, command.usage);
    if !command.flags.is_empty() {
        println!("OPTIONS:");
        print_flags(command.flags);
    }
}
