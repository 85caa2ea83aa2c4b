//! cgroup v2.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use oci::runtime::{RdmaLimit, Resources};
use oci::{Context, Error, Result};

use super::devices::DeviceRules;
use super::{Entrance, Location, Made, ROOT, make_directory, read, write, write_io};
use crate::log;

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
    let new = make_directory(path, made)?;
    if !new && let Some(pid) = read(path, "cgroup.procs")?.lines().next() {
        return Err(Error::conflict(format!(
            "cgroup {} is not empty: process {pid} is in it; give the container a linux.cgroupsPath of its own",
            path.display()
        )));
    }
    let needed: BTreeSet<&str> = settings.iter().filter_map(|(file, _)| controller(file)).collect();
    enable(path, &needed)?;
    apply(path, &settings)?;
    set_devices(path, resources, false)
}

pub(super) fn update(path: &Path, resources: &Resources) -> Result<()> {
    let settings = settings(resources)?;
    if let Some(memory) = resources.memory.as_ref().filter(|m| m.check_before_update == Some(true))
        && let Some(limit) = memory.limit.filter(|l| *l > 0)
    {
        let used: i64 = read(path, "memory.current")?.parse().unwrap_or(0);
        if used > limit {
            return Err(Error::conflict(format!(
                "linux.resources.memory.limit: {limit} is below what is used now ({used}) and checkBeforeUpdate is set"
            )));
        }
    }
    apply(path, &settings)?;
    if resources.devices.is_empty() { Ok(()) } else { set_devices(path, resources, true) }
}

fn privileged() -> bool {
    rustix::process::geteuid().is_root()
}

/// Which controller a control file belongs to; `cgroup.*` belong to none.
fn controller(file: &str) -> Option<&str> {
    file.split('.').next().filter(|c| *c != "cgroup")
}

/// Enables controllers on the way from the root down to the cgroup's parent. All that exist are enabled, so that tools
/// find their numbers; those in `needed` must be.
fn enable(path: &Path, needed: &BTreeSet<&str>) -> Result<()> {
    let root = Path::new(ROOT);
    let Ok(relative) = path.strip_prefix(root) else { return Ok(()) };
    let mut directory = root.to_owned();
    for part in relative.components() {
        let available = read(&directory, "cgroup.controllers")?;
        let enabled = read(&directory, "cgroup.subtree_control")?;
        let enabled: BTreeSet<&str> = enabled.split_whitespace().collect();
        let missing: Vec<&str> = available.split_whitespace().filter(|c| !enabled.contains(c)).collect();
        let all: String = missing.iter().map(|c| format!("+{c} ")).collect();
        if !missing.is_empty() && write_io(&directory, "cgroup.subtree_control", all.trim_end()).is_err() {
            // One that cannot be enabled must not keep the others from being.
            for c in &missing {
                if let Err(error) = write_io(&directory, "cgroup.subtree_control", &format!("+{c}"))
                    && needed.contains(c)
                {
                    return Err(error).context(|| format!("enable cgroup controller {c:?} in {}", directory.display()));
                }
            }
        }
        directory.push(part);
    }
    if !needed.is_empty() {
        let available = read(path, "cgroup.controllers")?;
        for controller in needed {
            if !available.split_whitespace().any(|c| c == *controller) {
                return Err(Error::unsupported(format!(
                    "linux.resources: cgroup {} has no controller {controller:?}",
                    path.display()
                )));
            }
        }
    }
    Ok(())
}

fn apply(path: &Path, settings: &[(String, String)]) -> Result<()> {
    for (file, value) in settings {
        match write_io(path, file, value) {
            Ok(()) => {}
            // Swap accounting can be off; "no swap at all" and "unlimited" then hold anyway.
            Err(error)
                if file == "memory.swap.max"
                    && error.kind() == ErrorKind::NotFound
                    && matches!(value.as_str(), "0" | "max") => {}
            Err(error) if file == "io.bfq.weight" && error.kind() == ErrorKind::NotFound => {
                // The other scheduler's scale is 1 to 10000.
                let weight: u64 = value.parse().unwrap_or(100);
                write(path, "io.weight", &(1 + (weight.max(10) - 10) * 9999 / 990).to_string())?;
            }
            Err(error) => {
                return Err(error).context(|| format!("write {value:?} to {}", path.join(file).display()));
            }
        }
    }
    Ok(())
}

/// v1 shares (2 to 262144, normal 1024) on v2's scale (1 to 10000, normal 100).
fn weight_of_shares(shares: u64) -> u64 {
    let shares = shares.clamp(2, 262_144);
    1 + (shares - 2) * 9999 / 262_142
}

pub(super) fn rdma_line(device: &str, limit: &RdmaLimit) -> String {
    let mut line = device.to_owned();
    for (name, value) in [("hca_handle", limit.hca_handles), ("hca_object", limit.hca_objects)] {
        if let Some(value) = value {
            line += &format!(" {name}={value}");
        }
    }
    line
}

/// Limits to control files, in the order of writing. Zero means "not given", as engines write it.
pub(super) fn settings(r: &Resources) -> Result<Vec<(String, String)>> {
    let mut list: Vec<(String, String)> = Vec::new();
    let mut put = |file: &str, value: String| list.push((file.to_owned(), value));
    let number = |value: i64| if value < 0 { "max".to_owned() } else { value.to_string() };
    let v1_only = |what: &str| Err(Error::unsupported(format!("linux.resources.{what}: exists only on cgroup v1")));
    if let Some(m) = &r.memory {
        let limit = m.limit.filter(|l| *l != 0);
        if let Some(swap) = m.swap.filter(|s| *s != 0) {
            // v1 counts memory and swap together, v2 swap alone.
            let value = match limit {
                _ if swap < 0 => "max".to_owned(),
                Some(limit) if limit > 0 && swap >= limit => (swap - limit).to_string(),
                Some(limit) if limit > 0 => {
                    return Err(Error::invalid(format!(
                        "linux.resources.memory.swap: {swap} is less than limit {limit}; it counts memory and swap"
                    )));
                }
                _ => return Err(Error::invalid("linux.resources.memory.swap: needs memory.limit")),
            };
            put("memory.swap.max", value);
        } else if limit == Some(-1) {
            put("memory.swap.max", "max".into());
        }
        if let Some(limit) = limit {
            put("memory.max", number(limit));
        }
        if let Some(soft) = m.reservation.filter(|s| *s != 0) {
            put("memory.low", number(soft));
        }
        if m.kernel.is_some_and(|k| k != 0) || m.kernel_tcp.is_some_and(|k| k != 0) {
            log::warn(format_args!("linux.resources.memory: cgroup v2 limits kernel memory with the rest; ignored"));
        }
        if m.swappiness.is_some_and(|s| s != u64::MAX) {
            return v1_only("memory.swappiness");
        }
        if m.disable_oom_killer == Some(true) {
            return v1_only("memory.disableOOMKiller");
        }
    }
    if let Some(c) = &r.cpu {
        if c.realtime_period.is_some_and(|p| p != 0) || c.realtime_runtime.is_some_and(|t| t != 0) {
            return v1_only("cpu.realtimeRuntime");
        }
        // An idle cgroup's weight cannot be set, so idleness goes first when it ends and last when it begins.
        if c.idle == Some(0) {
            put("cpu.idle", "0".into());
        }
        if let Some(shares) = c.shares.filter(|s| *s != 0) {
            put("cpu.weight", weight_of_shares(shares).to_string());
        }
        let (quota, period) = (c.quota.filter(|q| *q != 0), c.period.filter(|p| *p != 0));
        if quota.is_some() || period.is_some() {
            let quota = quota.map_or("max".to_owned(), number);
            put("cpu.max", period.map_or_else(|| quota.clone(), |p| format!("{quota} {p}")));
        }
        if let Some(burst) = c.burst {
            put("cpu.max.burst", burst.to_string());
        }
        if let Some(idle) = c.idle.filter(|i| *i != 0) {
            put("cpu.idle", idle.to_string());
        }
        if let Some(cpus) = c.cpus.as_deref().filter(|c| !c.is_empty()) {
            put("cpuset.cpus", cpus.into());
        }
        if let Some(mems) = c.mems.as_deref().filter(|m| !m.is_empty()) {
            put("cpuset.mems", mems.into());
        }
    }
    if let Some(limit) = r.pids.as_ref().and_then(|p| p.limit).filter(|l| *l != 0) {
        put("pids.max", number(limit));
    }
    if let Some(b) = &r.block_io {
        if b.leaf_weight.is_some_and(|w| w != 0) {
            return v1_only("blockIO.leafWeight");
        }
        if let Some(weight) = b.weight.filter(|w| *w != 0) {
            put("io.bfq.weight", weight.to_string());
        }
        for d in &b.weight_device {
            if d.leaf_weight.is_some_and(|w| w != 0) {
                return v1_only("blockIO.weightDevice.leafWeight");
            }
            if let Some(weight) = d.weight.filter(|w| *w != 0) {
                put("io.bfq.weight", format!("{}:{} {weight}", d.major, d.minor));
            }
        }
        for (name, devices) in [
            ("rbps", &b.throttle_read_bps_device),
            ("wbps", &b.throttle_write_bps_device),
            ("riops", &b.throttle_read_iops_device),
            ("wiops", &b.throttle_write_iops_device),
        ] {
            for d in devices {
                // 0 lifts the limit, as it does on v1.
                let rate = if d.rate == 0 { "max".to_owned() } else { d.rate.to_string() };
                put("io.max", format!("{}:{} {name}={rate}", d.major, d.minor));
            }
        }
    }
    for h in &r.hugepage_limits {
        super::v1::check_page_size(&h.page_size)?;
        put(&format!("hugetlb.{}.max", h.page_size), h.limit.to_string());
    }
    if r.network.as_ref().is_some_and(|n| n.class_id.is_some_and(|c| c != 0) || !n.priorities.is_empty()) {
        return v1_only("network");
    }
    for (device, limit) in &r.rdma {
        put("rdma.max", rdma_line(device, limit));
    }
    for (file, value) in &r.unified {
        if file.contains('/') || !file.contains('.') {
            return Err(Error::invalid(format!("linux.resources.unified: {file:?} is not a control file's name")));
        }
        put(file, value.clone());
    }
    Ok(list)
}

fn set_devices(path: &Path, resources: &Resources, replace: bool) -> Result<()> {
    if !privileged() {
        return Ok(());
    }
    let rules = DeviceRules::for_container(&resources.devices)?;
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
    use oci::runtime::{CpuLimits, MemoryLimits};

    #[test]
    fn limits_become_files() {
        let resources = Resources {
            memory: Some(MemoryLimits {
                limit: Some(100),
                swap: Some(150),
                reservation: Some(50),
                ..Default::default()
            }),
            cpu: Some(CpuLimits { shares: Some(1024), quota: Some(-1), period: Some(100_000), ..Default::default() }),
            unified: [("memory.high".to_owned(), "90".to_owned())].into(),
            ..Default::default()
        };
        let shown: Vec<_> = settings(&resources).expect("valid").iter().map(|(f, v)| format!("{f}={v}")).collect();
        assert_eq!(
            shown,
            [
                "memory.swap.max=50",
                "memory.max=100",
                "memory.low=50",
                "cpu.weight=39",
                "cpu.max=max 100000",
                "memory.high=90"
            ]
        );
    }

    #[test]
    fn weights_keep_their_ends() {
        assert_eq!([2, 262_144, 1_000_000, 0].map(weight_of_shares), [1, 10_000, 10_000, 1]);
    }

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

    #[test]
    fn unified_names_are_names() {
        for name in ["../x.y", "memory"] {
            let unified = [(name.to_owned(), "1".to_owned())].into();
            assert!(settings(&Resources { unified, ..Default::default() }).is_err(), "{name}");
        }
    }
}
