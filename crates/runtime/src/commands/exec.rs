//! `exec`: adds a process to a running container.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use oci::runtime::{Capabilities, ConsoleSize, Process};
use oci::{Context, Error, Kind, Result};
use rustix::fs::OFlags;
use sys::clone::{Fork, Forked};

use super::Command;
use crate::cgroups::systemd::Unit;
use crate::cgroups::{Entrance, Location};
use crate::channel::{Channel, Report};
use crate::cli::{self, Args, Count, Failure, Flag, Global, number, switch, value};
use crate::descriptors;
use crate::foreground;
use crate::init::join::{self, JoinPlan};
use crate::init::transform;
use crate::log;
use crate::plan::list;
use crate::plan::namespaces;
use crate::plan::process::ProcessPlan;
use crate::state::{Container, Status};
use crate::{handover, launch};

static FLAGS: [Flag; 18] = [
    value(&["console-socket"], "AF_UNIX socket that gets the terminal's master"),
    value(&["pidfd-socket"], "AF_UNIX socket that gets a pidfd of the process"),
    value(&["cwd"], "working directory in the container"),
    value(&["env", "e"], "add a variable to the environment"),
    switch(&["tty", "t"], "give the process a terminal"),
    value(&["user", "u"], "run as <uid>[:<gid>]"),
    value(&["additional-gids", "g"], "one more group"),
    value(&["process", "p"], "run what this process.json says"),
    switch(&["detach", "d"], "leave the process running in the background"),
    value(&["pid-file"], "file that gets the process's id"),
    value(&["process-label"], "SELinux label of the process"),
    value(&["apparmor"], "AppArmor profile of the process"),
    switch(&["no-new-privs"], "forbid the process to gain privileges"),
    value(&["cap", "c"], "add a capability"),
    number(&["preserve-fds"], "hand N more descriptors to the process, after stdio (default: 0)"),
    value(&["cgroup"], "run in an existing cgroup below the container's, [<controller>[,...]:]<path>"),
    switch(&["ignore-paused"], "also in a paused container"),
    switch(&["no-subreaper"], ""),
];

pub(super) static COMMAND: Command = Command {
    name: "exec",
    about: "run another process in a container",
    usage: "<container-id> <command> [command options] || -p process.json <container-id>",
    flags: &FLAGS,
    arguments: Count::AtLeast(1),
    command_after: Some(1),
    makes: true,
    run,
};

fn run(global: &Global, args: &Args) -> Result<i32, Failure> {
    exec(global, args).map_err(|error| Failure { error: error.prefixed("exec failed"), status: 255 })
}

fn exec(global: &Global, args: &Args) -> Result<i32> {
    let (id, command) = (&args.positional[0], &args.positional[1..]);
    let container = Container::open(&global.root, id)?;
    match container.status() {
        Status::Running | Status::Created => {}
        Status::Paused if args.on("ignore-paused") => {}
        Status::Paused => {
            return Err(Error::conflict("cannot exec in a paused container (use --ignore-paused to override)"));
        }
        Status::Creating => return Err(Error::conflict("cannot exec in a container that is being created")),
        Status::Stopped => return Err(Error::conflict("cannot exec in a stopped container")),
    }
    let mut process = process(args, &container.record()?.process, command)?;
    let detached = args.on("detach");
    let (console, terminal) = match cli::console_socket(args, process.terminal, detached)? {
        None if process.terminal => {
            foreground::take_size(&mut process);
            let (theirs, ours) = foreground::terminal()?;
            (Some(theirs), Some(ours))
        }
        console => (console, None),
    };
    if !detached {
        let _ = sys::signal::block_all();
    }
    let pidfd_socket = cli::pidfd_socket(args)?;
    let (pid, pidfd) = add(&container, &process, console, args.all("cgroup"))
        .map_err(|e| e.prefixed("unable to start container process"))?;
    let told = pidfd_socket.map_or(Ok(()), |socket| handover::send(socket.as_fd(), pidfd.as_fd(), "pidfd"));
    let pid_file = args.get("pid-file").filter(|p| !p.is_empty());
    let written = told.and_then(|()| pid_file.map_or(Ok(()), |path| launch::write_pid_file(Path::new(path), pid)));
    if let Err(error) = written {
        launch::end(&pidfd);
        return Err(error);
    }
    if detached { Ok(0) } else { foreground::wait(pid, terminal.as_ref(), None) }
}

/// What to run: a file's process, or the container's own with changes.
fn process(args: &Args, own: &Process, command: &[String]) -> Result<Process> {
    let mut process = match args.get("process") {
        Some(path) => inherit(read_process(Path::new(path))?, own),
        None => {
            if command.is_empty() {
                return Err(Error::invalid("process args cannot be empty"));
            }
            Process { args: command.to_vec(), terminal: false, ..own.clone() }
        }
    };
    if args.get("process").is_none() {
        process.terminal = args.on("tty");
    } else if args.on("tty") {
        process.terminal = true;
    }
    if let Some(cwd) = args.get("cwd") {
        process.cwd = cwd.to_owned();
    }
    process.env.extend(args.all("env").iter().cloned());
    if let Some(user) = args.get("user").filter(|u| !u.is_empty()) {
        let bad = |what: &str, text: &str| Error::invalid(format!("bad {what}: {text:?} in --user {user}"));
        let (uid, gid) = user.split_once(':').map_or((user, None), |(u, g)| (u, Some(g)));
        process.user.uid = uid.parse().map_err(|_| bad("uid", uid))?;
        process.user.gid = gid.map_or(Ok(process.user.gid), |g| g.parse().map_err(|_| bad("gid", g)))?;
    }
    for gid in args.all("additional-gids") {
        let gid = gid.parse().map_err(|_| Error::invalid(format!("--additional-gids {gid:?}: is not a number")))?;
        process.user.additional_gids.push(gid);
    }
    if let Some(label) = args.get("process-label") {
        process.selinux_label = Some(label.to_owned());
    }
    if let Some(profile) = args.get("apparmor") {
        process.apparmor_profile = Some(profile.to_owned());
    }
    if args.get("no-new-privs").is_some() {
        process.no_new_privileges = args.on("no-new-privs");
    }
    for name in args.all("cap") {
        let sets = process.capabilities.get_or_insert_with(Capabilities::default);
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            if !set.contains(name) {
                set.push(name.clone());
            }
        }
        // Never inheritable where the container's is not: a file with inheritable capabilities would give it to users
        // who should have none (CVE-2022-29162). Ambient ones need both.
        if sets.inheritable.contains(name) && !sets.ambient.contains(name) {
            sets.ambient.push(name.clone());
        }
    }
    if process.console_size.as_ref().is_some_and(|s| *s == ConsoleSize::default()) {
        process.console_size = None;
    }
    Ok(process)
}

/// What a file does not say is as the container's own process has it, as under runc.
fn inherit(mut process: Process, own: &Process) -> Process {
    fn or<T: Clone>(mine: &mut Option<T>, own: &Option<T>) {
        if mine.is_none() {
            mine.clone_from(own);
        }
    }
    or(&mut process.capabilities, &own.capabilities);
    or(&mut process.apparmor_profile, &own.apparmor_profile);
    or(&mut process.selinux_label, &own.selinux_label);
    or(&mut process.oom_score_adj, &own.oom_score_adj);
    or(&mut process.scheduler, &own.scheduler);
    or(&mut process.io_priority, &own.io_priority);
    or(&mut process.exec_cpu_affinity, &own.exec_cpu_affinity);
    if process.rlimits.is_empty() {
        process.rlimits.clone_from(&own.rlimits);
    }
    process
}

fn read_process(path: &Path) -> Result<Process> {
    const MAX: u64 = 4 << 20;
    let mut text = Vec::new();
    let read = File::open(path).and_then(|f| f.take(MAX).read_to_end(&mut text));
    descriptors::close_named(path);
    read.context(|| format!("read process file {}", path.display()))?;
    oci::json::from_slice(&text).context(|| path.display().to_string())
}

/// The root of a process, by a handle.
fn root_of(pid: i32) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let path = format!("/proc/{pid}/root");
    rustix::fs::open(&path, flags, rustix::fs::Mode::empty())
        .map_err(std::io::Error::from)
        .context(|| format!("open {path}"))
}

/// Makes the process and waits until its program runs.
fn add(
    container: &Container,
    process: &Process,
    console: Option<OwnedFd>,
    cgroups: &[String],
) -> Result<(i32, OwnedFd)> {
    let record = container.record()?;
    let Some((init, target)) = container.init() else {
        return Err(Error::conflict("cannot exec in a stopped container"));
    };
    let process = ProcessPlan::from_spec(process)?;
    let mut entrance = if cgroups.is_empty() {
        match record.cgroup.entrance() {
            // The first process has gone to another cgroup, and this one has been removed.
            Err(error) if error.kind() == Kind::NotFound && matches!(record.cgroup, Location::V2 { .. }) => {
                Entrance { born_in: Some(cgroup_of(init)?), ..Default::default() }
            }
            result => result?,
        }
    } else {
        record.cgroup.below(cgroups)?.entrance().map_err(not_added)?
    };
    if let Some(group) = &record.resctrl {
        entrance.files.extend(group.entrance()?);
    }
    let (ours, theirs) = Channel::pair()?;
    // A process that is born in the container's PID namespace is in sight of its processes, and one of those that may
    // trace others must find nothing of the host: so a process in between enters everything else first. A user needs
    // it anyway, who may join the PID namespace only from inside the user namespace. Only for root and a container with
    // a user namespace it is not needed: nobody in there may trace what is not dumpable.
    let root = sys::process::user_at_start() == 0;
    let in_between = record.namespaces & namespaces::PID != 0 && !(root && record.namespaces & namespaces::USER != 0);
    let mut plan = JoinPlan {
        target: Some(target.try_clone()?),
        root: if record.namespaces & namespaces::MOUNT == 0 { Some(root_of(init)?) } else { None },
        namespaces: if in_between { record.namespaces } else { record.namespaces & !namespaces::PID },
        execution: record.execution.clone(),
        seccomp: container.filter()?,
        process,
        cgroup_files: entrance.files,
        put_into_cgroup: false,
        channel: theirs,
        console_socket: console,
        keep_fds: descriptors::kept(),
        keyring: Some(record.id.clone()),
    };
    if let Some(processors) = &plan.process.affinity.initial {
        sys::process::set_cpu_affinity(0, processors).context(|| "error setting initial CPU affinity")?;
        // In runc's words, where the stage that forks has this name: that is what its tests look for.
        log::debug(format_args!("nsexec: affinity: {}", list::hex(processors)));
    }
    if root {
        // Before the process exists: from its birth on it can be seen in the container's PID namespace.
        transform::hide()?;
    }
    if record.namespaces & namespaces::PID != 0 && !in_between {
        // Only children are affected, and the one child is meant.
        sys::process::setns(target.as_fd(), namespaces::PID).context(|| "join the container's pid namespace")?;
    }
    let unit_of_user = record.unit.as_ref().filter(|unit| unit.of_user());
    let forked = match (Fork { flags: 0, cgroup: entrance.born_in.as_ref().map(AsFd::as_fd) }).fork() {
        // A v2 cgroup that has been divided (by a service manager inside) takes no processes itself; the first
        // process is in one that does.
        Err(error) if error.raw_os_error() == Some(16) && cgroups.is_empty() => {
            let place = cgroup_of(init)?;
            Fork { flags: 0, cgroup: Some(place.as_fd()) }.fork()
        }
        // A user's process outside of the user's systemd may not go there by itself; systemd is asked to move it.
        Err(error) if error.raw_os_error() == Some(13) && cgroups.is_empty() && unit_of_user.is_some() => {
            plan.put_into_cgroup = true;
            Fork { flags: 0, cgroup: None }.fork()
        }
        Err(error) if record.cgroup.born_outside(&error) => Fork { flags: 0, cgroup: None }.fork(),
        Err(error) if entrance.born_in.is_some() && !cgroups.is_empty() => return Err(not_added(error.into())),
        result => result,
    };
    match forked.context(|| "clone")? {
        Forked::Child => {
            // Nothing that leads to the host is open while the process is inside.
            drop((ours, target, entrance.born_in));
            if in_between { join::run_in_between(plan) } else { join::run(plan) }
        }
        Forked::Parent { pid, pidfd } => {
            log::debug(format_args!("nsexec container setup: cloned process {pid}"));
            let listener = plan.seccomp.as_ref().and_then(|f| f.listener.clone());
            drop(plan);
            let deliver = |number, process: &(i32, OwnedFd)| {
                let listener = listener.as_ref().ok_or_else(|| Error::internal("a descriptor without a listener"))?;
                let state = container.state(Status::Running, init)?;
                listener.deliver(&ours, number, process.1.as_fd(), process.0, state)
            };
            let mut process = (pid, pidfd);
            match follow(&ours, &mut process, in_between, unit_of_user, deliver) {
                Ok(()) => Ok(process),
                Err(error) => {
                    launch::end(&process.1);
                    Err(error)
                }
            }
        }
    }
}

/// A cgroup that takes no processes, in the words that callers look for.
fn not_added(error: Error) -> Error {
    error.prefixed(format!("error adding pid {} to cgroups", std::process::id()))
}

/// Waits for "ready" and then for the end of the line: the program runs. With a process in between, the process that
/// counts is the one that it makes.
fn follow(
    channel: &Channel,
    process: &mut (i32, OwnedFd),
    in_between: bool,
    unit: Option<&Unit>,
    deliver: impl Fn(i32, &(i32, OwnedFd)) -> Result<()>,
) -> Result<()> {
    let mut ready = false;
    let mut adopted = !in_between;
    let mut descriptor = None;
    loop {
        // Sent by two processes, so they can arrive in either order.
        match channel.next()? {
            Some(Report::Ready) if !ready => ready = true,
            Some(Report::EnterCgroup) if unit.is_some() => {
                unit.map_or(Ok(()), |unit| unit.attach(process.0))?;
                channel.answer()?;
            }
            Some(Report::Pid(pid)) if !adopted => {
                let handle = launch::adopt(pid, &process.1)?;
                *process = (pid, handle);
                adopted = true;
            }
            Some(Report::Listener(number)) if !ready && descriptor.is_none() => descriptor = Some(number),
            Some(other) => return Err(Error::internal(format!("unexpected report {other:?}"))),
            None if ready && adopted => return Ok(()),
            None => {
                return Err(Error::internal(
                    "the process was killed before the program was executed; is the memory limit too low (OOM)?",
                ));
            }
        }
        if adopted && let Some(number) = descriptor {
            deliver(number, process)?;
            descriptor = None;
        }
    }
}

/// The v2 cgroup that a process is in.
fn cgroup_of(pid: i32) -> Result<OwnedFd> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).context(|| "read the container's cgroup")?;
    let path = text
        .lines()
        .find_map(|l| l.strip_prefix("0::/"))
        .ok_or_else(|| Error::new(Kind::NotFound, "the container's process is in no v2 cgroup"))?;
    let location = Location::V2 { path: Path::new("/sys/fs/cgroup").join(path) };
    location.entrance()?.born_in.ok_or_else(|| Error::new(Kind::NotFound, "the container's cgroup is gone"))
}
