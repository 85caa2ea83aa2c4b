//! `restore`: makes a container from the image files of a checkpoint, with criu.

use std::path::PathBuf;

use oci::Result;

use super::Command;
use super::checkpoint::{options, warn_of_rootless};
use super::run::wait_and_remove;
use crate::cli::{self, Args, Count, Failure, Flag, Global, switch, value};
use crate::criu;
use crate::criu::proto::field;
use crate::criu::restore::{Restore, restore};
use crate::foreground;
use crate::launch::{self, Launched, Request};

static FLAGS: [Flag; 18] = [
    value(&["console-socket"], "path to an AF_UNIX socket which will receive the terminal's master"),
    value(&["image-path"], "path to criu image files for restoring"),
    value(&["work-path"], "path for saving work files and logs"),
    switch(&["tcp-established"], "allow open tcp connections"),
    switch(&["ext-unix-sk"], "allow external unix sockets"),
    switch(&["shell-job"], "allow shell jobs"),
    switch(&["file-locks"], "handle file locks, for safety"),
    value(&["manage-cgroups-mode"], "cgroups mode: soft|full|strict|ignore (default: soft)"),
    value(&["bundle", "b"], "path to the root of the bundle directory, defaults to the current directory"),
    switch(&["detach", "d"], "detach from the container's process"),
    value(&["pid-file"], "specify the file to write the process id to"),
    switch(&["no-subreaper"], "disable the use of the subreaper used to reap reparented processes"),
    switch(&["no-pivot"], "for runc's sake: criu restores the root in its own way"),
    value(&["empty-ns"], "create a namespace, but don't restore its properties (network)"),
    switch(&["auto-dedup"], "enable auto deduplication of memory images"),
    switch(&["lazy-pages"], "use userfaultfd to lazily restore memory pages"),
    value(&["lsm-profile"], "specify an LSM profile to be used during restore in the form of TYPE:NAME"),
    value(&["lsm-mount-context"], "specify an LSM mount context to be used during restore"),
];

pub(super) static COMMAND: Command = Command {
    name: "restore",
    about: "restore a container from a previous checkpoint",
    usage: "<container-id>",
    flags: &FLAGS,
    arguments: Count::Exactly(1),
    command_after: None,
    makes: true,
    run,
};

fn run(global: &Global, args: &Args) -> Result<i32, Failure> {
    Ok(attempt(global, args)?)
}

fn attempt(global: &Global, args: &Args) -> Result<i32> {
    let id = args.id("restore")?.to_owned();
    crate::state::check_id(&id)?;
    warn_of_rootless();
    let text = |name: &str| args.get(name).filter(|v| !v.is_empty()).map(String::from);
    let mut wanted = Restore {
        options: options(
            args,
            &[
                ("tcp-established", field::TCP_ESTABLISHED),
                ("ext-unix-sk", field::EXT_UNIX_SK),
                ("shell-job", field::SHELL_JOB),
                ("file-locks", field::FILE_LOCKS),
                ("auto-dedup", field::AUTO_DEDUP),
                ("lazy-pages", field::LAZY_PAGES),
            ],
        )?,
        lsm_profile: text("lsm-profile"),
        lsm_mount_context: text("lsm-mount-context"),
        strict: false,
    };
    wanted.strict = wanted.options.cgroups_mode == criu::STRICT;
    if wanted.strict {
        wanted.options.cgroups_mode = criu::FULL;
    }
    let detached = args.on("detach");
    let mut request = Request {
        root: global.root.clone(),
        id,
        bundle: cli::bundle(args)?,
        pid_file: text("pid-file").map(PathBuf::from),
        systemd: global.systemd,
        ..Default::default()
    };
    let spec = launch::read_spec(&request.bundle)?;
    let with_terminal = spec.process.as_ref().is_some_and(|p| p.terminal);
    request.console = cli::console_socket(args, with_terminal, detached)?;
    let mut terminal = None;
    if with_terminal && !detached {
        let (theirs, ours) = foreground::terminal()?;
        request.console = Some(theirs);
        terminal = Some(ours);
    }
    if !detached {
        // Before the process exists, so that its end cannot be missed.
        let _ = sys::signal::block_all();
        if !args.on("no-subreaper") {
            // Any number but 0 says yes.
            let _ = rustix::process::set_child_subreaper(Some(rustix::process::Pid::INIT));
        }
    }
    let Launched { container, pid, pidfd, .. } = restore(request, spec, &wanted)?;
    if detached {
        return Ok(0);
    }
    wait_and_remove(container.unlock(), pid, &pidfd, terminal.as_ref(), None, false)
}
