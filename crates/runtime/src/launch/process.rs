//! Making the container's process, directly or through one in between.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};

use oci::runtime::Linux;
use oci::{Context, Error, Result};
use sys::batch::Batch;
use sys::clone::{Fork, Forked};

use crate::channel::{Channel, Report};
use crate::init::{self, MountMaps, Surroundings, transform};
use crate::plan::namespaces::Join;
use crate::plan::{InitPlan, namespaces};
use crate::state::Container;

/// Kills and reaps a child of this process.
pub(crate) fn end(process: &OwnedFd) {
    let _ = sys::process::pidfd_kill(process.as_fd(), 9);
    let _ = rustix::process::waitid(
        rustix::process::WaitId::PidFd(process.as_fd()),
        rustix::process::WaitIdOptions::EXITED,
    );
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
pub(super) fn died(pidfd: &OwnedFd) -> Error {
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
pub(super) struct TimeOffsets(Option<File>);

impl TimeOffsets {
    pub(super) fn enter(linux: &Linux, plan: &InitPlan) -> Result<Self> {
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

    pub(super) fn leave(self) -> Result<()> {
        match self.0 {
            None => Ok(()),
            Some(own) => {
                sys::process::setns(own.as_fd(), namespaces::TIME).context(|| "return to the own time namespace")
            }
        }
    }
}

/// What stays with the runtime, and is closed in its child.
pub(super) type Ours = (Channel, MountMaps);

/// Forks. The child goes on in `init`, in the process in between where it is `in_between`.
pub(super) fn fork(
    plan: InitPlan,
    around: Surroundings,
    born_in: Option<OwnedFd>,
    in_between: bool,
    ours: Ours,
    container: &mut Container,
) -> Result<(i32, OwnedFd, Ours)> {
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
    let forked = match make(born_in.as_ref()) {
        Err(error) if around.cgroup.born_outside(&error) => make(None),
        result => result,
    };
    match forked.map_err(failed)? {
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

/// Joins namespaces. The rights over each are in the user namespace that owns it, which need not be the one that is
/// joined: what may be joined from the host's is, and the others follow once that user namespace is entered.
fn join(joins: &[Join]) -> Result<()> {
    let enter = |join: &Join| sys::process::setns(join.file.as_fd(), join.bit);
    let mut later = Vec::new();
    let user = joins.iter().find(|j| j.bit == namespaces::USER);
    for join in joins.iter().filter(|j| j.bit != namespaces::USER) {
        match enter(join) {
            Err(error) if user.is_some() && error.kind() == std::io::ErrorKind::PermissionDenied => later.push(join),
            result => result.context(|| format!("join the {} namespace", join.name))?,
        }
    }
    for join in user.into_iter().chain(later) {
        enter(join).context(|| format!("join the {} namespace", join.name))?;
    }
    Ok(())
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
        join(&plan.namespaces.join)?;
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
