//! cgroup v1, and the v1 controllers of a hybrid machine.

mod limits;
mod mounted;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use oci::runtime::Resources;
use oci::{Context, Error, Result};

use super::devices::{DeviceRules, unless_a_user};
use super::files::{self, Undo, read, write};
use super::{CGROUP2_MAGIC, Entrance, Location, Made, ROOT, check_fresh, make_directory};

pub(super) use limits::{check_page_size, rdma_line};
pub(super) use mounted::CGROUP_MAGIC;

type Paths = [(String, PathBuf)];

/// The v2 hierarchy of a hybrid machine. It has no controllers for us, but a process belongs into its cgroup there too:
/// that is what tells tools whose process it is.
const HYBRID: &str = "/sys/fs/cgroup/unified";

/// Reads `/proc/self/cgroup`: one hierarchy a line, `number:controllers:path of this process`.
pub(super) fn locate(own: &str, inner: &str, absolute: bool) -> Location {
    let hybrid = rustix::fs::statfs(HYBRID).is_ok_and(|s| s.f_type == CGROUP2_MAGIC);
    let paths = paths(own, inner, absolute, hybrid);
    if paths.is_empty() { Location::None } else { Location::V1 { paths } }
}

/// The same by what is mounted. `None` where nothing else comes of it.
pub(super) fn locate_mounted(own: &str, inner: &str, absolute: bool, known: &Paths) -> Result<Option<Location>> {
    let mounts = files::read_kernel_file(Path::new("/proc/self/mountinfo"))?;
    let mut paths = mounted::paths(own, &mounts, inner, absolute)?;
    if paths.is_empty() {
        return Ok(None);
    }
    paths.extend(known.iter().filter(|(controllers, _)| controllers.is_empty()).cloned());
    Ok((paths != known).then_some(Location::V1 { paths }))
}

fn paths(own: &str, inner: &str, absolute: bool, hybrid: bool) -> Vec<(String, PathBuf)> {
    let mut paths = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(own_path)) = (fields.next(), fields.next()) else { continue };
        if controllers.is_empty() && !hybrid {
            continue;
        }
        let mount = mount_point(controllers);
        let base = if absolute { mount } else { own_directory(mount, own_path) };
        paths.push((controllers.to_owned(), base.join(inner)));
    }
    // The v2 hierarchy alone, without one controller: that is no place for limits.
    if paths.iter().all(|(controllers, _)| controllers.is_empty()) { Vec::new() } else { paths }
}

/// Every distribution mounts a hierarchy under the name of its controllers.
fn mount_point(controllers: &str) -> PathBuf {
    if controllers.is_empty() {
        return HYBRID.into();
    }
    Path::new(ROOT).join(controllers.strip_prefix("name=").unwrap_or(controllers))
}

/// The directory above which nothing of a hierarchy is looked for or made.
fn top(controllers: &str, path: &Path) -> PathBuf {
    let point = mount_point(controllers);
    // Where it is mounted elsewhere, it was found there.
    if path.starts_with(&point) { point } else { "/".into() }
}

/// This process's own cgroup; inside a container with a bind-mounted hierarchy it may not be visible.
fn own_directory(mount: PathBuf, own_path: &str) -> PathBuf {
    let own = mount.join(own_path.trim_start_matches('/'));
    if own_path == "/" || own.is_dir() { own } else { mount }
}

pub(super) fn find<'a>(paths: &'a Paths, controller: &str) -> Option<&'a Path> {
    paths.iter().find(|(c, _)| c.split(',').any(|c| c == controller)).map(|(_, p)| p.as_path())
}

pub(super) fn freezer(paths: &Paths) -> Option<&Path> {
    find(paths, "freezer")
}

pub(super) fn create(paths: &Paths, resources: &Resources, made: &mut Made) -> Result<()> {
    let mut settings = limits::settings(resources)?;
    // A new cgroup's OOM killer is on.
    settings.retain(|s| s.file != "memory.oom_control" || s.value != "0");
    for (controllers, path) in paths {
        let new = make_directory(&top(controllers, path), path, made)
            .context(|| format!("cgroup controller {controllers}"))?;
        if !new {
            check_fresh(path, "freezer.state", "FROZEN")?;
        }
        if controllers.split(',').any(|c| c == "cpuset") {
            fill_cpuset(&top(controllers, path), path, new)?;
        }
    }
    set(paths, resources, &settings)
}

/// As [`create`], where systemd has made the cgroups of some hierarchies and put the process `pid` into them.
pub(super) fn fill(paths: &Paths, pid: i32, resources: &Resources, made: &mut Made) -> Result<()> {
    let mut settings = limits::settings(resources)?;
    settings.retain(|s| s.file != "memory.oom_control" || s.value != "0");
    let systemds = |(controllers, path): &&(String, PathBuf)| controllers == "name=systemd" || path.starts_with(HYBRID);
    for (controllers, path) in paths.iter().filter(|p| !systemds(p)) {
        let new = make_directory(&top(controllers, path), path, made)
            .context(|| format!("cgroup controller {controllers}"))?;
        if controllers.split(',').any(|c| c == "cpuset") {
            fill_cpuset(&top(controllers, path), path, new)?;
        }
        write(path, "cgroup.procs", &pid.to_string())?;
    }
    set(paths, resources, &settings)
}

fn set(paths: &Paths, resources: &Resources, settings: &[files::Setting]) -> Result<()> {
    files::apply(settings, |controller| directory(paths, controller), &mut None)?;
    if let Some(devices) = find(paths, "devices") {
        let rules = DeviceRules::for_container(&resources.devices)?;
        unless_a_user(set_devices(devices, &rules))?;
    } else if !resources.devices.is_empty() {
        return Err(missing("devices"));
    }
    Ok(())
}

/// A new cpuset is empty, nothing can enter an empty one, and what its parent has not it cannot have: whatever is empty
/// on the way is filled from above, whoever made it.
fn fill_cpuset(top: &Path, path: &Path, new: bool) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let mut empty = Vec::new();
        let mut directory = path;
        let value = loop {
            let known_empty = new && directory == path;
            let value = if known_empty { String::new() } else { read(directory, file)? };
            if !value.is_empty() {
                break value;
            }
            empty.push(directory);
            match directory.parent().filter(|_| directory != top) {
                Some(parent) => directory = parent,
                None => break value,
            }
        };
        for directory in empty.into_iter().rev() {
            write(directory, file, &value)?;
        }
    }
    Ok(())
}

pub(super) fn update(paths: &Paths, resources: &Resources) -> Result<()> {
    let settings = limits::settings(resources)?;
    let mut undo = Some(Undo::default());
    let mut result = files::apply(&settings, |controller| directory(paths, controller), &mut undo);
    if result.is_ok() && !resources.devices.is_empty() {
        result = directory(paths, "devices").and_then(|devices| {
            let rules = DeviceRules::for_container(&resources.devices)?;
            unless_a_user(change_devices(devices, &rules))
        });
    }
    if result.is_err()
        && let Some(undo) = undo
    {
        undo.run();
    }
    result
}

/// For systemd, which takes a quota and its period apart.
pub(super) fn prepare_update(paths: &Paths, resources: &mut Resources) -> Result<()> {
    let Some(cpu) = &mut resources.cpu else { return Ok(()) };
    let quota_given = cpu.quota.is_some_and(|q| q != 0);
    let period_given = cpu.period.is_some_and(|p| p != 0);
    if quota_given == period_given {
        return Ok(());
    }
    let directory = directory(paths, "cpu")?;
    if quota_given {
        cpu.period = read(directory, "cpu.cfs_period_us")?.parse().ok();
    } else {
        cpu.quota = read(directory, "cpu.cfs_quota_us")?.parse().ok();
    }
    Ok(())
}

fn directory<'a>(paths: &'a Paths, controller: &str) -> Result<&'a Path> {
    find(paths, controller).ok_or_else(|| missing(controller))
}

fn missing(controller: &str) -> Error {
    Error::unsupported(format!(
        "linux.resources: cannot set {controller} limit: this machine has no cgroup v1 controller {controller:?}"
    ))
}

fn open(directory: &Path, file: &str) -> Result<File> {
    let path = directory.join(file);
    File::options().write(true).open(&path).context(|| format!("open {}", path.display()))
}

fn put_line(directory: &Path, name: &str, file: &mut File, line: &str) -> Result<()> {
    use std::io::Write;
    file.write_all(line.as_bytes()).context(|| format!("write {line:?} to {}", directory.join(name).display()))
}

fn set_devices(directory: &Path, rules: &DeviceRules) -> Result<()> {
    if sys::process::user_at_start() != 0 && crate::rootless::does_without_device_rules() {
        return Ok(());
    }
    let (base, other) =
        if rules.allow_by_default { ("devices.allow", "devices.deny") } else { ("devices.deny", "devices.allow") };
    put_line(directory, base, &mut open(directory, base)?, "a")?;
    if !rules.exceptions.is_empty() {
        let mut file = open(directory, other)?;
        for exception in &rules.exceptions {
            put_line(directory, other, &mut file, &exception.to_string())?;
        }
    }
    Ok(())
}

/// As [`set_devices`], but while processes are at work: what is allowed before and after is allowed at every moment.
fn change_devices(directory: &Path, rules: &DeviceRules) -> Result<()> {
    let list = read(directory, "devices.list")?;
    let old: BTreeSet<&str> = list.lines().collect();
    // A list of what is denied cannot be read back.
    if rules.allow_by_default || old.contains("a *:* rwm") {
        return set_devices(directory, rules);
    }
    let new: Vec<String> = rules.exceptions.iter().map(ToString::to_string).collect();
    let mut allow = open(directory, "devices.allow")?;
    for line in &new {
        put_line(directory, "devices.allow", &mut allow, line)?;
    }
    // The kernel merges accesses of one device, so what is too much is told by device, not by line.
    let mut deny = open(directory, "devices.deny")?;
    for line in old {
        if let Some(excess) = rules.excess_of(line) {
            put_line(directory, "devices.deny", &mut deny, &excess)?;
        }
    }
    Ok(())
}

pub(super) fn entrance(paths: &Paths) -> Result<Entrance> {
    let mut entrance = Entrance::default();
    for (controllers, path) in paths {
        if controllers.is_empty() {
            entrance.born_in =
                Some(OwnedFd::from(File::open(path).context(|| format!("open cgroup {}", path.display()))?));
        } else {
            entrance.files.push(open(path, "tasks")?);
        }
    }
    Ok(entrance)
}

pub(super) fn set_frozen(paths: &Paths, freeze: bool) -> Result<()> {
    let directory = directory(paths, "freezer")?;
    let wanted = if freeze { "FROZEN" } else { "THAWED" };
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        write(directory, "freezer.state", wanted)?;
        for _ in 0..20 {
            let state = fs::read_to_string(directory.join("freezer.state")).context(|| "read freezer.state")?;
            if state.trim() == wanted {
                return Ok(());
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        if Instant::now() > end {
            if freeze {
                // Half-frozen is neither state: leave it running.
                write(directory, "freezer.state", "THAWED")?;
            }
            return Err(Error::deadline(format!("{} does not become {wanted}", directory.display())));
        }
        if freeze {
            // A process that keeps forking can outrun the freezer; letting go for a moment helps it through.
            write(directory, "freezer.state", "THAWED")?;
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_hierarchy_and_no_way_out() {
        let own = "9:name=systemd:/\n4:memory:/api/x\n1:cpu,cpuacct:/\n0::/\n";
        let with = |hybrid| paths(own, "sampan/a", true, hybrid);
        let list = with(false);
        let shown: Vec<_> = list.iter().map(|(c, p)| (c.as_str(), p.to_str().unwrap_or("?"))).collect();
        assert_eq!(
            shown,
            [
                ("name=systemd", "/sys/fs/cgroup/systemd/sampan/a"),
                ("memory", "/sys/fs/cgroup/memory/sampan/a"),
                ("cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct/sampan/a"),
            ]
        );
        assert_eq!(find(&list, "cpuacct"), Some(Path::new("/sys/fs/cgroup/cpu,cpuacct/sampan/a")));
        assert_eq!(with(true).last(), Some(&(String::new(), "/sys/fs/cgroup/unified/sampan/a".into())));
        assert!(paths("0::/\n", "a", true, true).is_empty());
    }
}
