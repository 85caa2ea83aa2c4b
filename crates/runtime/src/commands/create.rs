//! `create`: makes a container whose process waits for `start`.

use std::path::PathBuf;

use oci::Result;
use oci::runtime::Spec;

use super::Command;
use crate::cli::{self, Args, Count, Failure, Flag, Global, number, switch, value};
use crate::launch::{self, Request};

/// Options that `run` has too.
pub(super) const FLAGS: [Flag; 7] = [
    value(&["bundle", "b"], "directory of the bundle (default: the current one)"),
    value(&["console-socket"], "AF_UNIX socket that gets the terminal's master"),
    value(&["pidfd-socket"], "AF_UNIX socket that gets a pidfd of the process"),
    value(&["pid-file"], "file that gets the process's id"),
    switch(&["no-pivot"], "move the root instead of pivoting to it, for a rootfs on a ramdisk"),
    switch(&["no-new-keyring"], "stay in the caller's session keyring"),
    number(&["preserve-fds"], "hand N more descriptors to the process, after stdio and $LISTEN_FDS (default: 0)"),
];

pub(super) static COMMAND: Command = Command {
    name: "create",
    about: "create a container",
    usage: "<container-id>",
    flags: &FLAGS,
    arguments: Count::Exactly(1),
    command_after: None,
    makes: true,
    run,
};

fn run(global: &Global, args: &Args) -> Result<i32, Failure> {
    create(global, args).map_err(|e| e.prefixed(format!("{} create failed", cli::name())))?;
    Ok(0)
}

fn create(global: &Global, args: &Args) -> Result<()> {
    let (mut request, spec) = request(global, args, "create")?;
    let terminal = spec.process.as_ref().is_some_and(|p| p.terminal);
    request.console = cli::console_socket(args, terminal, true)?;
    request.gated = true;
    launch::launch(request, spec).map(drop)
}

/// What `create` and `run` have in common.
pub(super) fn request(global: &Global, args: &Args, command: &str) -> Result<(Request, Spec)> {
    let id = args.id(command)?.to_owned();
    let bundle = cli::bundle(args)?;
    let spec = launch::read_spec(&bundle)?;
    crate::state::check_id(&id)?;
    let request = Request {
        root: global.root.clone(),
        id,
        bundle,
        pidfd_socket: cli::pidfd_socket(args)?,
        pid_file: args.get("pid-file").filter(|p| !p.is_empty()).map(PathBuf::from),
        systemd: global.systemd,
        no_pivot: args.on("no-pivot"),
        no_new_keyring: args.on("no-new-keyring"),
        ..Default::default()
    };
    Ok((request, spec))
}
