//! cgroup v2.

mod limits;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use oci::runtime::{MemoryLimits, Resources};
use oci::{Context, Error, Result};

use super::devices::{DeviceRules, unless_a_user};
use super::files::{self, Undo, read, write, write_io};
use super::{Entrance, Location, Made, ROOT, check_fresh, make_directory};

pub(super) use limits::settings;

/// Reads the line `0::/path` of `/proc/self/cgroup`.
pub(super) fn locate(own: &str, inner: &str, absolute: bool) -> Location {
    let root = Path::new(ROOT);
    if absolute {
        return Location::V2 { path: root.join(inner) };
    }
    // Beside this process's own cgroup, not below it: a cgroup with processes of its own cannot have children with
    // controllers.
    let own = own.lines().find_map(|l| l.strip_prefix("0::/")).unwrap_or("");
    let parent = Path::new(own).parent().unwrap_or(Path::new(""));
    Location::V2 { path: root.join(parent).join(inner) }
}

pub(super) fn create(path: &Path, resources: &Resources, made: &mut Made) -> Result<()> {
    let settings = settings(resources)?;
    let new = make_directory(Path::new(ROOT), path, made)?;
    if !new {
        check_fresh(path, "cgroup.freeze", "1")?;
    }
    set(path, resources, &settings)
}

/// As [`create`], for a cgroup that systemd has made and put a process into.
pub(super) fn fill(path: &Path, resources: &Resources) -> Result<()> {
    set(path, resources, &settings(resources)?)
}

fn set(path: &Path, resources: &Resources, settings: &[files::Setting]) -> Result<()> {
    let needed: BTreeSet<&str> = settings.iter().map(|s| s.controller).collect();
    enable(path, &needed)?;
    files::apply(settings, |_| Ok(path), &mut None)?;
    set_unified(path, resources, &mut None)?;
    set_devices(path, resources, false)
}

pub(super) fn update(path: &Path, resources: &Resources) -> Result<()> {
    let settings = settings(&completed(path, resources)?)?;
    if let Some(memory) = &resources.memory {
        check_usage(path, memory)?;
    }
    let mut undo = Some(Undo::default());
    let mut result = files::apply(&settings, |_| Ok(path), &mut undo);
    if result.is_ok() {
        result = set_unified(path, resources, &mut undo);
    }
    if result.is_ok() && !resources.devices.is_empty() {
        result = set_devices(path, resources, true);
    }
    if result.is_err()
        && let Some(undo) = undo
    {
        undo.run();
    }
    result
}

/// v1's limits stand in files of their own, some of v2's are made of two: what an update does not name is asked of the
/// kernel.
fn completed(path: &Path, resources: &Resources) -> Result<Resources> {
    let mut resources = resources.clone();
    let max = |text: &str| if text == "max" { Some(-1) } else { text.parse::<i64>().ok() };
    if let Some(memory) = &mut resources.memory
        && memory.swap.is_some_and(|s| s > 0)
        && memory.limit.is_none_or(|l| l == 0)
    {
        memory.limit = max(&read(path, "memory.max")?);
    }
    if let Some(cpu) = &mut resources.cpu
        && cpu.period.is_some_and(|p| p != 0)
        && cpu.quota.is_none_or(|q| q == 0)
    {
        cpu.quota = max(read(path, "cpu.max")?.split_whitespace().next().unwrap_or("max"));
    }
    Ok(resources)
}

/// For systemd, which takes a quota and its period apart, and must not be asked for what would have processes killed.
pub(super) fn prepare_update(path: &Path, resources: &mut Resources) -> Result<()> {
    *resources = completed(path, resources)?;
    if let Some(memory) = &resources.memory {
        check_usage(path, memory)?;
    }
    if let Some(cpu) = &mut resources.cpu
        && cpu.quota.is_some_and(|q| q != 0)
        && cpu.period.is_none_or(|p| p == 0)
    {
        cpu.period = read(path, "cpu.max")?.split_whitespace().nth(1).and_then(|p| p.parse().ok());
    }
    Ok(())
}

/// `checkBeforeUpdate`: a limit below the present use would have processes killed.
fn check_usage(path: &Path, memory: &MemoryLimits) -> Result<()> {
    if memory.check_before_update != Some(true) {
        return Ok(());
    }
    let used: i64 = read(path, "memory.current")?.parse().unwrap_or(0);
    for (field, name, limit) in [("swap", "memory+swap", memory.swap), ("limit", "memory", memory.limit)] {
        if let Some(limit) = limit.filter(|l| *l > 0 && *l <= used) {
            return Err(Error::conflict(format!(
                "linux.resources.memory.{field}: rejecting {name} limit {limit} <= usage {used}"
            )));
        }
    }
    Ok(())
}

fn privileged() -> bool {
    rustix::process::geteuid().is_root()
}

/// Enables controllers on the way from the root down to the cgroup's parent. All that exist are enabled, so that tools
/// find their numbers; those in `needed` must be.
fn enable(path: &Path, needed: &BTreeSet<&str>) -> Result<()> {
    let root = Path::new(ROOT);
    let Ok(relative) = path.strip_prefix(root) else { return Ok(()) };
    let mut directory = root.to_owned();
    let mut everything = String::new();
    let mut handed_down = true;
    let mut busy: Option<PathBuf> = None;
    for part in relative.components() {
        let available = read(&directory, "cgroup.controllers")?;
        let enabled = read(&directory, "cgroup.subtree_control")?;
        let enabled: BTreeSet<&str> = enabled.split_whitespace().collect();
        let missing: Vec<&str> = available.split_whitespace().filter(|c| !enabled.contains(c)).collect();
        let all: String = missing.iter().map(|c| format!("+{c} ")).collect();
        if !missing.is_empty()
            && let Err(error) = write_io(&directory, "cgroup.subtree_control", all.trim_end())
        {
            handed_down = false;
            // With processes of its own it would become a cgroup of threads: only if it must be.
            let crowded = error.kind() == ErrorKind::ResourceBusy;
            // One that cannot be enabled must not keep the others from being.
            for c in missing.iter().filter(|c| !crowded || needed.contains(*c)) {
                match write_io(&directory, "cgroup.subtree_control", &format!("+{c}")) {
                    Err(error) if error.kind() == ErrorKind::ResourceBusy => {
                        busy.get_or_insert_with(|| directory.clone());
                    }
                    // A cgroup of threads; the new one's type tells.
                    Err(error) if error.kind() == ErrorKind::Unsupported => {}
                    Err(error) if needed.contains(c) => {
                        return Err(error)
                            .context(|| format!("enable cgroup controller {c:?} in {}", directory.display()));
                    }
                    Ok(()) | Err(_) => {}
                }
            }
        }
        if everything.is_empty() {
            everything = available;
        } else if everything != available {
            handed_down = false;
        }
        directory.push(part);
    }
    // The ordinary case: the whole path has everything, so the cgroup is as it should be.
    if !handed_down {
        settle_type(path, needed)?;
    }
    if !needed.is_empty() {
        let available = if handed_down { everything } else { read(path, "cgroup.controllers")? };
        for controller in needed {
            if !available.split_whitespace().any(|c| c == *controller) {
                let why = match &busy {
                    Some(parent) => format!(
                        "; {} has processes of its own, which must move into a child of it before its children can have controllers",
                        parent.display()
                    ),
                    None => String::new(),
                };
                return Err(Error::unsupported(format!(
                    "linux.resources: cannot set {controller} limit: cgroup {} has no controller {controller:?}{why}",
                    path.display()
                )));
            }
        }
    }
    Ok(())
}

/// Below a cgroup of threads, or one with processes, a new cgroup is neither domain nor threaded, and nothing can enter
/// it. Made threaded it can be used, but not with limits that only a whole domain has.
fn settle_type(path: &Path, needed: &BTreeSet<&str>) -> Result<()> {
    let kind = read(path, "cgroup.type")?;
    let refuse = |state: &str| {
        Err(Error::conflict(format!(
            "linux.resources: cannot enter cgroupv2 {:?} with domain controllers -- it is in {state}; without limits of memory, io, hugetlb, rdma and misc it can be used",
            path.display()
        )))
    };
    let whole = needed.iter().any(|c| matches!(*c, "memory" | "io" | "hugetlb" | "rdma" | "misc"));
    match kind.as_str() {
        "domain invalid" if whole => refuse("an invalid state"),
        "domain invalid" => write(path, "cgroup.type", "threaded"),
        "threaded" | "domain threaded" if whole => refuse(&format!("{kind} mode")),
        _ => Ok(()),
    }
}

/// Files and values as they are given. What is wrong is told in the words that callers know.
fn set_unified(path: &Path, resources: &Resources, undo: &mut Option<Undo>) -> Result<()> {
    for (file, value) in &resources.unified {
        let Err(error) = files::write_lines(path, file, value, undo) else { continue };
        let controller = file.split('.').next().unwrap_or(file);
        if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) && controller != "cgroup" {
            let available = read(path, "cgroup.controllers")?;
            if !available.split_whitespace().any(|c| c == controller) {
                return Err(limits::unified(
                    file,
                    &format!("can't be set: controller {controller:?} not available; {available} are"),
                ));
            }
        }
        return Err(error).context(|| {
            format!(
                "linux.resources.unified: unable to set unified resource {file:?}: write {value:?} to {}",
                path.join(file).display()
            )
        });
    }
    Ok(())
}

fn set_devices(path: &Path, resources: &Resources, replace: bool) -> Result<()> {
    let rules = DeviceRules::for_container(&resources.devices)?;
    if !privileged() && crate::rootless::does_without_device_rules() {
        return Ok(());
    }
    unless_a_user(attach_devices(path, &rules, replace))
}

fn attach_devices(path: &Path, rules: &DeviceRules, replace: bool) -> Result<()> {
    let directory = File::open(path).context(|| format!("open {}", path.display()))?;
    let old =
        if replace { sys::bpf::attached_device_programs(directory.as_fd()).unwrap_or_default() } else { Vec::new() };
    let program = sys::bpf::load_device_program(&rules.program()).context(|| "load the device rules")?;
    sys::bpf::attach_device_program(directory.as_fd(), program.as_fd())
        .context(|| format!("attach the device rules to {}", path.display()))?;
    // The new program is in force before the old one goes: at no moment is more allowed than either allows.
    for program in old {
        sys::bpf::detach_device_program(directory.as_fd(), program.as_fd())
            .context(|| format!("take the old device rules off {}", path.display()))?;
    }
    Ok(())
}

pub(super) fn entrance(path: &Path) -> Result<Entrance> {
    match File::open(path) {
        Ok(directory) => Ok(Entrance { born_in: Some(directory.into()), files: Vec::new() }),
        Err(error) => Err(error).context(|| format!("open cgroup {}", path.display())),
    }
}

pub(super) fn set_frozen(path: &Path, freeze: bool) -> Result<()> {
    write(path, "cgroup.freeze", if freeze { "1" } else { "0" })?;
    let wanted = if freeze { "frozen 1" } else { "frozen 0" };
    let end = Instant::now() + Duration::from_secs(10);
    let mut pause = Duration::from_micros(200);
    loop {
        let events = fs::read_to_string(path.join("cgroup.events")).context(|| "read cgroup.events")?;
        if events.lines().any(|l| l == wanted) {
            return Ok(());
        }
        if Instant::now() > end {
            if freeze {
                write(path, "cgroup.freeze", "0")?;
            }
            return Err(Error::deadline(format!("{} does not become {wanted:?}", path.display())));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroup_is_beside_our_own() {
        let path = |own, inner, absolute| match locate(own, inner, absolute) {
            Location::V2 { path } => path.to_string_lossy().into_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(path("0::/user.slice/me.scope\n", "c1", false), "/sys/fs/cgroup/user.slice/c1");
        assert_eq!(path("0::/\n", "c1", false), "/sys/fs/cgroup/c1");
        assert_eq!(path("0::/a\n", "x/y", true), "/sys/fs/cgroup/x/y");
    }
}
