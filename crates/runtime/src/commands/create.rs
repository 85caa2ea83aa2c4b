//! `create`: makes a container whose process waits for `start`.

use std::path::PathBuf;

use oci::Result;

use super::Command;
use crate::cli::{self, Args, Failure, Flag, Global, switch, value};
use crate::launch::{self, Request};

/// Options that `run` has too.
pub(super) const FLAGS: [Flag; 7] = [
    value(&["bundle", "b"], "path to the root of the bundle directory, defaults to the current directory"),
    value(&["console-socket"], "path to an AF_UNIX socket which will receive the terminal's master"),
    value(&["pid-file"], "specify the file to write the process id to"),
    switch(&["no-pivot"], "do not use pivot root to jail process inside rootfs (for a rootfs on ramdisk)"),
    switch(&["no-new-keyring"], "do not create a new session keyring for the container"),
    value(&["preserve-fds"], "pass N additional file descriptors to the container (stdio + $LISTEN_FDS + N in total)"),
    value(&["pidfd-socket"], "path to an AF_UNIX socket which will receive a pidfd (not supported yet)"),
];

pub(super) static COMMAND: Command = Command {
    name: "create",
    about: "create a container",
    usage: "<container-id>",
    flags: &FLAGS,
    command_after: None,
    makes: true,
    run,
};

fn run(global: &Global, args: &Args) -> Result<i32, Failure> {
    create(global, args).map_err(|e| e.prefixed(format!("{} create failed", cli::NAME)))?;
    Ok(0)
}

fn create(global: &Global, args: &Args) -> Result<()> {
    let mut request = request(global, args, "create")?;
    let spec = launch::read_spec(&request.bundle)?;
    let terminal = spec.process.as_ref().is_some_and(|p| p.terminal);
    request.console = cli::console_socket(args, terminal, true)?;
    request.gated = true;
    launch::launch(request, spec).map(drop).map_err(|e| e.prefixed("unable to start container process"))
}

/// What `create` and `run` have in common.
pub(super) fn request(global: &Global, args: &Args, command: &str) -> Result<Request> {
    if args.get("pidfd-socket").is_some() {
        return Err(oci::Error::unsupported("--pidfd-socket: is not supported"));
    }
    let id = args.id(command)?.to_owned();
    crate::state::check_id(&id)?;
    Ok(Request {
        root: global.root.clone(),
        id,
        bundle: cli::bundle(args)?,
        pid_file: args.get("pid-file").filter(|p| !p.is_empty()).map(PathBuf::from),
        no_pivot: args.on("no-pivot"),
        no_new_keyring: args.on("no-new-keyring"),
        ..Default::default()
    })
}
