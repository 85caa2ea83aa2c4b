//! cgroup v1, and the v1 controllers of a hybrid machine.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use oci::runtime::Resources;
use oci::{Context, Error, Result};

use super::devices::DeviceRules;
use super::{Entrance, Location, Made, ROOT, make_directory, read, write, write_io};
use crate::log;

type Paths = [(String, PathBuf)];

/// Reads `/proc/self/cgroup`: one hierarchy a line, `number:controllers:path of this process`.
pub(super) fn locate(own: &str, inner: &str, absolute: bool) -> Location {
    let mut paths = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(own_path)) = (fields.next(), fields.next()) else { continue };
        if controllers.is_empty() {
            continue; // the v2 hierarchy of a hybrid machine has no controllers for us
        }
        let mount = mount_point(controllers);
        let base = if absolute { mount } else { own_directory(mount, own_path) };
        paths.push((controllers.to_owned(), base.join(inner)));
    }
    if paths.is_empty() { Location::None } else { Location::V1 { paths } }
}

/// Every distribution mounts a hierarchy under the name of its controllers.
fn mount_point(controllers: &str) -> PathBuf {
    Path::new(ROOT).join(controllers.strip_prefix("name=").unwrap_or(controllers))
}

/// This process's own cgroup; inside a container with a bind-mounted hierarchy it may not be visible.
fn own_directory(mount: PathBuf, own_path: &str) -> PathBuf {
    let own = mount.join(own_path.trim_start_matches('/'));
    if own_path == "/" || own.is_dir() { own } else { mount }
}

fn find<'a>(paths: &'a Paths, controller: &str) -> Option<&'a Path> {
    paths.iter().find(|(c, _)| c.split(',').any(|c| c == controller)).map(|(_, p)| p.as_path())
}

pub(super) fn freezer(paths: &Paths) -> Option<&Path> {
    find(paths, "freezer")
}

pub(super) fn create(paths: &Paths, resources: &Resources, made: &mut Made) -> Result<()> {
    for (controllers, path) in paths {
        let before = made.len();
        let new = make_directory(path, made).context(|| format!("cgroup controller {controllers}"))?;
        if !new && let Some(pid) = read(path, "cgroup.procs")?.lines().next() {
            return Err(Error::conflict(format!(
                "cgroup {} is not empty: process {pid} is in it; give the container a linux.cgroupsPath of its own",
                path.display()
            )));
        }
        if controllers.split(',').any(|c| c == "cpuset") {
            // A new cpuset is empty, and nothing can enter an empty one.
            for directory in &made[before..] {
                let parent = directory.parent().unwrap_or(path);
                for file in ["cpuset.cpus", "cpuset.mems"] {
                    write(directory, file, &read(parent, file)?)?;
                }
            }
        }
    }
    apply(paths, resources)?;
    if let Some(devices) = find(paths, "devices") {
        set_devices(devices, &DeviceRules::for_container(&resources.devices)?)?;
    } else if !resources.devices.is_empty() {
        return Err(missing("devices"));
    }
    Ok(())
}

pub(super) fn update(paths: &Paths, resources: &Resources) -> Result<()> {
    apply(paths, resources)?;
    if !resources.devices.is_empty() {
        let devices = find(paths, "devices").ok_or_else(|| missing("devices"))?;
        set_devices(devices, &DeviceRules::for_container(&resources.devices)?)?;
    }
    Ok(())
}

fn missing(controller: &str) -> Error {
    Error::unsupported(format!("linux.resources: this machine has no cgroup v1 controller {controller:?}"))
}

fn apply(paths: &Paths, resources: &Resources) -> Result<()> {
    let settings = settings(resources)?;
    let mut index = 0;
    while let Some(Setting { controller, file, value }) = settings.get(index) {
        index += 1;
        let directory = find(paths, controller).ok_or_else(|| missing(controller))?;
        let Err(error) = write_io(directory, file, value) else { continue };
        let retry = error.kind() == ErrorKind::InvalidInput;
        // Two files that bound each other must be written in the order that never crosses the bound; which one that is
        // depends on the old values. Trying the partner first settles it.
        let partner = settings.get(index).filter(|next| retry && partners(file, &next.file));
        if let Some(next) = partner {
            write(directory, &next.file, &next.value)?;
            write(directory, file, value)?;
            index += 1;
            continue;
        }
        // The scheduler of the disk decides which of the two exists.
        if file == "blkio.weight" && error.kind() == ErrorKind::NotFound {
            write(directory, "blkio.bfq.weight", value)?;
            continue;
        }
        return Err(error).context(|| format!("write {value:?} to {}", directory.join(file).display()));
    }
    Ok(())
}

fn partners(a: &str, b: &str) -> bool {
    matches!(
        (a, b),
        ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes") | ("cpu.cfs_period_us", "cpu.cfs_quota_us")
    )
}

/// One control file to be written.
#[derive(Debug, PartialEq, Eq)]
struct Setting {
    controller: &'static str,
    file: String,
    value: String,
}

/// Limits to control files, in the order of writing. Zero means "not given", as engines write it.
fn settings(r: &Resources) -> Result<Vec<Setting>> {
    let mut list = Vec::new();
    let mut put = |controller: &'static str, file: &str, value: String| {
        list.push(Setting { controller, file: file.to_owned(), value });
    };
    fn given<T: PartialEq + Default + Copy>(value: Option<T>) -> Option<T> {
        value.filter(|v| *v != T::default())
    }
    if !r.unified.is_empty() {
        return Err(Error::invalid("linux.resources.unified: cannot be used on cgroup v1"));
    }
    if let Some(m) = &r.memory {
        let limit = given(m.limit);
        if let Some(limit) = limit {
            put("memory", "memory.limit_in_bytes", limit.to_string());
        }
        // Without a limit on memory there can be none on memory and swap together.
        if let Some(swap) = given(m.swap).or(limit.filter(|l| *l == -1)) {
            if limit.is_some_and(|l| swap > 0 && swap < l) {
                return Err(Error::invalid(
                    "linux.resources.memory.swap: is less than limit; it counts memory and swap",
                ));
            }
            if given(m.swap).is_some() || Path::new(ROOT).join("memory/memory.memsw.limit_in_bytes").exists() {
                put("memory", "memory.memsw.limit_in_bytes", swap.to_string());
            }
        }
        if let Some(soft) = given(m.reservation) {
            put("memory", "memory.soft_limit_in_bytes", soft.to_string());
        }
        if given(m.kernel).is_some() {
            log::warn(format_args!(
                "linux.resources.memory.kernel: kernels no longer limit kernel memory apart; ignored"
            ));
        }
        if let Some(tcp) = given(m.kernel_tcp) {
            put("memory", "memory.kmem.tcp.limit_in_bytes", tcp.to_string());
        }
        if let Some(swappiness) = m.swappiness.filter(|s| *s != u64::MAX) {
            if swappiness > 100 {
                return Err(Error::invalid(format!(
                    "linux.resources.memory.swappiness: {swappiness} is not between 0 and 100"
                )));
            }
            put("memory", "memory.swappiness", swappiness.to_string());
        }
        if m.disable_oom_killer == Some(true) {
            put("memory", "memory.oom_control", "1".into());
        }
    }
    if let Some(c) = &r.cpu {
        if let Some(shares) = given(c.shares) {
            put("cpu", "cpu.shares", shares.to_string());
        }
        if let Some(period) = given(c.period) {
            put("cpu", "cpu.cfs_period_us", period.to_string());
        }
        if let Some(quota) = given(c.quota) {
            put("cpu", "cpu.cfs_quota_us", quota.to_string());
        }
        if let Some(burst) = c.burst {
            put("cpu", "cpu.cfs_burst_us", burst.to_string());
        }
        if let Some(period) = given(c.realtime_period) {
            put("cpu", "cpu.rt_period_us", period.to_string());
        }
        if let Some(runtime) = given(c.realtime_runtime) {
            put("cpu", "cpu.rt_runtime_us", runtime.to_string());
        }
        if let Some(idle) = c.idle {
            put("cpu", "cpu.idle", idle.to_string());
        }
        if let Some(cpus) = c.cpus.as_deref().filter(|c| !c.is_empty()) {
            put("cpuset", "cpuset.cpus", cpus.into());
        }
        if let Some(mems) = c.mems.as_deref().filter(|m| !m.is_empty()) {
            put("cpuset", "cpuset.mems", mems.into());
        }
    }
    if let Some(limit) = r.pids.as_ref().and_then(|p| given(p.limit)) {
        put("pids", "pids.max", if limit < 0 { "max".into() } else { limit.to_string() });
    }
    if let Some(b) = &r.block_io {
        if let Some(weight) = given(b.weight) {
            put("blkio", "blkio.weight", weight.to_string());
        }
        if let Some(weight) = given(b.leaf_weight) {
            put("blkio", "blkio.leaf_weight", weight.to_string());
        }
        for d in &b.weight_device {
            if let Some(weight) = given(d.weight) {
                put("blkio", "blkio.weight_device", format!("{}:{} {weight}", d.major, d.minor));
            }
            if let Some(weight) = given(d.leaf_weight) {
                put("blkio", "blkio.leaf_weight_device", format!("{}:{} {weight}", d.major, d.minor));
            }
        }
        for (file, devices) in [
            ("blkio.throttle.read_bps_device", &b.throttle_read_bps_device),
            ("blkio.throttle.write_bps_device", &b.throttle_write_bps_device),
            ("blkio.throttle.read_iops_device", &b.throttle_read_iops_device),
            ("blkio.throttle.write_iops_device", &b.throttle_write_iops_device),
        ] {
            for d in devices {
                put("blkio", file, format!("{}:{} {}", d.major, d.minor, d.rate));
            }
        }
    }
    for h in &r.hugepage_limits {
        check_page_size(&h.page_size)?;
        put("hugetlb", &format!("hugetlb.{}.limit_in_bytes", h.page_size), h.limit.to_string());
    }
    if let Some(n) = &r.network {
        if let Some(class) = given(n.class_id) {
            put("net_cls", "net_cls.classid", class.to_string());
        }
        for p in &n.priorities {
            put("net_prio", "net_prio.ifpriomap", format!("{} {}", p.name, p.priority));
        }
    }
    for (device, limit) in &r.rdma {
        put("rdma", "rdma.max", super::v2::rdma_line(device, limit));
    }
    Ok(list)
}

/// The size becomes part of a file's name.
pub(super) fn check_page_size(size: &str) -> Result<()> {
    let digits = size.trim_end_matches("KB").trim_end_matches("MB").trim_end_matches("GB");
    if digits.len() + 2 == size.len() && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(());
    }
    Err(Error::invalid(format!("linux.resources.hugepageLimits: {size:?} is not a page size; 2MB is one")))
}

fn set_devices(directory: &Path, rules: &DeviceRules) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    use std::io::Write;
    let open = |file: &str| {
        let path = directory.join(file);
        File::options().write(true).open(&path).context(|| format!("open {}", path.display()))
    };
    let put = |file: &mut File, name: &str, line: &str| {
        file.write_all(line.as_bytes()).context(|| format!("write {line:?} to {}", directory.join(name).display()))
    };
    let (base, other) =
        if rules.allow_by_default { ("devices.allow", "devices.deny") } else { ("devices.deny", "devices.allow") };
    put(&mut open(base)?, base, "a")?;
    if !rules.exceptions.is_empty() {
        let mut file = open(other)?;
        for exception in &rules.exceptions {
            put(&mut file, other, &exception.to_string())?;
        }
    }
    Ok(())
}

pub(super) fn entrance(paths: &Paths) -> Result<Entrance> {
    let open = |path: &PathBuf| {
        let file = path.join("tasks");
        File::options().write(true).open(&file).context(|| format!("open {}", file.display()))
    };
    Ok(Entrance { born_in: None, files: paths.iter().map(|(_, p)| open(p)).collect::<Result<_>>()? })
}

pub(super) fn set_frozen(paths: &Paths, freeze: bool) -> Result<()> {
    let directory = freezer(paths).ok_or_else(|| missing("freezer"))?;
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
    use oci::runtime::{CpuLimits, HugepageLimit, MemoryLimits, PidsLimit};

    #[test]
    fn finds_every_hierarchy_and_no_way_out() {
        let own = "9:name=systemd:/\n4:memory:/api/x\n1:cpu,cpuacct:/\n0::/\n";
        let Location::V1 { paths } = locate(own, "sampan/a", true) else { panic!("v1") };
        let shown: Vec<_> = paths.iter().map(|(c, p)| (c.as_str(), p.to_str().unwrap_or("?"))).collect();
        assert_eq!(
            shown,
            [
                ("name=systemd", "/sys/fs/cgroup/systemd/sampan/a"),
                ("memory", "/sys/fs/cgroup/memory/sampan/a"),
                ("cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct/sampan/a"),
            ]
        );
        assert_eq!(find(&paths, "cpuacct"), Some(Path::new("/sys/fs/cgroup/cpu,cpuacct/sampan/a")));
    }

    #[test]
    fn limits_become_files() {
        let resources = Resources {
            memory: Some(MemoryLimits { limit: Some(1 << 20), swap: Some(1 << 21), ..Default::default() }),
            cpu: Some(CpuLimits { quota: Some(50_000), period: Some(100_000), shares: Some(0), ..Default::default() }),
            pids: Some(PidsLimit { limit: Some(-1) }),
            ..Default::default()
        };
        let list = settings(&resources).expect("valid");
        let shown: Vec<_> = list.iter().map(|s| format!("{}={}", s.file, s.value)).collect();
        assert_eq!(
            shown,
            [
                "memory.limit_in_bytes=1048576",
                "memory.memsw.limit_in_bytes=2097152",
                "cpu.cfs_period_us=100000",
                "cpu.cfs_quota_us=50000",
                "pids.max=max"
            ]
        );
    }

    #[test]
    fn bad_values_are_refused() {
        let swap = MemoryLimits { limit: Some(100), swap: Some(50), ..Default::default() };
        assert!(settings(&Resources { memory: Some(swap), ..Default::default() }).is_err());
        let pages = HugepageLimit { page_size: "../2MB".into(), limit: 1 };
        assert!(settings(&Resources { hugepage_limits: vec![pages], ..Default::default() }).is_err());
        let unified = [("memory.high".to_owned(), "1".to_owned())].into();
        assert!(settings(&Resources { unified, ..Default::default() }).is_err());
    }
}
