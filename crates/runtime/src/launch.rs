//! From a bundle to a container that waits for `start`, or runs.
//!
//! ```text
//! config.json → InitPlan → reserve the id → record → cgroup → clone3 → serve the child's requests → ready
//! ```
//! Whatever fails, everything made so far is taken back.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use oci::runtime::{Hooks, Linux, Process, Spec, VERSION};
use oci::{Context, Error, Result, Timestamp};
use sys::batch::Batch;
use sys::clone::{Fork, Forked};

use crate::cgroups::systemd::{Manager, Systemd, Unit};
use crate::cgroups::{self, Entrance, Location};
use crate::channel::{Channel, Report};
use crate::criu::External;
use crate::descriptors;
use crate::hooks::{self, Place};
use crate::init::{self, Surroundings, transform};
use crate::net_devices::Moved;
use crate::plan::{InitPlan, namespaces};
use crate::resctrl;
use crate::state::{Container, Record, Status};
use crate::{host_mounts, log, mappings, notify};

/// What the commands `create` and `run` were asked for.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) root: PathBuf,
    pub(crate) id: String,
    pub(crate) bundle: PathBuf,
    /// A connected socket that gets the terminal.
    pub(crate) console: Option<OwnedFd>,
    /// A connected socket that gets the process's pidfd.
    pub(crate) pidfd_socket: Option<OwnedFd>,
    pub(crate) pid_file: Option<PathBuf>,
    /// The systemd that makes the cgroup; otherwise it is made here.
    pub(crate) systemd: Option<Manager>,
    pub(crate) no_pivot: bool,
    pub(crate) no_new_keyring: bool,
    /// Whether the process waits for `start`.
    pub(crate) gated: bool,
}

/// A container that was launched.
#[derive(Debug)]
pub(crate) struct Launched {
    pub(crate) container: Container,
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    /// For `run`, where a service manager waits for the program to be ready.
    pub(crate) notify: Option<notify::Proxy>,
}

const MAX_CONFIG: u64 = 16 << 20;

/// Reads `config.json` of a bundle.
pub(crate) fn read_spec(bundle: &Path) -> Result<Spec> {
    let path = bundle.join("config.json");
    // Where it is a FIFO, this must not wait for a writer.
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = File::options().read(true).custom_flags(flags).open(&path).map_err(|e| {
        if e.kind() == std::io::ErrorKind::NotFound {
            Error::not_found("JSON specification file config.json not found")
        } else {
            Error::from(e).prefixed(format!("open {}", path.display()))
        }
    })?;
    let mut text = Vec::with_capacity(16 << 10);
    let length = file.take(MAX_CONFIG + 1).read_to_end(&mut text).context(|| format!("read {}", path.display()))?;
    if length as u64 > MAX_CONFIG {
        return Err(Error::invalid(format!("{} is larger than {} MiB", path.display(), MAX_CONFIG >> 20)));
    }
    oci::json::from_slice(&text).context(|| path.display().to_string())
}

/// Launches. On failure nothing is left.
pub(crate) fn launch(request: Request, mut spec: Spec) -> Result<Launched> {
    add_sockets(&mut spec);
    notify::add_mount(&mut spec, &request.root, &request.id);
    let plan = InitPlan::from_spec(&spec, &request.bundle)?;
    let linux = spec.linux.take().unwrap_or_default();
    let path = linux.cgroups_path.as_deref();
    let systemd = match request.systemd {
        Some(manager) => Some(Systemd::find(manager, &request.id, path, &spec.annotations)?),
        None => None,
    };
    let location = match &systemd {
        Some(systemd) => systemd.location.clone(),
        None => Location::find(&request.id, path)?,
    };
    let mut container = Container::reserve(&request.root, &request.id)?;
    let mut undo = Undo { location: location.clone(), ..Default::default() };
    match build(request, spec, linux, plan, location, systemd, &mut container, &mut undo) {
        Ok((pid, pidfd, notify)) => Ok(Launched { container, pid, pidfd, notify }),
        Err(error) => {
            let started = undo.started;
            undo.run();
            // The specification: after a hook that failed, the container goes the way of a deleted one.
            let stopped = hooks::is_failure(&error).then(|| container.state(Status::Stopped, 0).ok()).flatten();
            if let Err(second) = container.remove() {
                log::warn(format_args!("{second}"));
            }
            if let (Some(state), Some(record)) = (stopped, &container.record) {
                hooks::run_poststop(&record.hooks.poststop, &state);
            }
            Err(if started { error } else { error.prefixed("unable to start container process") })
        }
    }
}

/// What was made so far.
#[derive(Default)]
pub(crate) struct Undo {
    pub(crate) location: Location,
    /// Present once the cgroup exists.
    pub(crate) made: Option<cgroups::Made>,
    /// Present once systemd has made it.
    pub(crate) unit: Option<Unit>,
    pub(crate) process: Option<OwnedFd>,
    pub(crate) devices: Moved,
    pub(crate) resctrl: Option<resctrl::Group>,
    /// Whether the process was ready; what fails afterwards is not its fault.
    pub(crate) started: bool,
    /// The rootfs of a container without a mount namespace, and what it was on.
    pub(crate) host_mounts: Option<(PathBuf, u64)>,
}

impl Undo {
    pub(crate) fn run(mut self) {
        if let Some(process) = self.process {
            end(&process);
        }
        self.devices.give_back();
        if let Some((rootfs, below)) = &self.host_mounts
            && let Err(error) = host_mounts::remove(rootfs, *below)
        {
            log::warn(format_args!("{error}"));
        }
        if let Some(made) = self.made {
            // Hooks and half-made processes may be in it.
            let killed = self.location.kill_all();
            let stopped = self.unit.map_or(Ok(()), |unit| unit.stop());
            let removed = if killed.is_ok() { self.location.remove() } else { Ok(()) };
            for error in [killed, stopped, removed].into_iter().filter_map(Result::err) {
                log::warn(format_args!("{error}"));
            }
            cgroups::remove_made(&made);
        }
        if let Some(Err(error)) = self.resctrl.map(|group| group.remove()) {
            log::warn(format_args!("{error}"));
        }
    }
}

/// Kills and reaps a child of this process.
pub(crate) fn end(process: &OwnedFd) {
    let _ = sys::process::pidfd_kill(process.as_fd(), 9);
    let _ = rustix::process::waitid(
        rustix::process::WaitId::PidFd(process.as_fd()),
        rustix::process::WaitIdOptions::EXITED,
    );
}

/// Sockets that a service manager handed to the runtime go on to the program, as runc does it.
fn add_sockets(spec: &mut Spec) {
    if let (Some(count), Some(process)) = (descriptors::listen_fds(), spec.process.as_mut()) {
        process.env.push(format!("LISTEN_FDS={count}"));
        process.env.push("LISTEN_PID=1".into());
        if let Ok(names) = std::env::var("LISTEN_FDNAMES") {
            process.env.push(format!("LISTEN_FDNAMES={names}"));
        }
    }
}

/// What is remembered of a container, before its cgroup exists. Takes from the specification what goes into it.
pub(crate) fn new_record(request: &Request, spec: &mut Spec, plan: &InitPlan) -> Record {
    let hooks = spec.hooks.take().unwrap_or_default();
    let version = std::mem::take(&mut spec.oci_version);
    Record {
        oci_version: if version.is_empty() { VERSION.into() } else { version },
        id: request.id.clone(),
        bundle: request.bundle.clone(),
        rootfs: plan.rootfs.clone(),
        created: Timestamp::now(),
        owner: rustix::process::geteuid().as_raw(),
        annotations: std::mem::take(&mut spec.annotations),
        namespaces: plan.namespaces.all(),
        host_mounts: None,
        private_pid: plan.namespaces.create & namespaces::PID != 0,
        cgroup: Location::None,
        unit: None,
        cgroup_made: Vec::new(),
        hooks: Hooks {
            start_container: plan.start_container.clone(),
            poststart: hooks.poststart,
            poststop: hooks.poststop,
            ..Default::default()
        },
        process: Process { args: Vec::new(), ..spec.process.take().unwrap_or_default() },
        resctrl: None,
        execution: plan.execution.clone(),
        seccomp: plan.seccomp.is_some(),
        external: External::of(plan),
    }
}

#[allow(clippy::too_many_arguments, reason = "what was found before anything is made")]
fn build(
    request: Request,
    mut spec: Spec,
    mut linux: Linux,
    plan: InitPlan,
    mut location: Location,
    mut systemd: Option<Systemd>,
    container: &mut Container,
    undo: &mut Undo,
) -> Result<(i32, OwnedFd, Option<notify::Proxy>)> {
    let (prestart, create_runtime) = spec
        .hooks
        .as_mut()
        .map(|h| (std::mem::take(&mut h.prestart), std::mem::take(&mut h.create_runtime)))
        .unwrap_or_default();
    let mut resources = linux.resources.take().unwrap_or_default();
    let owner = cgroups::owner(&linux, &spec.mounts, spec.process.as_ref().map_or(0, |p| p.user.uid));
    // First the record, then what it speaks of: a later command can clean up whatever this one leaves when it is killed.
    let mut record = new_record(&request, &mut spec, &plan);
    if let Some(systemd) = &systemd {
        // Before the record names the unit: whoever deletes this container stops it.
        location.check_unused()?;
        record.unit = Some(systemd.unit.clone());
    } else {
        let placed = linux.cgroups_path.as_deref().is_some_and(|p| !p.is_empty());
        container.note_cgroup(&location)?;
        let made = location.create_or_do_without(&resources, placed)?;
        record.cgroup_made = location.parents_among(&made);
        undo.made = Some(made);
        owner.map_or(Ok(()), |user| location.give_to(user))?;
    }
    record.cgroup = location.clone();
    undo.resctrl = plan.resctrl.as_ref().map(|groups| groups.make(&request.id)).transpose()?;
    record.resctrl.clone_from(&undo.resctrl);
    if !plan.namespaces.has(namespaces::MOUNT) {
        let below = host_mounts::id(&plan.rootfs)?;
        record.host_mounts = Some(below);
        undo.host_mounts = Some((plan.rootfs.clone(), below));
    }
    container.store(record, plan.seccomp.as_ref())?;
    if undo.host_mounts.is_some() {
        host_mounts::make(&plan.rootfs)?;
    }
    notify::make_directory(container)?;
    // Before the program can say that it is ready.
    let proxy = if request.gated { None } else { notify::Proxy::bind(container)? };
    let gate = if request.gated { Some(container.make_gate()?) } else { None };
    let tells = request.gated && !plan.start_container.is_empty();
    let verdict = if tells { Some(container.make_verdict()?) } else { None };
    let mut entrance = if systemd.is_some() { Entrance::default() } else { location.entrance()? };
    if let Some(group) = &undo.resctrl {
        entrance.files.extend(group.entrance()?);
    }
    let (ours, theirs) = Channel::pair()?;
    let needs_maps = plan.namespaces.create & namespaces::USER != 0;
    let in_between = !plan.namespaces.join.is_empty() && plan.namespaces.has(namespaces::USER);
    let root = rustix::process::geteuid().is_root();
    let around = Surroundings {
        channel: theirs,
        cgroup_files: entrance.files,
        put_into_cgroup: systemd.is_some(),
        cgroup: location,
        gate,
        verdict,
        console_socket: request.console,
        parent_hooks: !prestart.is_empty() || !create_runtime.is_empty(),
        state: container.state(Status::Creating, 0)?,
        keep_fds: descriptors::kept(),
        keyring: (!request.no_new_keyring).then(|| request.id.clone()),
        no_pivot: request.no_pivot,
        opened: init::Opened::open(&plan)?,
        unprivileged: !root,
        hide: !plan.namespaces.join.is_empty(),
        join_here: !in_between,
    };
    let listener = plan.seccomp.as_ref().and_then(|f| f.listener.clone());
    if around.hide && root {
        // Before the process exists: it may be born in sight of another container's processes. A user's processes do it
        // themselves, once the user's files that map ids are written.
        transform::hide()?;
    }
    // A user's process has set its score itself.
    let limits = (plan.process.rlimits.clone(), plan.process.oom_score_adj.filter(|_| root));
    let net_devices = plan.net_devices.clone();
    let time = TimeOffsets::enter(&linux, &plan)?;
    let (mut pid, mut pidfd, ours) = fork(plan, around, entrance.born_in, in_between, ours, container)?;
    time.leave()?;
    undo.process = Some(pidfd.as_fd().try_clone_to_owned()?);
    if let Some(systemd) = &mut systemd {
        // Whoever is first goes; what it makes is born there.
        match ours.next()? {
            Some(Report::EnterCgroup) => {}
            Some(other) => return Err(Error::internal(format!("unexpected report {other:?}"))),
            None => return Err(died(&pidfd)),
        }
        undo.made = Some(systemd.start(pid, &mut resources)?);
        undo.unit = Some(systemd.unit.clone());
        owner.map_or(Ok(()), |user| systemd.location.give_to(user))?;
        ours.answer()?;
    }
    drop(systemd);
    if in_between {
        // The pid of the one in between is not the container's; it ends as soon as it has made it.
        pid = 0;
    }
    let mut waiting = None;
    log::debug(format_args!("nsexec container setup: cloned process {pid}"));
    loop {
        let report = match waiting.take() {
            Some(report) => report,
            None => match ours.next()? {
                Some(report) => report,
                None => return Err(died(&pidfd)),
            },
        };
        if pid == 0 && !matches!(report, Report::Pid(_)) {
            // Sent by two processes, so they can arrive in either order.
            let Some(Report::Pid(number)) = ours.next()? else { return Err(died(&pidfd)) };
            (pid, pidfd) = (number, adopt(number, &pidfd)?);
            undo.process = Some(pidfd.as_fd().try_clone_to_owned()?);
            waiting = Some(report);
            continue;
        }
        match report {
            Report::Pid(number) => {
                (pid, pidfd) = (number, adopt(number, &pidfd)?);
                undo.process = Some(pidfd.as_fd().try_clone_to_owned()?);
            }
            Report::MapIds => {
                if needs_maps {
                    mappings::write(pid, &linux.uid_mappings, &linux.gid_mappings)?;
                }
                ours.answer()?;
            }
            Report::SetLimits => {
                transform::set_oom_score(&pid.to_string(), limits.1)?;
                transform::set_rlimits(rustix::process::Pid::from_raw(pid), &limits.0)?;
                ours.answer()?;
            }
            Report::MoveDevices => {
                undo.devices.move_to_process(pid, &net_devices)?;
                ours.answer()?;
            }
            Report::RunHooks => {
                container.store_init(pid)?;
                let state = container.state(Status::Creating, pid)?;
                hooks::run(hooks::PRESTART, &prestart, &state, Place::Host)?;
                hooks::run(hooks::CREATE_RUNTIME, &create_runtime, &state, Place::Host)?;
                ours.answer()?;
            }
            Report::Listener(number) => {
                let listener = listener.as_ref().ok_or_else(|| Error::internal("a descriptor without a listener"))?;
                let state = container.state(Status::Creating, pid)?;
                listener.deliver(&ours, number, pidfd.as_fd(), pid, state)?;
            }
            Report::Ready => break,
            Report::EnterCgroup => return Err(Error::internal("asked for a cgroup twice")),
        }
    }
    container.store_init(pid).or_else(|error| {
        // A program can be over before this line; `run` still reports how it ended.
        if request.gated { Err(error) } else { Ok(()) }
    })?;
    undo.started = true;
    if let Some(socket) = &request.pidfd_socket {
        crate::handover::send(socket.as_fd(), pidfd.as_fd(), "pidfd")?;
    }
    if let Some(path) = &request.pid_file {
        write_pid_file(path, pid)?;
    }
    if !request.gated && ours.next()?.is_some() {
        return Err(Error::internal("a report after the last one"));
    }
    Ok((pid, pidfd, proxy))
}

/// Takes over a process from the one in between, which has made it and ends.
pub(crate) fn adopt(pid: i32, between: &OwnedFd) -> Result<OwnedFd> {
    let raw = rustix::process::Pid::from_raw(pid).ok_or_else(|| Error::internal("process id 0"))?;
    // It is this process's child, so the id stays valid until it is reaped here.
    let pidfd = rustix::process::pidfd_open(raw, rustix::process::PidfdFlags::empty())
        .map_err(std::io::Error::from)
        .context(|| "open the container's process")?;
    let _ = rustix::process::waitid(
        rustix::process::WaitId::PidFd(between.as_fd()),
        rustix::process::WaitIdOptions::EXITED,
    );
    Ok(pidfd)
}

/// Why the line went dead: the process said nothing, so something killed it.
fn died(pidfd: &OwnedFd) -> Error {
    let status =
        rustix::process::waitid(rustix::process::WaitId::PidFd(pidfd.as_fd()), rustix::process::WaitIdOptions::EXITED);
    let how = match status {
        Ok(Some(status)) => match (status.terminating_signal(), status.exit_status()) {
            (Some(9), _) => "killed by signal 9; is the memory limit too low (OOM)?".to_owned(),
            (Some(signal), _) => format!("killed by signal {signal}"),
            (None, code) => format!("exit status {}", code.unwrap_or(-1)),
        },
        _ => "unknown cause".to_owned(),
    };
    Error::internal(format!("container init died before the program was executed: {how}"))
}

/// Offsets of a new time namespace must be written before anybody is in it: the runtime makes it for its children.
struct TimeOffsets(Option<File>);

impl TimeOffsets {
    fn enter(linux: &Linux, plan: &InitPlan) -> Result<Self> {
        if linux.time_offsets.is_empty() {
            return Ok(Self(None));
        }
        debug_assert!(plan.namespaces.create & namespaces::TIME != 0);
        let own = File::open("/proc/self/ns/time").context(|| "open the runtime's time namespace")?;
        sys::unshare::new_time_namespace_for_children().context(|| "make a time namespace")?;
        for (clock, offset) in &linux.time_offsets {
            fs::write("/proc/self/timens_offsets", format!("{clock} {} {}", offset.secs, offset.nanosecs))
                .context(|| format!("linux.timeOffsets: set {clock} to {}s {}ns", offset.secs, offset.nanosecs))?;
        }
        Ok(Self(Some(own)))
    }

    fn leave(self) -> Result<()> {
        match self.0 {
            None => Ok(()),
            Some(own) => {
                sys::process::setns(own.as_fd(), namespaces::TIME).context(|| "return to the own time namespace")
            }
        }
    }
}

fn fork(
    plan: InitPlan,
    around: Surroundings,
    born_in: Option<OwnedFd>,
    in_between: bool,
    ours: Channel,
    container: &mut Container,
) -> Result<(i32, OwnedFd, Channel)> {
    // A cgroup namespace is made later, from within the cgroup.
    let mut flags = plan.namespaces.create & !namespaces::CGROUP;
    if plan.time_offsets {
        flags &= !namespaces::TIME; // made by the parent, which its children enter
    }
    let first = if in_between { 0 } else { flags };
    let pid_namespace = if in_between { None } else { plan.namespaces.join.iter().find(|j| j.bit == namespaces::PID) };
    let own = pid_namespace.map(|_| File::open("/proc/self/ns/pid")).transpose()?;
    if let Some(join) = pid_namespace {
        // Only children are affected; the runtime itself stays where it is, and goes back for its hooks.
        sys::process::setns(join.file.as_fd(), namespaces::PID).context(|| "join the pid namespace")?;
    }
    let make = |cgroup: Option<&OwnedFd>| Fork { flags: first, cgroup: cgroup.map(AsFd::as_fd) }.fork();
    let failed = |error| around.cgroup.birth_failed(error).prefixed(format!("clone with namespaces {first:#x}"));
    let forked = make(born_in.as_ref()).map_err(failed);
    match forked? {
        Forked::Parent { pid, pidfd } => {
            if let Some(own) = own {
                sys::process::setns(own.as_fd(), namespaces::PID).context(|| "return to the own pid namespace")?;
            }
            let mut done = Batch::default();
            around.cgroup_files.into_iter().for_each(|file| done.add(file));
            Ok((pid, pidfd, ours))
        }
        Forked::Child => {
            // The child would never see the end of the line; and nothing that leads to the host stays open.
            drop((ours, born_in));
            container.drop_inherited_lock();
            if in_between { between(plan, around, flags) } else { init::run(plan, around) }
        }
    }
}

/// The process in between: it joins namespaces by path and makes the container's process from there, because a
/// process in a new user namespace could not join those of its parent.
fn between(plan: InitPlan, mut around: Surroundings, flags: u64) -> ! {
    let result = (|| {
        transform::enter_cgroups(std::mem::take(&mut around.cgroup_files))?;
        if std::mem::take(&mut around.put_into_cgroup) {
            around.channel.ask(&Report::EnterCgroup)?;
        }
        if around.unprivileged {
            // Afterwards the file belongs to root alone.
            transform::set_oom_score("self", plan.process.oom_score_adj)?;
            if plan.namespaces.create & namespaces::USER == 0 {
                transform::hide()?;
            }
        }
        for join in &plan.namespaces.join {
            sys::process::setns(join.file.as_fd(), join.bit).context(|| format!("join the {} namespace", join.name))?;
        }
        const CLONE_PARENT: u64 = 0x8000;
        Fork { flags: flags | CLONE_PARENT, cgroup: None }
            .fork()
            .context(|| format!("clone with namespaces {flags:#x}"))
    })();
    match result {
        Ok(Forked::Child) => init::run(plan, around),
        Ok(Forked::Parent { pid, .. }) => {
            let code = i32::from(around.channel.report(&Report::Pid(pid)).is_err());
            sys::process::exit_now(code)
        }
        Err(error) => {
            around.channel.fail(&error);
            sys::process::exit_now(1)
        }
    }
}

/// Writes a pid file so that a reader sees all of it or nothing.
pub(crate) fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let name =
        path.file_name().ok_or_else(|| Error::invalid(format!("--pid-file {}: no file name", path.display())))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    let temporary = path.with_file_name(hidden);
    // In a directory that others can write to, the name may be there already as a link to something of root's.
    let create = || File::options().write(true).create_new(true).open(&temporary);
    create()
        .or_else(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => fs::remove_file(&temporary).and_then(|()| create()),
            _ => Err(error),
        })
        .and_then(|mut file| file.write_all(pid.to_string().as_bytes()))
        .context(|| format!("open {}", temporary.display()))?;
    fs::rename(&temporary, path).context(|| format!("rename {} to {}", temporary.display(), path.display()))
}
