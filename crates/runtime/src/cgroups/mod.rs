//! The container's cgroup: where it is, its limits, who is in it.
//!
//! ```text
//! Location::find ──► Cgroup::create ──► Cgroup::entrance ──► the new process enters by itself
//!                                        └ kept in the state record, found again by later commands
//! ```
//! A v2 cgroup is entered at birth (`CLONE_INTO_CGROUP`). A v1 cgroup is entered by the new process, which writes `0`
//! to `tasks`: that is the one way to move a process that takes no machine-wide lock.

pub(crate) mod devices;
mod files;
mod oom;
mod owner;
mod stats;
mod sub;
pub(crate) mod systemd;
mod v1;
mod v2;

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use oci::runtime::Resources;
use oci::{Context, Error, Result};
use serde::{Deserialize, Serialize};

pub(crate) use oom::OomWatch;
pub(crate) use owner::owner;
pub(crate) use stats::Stats;

/// Where a container's cgroup is.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase", tag = "version")]
pub(crate) enum Location {
    /// There is none: no hierarchy is mounted, or an unprivileged user may not make one.
    #[default]
    None,
    /// One directory in each v1 hierarchy.
    V1 {
        /// Controllers of the hierarchy (`cpu,cpuacct`, `name=systemd`), directory of the container's cgroup.
        paths: Vec<(String, PathBuf)>,
    },
    /// One directory in the v2 hierarchy.
    V2 {
        /// The container's cgroup.
        path: PathBuf,
    },
}

/// What a new process needs in order to enter.
#[derive(Debug, Default)]
pub(crate) struct Entrance {
    /// The directory of a v2 cgroup, for `CLONE_INTO_CGROUP`.
    pub(crate) born_in: Option<OwnedFd>,
    /// Files into which the new process writes `0`.
    pub(crate) files: Vec<File>,
}

/// Directories made, in order, to be removed in reverse.
pub(crate) type Made = Vec<PathBuf>;

const ROOT: &str = "/sys/fs/cgroup";
/// By this a clone fails for want of a right to the cgroup, and for no other reason.
const EACCES: i32 = 13;
const CGROUP2_MAGIC: i64 = 0x6367_7270;

/// Whether there is cgroup v2 alone.
pub(crate) fn unified() -> bool {
    rustix::fs::statfs(ROOT).is_ok_and(|s| s.f_type == CGROUP2_MAGIC)
}

/// The place below a hierarchy's root or, if it is not absolute, below the own cgroup.
fn inner(id: &str, cgroups_path: Option<&str>) -> Result<(String, bool)> {
    let wanted = cgroups_path.filter(|p| !p.is_empty());
    if let Some(path) = wanted
        && path.split(':').count() == 3
        && !path.starts_with('/')
    {
        return Err(Error::unsupported(format!(
            "linux.cgroupsPath: {path:?} is in systemd's form (slice:prefix:name), which needs --systemd-cgroup"
        )));
    }
    // Cleaned, so that ".." cannot lead out of the hierarchy.
    let path = wanted.map(crate::plan::mounts::clean);
    let absolute = wanted.is_some_and(|p| p.starts_with('/'));
    let inner = path.as_deref().unwrap_or(id).trim_start_matches('/');
    if inner.is_empty() {
        return Err(Error::invalid("linux.cgroupsPath: the root cgroup cannot be a container's"));
    }
    Ok((inner.to_owned(), absolute))
}

impl Location {
    /// Decides where the cgroup of container `id` shall be. Nothing is made.
    pub(crate) fn find(id: &str, cgroups_path: Option<&str>) -> Result<Self> {
        let (inner, absolute) = inner(id, cgroups_path)?;
        let own = files::read_kernel_file(Path::new("/proc/self/cgroup"))?;
        if unified() { Ok(v2::locate(&own, &inner, absolute)) } else { Ok(v1::locate(&own, &inner, absolute)) }
    }

    /// Where it is instead, if v1 hierarchies are not mounted where everybody has them.
    fn elsewhere(&self, id: &str, cgroups_path: Option<&str>) -> Result<Option<Self>> {
        let Self::V1 { paths } = self else { return Ok(None) };
        let (inner, absolute) = inner(id, cgroups_path)?;
        let own = files::read_kernel_file(Path::new("/proc/self/cgroup"))?;
        v1::locate_mounted(&own, &inner, absolute, paths)
    }

    /// Makes the cgroup of container `id` where it was decided to be, or where the mounts say, of which `note` is told
    /// before. Who is not root of the machine and has no cgroups delegated gets none, if neither limits nor a place are
    /// asked for.
    pub(crate) fn settle(
        &mut self,
        id: &str,
        cgroups_path: Option<&str>,
        resources: &Resources,
        note: impl Fn(&Self) -> Result<()>,
    ) -> Result<Made> {
        let mut result = self.create(resources);
        if result.is_err()
            && let Some(place) = self.elsewhere(id, cgroups_path)?
        {
            note(&place)?;
            result = place.create(resources);
            *self = place;
        }
        let error = match result {
            Err(error) if error.kind() == oci::Kind::PermissionDenied && crate::rootless::does_without_cgroups() => {
                error
            }
            result => return result,
        };
        // What nobody is limited by is the first to go without.
        if let Some(place) = self.without_hybrid() {
            note(&place)?;
            if let Ok(made) = place.create(resources) {
                *self = place;
                return Ok(made);
            }
        }
        let placed = cgroups_path.is_some_and(|p| !p.is_empty());
        if placed {
            return Err(error.prefixed("unable to apply cgroup configuration"));
        }
        if check_unlimited(resources).is_err() {
            return Err(
                error.prefixed("rootless needs no limits + no cgrouppath when no permission is granted for cgroups")
            );
        }
        crate::log::debug(format_args!("the container gets no cgroup of its own: {error}"));
        *self = Self::None;
        Ok(Made::new())
    }

    /// Makes the cgroup and sets its limits. On failure nothing is left.
    pub(crate) fn create(&self, resources: &Resources) -> Result<Made> {
        let mut made = Made::new();
        let result = match self {
            Self::None => check_unlimited(resources),
            Self::V1 { paths } => v1::create(paths, resources, &mut made),
            Self::V2 { path } => v2::create(path, resources, &mut made),
        };
        match result {
            Ok(()) => Ok(made),
            Err(error) => {
                remove_made(&made);
                Err(error)
            }
        }
    }

    /// A directory of it that exists.
    pub(crate) fn existing(&self) -> Option<&Path> {
        match self {
            Self::None => None,
            Self::V1 { paths } => paths.iter().map(|(_, path)| path.as_path()).find(|path| path.exists()),
            Self::V2 { path } => Some(path.as_path()).filter(|path| path.exists()),
        }
    }

    /// Refuses a cgroup that is somebody's already.
    pub(crate) fn check_unused(&self) -> Result<()> {
        match self {
            Self::None => Ok(()),
            Self::V1 { paths } => paths.iter().try_for_each(|(_, path)| check_fresh(path, "freezer.state", "FROZEN")),
            Self::V2 { path } => check_fresh(path, "cgroup.freeze", "1"),
        }
    }

    /// Sets the limits of a cgroup that systemd has made and put a process into.
    fn fill(&self, pid: i32, resources: &Resources) -> Result<Made> {
        let mut made = Made::new();
        let result = match self {
            Self::None => check_unlimited(resources),
            Self::V1 { paths } => v1::fill(paths, pid, resources, &mut made),
            Self::V2 { path } => v2::fill(path, resources),
        };
        match result {
            Ok(()) => Ok(made),
            Err(error) => {
                remove_made(&made);
                Err(error)
            }
        }
    }

    /// Completes an update for somebody who does not see the files, and refuses what must not be tried.
    fn prepare_update(&self, resources: &mut Resources) -> Result<()> {
        match self {
            Self::None => Ok(()),
            Self::V1 { paths } => v1::prepare_update(paths, resources),
            Self::V2 { path } => v2::prepare_update(path, resources),
        }
    }

    /// Changes limits of a cgroup that exists.
    pub(crate) fn update(&self, resources: &Resources) -> Result<()> {
        match self {
            Self::None => Err(Error::unsupported("update: the container has no cgroup")),
            Self::V1 { paths } => v1::update(paths, resources),
            Self::V2 { path } => v2::update(path, resources),
        }
    }

    /// What a process needs in order to enter; opened, so that it works from any namespace.
    pub(crate) fn entrance(&self) -> Result<Entrance> {
        match self {
            Self::None => Ok(Entrance::default()),
            Self::V1 { paths } => v1::entrance(paths),
            Self::V2 { path } => v2::entrance(path),
        }
    }

    /// The v1 hierarchies alone, where there is a v2 one beside them.
    fn without_hybrid(&self) -> Option<Self> {
        let Self::V1 { paths } = self else { return None };
        let controlled: Vec<_> = paths.iter().filter(|(controllers, _)| !controllers.is_empty()).cloned().collect();
        (controlled.len() < paths.len()).then_some(Self::V1 { paths: controlled })
    }

    /// Whether a process that could not be born in the cgroup can do without: v1's are entered by their files, and in the
    /// v2 hierarchy beside them a user without a right to it stays where he is, as under runc.
    pub(crate) fn born_outside(&self, error: &std::io::Error) -> bool {
        let forbidden = error.raw_os_error() == Some(EACCES);
        forbidden && matches!(self, Self::V1 { .. }) && crate::rootless::does_without_cgroups()
    }

    /// Why a process could not be born in the cgroup. Whoever has no right to put one there is told so.
    pub(crate) fn birth_failed(&self, error: std::io::Error) -> Error {
        match self {
            Self::V2 { path } if error.raw_os_error() == Some(EACCES) => {
                let error = Error::from(error);
                Error::new(
                    error.kind(),
                    format!(
                        "unable to apply cgroup configuration: put a process into {}: {error}; it is another user's, or \
                         outside of what is delegated to this one: choose a place with linux.cgroupsPath",
                        path.display()
                    ),
                )
            }
            _ => error.into(),
        }
    }

    /// Processes in the cgroup and below, by host process id.
    pub(crate) fn processes(&self) -> Result<Vec<i32>> {
        let mut pids = Vec::new();
        if let Some(path) = self.main_directory() {
            collect(path, &mut pids, 0)?;
        }
        Ok(pids)
    }

    /// The directory that is asked for processes: the v2 one, or that of v1's `devices`, which every process is in.
    fn main_directory(&self) -> Option<&Path> {
        match self {
            Self::None => None,
            Self::V1 { paths } => {
                let by_name = |name: &str| paths.iter().find(|(c, _)| c.split(',').any(|c| c == name));
                by_name("devices").or_else(|| by_name("freezer")).or(paths.first()).map(|(_, p)| p.as_path())
            }
            Self::V2 { path } => Some(path),
        }
    }

    /// The directory with the files of the freezer.
    pub(crate) fn freezer_directory(&self) -> Option<&Path> {
        match self {
            Self::None => None,
            Self::V1 { paths } => v1::freezer(paths),
            Self::V2 { path } => Some(path),
        }
    }

    /// Whether the processes are frozen.
    pub(crate) fn frozen(&self) -> bool {
        match self {
            Self::None => false,
            Self::V1 { paths } => v1::freezer(paths)
                .and_then(|f| fs::read_to_string(f.join("freezer.state")).ok())
                .is_some_and(|s| s.trim() != "THAWED"),
            Self::V2 { path } => fs::read_to_string(path.join("cgroup.freeze")).is_ok_and(|s| s.trim() == "1"),
        }
    }

    /// Freezes or thaws all processes, and waits until it is so.
    pub(crate) fn set_frozen(&self, freeze: bool) -> Result<()> {
        match self {
            Self::None => Err(Error::unsupported("pause: the container has no cgroup")),
            Self::V1 { paths } => v1::set_frozen(paths, freeze),
            Self::V2 { path } => v2::set_frozen(path, freeze),
        }
    }

    /// Kills every process in the cgroup and waits, bounded, until it is empty.
    pub(crate) fn kill_all(&self) -> Result<()> {
        if let Self::V2 { path } = self {
            // Older kernels have no such file; the loop below does what it would.
            let _ = fs::write(path.join("cgroup.kill"), "1");
        }
        let end = Instant::now() + Duration::from_secs(10);
        let mut pause = Duration::from_millis(1);
        loop {
            let pids = self.processes()?;
            if pids.is_empty() {
                return Ok(());
            }
            for pid in &pids {
                let _ = sys::process::kill(*pid, 9);
            }
            // A v1 freezer delivers no signals until it is thawed.
            if matches!(self, Self::V1 { .. }) && self.frozen() {
                let _ = self.set_frozen(false);
            }
            if Instant::now() > end {
                return Err(Error::deadline(format!("processes {pids:?} do not die")));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Removes what nobody is in: it may be somebody else's cgroup that has the place.
    pub(crate) fn remove_empty(&self) {
        let paths: Vec<&Path> = match self {
            Self::None => Vec::new(),
            Self::V1 { paths } => paths.iter().map(|(_, p)| p.as_path()).collect(),
            Self::V2 { path } => vec![path],
        };
        for path in paths.into_iter().filter(|path| is_cgroup(path)) {
            let _ = fs::remove_dir(path);
        }
    }

    /// Removes the cgroup; processes that keep it busy are killed first.
    pub(crate) fn remove_after_kill(&self) -> Result<()> {
        if let Some(path) = self.main_directory() {
            // The ordinary case, in one call: nobody is left.
            match fs::remove_dir(path) {
                Err(error) if error.kind() == ErrorKind::ResourceBusy => self.kill_all()?,
                Ok(()) => return self.remove_all_but(Some(path)),
                _ => {}
            }
        }
        self.remove()
    }

    /// Removes the cgroup with what is below it; what is already gone counts as removed.
    pub(crate) fn remove(&self) -> Result<()> {
        self.remove_all_but(None)
    }

    fn remove_all_but(&self, gone: Option<&Path>) -> Result<()> {
        let paths: Vec<&Path> = match self {
            Self::None => Vec::new(),
            Self::V1 { paths } => paths.iter().map(|(_, p)| p.as_path()).collect(),
            Self::V2 { path } => vec![path],
        };
        let mut first_error = Ok(());
        for path in paths.into_iter().filter(|path| Some(*path) != gone) {
            let result = remove_tree(path);
            if first_error.is_ok() {
                first_error = result;
            }
        }
        first_error
    }
}

/// What is recorded should be one; what a directory elsewhere is, its filesystem tells.
fn is_cgroup(path: &Path) -> bool {
    let of_cgroups = |magic| magic == v1::CGROUP_MAGIC || magic == CGROUP2_MAGIC;
    path.starts_with(ROOT) || rustix::fs::statfs(path).is_ok_and(|s| of_cgroups(s.f_type))
}

/// A container without a cgroup cannot be limited.
fn check_unlimited(resources: &Resources) -> Result<()> {
    let unlimited = Resources { devices: Vec::new(), ..resources.clone() };
    let privileged = !crate::rootless::does_without_cgroups();
    if v2::settings(&unlimited)?.is_empty()
        && resources.unified.is_empty()
        && (!privileged || resources.devices.is_empty())
    {
        return Ok(());
    }
    Err(Error::unsupported("linux.resources: limits are given, and no cgroup hierarchy is mounted at /sys/fs/cgroup"))
}

impl Location {
    /// The directories among `made` that are above the container's own.
    pub(crate) fn parents_among(&self, made: &[PathBuf]) -> Vec<PathBuf> {
        let own = |path: &PathBuf| match self {
            Self::None => false,
            Self::V1 { paths } => paths.iter().any(|(_, p)| p == path),
            Self::V2 { path: p } => p == path,
        };
        made.iter().filter(|p| !own(p)).cloned().collect()
    }
}

/// Removes directories in reverse order; those that others use by now stay.
pub(crate) fn remove_made(made: &[PathBuf]) {
    for path in made.iter().rev() {
        let _ = fs::remove_dir(path);
    }
}

/// Makes a cgroup directory with its parents below `top`; reports each one made, outermost first.
fn make_directory(top: &Path, path: &Path, made: &mut Made) -> Result<bool> {
    // A parent can be removed by another container's end between the two steps.
    for _ in 0..16 {
        match fs::create_dir(path) {
            Ok(()) => {
                made.push(path.to_owned());
                return Ok(true);
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
            Err(error) if error.kind() == ErrorKind::NotFound => match path.parent() {
                Some(parent) if parent != top && parent.starts_with(top) => {
                    make_directory(top, parent, made)?;
                }
                _ => return Err(error).context(|| format!("make cgroup {}", path.display())),
            },
            Err(error) => return Err(error).context(|| format!("make cgroup {}", path.display())),
        }
    }
    Err(Error::unavailable(format!("make cgroup {}: its parent is removed again and again", path.display())))
}

/// A container's cgroup must be nobody's yet: an existing one may neither have processes nor be frozen.
fn check_fresh(path: &Path, freezer: &str, frozen: &str) -> Result<()> {
    let mut pids = Vec::new();
    collect(path, &mut pids, 0)?;
    if let Some(pid) = pids.first() {
        return Err(Error::conflict(format!(
            "container's cgroup is not empty: {} process(es) found: {} has process {pid}; give the container a linux.cgroupsPath of its own",
            pids.len(),
            path.display()
        )));
    }
    if fs::read_to_string(path.join(freezer)).is_ok_and(|state| state.trim() == frozen) {
        return Err(Error::conflict(format!("container's cgroup unexpectedly frozen: {}", path.display())));
    }
    Ok(())
}

fn parse_pids(text: &str) -> impl Iterator<Item = i32> + '_ {
    // Processes that this PID namespace cannot see are listed as 0.
    text.lines().filter_map(|l| l.trim().parse().ok()).filter(|p| *p > 0)
}

fn collect(directory: &Path, pids: &mut Vec<i32>, depth: usize) -> Result<()> {
    let gone = |e: &std::io::Error| e.kind() == ErrorKind::NotFound || e.raw_os_error() == Some(libc_enodev());
    match fs::read_to_string(directory.join("cgroup.procs")) {
        Ok(text) => pids.extend(parse_pids(&text)),
        Err(error) if gone(&error) => return Ok(()),
        // A threaded v2 cgroup has threads, not processes.
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            if let Ok(text) = fs::read_to_string(directory.join("cgroup.threads")) {
                pids.extend(parse_pids(&text));
            }
        }
        Err(error) => return Err(error).context(|| format!("read {}/cgroup.procs", directory.display())),
    }
    if depth < 32 {
        for child in subdirectories(directory) {
            collect(&child, pids, depth + 1)?;
        }
    }
    Ok(())
}

fn libc_enodev() -> i32 {
    rustix::io::Errno::NODEV.raw_os_error()
}

fn subdirectories(directory: &Path) -> Vec<PathBuf> {
    // Two links are the directory itself; a cgroup without children needs no listing.
    if fs::metadata(directory).is_ok_and(|m| std::os::unix::fs::MetadataExt::nlink(&m) <= 2) {
        return Vec::new();
    }
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}

fn remove_tree(path: &Path) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(5);
    let mut pause = Duration::from_millis(1);
    loop {
        match fs::remove_dir(path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            // Either children are left, or a process that has just died is still being taken out.
            Err(error) if error.kind() == ErrorKind::ResourceBusy && Instant::now() < end => {
                for child in subdirectories(path) {
                    remove_tree(&child)?;
                }
                match fs::remove_dir(path) {
                    Err(error) if error.kind() == ErrorKind::ResourceBusy => {
                        std::thread::sleep(pause);
                        pause = (pause * 2).min(Duration::from_millis(100));
                    }
                    _ => {}
                }
            }
            Err(error) => return Err(error).context(|| format!("remove cgroup {}", path.display())),
        }
    }
}
