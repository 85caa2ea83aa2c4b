//! The last steps, common to a container's own process and those that `exec` adds: identity, rights, the program.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use oci::{Context, Error, Result};
use rustix::fs::{
    Access, AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, accessat, fchown, fstat, openat, openat2,
    statat,
};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};
use sys::batch::Batch;
use sys::exec::Vector;

use super::root::Root;
use crate::capabilities::Sets;
use crate::channel::Channel;
use crate::plan::execution::Execution;
use crate::plan::process::{PlannedRlimit, ProcessPlan};
use crate::procfs::Procfs;
use crate::seccomp::Filter;

fn io(error: Errno) -> Error {
    std::io::Error::from(error).into()
}

/// Applies limits that need the host's rights where the values are raised.
pub(crate) fn set_rlimits(pid: Option<rustix::process::Pid>, limits: &[PlannedRlimit]) -> Result<()> {
    for (resource, name, soft, hard) in limits {
        let value = |n: u64| (n != u64::MAX).then_some(n);
        let limit = rustix::process::Rlimit { current: value(*soft), maximum: value(*hard) };
        let result = match pid {
            None => rustix::process::setrlimit(*resource, limit),
            Some(_) => rustix::process::prlimit(pid, *resource, limit).map(drop),
        };
        result.map_err(io).map_err(|error| {
            let number = *resource as u32;
            let shown = |n: u64| if n == u64::MAX { "unlimited".to_owned() } else { n.to_string() };
            let hint = match error.kind() {
                oci::Kind::PermissionDenied => "; a hard limit can only be raised with CAP_SYS_RESOURCE",
                _ => "",
            };
            Error::new(
                error.kind(),
                format!(
                    "error setting rlimit type {number}: {error} (process.rlimits: {name}, soft {}, hard {}{hint})",
                    shown(*soft),
                    shown(*hard)
                ),
            )
        })?;
    }
    Ok(())
}

/// Writes the score; where lowering it is not permitted, the present one stays, with a warning, so that containers
/// start on machines without CAP_SYS_RESOURCE.
pub(crate) fn set_oom_score(pid: &str, score: Option<i32>) -> Result<()> {
    let Some(score) = score else { return Ok(()) };
    let path = format!("{pid}/oom_score_adj");
    match Procfs::open()?.write(&path, score.to_string().as_bytes()) {
        Err(error) if matches!(error.kind(), std::io::ErrorKind::PermissionDenied) => {
            let now = std::fs::read_to_string(format!("/proc/{path}")).unwrap_or_default();
            crate::log::warn(format_args!(
                "process.oomScoreAdj: {score} needs CAP_SYS_RESOURCE; it stays {}",
                now.trim()
            ));
            Ok(())
        }
        result => result.context(|| format!("write oom_score_adj {score}")),
    }
}

/// Keeps other processes from tracing this one and from reaching its files through procfs, until a program is executed
/// (CVE-2016-9962). It has rights and handles of the host while it is already in sight of a container's processes.
pub(crate) fn hide() -> Result<()> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(io)
        .context(|| "set the process to non-dumpable")
}

/// The processors of a process that is now in its cgroup: those given, or else all that the cgroup has. What the
/// runtime's caller was confined to is not the container's business, but the kernel would remember it.
pub(crate) fn set_processors(given: Option<&[u64]>) -> Result<()> {
    match given {
        Some(mask) => sys::process::set_cpu_affinity(0, mask).context(|| "error setting final CPU affinity"),
        None => {
            // Fails where a filter around the runtime forbids it; then they stay as they are.
            let _ = sys::process::set_cpu_affinity(0, &[u64::MAX; 16]);
            Ok(())
        }
    }
}

/// Execution domain and memory policy; after the cgroup, whose memory nodes the policy refers to.
pub(crate) fn set_execution(execution: &Execution) -> Result<()> {
    if let Some(domain) = execution.personality {
        sys::process::set_personality(domain).context(|| "set personality")?;
    }
    if let Some(policy) = &execution.memory_policy {
        sys::process::set_memory_policy(policy.mode, &policy.nodes)
            .context(|| "linux.memoryPolicy: error setting memory policy: set_mempolicy")?;
    }
    Ok(())
}

/// Becomes the user with the capabilities, in the working directory, filtered; everything but the program itself.
/// Returns the program's path.
///
/// A filter that was put on is taken out of `filter`; one that is left there is for [`execute`], after everything else.
pub(crate) fn prepare(process: &mut ProcessPlan, filter: &mut Option<Filter>, channel: &Channel) -> Result<CString> {
    let user = &process.user;
    if let Some(scheduler) = &process.scheduler {
        sys::process::set_scheduler(scheduler).map_err(|error| match error.raw_os_error() {
            Some(1) if process.confined => {
                Error::permission_denied("process scheduler can't be used together with AllowedCPUs")
            }
            _ => Error::from(error).prefixed("error setting scheduler"),
        })?;
    }
    if let Some((class, level)) = process.io_priority {
        sys::process::set_io_priority(class, level).context(|| "error setting ioPriority")?;
    }
    fix_standard_descriptors(user.uid)?;
    if process.needs_home {
        let home = home_directory(user.uid).unwrap_or_else(|| b"/".to_vec());
        process.env.retain(|e| !e.as_bytes().starts_with(b"HOME="));
        let entry = [b"HOME=".as_slice(), &home].concat();
        process.env.push(CString::new(entry).map_err(|_| Error::internal("HOME"))?);
    }
    // As root first, because it may be the only one allowed to go there; then once more as the user, because the
    // directory may be on a filesystem where root is nobody.
    let entered = enter(process)?;
    rustix::process::umask(Mode::from_raw_mode(user.umask.unwrap_or(0o022)));
    if process.no_new_privileges {
        rustix::thread::set_no_new_privs(true).map_err(io).context(|| "set no_new_privs")?;
    }
    drop_bounding(&process.capabilities)?;
    rustix::thread::set_keep_capabilities(true).map_err(io).context(|| "keep capabilities")?;
    become_user(process)?;
    if !entered {
        change_directory(&process.cwd)
            .map_err(io)
            .context(|| format!("chdir to cwd ({:?}) set in config.json failed", process.cwd.to_string_lossy()))?;
    }
    check_directory()?;
    // With no_new_privs it needs no right and goes last; without, it needs CAP_SYS_ADMIN, which goes next.
    if !process.no_new_privileges
        && let Some(filter) = filter.take()
    {
        raise_effective()?;
        filter.put_on(channel)?;
    }
    set_capabilities(&process.capabilities)?;
    let path = process.env.iter().rev().find_map(|e| e.as_bytes().strip_prefix(b"PATH=")).unwrap_or_default().to_vec();
    let program = look_up(&process.args[0], &path)?;
    // Its listener must be told while the runtime listens here.
    if let Some(filter) = filter.take_if(|f| f.listener.is_some()) {
        filter.put_on(channel)?;
    }
    Ok(program)
}

/// Executes the program. Returns only on failure.
pub(crate) fn execute(program: &CStr, process: ProcessPlan, filter: Option<&Filter>, channel: &Channel) -> Error {
    if let Some(filter) = filter
        && let Err(error) = filter.put_on(channel)
    {
        return error;
    }
    let (args, env) = (Vector::new(process.args), Vector::new(process.env));
    sys::signal::reset();
    let error = sys::exec::execve(program, &args, &env);
    Error::from(error).prefixed(format!("exec {}", program.to_string_lossy()))
}

/// Standard descriptors belong to the user, so that `/dev/stdout` can be opened. The host's null device gives way to
/// the container's own: a file of the host has no place in here, and a checkpoint could not name it.
fn fix_standard_descriptors(uid: u32) -> Result<()> {
    // The standard library's handles come with buffers, of memory that the container would pay for.
    let standard = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    let mut null = None;
    for (number, fd) in standard.into_iter().enumerate() {
        let stat = match fstat(fd) {
            Ok(stat) => stat,
            Err(Errno::BADF) => continue,
            Err(error) => return Err(io(error)).context(|| "look at a standard descriptor"),
        };
        if is_null(&stat) {
            let Some(own) = null.get_or_insert_with(own_null) else { continue };
            match number {
                0 => rustix::stdio::dup2_stdin(own),
                1 => rustix::stdio::dup2_stdout(own),
                _ => rustix::stdio::dup2_stderr(own),
            }
            .map_err(io)
            .context(|| "replace a standard descriptor")?;
            continue;
        }
        if stat.st_uid == uid {
            continue;
        }
        match fchown(fd, Some(Uid::from_raw(uid)), None::<Gid>) {
            // Not ours to give away, or an owner that this user namespace does not know: it works all the same.
            Ok(()) | Err(Errno::PERM | Errno::INVAL | Errno::ROFS | Errno::NOSYS) => {}
            Err(error) => return Err(io(error)).context(|| "give a standard descriptor to the user"),
        }
    }
    Ok(())
}

/// The container's null device, if what has that name is one.
fn own_null() -> Option<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let null = openat(CWD, c"/dev/null", flags, Mode::empty()).ok()?;
    let stat = fstat(&null).ok()?;
    is_null(&stat).then_some(null)
}

fn is_null(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode).is_char_device() && stat.st_rdev == rustix::fs::makedev(1, 3)
}

/// The home directory of a user in the container's `/etc/passwd`.
fn home_directory(uid: u32) -> Option<Vec<u8>> {
    // The file is the image's: it can be a FIFO nobody writes to, a link of procfs, a device, or endless.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat2(CWD, c"/etc/passwd", flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS).ok()?;
    if !FileType::from_raw_mode(fstat(&file).ok()?.st_mode).is_file() {
        return None;
    }
    let file = BufReader::new(File::from(file).take(1 << 20));
    for line in file.split(b'\n').map_while(std::io::Result::ok) {
        let mut fields = line.split(|b| *b == b':');
        let (Some(number), Some(home)) = (fields.nth(2), fields.nth(2)) else { continue };
        if std::str::from_utf8(number).ok().and_then(|n| n.parse().ok()) == Some(uid) && !home.is_empty() {
            return Some(home.to_vec());
        }
    }
    None
}

/// Goes to a directory. The links of procfs, which can lead out of the container, are not followed.
fn change_directory(path: &CStr) -> Result<(), Errno> {
    if path == c"/" {
        return rustix::process::chdir(path);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)?;
    rustix::process::fchdir(directory)
}

/// Goes to the working directory; false means that only the user may.
fn enter(process: &ProcessPlan) -> Result<bool> {
    let failed = || format!("chdir to cwd ({:?}) set in config.json failed", process.cwd.to_string_lossy());
    match change_directory(&process.cwd) {
        Ok(()) => Ok(true),
        Err(Errno::ACCESS) => Ok(false),
        Err(Errno::NOENT) if process.make_cwd => {
            let root = openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(io)?;
            let path = process.cwd.to_str().map_err(|_| Error::internal("cwd"))?;
            Root::new(root).make_directories(path, 0o755).context(failed)?;
            change_directory(&process.cwd).map_err(io).context(failed)?;
            Ok(true)
        }
        Err(error) => Err(io(error)).context(failed),
    }
}

/// The working directory must be inside the container: a descriptor left open could have led out of it
/// (CVE-2024-21626).
fn check_directory() -> Result<()> {
    let cwd = rustix::process::getcwd(Vec::new()).map_err(io).context(|| "getcwd")?;
    if cwd.as_bytes().first() == Some(&b'/') {
        return Ok(());
    }
    Err(Error::permission_denied(
        "current working directory is outside of container mount namespace root -- possible container breakout detected",
    ))
}

fn drop_bounding(sets: &Sets) -> Result<()> {
    for number in 0..64u32 {
        if sets.bounding & 1 << number != 0 {
            continue;
        }
        let one = CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::remove_capability_from_bounding_set(one) {
            Ok(()) => {}
            Err(Errno::INVAL) => break, // past the kernel's last capability
            Err(error) => return Err(io(error)).context(|| "drop a capability from the bounding set"),
        }
    }
    Ok(())
}

fn become_user(process: &ProcessPlan) -> Result<()> {
    let user = &process.user;
    let groups: Vec<Gid> = user.additional_gids.iter().map(|g| Gid::from_raw(*g)).collect();
    match rustix::thread::set_thread_groups(&groups) {
        // A user namespace of an unprivileged user cannot change them, and none were asked for.
        Err(Errno::PERM) if groups.is_empty() => {}
        Err(Errno::PERM) => {
            return Err(Error::permission_denied(
                "setgroups: not permitted: cannot set any additional groups in a rootless container",
            ));
        }
        result => result.map_err(io).context(|| "setgroups")?,
    }
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid)
        .map_err(io)
        .context(|| format!("setgid {}: is it mapped in the user namespace?", user.gid))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)
        .map_err(io)
        .context(|| format!("setuid {}: is it mapped in the user namespace?", user.uid))
}

/// Becoming another user than root has emptied the effective set; the permitted one was kept.
fn raise_effective() -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let now = rustix::thread::capabilities(None).map_err(io)?;
    let raised = CapabilitySets { effective: now.permitted, ..now };
    rustix::thread::set_capabilities(None, raised).map_err(io).context(|| "raise capabilities")
}

fn set_capabilities(sets: &Sets) -> Result<()> {
    let set = |bits: u64| CapabilitySet::from_bits_retain(bits);
    let wanted = |have: u64| CapabilitySets {
        effective: set(sets.effective & have),
        permitted: set(sets.permitted & have),
        inheritable: set(sets.inheritable & have),
    };
    match rustix::thread::set_capabilities(None, wanted(u64::MAX)) {
        Err(Errno::PERM) => {
            // Some are not the runtime's to give (it runs in a container itself): give the others.
            let have = rustix::thread::capabilities(None).map_err(io)?.permitted.bits();
            let missing = (sets.effective | sets.permitted | sets.inheritable) & !have;
            crate::log::warn(format_args!(
                "ignoring unknown or unavailable capabilities: [{}]",
                crate::capabilities::names(missing)
            ));
            rustix::thread::set_capabilities(None, wanted(have)).map_err(io).context(|| "set capabilities")?;
        }
        result => result.map_err(io).context(|| "set capabilities")?,
    }
    for number in 0..64u32 {
        if sets.ambient & 1 << number == 0 {
            continue;
        }
        // Needs the capability permitted and inheritable; runc warns and goes on, and images rely on that.
        if let Err(error) =
            rustix::thread::configure_capability_in_ambient_set(CapabilitySet::from_bits_retain(1 << number), true)
        {
            let name = crate::capabilities::NAMES.get(number as usize).unwrap_or(&"?");
            crate::log::warn(format_args!("can't raise ambient capability {name}: {}", io(error)));
        }
    }
    Ok(())
}

/// Finds the program as a shell would, and in runc's words when it does not.
fn look_up(name: &CStr, path: &[u8]) -> Result<CString> {
    let shown = || name.to_string_lossy().into_owned();
    let fail = |kind: fn(String) -> Error, why: &str| Err(kind(format!("exec: {:?}: {why}", shown())));
    let check = |candidate: &CStr| -> Result<(), Errno> {
        let stat = statat(CWD, candidate, AtFlags::empty())?;
        if FileType::from_raw_mode(stat.st_mode).is_dir() {
            return Err(Errno::ISDIR);
        }
        accessat(CWD, candidate, Access::EXEC_OK, AtFlags::EACCESS)
    };
    if name.to_bytes().contains(&b'/') {
        return match check(name) {
            Ok(()) => Ok(name.to_owned()),
            Err(Errno::NOENT) => fail(Error::not_found, &format!("stat {}: no such file or directory", shown())),
            Err(Errno::ISDIR) => fail(Error::permission_denied, "is a directory"),
            Err(Errno::ACCESS | Errno::PERM) => fail(Error::permission_denied, "permission denied"),
            Err(error) => Err(io(error).prefixed(format!("exec: {:?}", shown()))),
        };
    }
    // What may not be executed is passed over, and is not told apart at the end: callers know the words below.
    for directory in path.split(|b| *b == b':') {
        let directory = if directory.is_empty() { b"." } else { directory };
        let full = [directory, b"/", name.to_bytes()].concat();
        let full = CString::new(full).map_err(|_| Error::internal("PATH"))?;
        if check(&full).is_ok() {
            return Ok(full);
        }
    }
    fail(Error::not_found, "executable file not found in $PATH")
}

/// Marks everything but the standard descriptors and `keep` more on close-on-exec.
pub(crate) fn seal_descriptors(keep: u32) -> Result<()> {
    match sys::process::close_range_on_exec(3 + keep) {
        Ok(()) => Ok(()),
        // Linux 5.10 has the call without the flag: one by one, through the host's procfs.
        Err(_) => {
            for entry in std::fs::read_dir("/proc/self/fd").context(|| "read /proc/self/fd")? {
                let number = entry?.file_name().to_str().and_then(|n| n.parse::<i32>().ok());
                if let Some(fd) = number.filter(|n| *n >= 3 + keep as i32) {
                    // The listing's own descriptor is gone by the time the program runs.
                    let _ = sys::process::set_close_on_exec(fd, true);
                }
            }
            Ok(())
        }
    }
}

/// Keeps handed-over descriptors (`--preserve-fds`, `LISTEN_FDS`) open across the execution.
pub(crate) fn keep_descriptors(keep: u32) {
    for fd in 3..3 + keep as i32 {
        // A number that is not open has nothing to keep.
        let _ = sys::process::set_close_on_exec(fd, false);
    }
}

/// Writes `0`, meaning the caller, into each file: entering the cgroups.
pub(crate) fn enter_cgroups(files: Vec<File>) -> Result<()> {
    let mut done = Batch::default();
    for file in files {
        rustix::io::write(file.as_fd() as BorrowedFd<'_>, b"0").map_err(io).context(|| "enter the cgroup")?;
        done.add(file);
    }
    Ok(())
}
