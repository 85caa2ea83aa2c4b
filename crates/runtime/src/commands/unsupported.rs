//! Verbs that are known by name and refused, and `help`.

use oci::{Error, Result};

use super::Command;
use crate::cli::{Args, Count, Failure, GLOBAL, Global};

const fn refused(name: &'static str, about: &'static str, run: fn(&Global, &Args) -> Result<i32, Failure>) -> Command {
    Command {
        name,
        about,
        usage: "<container-id>",
        flags: &[],
        arguments: Count::Any,
        command_after: Some(0),
        makes: false,
        run,
    }
}

pub(super) static INIT: Command = refused("init", "internal", |_, _| {
    Err(Error::invalid("init: is the runtime's own way to start a container's process; it is not to be called").into())
});

pub(super) static HELP: Command = Command {
    usage: "[command]",
    ..refused("help", "Shows a list of commands or help for one command", |_, args| {
        match args.positional.first().map(|name| (name, super::find(name))) {
            None => super::help(&GLOBAL),
            Some((_, Some(command))) => super::help_of(command),
            Some((name, None)) => {
                return Err(Failure { error: Error::invalid(format!("No help topic for '{name}'\n")), status: 3 });
            }
        }
        Ok(0)
    })
};
