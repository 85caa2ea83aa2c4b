//! The process that `exec` adds: it joins a container and becomes the program.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use oci::{Context, Error, Result};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use sys::clone::{Fork, Forked};

use super::root::Root;
use super::{console, new_keyring, transform};
use crate::channel::{Channel, Report};
use crate::log;
use crate::plan::execution::Execution;
use crate::plan::namespaces;
use crate::plan::process::ProcessPlan;
use crate::seccomp::Filter;

/// Everything the new process needs; all of it opened and checked before the fork.
pub(crate) struct JoinPlan {
    /// The container's first process; nothing once its namespaces are entered.
    pub(crate) target: Option<OwnedFd>,
    /// The container's root, where it shares the host's mounts and so does not come with a namespace.
    pub(crate) root: Option<OwnedFd>,
    /// Namespaces to enter (`CLONE_NEW*`), without those that the fork has entered.
    pub(crate) namespaces: u64,
    pub(crate) process: ProcessPlan,
    pub(crate) execution: Execution,
    pub(crate) seccomp: Option<Filter>,
    pub(crate) cgroup_files: Vec<File>,
    /// Whether the parent puts this process into the container's cgroup, and has to be waited for.
    pub(crate) put_into_cgroup: bool,
    pub(crate) channel: Channel,
    pub(crate) console_socket: Option<OwnedFd>,
    pub(crate) keep_fds: u32,
    pub(crate) keyring: Option<String>,
}

fn io(error: Errno) -> Error {
    std::io::Error::from(error).into()
}

/// Carries the plan out. Does not return.
pub(crate) fn run(mut plan: JoinPlan) -> ! {
    log::debug(format_args!("child process in init()"));
    let error = match prepare(&mut plan) {
        Ok(program) => transform::execute(&program, plan.process, plan.seccomp.as_ref(), &plan.channel),
        Err(error) => error,
    };
    plan.channel.fail(&error);
    sys::process::exit_now(1)
}

/// The last steps outside of the container.
fn leave_host(plan: &mut JoinPlan, target: OwnedFd) -> Result<()> {
    transform::enter_cgroups(std::mem::take(&mut plan.cgroup_files))?;
    if plan.put_into_cgroup {
        plan.channel.ask(&Report::EnterCgroup)?;
    }
    // With an initial affinity and no final one, the kernel decides.
    if plan.process.affinity.last.is_some() || plan.process.affinity.initial.is_none() {
        transform::set_processors(plan.process.affinity.last.as_deref())?;
    }
    // All through the host's procfs, which is out of reach after the next step.
    transform::set_oom_score("self", plan.process.oom_score_adj)?;
    plan.process.labels.apply(plan.keyring.is_some())?;
    transform::seal_descriptors(plan.keep_fds)?;
    if plan.namespaces & namespaces::USER != 0 {
        // While this process may still raise its own limits.
        transform::set_rlimits(None, &plan.process.rlimits)?;
    }
    // A user's process could not write its own files any more; root's was made so.
    if !rustix::process::geteuid().is_root() {
        transform::hide()?;
    }
    if plan.namespaces != 0 {
        sys::process::setns(target.as_fd(), plan.namespaces).context(|| "join the container's namespaces")?;
    }
    if let Some(root) = plan.root.take() {
        rustix::process::fchdir(&root).map_err(io).context(|| "chdir to the container's root")?;
        rustix::process::chroot(".").map_err(io).context(|| "chroot to the container's root")?;
    }
    Ok(())
}

/// The process in between: it enters everything, and then makes the process that becomes the program as a sibling of
/// itself. Does not return.
pub(crate) fn run_in_between(mut plan: JoinPlan) -> ! {
    const CLONE_PARENT: u64 = 0x8000;
    let result = (|| {
        if let Some(target) = plan.target.take() {
            leave_host(&mut plan, target)?;
        }
        Fork { flags: CLONE_PARENT, cgroup: None }.fork().context(|| "clone")
    })();
    match result {
        Ok(Forked::Child) => run(plan),
        Ok(Forked::Parent { pid, .. }) => {
            let code = i32::from(plan.channel.report(&Report::Pid(pid)).is_err());
            sys::process::exit_now(code)
        }
        Err(error) => {
            plan.channel.fail(&error);
            sys::process::exit_now(1)
        }
    }
}

fn prepare(plan: &mut JoinPlan) -> Result<std::ffi::CString> {
    if let Some(target) = plan.target.take() {
        leave_host(plan, target)?;
    }
    match rustix::process::setsid() {
        Ok(_) | Err(Errno::PERM) => {}
        Err(error) => return Err(io(error)).context(|| "setsid"),
    }
    if plan.namespaces & namespaces::USER != 0 {
        super::become_namespace_root(&plan.process)?;
    }
    if let Some(name) = &plan.keyring {
        new_keyring(name)?;
    }
    if let Some(socket) = plan.console_socket.take() {
        let root = openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(io)?;
        let (master, slave) = console::open(&Root::new(root), plan.process.console_size)?;
        console::send(socket.as_fd(), &master)?;
        console::take(&slave)?;
    }
    if plan.namespaces & namespaces::USER == 0 {
        transform::set_rlimits(None, &plan.process.rlimits)?;
    }
    transform::set_execution(&plan.execution)?;
    let program = transform::prepare(&mut plan.process, &mut plan.seccomp, &plan.channel)?;
    transform::keep_descriptors(plan.keep_fds);
    log::debug(format_args!("setns_init: about to exec"));
    plan.channel.report(&Report::Ready)?;
    Ok(program)
}
