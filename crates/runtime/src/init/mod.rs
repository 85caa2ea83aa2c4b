//! The new process, from its birth to the program. It only carries out an [`InitPlan`]; it decides nothing.
//!
//! ```text
//! enter cgroups → join and leave namespaces → rootfs and bind sources as handles → become root of the user namespace
//! → mounts, devices → hooks → console, sysctl, masks → pivot_root → user, rights → gate (`start`) → program
//! ```
//! Everything that needs a trusted `/proc` is done before `pivot_root`, while it is the host's.

mod cgroup_mounts;
pub(crate) mod console;
mod copy_up;
pub(crate) mod criu_root;
mod devices;
pub(crate) mod join;
mod leave;
mod mount_flags;
mod mounts;
mod paths;
pub(crate) mod root;
mod sources;
pub(crate) mod transform;

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use oci::runtime::State;
use oci::{Context, Error, Result};
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid, openat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags};

use crate::cgroups::Location;
use crate::channel::{Channel, Report};
use crate::hooks::{self, Place};
use crate::log;
use crate::plan::mounts::{MS_PRIVATE, MS_REC, MS_SHARED, MS_SLAVE, MS_UNBINDABLE};
use crate::plan::process::ProcessPlan;
use crate::plan::{InitPlan, c_path, namespaces};
use leave::{Leave, enter_root};
use root::Root;
pub(crate) use root::proc_path;
use sources::Source;
pub(crate) use sources::{MountMaps, Opened, map_ids};

/// What the process gets beside its plan.
pub(crate) struct Surroundings {
    pub(crate) channel: Channel,
    /// Files of v1 cgroups to enter.
    pub(crate) cgroup_files: Vec<File>,
    /// Whether the parent puts this process into its cgroup, and has to be waited for.
    pub(crate) put_into_cgroup: bool,
    pub(crate) cgroup: Location,
    /// The FIFO that `start` writes to; absent for `run`.
    pub(crate) gate: Option<OwnedFd>,
    /// Where `start` hears that a `startContainer` hook failed; closed by the program's execution otherwise.
    pub(crate) verdict: Option<OwnedFd>,
    pub(crate) console_socket: Option<OwnedFd>,
    /// Whether the parent has hooks to run.
    pub(crate) parent_hooks: bool,
    /// For the hooks that this process runs.
    pub(crate) state: State,
    /// Descriptors above the standard ones that the program gets.
    pub(crate) keep_fds: u32,
    /// Name of a new session keyring.
    pub(crate) keyring: Option<String>,
    pub(crate) no_pivot: bool,
    /// What the parent has opened for a process that may not: see [`Opened`].
    pub(crate) opened: Option<Opened>,
    /// Whether an ordinary user makes the container.
    pub(crate) unprivileged: bool,
    /// Whether the process must be out of reach of others that share a namespace with it.
    pub(crate) hide: bool,
    /// Namespaces still to be joined here; the others were joined by the process in between.
    pub(crate) join_here: bool,
}

fn io(error: Errno) -> Error {
    std::io::Error::from(error).into()
}

/// Carries the plan out. Does not return.
pub(crate) fn run(plan: InitPlan, mut around: Surroundings) -> ! {
    log::debug(format_args!("child process in init()"));
    let error = carry_out(plan, &mut around);
    around.channel.fail(&error);
    sys::process::exit_now(1)
}

/// Returns only on failure.
fn carry_out(mut plan: InitPlan, around: &mut Surroundings) -> Error {
    let opened = around.opened.take();
    match prepare(&mut plan, around, opened) {
        Ok(program) => {
            let InitPlan { process, seccomp, .. } = plan;
            transform::execute(&program, process, seccomp.as_ref(), &around.channel)
        }
        Err(error) => error,
    }
}

fn prepare(plan: &mut InitPlan, around: &mut Surroundings, opened: Option<Opened>) -> Result<std::ffi::CString> {
    // Handles of the host go as soon as they are used: from now on processes of other containers may see this one.
    transform::enter_cgroups(std::mem::take(&mut around.cgroup_files))?;
    if around.put_into_cgroup {
        around.channel.ask(&Report::EnterCgroup)?;
    }
    transform::set_processors(None)?;
    if around.join_here && around.unprivileged {
        // Afterwards the file belongs to root alone.
        transform::set_oom_score("self", plan.process.oom_score_adj)?;
    }
    enter_namespaces(plan, around)?;
    // Only now: the root of a new cgroup namespace is the cgroup its maker is in.
    if plan.namespaces.create & namespaces::CGROUP != 0 {
        sys::unshare::new_cgroup_namespace().context(|| "unshare the cgroup namespace")?;
    }
    match rustix::process::setsid() {
        Ok(_) | Err(Errno::PERM) => {} // PERM: already a leader
        Err(error) => return Err(io(error)).context(|| "setsid"),
    }
    let shared = plan.root_propagation.is_some_and(|p| p & MS_SHARED != 0);
    let Opened { rootfs, sources: mut handed, .. } = opened.unwrap_or_default();
    // Bind sources of a container that shares its mounts with the host must stay the host's peers, so they are opened
    // before this process turns its back on the host's mounts.
    let early = shared.then(|| sources::open(plan, std::mem::take(&mut handed))).transpose()?;
    let own_mounts = plan.namespaces.has(namespaces::MOUNT);
    if own_mounts {
        turn_away(plan.root_propagation)?;
    }
    let sources = early.map_or_else(|| sources::open(plan, handed), Ok)?;
    let root = match rootfs {
        Some(tree) => attach_root(tree)?,
        None => open_root(plan, own_mounts)?,
    };
    let in_user_namespace = plan.namespaces.has(namespaces::USER);
    if in_user_namespace {
        if plan.namespaces.create & namespaces::USER != 0 {
            around.channel.ask(&Report::MapIds)?;
        }
        if around.hide && around.unprivileged {
            transform::hide()?;
        }
        become_namespace_root(&plan.process)?;
    }
    if plan.namespaces.create & namespaces::NETWORK != 0 {
        crate::net_devices::loopback_up()?;
    }
    if !plan.net_devices.is_empty() {
        around.channel.ask(&Report::MoveDevices)?;
    }
    if let Some(hostname) = &plan.hostname {
        rustix::system::sethostname(hostname.as_bytes()).map_err(io).context(|| "sethostname")?;
    }
    if let Some(domainname) = &plan.domainname {
        rustix::system::setdomainname(domainname.as_bytes()).map_err(io).context(|| "setdomainname")?;
    }
    rustix::process::umask(Mode::empty());
    let readonly_later = fill_root(plan, around, &root, sources)?;
    if around.parent_hooks {
        around.channel.ask(&Report::RunHooks)?;
    }
    if !plan.create_container.is_empty() {
        // As under runc: they start in the rootfs, and are told the process id that the container sees.
        rustix::process::fchdir(root.as_fd() as BorrowedFd<'_>).map_err(io).context(|| "chdir to the rootfs")?;
        let state = State { pid: own_pid(), ..around.state.clone() };
        hooks::run(hooks::CREATE_CONTAINER, &plan.create_container, &state, Place::Container(&plan.process.env))?;
    }
    let terminal = open_terminal(plan, around, &root)?;
    around.console_socket = None;
    paths::sysctl(&plan.sysctl)?;
    if !in_user_namespace {
        transform::set_oom_score("self", plan.process.oom_score_adj)?;
    }
    paths::readonly(&plan.readonly_paths, &root)?;
    paths::mask(&plan.masked_paths, &root, plan.mount_label.as_deref())?;
    for mount in &readonly_later {
        mount_flags::make_readonly(mount).context(|| "make a mount read-only")?;
    }
    plan.process.labels.apply(around.keyring.is_some())?;
    transform::seal_descriptors(around.keep_fds)?;
    drop(readonly_later);
    let way = match (own_mounts, around.no_pivot) {
        (false, _) => Leave::Chroot,
        (true, true) => Leave::Move,
        (true, false) => Leave::Pivot,
    };
    enter_root(&root, way, &plan.rootfs)?;
    if let Some(propagation) = plan.root_propagation {
        if shared && own_mounts {
            // A peer group of its own, without the host's as its master.
            rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE)
                .map_err(io)
                .context(|| "set rootfs propagation")?;
        }
        let flags = MountPropagationFlags::from_bits_retain(propagation as u32);
        rustix::mount::mount_change("/", flags).map_err(io).context(|| "set rootfs propagation")?;
    }
    if plan.readonly_root {
        ensure_directory(plan, &root);
        mount_flags::make_readonly(&root_mount()?).context(|| "make the root read-only")?;
    }
    drop(root);
    if let Some(name) = &around.keyring {
        new_keyring(name)?;
    }
    if let Some(slave) = terminal {
        console::take(&slave)?;
    }
    transform::set_execution(&plan.execution)?;
    if in_user_namespace {
        around.channel.ask(&Report::SetLimits)?;
    } else {
        transform::set_rlimits(None, &plan.process.rlimits)?;
    }
    let program = transform::prepare(&mut plan.process, &mut plan.seccomp, &around.channel)?;
    if around.gate.is_some() {
        // Whoever gives the container up before `start` may do so in a friendly way, as with runc: the first process of
        // a PID namespace would not hear of these signals.
        const HUP_INT_TERM: [i32; 3] = [1, 2, 15];
        HUP_INT_TERM.into_iter().for_each(sys::signal::exit_on);
    }
    log::debug(format_args!("init: closing the pipe to signal completion"));
    around.channel.report(&Report::Ready)?;
    if let Some(gate) = &around.gate {
        wait_for_start(gate)?;
    }
    if !plan.start_container.is_empty() {
        // Filtered as the program is.
        if let Some(filter) = plan.seccomp.take() {
            filter.put_on(&around.channel)?;
        }
        start_hooks(plan, around)?;
    }
    // Not before the hooks: what the program gets is not theirs.
    transform::keep_descriptors(around.keep_fds);
    Ok(program)
}

fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

fn start_hooks(plan: &InitPlan, around: &Surroundings) -> Result<()> {
    let state = State { status: "created".into(), pid: own_pid(), ..around.state.clone() };
    let place = Place::Container(&plan.process.env);
    hooks::run(hooks::START_CONTAINER, &plan.start_container, &state, place).inspect_err(|error| {
        if let Some(verdict) = &around.verdict {
            // Shorter than a pipe's atomic write. Without a reader `start` has been killed, and nobody wants to know.
            let text = error.to_string();
            let _ = rustix::io::write(verdict, &text.as_bytes()[..text.len().min(4096)]);
        }
    })
}

fn enter_namespaces(plan: &mut InitPlan, around: &Surroundings) -> Result<()> {
    let joins = std::mem::take(&mut plan.namespaces.join);
    plan.namespaces.joined = joins.iter().fold(0, |bits, join| bits | join.bit);
    if !around.join_here {
        return Ok(());
    }
    // A PID namespace was entered by being born in it.
    for join in joins.iter().filter(|j| j.bit != namespaces::PID) {
        sys::process::setns(join.file.as_fd(), join.bit).context(|| format!("join the {} namespace", join.name))?;
    }
    Ok(())
}

/// What is mounted here from now on stays here.
fn turn_away(propagation: Option<u64>) -> Result<()> {
    let kind = match propagation {
        Some(p) if p & (MS_PRIVATE | MS_UNBINDABLE) != 0 => MS_PRIVATE,
        _ => MS_SLAVE,
    };
    let flags = MountPropagationFlags::from_bits_retain((kind | MS_REC) as u32);
    rustix::mount::mount_change("/", flags).map_err(io).context(|| "detach from the host's mounts")
}

/// The rootfs as a mount of its own, which pivot_root demands. On the host's mounts the parent has made it.
fn open_root(plan: &InitPlan, own_mounts: bool) -> Result<Root> {
    let path = &plan.rootfs;
    if own_mounts {
        rustix::mount::mount_bind_recursive(path, path)
            .map_err(io)
            .context(|| format!("mount rootfs {}", path.display()))?;
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = openat(CWD, c_path(path)?, flags, Mode::empty())
        .map_err(io)
        .context(|| format!("open rootfs {}", path.display()))?;
    Ok(Root::new(fd))
}

/// The rootfs from a detached mount: put on top of `/`, where this process's own root does not see it.
fn attach_root(tree: OwnedFd) -> Result<Root> {
    let top = openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(io)?;
    mounts::attach(tree.as_fd(), top.as_fd()).context(|| "mount the rootfs")?;
    Ok(Root::new(tree))
}

/// Where the user namespace has no user or group 0, the program's own takes its place. Rights stay: the kernel takes
/// them only from who was the namespace's user 0 (capabilities(7), "Effect of user ID changes on capabilities").
fn become_namespace_root(process: &ProcessPlan) -> Result<()> {
    let gid = |gid| rustix::thread::set_thread_res_gid(gid, gid, gid);
    let uid = |uid| rustix::thread::set_thread_res_uid(uid, uid, uid);
    gid(Gid::ROOT)
        .or_else(|error| if error == Errno::INVAL { gid(Gid::from_raw(process.user.gid)) } else { Err(error) })
        .map_err(io)
        .context(|| "become group 0 of the user namespace")?;
    uid(Uid::ROOT)
        .or_else(|error| if error == Errno::INVAL { uid(Uid::from_raw(process.user.uid)) } else { Err(error) })
        .map_err(io)
        .context(|| "become user 0 of the user namespace")?;
    match rustix::thread::set_thread_groups(&[]) {
        Ok(()) | Err(Errno::PERM) => Ok(()), // PERM: an unprivileged user's namespace cannot
        Err(error) => Err(io(error)).context(|| "setgroups"),
    }
}

/// Mounts and devices. Returns what must become read-only once everything in it is made.
fn fill_root(
    plan: &InitPlan,
    around: &Surroundings,
    root: &Root,
    sources: Vec<Option<Source>>,
) -> Result<Vec<OwnedFd>> {
    let context = mounts::Surroundings {
        root,
        channel: &around.channel,
        cgroup: &around.cgroup,
        namespaces: plan.namespaces.all(),
        label: plan.mount_label.as_deref(),
    };
    let mut later = Vec::new();
    for (index, (mount, source)) in plan.mounts.iter().zip(sources).enumerate() {
        later.extend(mounts::make(index, mount, source, &context)?);
    }
    devices::make(&plan.devices, root)?;
    if plan.populate_dev {
        devices::links(root)?;
    }
    Ok(later)
}

fn open_terminal(plan: &InitPlan, around: &Surroundings, root: &Root) -> Result<Option<OwnedFd>> {
    let Some(socket) = &around.console_socket else { return Ok(None) };
    let (master, slave) = console::open(root, plan.process.console_size)?;
    if plan.populate_dev {
        console::mount_console(root, slave.as_fd())?;
        if let Some(label) = &plan.mount_label {
            crate::selinux::label_file(slave.as_fd(), label)?;
        }
    }
    console::send(socket.as_fd(), &master)?;
    Ok(Some(slave))
}

/// A working directory that does not exist is made, and that must happen while the root can be written.
fn ensure_directory(plan: &InitPlan, root: &Root) {
    let cwd = plan.process.cwd.to_string_lossy();
    if cwd != "/" {
        // What fails is reported when it is entered.
        let _ = root.make_directories(&cwd, 0o755);
    }
}

fn root_mount() -> Result<OwnedFd> {
    openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(io)
}

fn new_keyring(id: &str) -> Result<()> {
    let name = std::ffi::CString::new(format!("_ses.{id}")).map_err(|_| Error::internal("keyring name"))?;
    match sys::process::join_session_keyring(&name) {
        // No keyrings in this kernel, or a filter around the runtime forbids them: there is nothing to isolate.
        Err(error) if matches!(error.raw_os_error(), Some(38 | 1 | 13)) => Ok(()),
        result => result.map(drop).context(|| "join a session keyring"),
    }
}

/// Blocks until `start` writes a byte. The handle is open for both directions, so it never reads the end of the file.
fn wait_for_start(gate: &OwnedFd) -> Result<()> {
    let mut byte = [0u8; 1];
    loop {
        match rustix::io::read(gate, &mut byte) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(io(error)).context(|| "wait for start"),
            Ok(_) => return Ok(()),
        }
    }
}

/// Plain flags of the masks above are the kernel's.
const _: () = assert!(MountFlags::RDONLY.bits() == 1);
