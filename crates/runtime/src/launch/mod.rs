//! From a bundle to a container that waits for `start`, or runs.
//!
//! ```text
//! config.json → InitPlan → reserve the id → record → cgroup → clone3 → serve the child's requests → ready
//! ```
//! Whatever fails, everything made so far is taken back.

mod process;
mod requests;
mod undo;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use oci::runtime::{Hooks, Linux, Process as Program, Resources, Spec, VERSION};
use oci::{Context, Error, Result, Timestamp};

use crate::cgroups::systemd::{Manager, Systemd};
use crate::cgroups::{self, Entrance, Location};
use crate::channel::Channel;
use crate::criu::External;
use crate::hooks;
use crate::init::{self, MountMaps, Surroundings, transform};
use crate::plan::{InitPlan, namespaces};
use crate::state::{Container, Record, Status};
use crate::{descriptors, host_mounts, log, notify};

use process::TimeOffsets;
pub(crate) use process::{adopt, end};
use requests::{Process, Wishes};
pub(crate) use undo::Undo;

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
    let found = Found::new(&request, &mut spec)?;
    let mut container = Container::reserve(&request.root, &request.id)?;
    let mut undo = Undo { location: found.location.clone(), ..Default::default() };
    match build(request, spec, found, &mut container, &mut undo) {
        Ok((pid, pidfd, notify)) => Ok(Launched { container, pid, pidfd, notify }),
        Err(error) => {
            let started = undo.started;
            abandon(&mut container, undo);
            Err(if started { error } else { error.prefixed("unable to start container process") })
        }
    }
}

/// What was found before anything is made.
pub(crate) struct Found {
    /// Without its resources.
    pub(crate) linux: Linux,
    pub(crate) resources: Resources,
    pub(crate) plan: InitPlan,
    pub(crate) location: Location,
    /// The driver, where systemd makes the cgroup.
    pub(crate) systemd: Option<Systemd>,
    /// The user to whom the cgroup is given.
    pub(crate) owner: Option<u32>,
}

impl Found {
    /// Takes from the specification what is particular to Linux.
    pub(crate) fn new(request: &Request, spec: &mut Spec) -> Result<Self> {
        let plan = InitPlan::from_spec(spec, &request.bundle)?;
        let mut linux = spec.linux.take().unwrap_or_default();
        let path = linux.cgroups_path.as_deref();
        let systemd = match request.systemd {
            Some(manager) => Some(Systemd::find(manager, &request.id, path, &spec.annotations)?),
            None => None,
        };
        let location = match &systemd {
            Some(systemd) => systemd.location.clone(),
            None => Location::find(&request.id, path)?,
        };
        let owner = cgroups::owner(&linux, &spec.mounts, spec.process.as_ref().map_or(0, |p| p.user.uid));
        let resources = linux.resources.take().unwrap_or_default();
        Ok(Self { linux, resources, plan, location, systemd, owner })
    }

    /// Makes the groups that the process will be in, and notes them in the record. A unit of systemd's is made later,
    /// with the process in it.
    pub(crate) fn make_groups(
        &mut self,
        record: &mut Record,
        container: &mut Container,
        undo: &mut Undo,
    ) -> Result<()> {
        let location = &mut self.location;
        if let Some(systemd) = &self.systemd {
            // Before the record names the unit: whoever deletes this container stops it.
            location.check_unused()?;
            record.unit = Some(systemd.unit.clone());
        } else {
            container.note_cgroup(location)?;
            let path = self.linux.cgroups_path.as_deref();
            let made = location.settle(&record.id, path, &self.resources, |place| container.note_cgroup(place))?;
            record.cgroup_made = location.parents_among(&made);
            if matches!(location, Location::None) && !record.private_pid && sys::process::user_at_start() != 0 {
                log::warn(format_args!(
                    "the container has neither a cgroup nor a PID namespace of its own. Such configuration is strongly \
                     discouraged: not all of its processes can be found to end them",
                ));
            }
            undo.location.clone_from(location);
            undo.made = Some(made);
            self.owner.map_or(Ok(()), |user| location.give_to(user))?;
        }
        record.cgroup = location.clone();
        undo.resctrl = self.plan.resctrl.as_ref().map(|groups| groups.make(&record.id)).transpose()?;
        record.resctrl.clone_from(&undo.resctrl);
        Ok(())
    }
}

/// The container goes the way of a deleted one.
pub(crate) fn abandon(container: &mut Container, undo: Undo) {
    undo.run();
    let stopped = container.state(Status::Stopped, 0).ok();
    if let Err(second) = container.remove() {
        log::warn(format_args!("{second}"));
    }
    if let (Some(state), Some(record)) = (stopped, &container.record) {
        hooks::run_poststop(&record.hooks.poststop, &state);
    }
}

/// Sockets that a service manager handed to the runtime go on to the program, as runc does it.
fn add_sockets(spec: &mut Spec) {
    if let (Some(count), Some(process)) = (descriptors::listen_fds().filter(|n| *n > 0), spec.process.as_mut()) {
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
        owner: sys::process::user_at_start(),
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
        process: Program { args: Vec::new(), ..spec.process.take().unwrap_or_default() },
        resctrl: None,
        execution: plan.execution.clone(),
        seccomp: plan.seccomp.is_some(),
        external: External::of(plan),
    }
}

/// The record, and what it speaks of. First the record: a later command can clean up whatever this one leaves when it is
/// killed.
fn prepare(
    request: &Request,
    mut spec: Spec,
    found: &mut Found,
    container: &mut Container,
    undo: &mut Undo,
) -> Result<()> {
    let mut record = new_record(request, &mut spec, &found.plan);
    found.make_groups(&mut record, container, undo)?;
    let plan = &found.plan;
    if !plan.namespaces.has(namespaces::MOUNT) {
        let before = host_mounts::look(&plan.rootfs)?;
        record.host_mounts = Some(before.clone());
        undo.host_mounts = Some((plan.rootfs.clone(), before));
    }
    container.store(record, plan.seccomp.as_ref())?;
    if let Some((rootfs, before)) = &undo.host_mounts {
        host_mounts::make(rootfs, before)?;
    }
    notify::make_directory(container)
}

fn build(
    request: Request,
    mut spec: Spec,
    mut found: Found,
    container: &mut Container,
    undo: &mut Undo,
) -> Result<(i32, OwnedFd, Option<notify::Proxy>)> {
    let (prestart, create_runtime) = spec
        .hooks
        .as_mut()
        .map(|h| (std::mem::take(&mut h.prestart), std::mem::take(&mut h.create_runtime)))
        .unwrap_or_default();
    prepare(&request, spec, &mut found, container, undo)?;
    let Found { mut linux, mut resources, plan, location, mut systemd, owner } = found;
    // Before the program can say that it is ready.
    let proxy = if request.gated { None } else { notify::Proxy::bind(container)? };
    let gate = if request.gated { Some(container.make_gate()?) } else { None };
    let tells = request.gated && !plan.start_container.is_empty();
    let verdict = if tells { Some(container.make_verdict()?) } else { None };
    let mut entrance = if systemd.is_some() { Entrance::default() } else { location.entrance()? };
    if let Some(group) = &undo.resctrl {
        entrance.files.extend(group.entrance()?);
    }
    let (line, theirs) = Channel::pair()?;
    let in_between = !plan.namespaces.join.is_empty() && plan.namespaces.has(namespaces::USER);
    let root = sys::process::user_at_start() == 0;
    let mut opened = init::Opened::open(&plan)?;
    let mount_maps = opened.as_mut().map(|opened| std::mem::take(&mut opened.maps)).unwrap_or_default();
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
        opened,
        unprivileged: !root,
        hide: !plan.namespaces.join.is_empty(),
        join_here: !in_between,
    };
    if around.hide && root {
        // Before the process exists: it may be born in sight of another container's processes. A user's processes do it
        // themselves, once the user's files that map ids are written.
        transform::hide()?;
    }
    let mut wishes = Wishes {
        id_mappings: (plan.namespaces.create & namespaces::USER != 0)
            .then(|| (std::mem::take(&mut linux.uid_mappings), std::mem::take(&mut linux.gid_mappings))),
        // A user's process has set its score itself.
        oom_score_adj: plan.process.oom_score_adj.filter(|_| root),
        rlimits: plan.process.rlimits.clone(),
        net_devices: plan.net_devices.clone(),
        mount_maps: MountMaps::new(),
        prestart,
        create_runtime,
        listener: plan.seccomp.as_ref().and_then(|f| f.listener.clone()),
    };
    let time = TimeOffsets::enter(&linux, &plan)?;
    let ours = (line, mount_maps);
    let (pid, pidfd, ours) = process::fork(plan, around, entrance.born_in, in_between, ours, container)?;
    let (line, mount_maps) = ours;
    wishes.mount_maps = mount_maps;
    time.leave()?;
    let mut process = Process { pid, pidfd, line };
    undo.process = Some(process.handle()?);
    if let Some(systemd) = &mut systemd {
        process.wait_for_cgroup()?;
        undo.made = Some(systemd.start(pid, &mut resources)?);
        undo.unit = Some(systemd.unit.clone());
        owner.map_or(Ok(()), |user| systemd.location.give_to(user))?;
        process.line.answer()?;
    }
    drop(systemd);
    log::debug(format_args!("nsexec container setup: cloned process {pid}"));
    process.serve(in_between, &wishes, container, undo)?;
    container.store_init(process.pid).or_else(|error| {
        // A program can be over before this line; `run` still reports how it ended.
        if request.gated { Err(error) } else { Ok(()) }
    })?;
    undo.started = true;
    if let Some(socket) = &request.pidfd_socket {
        crate::handover::send(socket.as_fd(), process.pidfd.as_fd(), "pidfd")?;
    }
    if let Some(path) = &request.pid_file {
        write_pid_file(path, process.pid)?;
    }
    if !request.gated && process.line.next()?.is_some() {
        return Err(Error::internal("a report after the last one"));
    }
    Ok((process.pid, process.pidfd, proxy))
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
