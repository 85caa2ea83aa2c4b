//! Image files to a running container.
//!
//! ```text
//! config.json → InitPlan → reserve the id → record → cgroup → criu in that cgroup, in a mount namespace of its own
//!   → NOTIFY setup-namespaces: hooks → NOTIFY orphan-pts-master: terminal → NOTIFY post-restore: the process exists
//! ```
//! The container's process is criu's sibling: a child of the runtime, as one that `create` makes.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use oci::runtime::{Hooks, Linux, Spec};
use oci::{Context, Error, Result};
use sys::signal::Held;

use super::client::{Program, Session, Setup};
use super::outside::{name_cgroups, name_descriptors, name_mounts, name_namespaces};
use super::proto::{Kind, Message, Notify, field, request_with};
use super::{Options, check_restorable, common, directories, hold_signals, lets_in, quote_log};
use crate::cgroups::Entrance;
use crate::hooks::{self, Place};
use crate::init::{console, criu_root};
use crate::launch::{Found, Launched, Request, Undo, abandon, new_record, write_pid_file};
use crate::log;
use crate::net_devices::Moved;
use crate::plan::namespaces;
use crate::plan::net_devices::PlannedNetDevice;
use crate::state::{Container, Record, Status};

/// criu's log.
const LOG: &str = "restore.log";

/// What a restore has beside the options of both commands.
#[derive(Debug, Default)]
pub(crate) struct Restore {
    pub(crate) options: Options,
    pub(crate) lsm_profile: Option<String>,
    pub(crate) lsm_mount_context: Option<String>,
    /// Whether the cgroup must not exist. criu cannot be asked for that: it begins in the container's cgroup.
    pub(crate) strict: bool,
}

/// Restores. On failure nothing is left.
pub(crate) fn restore(request: Request, mut spec: Spec, restore: &Restore) -> Result<Launched> {
    let found = Found::new(&request, &mut spec)?;
    check_restorable(&found.plan)?;
    let program = Program::find()?;
    for (option, value) in
        [("--lsm-profile", &restore.lsm_profile), ("--lsm-mount-context", &restore.lsm_mount_context)]
    {
        if value.is_some() && program.version < 31_600 {
            return Err(Error::unsupported(format!("{option} requires at least CRIU 3.16")));
        }
    }
    if let Some(path) = found.location.existing().filter(|_| restore.strict) {
        return Err(Error::already_exists(format!("--manage-cgroups-mode strict: {} exists already", path.display())));
    }
    // Until what has failed is undone.
    let held = hold_signals()?;
    let mut container = Container::reserve(&request.root, &request.id)?;
    let mut undo = Undo { location: found.location.clone(), ..Default::default() };
    let plans = Plans { spec, found, program };
    match build(&request, plans, restore, &held, &mut container, &mut undo) {
        Ok((pid, pidfd)) => Ok(Launched { container, pid, pidfd, notify: None }),
        Err(error) => {
            // As after a failed `create`.
            abandon(&mut container, undo);
            Err(error)
        }
    }
}

/// What was decided before anything is made.
struct Plans {
    spec: Spec,
    found: Found,
    program: Program,
}

fn build(
    request: &Request,
    plans: Plans,
    restore: &Restore,
    held: &Held,
    container: &mut Container,
    undo: &mut Undo,
) -> Result<(i32, OwnedFd)> {
    let Plans { mut spec, mut found, program } = plans;
    let all_hooks = spec.hooks.clone().unwrap_or_default();
    let mut record = new_record(request, &mut spec, &found.plan);
    found.make_groups(&mut record, container, undo)?;
    let Found { linux, mut resources, plan, location, systemd, owner } = found;
    container.store(record.clone(), plan.seccomp.as_ref())?;
    let (images, work) = directories(&restore.options)?;
    let root = container.criu_root();
    fs::DirBuilder::new().mode(0o755).create(&root).context(|| format!("make {}", root.display()))?;
    // criu compares it with what the kernel shows.
    let root = root.canonicalize().context(|| format!("resolve {}", root.display()))?;
    let mut message = Message::default();
    message
        .number(field::EVASIVE_DEVICES, true)
        .number(field::RST_SIBLING, true)
        .string(field::ROOT, &root.to_string_lossy());
    for (number, value) in
        [(field::LSM_PROFILE, &restore.lsm_profile), (field::LSM_MOUNT_CONTEXT, &restore.lsm_mount_context)]
    {
        if let Some(value) = value {
            message.string(number, value);
        }
    }
    let mut inherit: Vec<BorrowedFd<'_>> = Vec::new();
    name_namespaces(&mut message, &linux, &plan, &program, &mut inherit)?;
    name_mounts(&mut message, &plan, &location)?;
    name_descriptors(&mut message, &restore.options.images)?;
    let mut entrance = if systemd.is_some() { Entrance::default() } else { location.entrance()? };
    if let Some(group) = &undo.resctrl {
        entrance.files.extend(group.entrance()?);
    }
    let prepare = || criu_root::prepare(&plan, &root);
    let setup = Setup {
        namespaces: namespaces::MOUNT,
        entrance,
        inherit: &inherit,
        keep_standard: request.console.is_none(),
        // With --shell-job the restored processes are in criu's group, which must be the caller's job.
        own_group: false,
        prepare: Some(&prepare),
    };
    let session = program.start(setup)?;
    if let Some(mut systemd) = systemd {
        // criu waits for its request meanwhile; what it makes is born in the unit.
        undo.made = Some(systemd.start(session.pid, &mut resources)?);
        undo.unit = Some(systemd.unit.clone());
        owner.map_or(Ok(()), |user| location.give_to(user))?;
    }
    name_cgroups(&mut message, session.pid)?;
    let images = as_seen_by(session.pid, &images)?;
    let work = work.map(|work| as_seen_by(session.pid, &work)).transpose()?;
    common(&mut message, &restore.options, &images, work.as_ref(), LOG, &record.annotations);
    // Those in a network that is joined have stayed there.
    let own_network = plan.namespaces.create & namespaces::NETWORK != 0;
    let devices = if own_network { &*plan.net_devices } else { &[] };
    let moved = &mut undo.devices;
    let mut restored = Restored { request, container, record, hooks: &all_hooks, devices, moved, process: None };
    let result = talk(session, &message, held, &mut restored);
    let process = restored.process.take();
    if let Some((_, pidfd)) = &process {
        undo.process = Some(pidfd.try_clone()?);
    }
    if let Err(error) = result {
        quote_log(&restore.options, LOG);
        return Err(with_advice(error, &linux, &restore.options.images));
    }
    let (pid, pidfd) = process.ok_or_else(|| Error::corrupt("criu says it has restored, and names no process"))?;
    if container.record()?.process.no_new_privileges && !has_no_new_privileges(pid) {
        log::warn(format_args!("process.noNewPrivileges: is not restored by criu {}", program.version));
    }
    // Only a mount point of a namespace that is gone.
    let _ = fs::remove_dir(&root);
    if let Some(path) = &request.pid_file {
        write_pid_file(path, pid)?;
    }
    Ok((pid, pidfd))
}

/// In a user namespace criu opens the images as its root, who may be kept out of their directory.
fn with_advice(error: Error, linux: &Linux, images: &Path) -> Error {
    let root = |mappings: &[oci::runtime::IdMapping]| {
        mappings.iter().find(|m| m.container_id == 0 && m.size > 0).map(|m| m.host_id)
    };
    let (Some(uid), Some(gid)) = (root(&linux.uid_mappings), root(&linux.gid_mappings)) else { return error };
    match fs::metadata(images) {
        Ok(found) if !lets_in(&found, (uid, gid)) => Error::permission_denied(format!(
            "{error}; the container's root, {uid}:{gid} on the host, may not enter {0}, from where criu reads: chgrp {gid} \
             {0} and chmod g+x {0}",
            images.display()
        )),
        _ => error,
    }
}

fn talk(mut session: Session, options: &Message, held: &Held, restored: &mut Restored<'_>) -> Result<()> {
    let request = request_with(Kind::RESTORE, options);
    let answer = session.converse(&request, Some(held), |notify, fd| restored.notice(notify, fd))?;
    if answer.kind() != Kind::RESTORE {
        return Err(Error::corrupt(format!("criu answers {} to RESTORE", answer.kind())));
    }
    let ended = session.end()?;
    if ended.exit_status() != Some(0) {
        return Err(Error::internal(format!("criu failed: {}", super::client::describe(&ended))));
    }
    Ok(())
}

/// The same directory through the mounts of another process, which may mount nothing on those of this one.
fn as_seen_by(pid: i32, directory: &OwnedFd) -> Result<OwnedFd> {
    let path = criu_root::link(directory)?;
    let seen = super::directory(Path::new(&format!("/proc/{pid}/root{path}")))?;
    let number = |fd: &OwnedFd| rustix::fs::fstat(fd).map(|s| (s.st_dev, s.st_ino)).map_err(std::io::Error::from);
    if number(&seen)? != number(directory)? {
        return Err(Error::conflict(format!("{path} is another directory by now")));
    }
    Ok(seen)
}

fn has_no_new_privileges(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().find_map(|l| l.strip_prefix("NoNewPrivs:")).is_none_or(|value| value.trim() == "1")
}

/// The container while criu works on it.
struct Restored<'a> {
    request: &'a Request,
    container: &'a mut Container,
    record: Record,
    hooks: &'a Hooks,
    /// Network devices that the container gets.
    devices: &'a [PlannedNetDevice],
    moved: &'a mut Moved,
    process: Option<(i32, OwnedFd)>,
}

impl Restored<'_> {
    fn notice(&mut self, notify: &Notify, fd: Option<OwnedFd>) -> Result<()> {
        match notify.script.as_str() {
            // The namespaces exist, and nothing is in them yet: the network can be made.
            "setup-namespaces" => {
                if !self.devices.is_empty() {
                    self.moved.move_to_process(notify.pid, self.devices)?;
                }
                let state = self.container.state(Status::Creating, notify.pid)?;
                hooks::run(hooks::PRESTART, &self.hooks.prestart, &state, Place::Host)?;
                hooks::run(hooks::CREATE_RUNTIME, &self.hooks.create_runtime, &state, Place::Host)
            }
            "post-restore" => self.born(notify.pid),
            "orphan-pts-master" => {
                let master = fd.ok_or_else(|| Error::corrupt("criu announces a terminal and sends none"))?;
                let socket = self.request.console.as_ref().ok_or_else(|| {
                    Error::invalid("the checkpoint has a terminal, and process.terminal of config.json is false")
                })?;
                console::send(socket.as_fd(), &master)
            }
            _ => Ok(()),
        }
    }

    fn born(&mut self, pid: i32) -> Result<()> {
        let raw = rustix::process::Pid::from_raw(pid)
            .filter(|p| p.as_raw_nonzero().get() > 1)
            .ok_or_else(|| Error::corrupt(format!("criu says that it has restored process {pid}")))?;
        // A child of this process, so the id stays valid until it is reaped here.
        let pidfd = rustix::process::pidfd_open(raw, rustix::process::PidfdFlags::empty())
            .map_err(std::io::Error::from)
            .context(|| format!("open the restored process {pid}"))?;
        self.process = Some((pid, pidfd));
        // criu restores into a time namespace, so that clocks do not jump; `exec` must follow.
        let own = |pid: &str| fs::metadata(format!("/proc/{pid}/ns/time")).map(|m| m.ino()).ok();
        if self.record.namespaces & namespaces::TIME == 0 && own("self") != own(&pid.to_string()) {
            self.record.namespaces |= namespaces::TIME;
            self.container.store(self.record.clone(), None)?;
        }
        self.container.store_init(pid)
    }
}
