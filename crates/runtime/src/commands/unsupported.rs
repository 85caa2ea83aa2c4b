//! Verbs that are known by name and refused.

use oci::{Error, Result};

use super::Command;
use crate::cli::{Args, Failure, GLOBAL, Global};

const fn refused(name: &'static str, about: &'static str, run: fn(&Global, &Args) -> Result<i32, Failure>) -> Command {
    Command { name, about, usage: "<container-id>", flags: &[], command_after: Some(0), makes: false, run }
}

pub(super) static CHECKPOINT: Command =
    refused("checkpoint", "checkpoint a running container (not supported yet)", |_, _| {
        Err(Error::unsupported("checkpoint: is not supported").into())
    });

pub(super) static EVENTS: Command = refused("events", "display container events (not supported yet)", |_, _| {
    Err(Error::unsupported("events: is not supported; read the container's cgroup").into())
});

pub(super) static RESTORE: Command =
    refused("restore", "restore a container from a checkpoint (not supported yet)", |_, _| {
        Err(Error::unsupported("restore: is not supported").into())
    });

pub(super) static INIT: Command = refused("init", "internal", |_, _| {
    Err(Error::invalid("init: is runc's own way to start a container's process; it cannot be called from outside")
        .into())
});

pub(super) static HELP: Command = refused("help", "show a list of commands or help for one command", |_, args| {
    match args.positional.first().map(|name| (name, super::find(name))) {
        None => super::help(&GLOBAL),
        Some((_, Some(command))) => super::help_of(command),
        Some((name, None)) => {
            return Err(Failure { error: Error::invalid(format!("No help topic for '{name}'")), status: 3 });
        }
    }
    Ok(0)
});

pub(super) static VERSION: Command = refused("version", "print the version", |_, _| {
    super::version();
    Ok(0)
});
