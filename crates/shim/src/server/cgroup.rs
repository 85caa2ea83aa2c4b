//! The container's cgroups: metrics, processes, and whether the kernel killed for memory.

use rustix::event::EventfdFlags;
use rustix::event::epoll::EventFlags;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use wire::metrics::{v1, v2};
use wire::well_known::Any;

/// Where a container's cgroups are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cgroups {
    /// Directory by v1 controller.
    v1: BTreeMap<String, PathBuf>,
    /// Directory in the v2 hierarchy.
    v2: Option<PathBuf>,
}

impl Cgroups {
    /// Those of process `pid`, as far as they are its container's own: a runtime may leave it in the root, or in the
    /// shim's cgroup, and whoever else is there is not to be listed, and still less killed.
    pub(super) fn of(pid: u32) -> Self {
        let read = |who: &str| std::fs::read_to_string(format!("/proc/{who}/cgroup")).unwrap_or_default();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mut found = Self::parse(&read(&pid.to_string()), &mounts);
        let shims = Self::parse(&read("self"), &mounts);
        found.v1.retain(|controller, dir| shims.v1.get(controller) != Some(dir));
        found.v2 = found.v2.filter(|dir| shims.v2.as_ref() != Some(dir));
        found
    }

    fn parse(own: &str, mounts: &str) -> Self {
        let mut found = Self::default();
        for line in own.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            for mount in mounts.lines() {
                let Some((before, after)) = mount.split_once(" - ") else { continue };
                let mut fields = before.split(' ').skip(3);
                let (Some(root), Some(point)) = (fields.next(), fields.next()) else { continue };
                let mut kind = after.split(' ');
                let (fs, options) = (kind.next().unwrap_or(""), kind.nth(1).unwrap_or(""));
                let Some(below) = below(path, root).filter(|b| !b.is_empty()) else { continue };
                let dir = Path::new(point).join(below);
                if controllers.is_empty() && fs == "cgroup2" {
                    found.v2.get_or_insert(dir);
                } else if fs == "cgroup" {
                    for controller in controllers.split(',').filter(|c| options.split(',').any(|o| o == *c)) {
                        found.v1.entry(controller.to_owned()).or_insert_with(|| dir.clone());
                    }
                }
            }
        }
        found
    }

    /// Processes that the kernel has killed here for want of memory.
    pub(super) fn oom_kills(&self) -> u64 {
        if let Some(dir) = self.v1.get("memory") {
            return keyed(&dir.join("memory.oom_control"), "oom_kill");
        }
        self.v2.as_ref().map_or(0, |dir| keyed(&dir.join("memory.events"), "oom_kill"))
    }

    /// A descriptor that becomes ready when memory runs out: v1's event (an eventfd), or v2's file of counts.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn oom_watch(&self) -> std::io::Result<Option<(OwnedFd, EventFlags)>> {
        if let Some(dir) = self.v1.get("memory") {
            let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            let control = File::open(dir.join("memory.oom_control"))?;
            let line = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
            File::options().write(true).open(dir.join("cgroup.event_control"))?.write_all(line.as_bytes())?;
            return Ok(Some((event, EventFlags::IN)));
        }
        match self.v2.as_ref().map(|dir| File::open(dir.join("memory.events"))) {
            None => Ok(None),
            Some(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Some(file) => Ok(Some((file?.into(), EventFlags::PRI))),
        }
    }

    /// Kills every process, again and again while new ones appear, because processes fork. What is left then (stuck
    /// in the kernel, or forking faster than we kill) the runtime's delete has to deal with.
    pub(super) fn kill_all(&self) {
        if self.v1.is_empty()
            && let Some(dir) = &self.v2
            && std::fs::write(dir.join("cgroup.kill"), "1").is_ok()
        {
            return;
        }
        for _ in 0..16 {
            let mut sent = false;
            for pid in self.pids() {
                let Some(raw) = Pid::from_raw(pid as i32) else { continue };
                let Ok(handle) = pidfd_open(raw, PidfdFlags::empty()) else { continue };
                // It may have ended, and its number gone to another, between the listing and the opening.
                if self.pids().binary_search(&pid).is_ok() {
                    sent |= pidfd_send_signal(handle, Signal::KILL).is_ok();
                }
            }
            if !sent {
                return;
            }
        }
    }

    /// Host pids of all processes, in nested cgroups too.
    pub(super) fn pids(&self) -> Vec<u32> {
        let dir = ["pids", "devices", "memory", "freezer"].iter().find_map(|c| self.v1.get(*c)).or(self.v2.as_ref());
        let mut found = Vec::new();
        let mut stack: Vec<PathBuf> = dir.into_iter().cloned().collect();
        while let Some(dir) = stack.pop() {
            let procs = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            found.extend(procs.lines().filter_map(|l| l.parse::<u32>().ok()));
            let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten();
            stack.extend(entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()));
        }
        // 0 stands for a process that this PID namespace cannot see.
        found.retain(|pid| *pid != 0);
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Metrics in the message of the cgroup version that has the controllers.
    pub(super) fn metrics(&self) -> Any {
        match &self.v2 {
            Some(dir) if !self.v1.contains_key("memory") => {
                Any::pack("io.containerd.cgroups.v2.Metrics", &unified(dir))
            }
            _ => Any::pack("io.containerd.cgroups.v1.Metrics", &self.legacy()),
        }
    }

    fn legacy(&self) -> v1::Metrics {
        let at = |controller: &str, file: &str| self.v1.get(controller).map(|dir| dir.join(file)).unwrap_or_default();
        let entry = |prefix: &str| v1::MemoryEntry {
            limit: number(&at("memory", &format!("{prefix}.limit_in_bytes"))),
            usage: number(&at("memory", &format!("{prefix}.usage_in_bytes"))),
            max: number(&at("memory", &format!("{prefix}.max_usage_in_bytes"))),
            failcnt: number(&at("memory", &format!("{prefix}.failcnt"))),
        };
        let stat = table(&at("memory", "memory.stat"));
        let get = |key: &str| stat.get(key).copied().unwrap_or(0);
        let oom = at("memory", "memory.oom_control");
        let per_cpu = std::fs::read_to_string(at("cpuacct", "cpuacct.usage_percpu")).unwrap_or_default();
        // cpuacct.stat counts in ticks of 1/100 s.
        let ticks = |key: &str| keyed(&at("cpuacct", "cpuacct.stat"), key).saturating_mul(10_000_000);
        let throttled = at("cpu", "cpu.stat");
        v1::Metrics {
            pids: Some(v1::PidsStat {
                current: number(&at("pids", "pids.current")),
                limit: number(&at("pids", "pids.max")),
            }),
            cpu: Some(v1::CpuStat {
                usage: Some(v1::CpuUsage {
                    total: number(&at("cpuacct", "cpuacct.usage")),
                    kernel: ticks("system"),
                    user: ticks("user"),
                    per_cpu: per_cpu.split_whitespace().filter_map(|n| n.parse().ok()).collect(),
                }),
                throttling: Some(v1::Throttle {
                    periods: keyed(&throttled, "nr_periods"),
                    throttled_periods: keyed(&throttled, "nr_throttled"),
                    throttled_time: keyed(&throttled, "throttled_time"),
                }),
            }),
            memory: Some(v1::MemoryStat {
                cache: get("cache"),
                rss: get("rss"),
                rss_huge: get("rss_huge"),
                mapped_file: get("mapped_file"),
                dirty: get("dirty"),
                writeback: get("writeback"),
                pg_pg_in: get("pgpgin"),
                pg_pg_out: get("pgpgout"),
                pg_fault: get("pgfault"),
                pg_maj_fault: get("pgmajfault"),
                inactive_anon: get("inactive_anon"),
                active_anon: get("active_anon"),
                inactive_file: get("inactive_file"),
                active_file: get("active_file"),
                unevictable: get("unevictable"),
                hierarchical_memory_limit: get("hierarchical_memory_limit"),
                hierarchical_swap_limit: get("hierarchical_memsw_limit"),
                total_cache: get("total_cache"),
                total_rss: get("total_rss"),
                total_rss_huge: get("total_rss_huge"),
                total_mapped_file: get("total_mapped_file"),
                total_dirty: get("total_dirty"),
                total_writeback: get("total_writeback"),
                total_pg_pg_in: get("total_pgpgin"),
                total_pg_pg_out: get("total_pgpgout"),
                total_pg_fault: get("total_pgfault"),
                total_pg_maj_fault: get("total_pgmajfault"),
                total_inactive_anon: get("total_inactive_anon"),
                total_active_anon: get("total_active_anon"),
                total_inactive_file: get("total_inactive_file"),
                total_active_file: get("total_active_file"),
                total_unevictable: get("total_unevictable"),
                usage: Some(entry("memory")),
                swap: Some(entry("memory.memsw")),
                kernel: Some(entry("memory.kmem")),
                kernel_tcp: Some(entry("memory.kmem.tcp")),
            }),
            memory_oom_control: Some(v1::MemoryOomControl {
                oom_kill_disable: keyed(&oom, "oom_kill_disable"),
                under_oom: keyed(&oom, "under_oom"),
                oom_kill: keyed(&oom, "oom_kill"),
            }),
            blkio: Some(v1::BlkIoStat {
                io_service_bytes_recursive: device_lines(&at("blkio", "blkio.throttle.io_service_bytes_recursive")),
                io_serviced_recursive: device_lines(&at("blkio", "blkio.throttle.io_serviced_recursive")),
                ..v1::BlkIoStat::default()
            }),
            ..v1::Metrics::default()
        }
    }
}

fn below<'a>(path: &'a str, root: &str) -> Option<&'a str> {
    let rest = if root == "/" { path } else { path.strip_prefix(root)? };
    Some(rest.trim_start_matches('/'))
}

/// A file that holds one number; `max` reads as the largest, a missing file as 0.
fn number(path: &Path) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    match text.trim() {
        "max" => u64::MAX,
        other => other.parse().unwrap_or(0),
    }
}

/// A file of `key value` lines.
fn table(path: &Path) -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let (key, value) = line.split_once(' ')?;
            Some((key.to_owned(), value.trim().parse().ok()?))
        })
        .collect()
}

fn keyed(path: &Path, key: &str) -> u64 {
    table(path).get(key).copied().unwrap_or(0)
}

/// Lines `major:minor Op value` of v1's blkio files.
fn device_lines(path: &Path) -> Vec<v1::BlkIoEntry> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (major, minor) = words.next()?.split_once(':')?;
            let op = words.next()?;
            Some(v1::BlkIoEntry {
                op: op.into(),
                device: String::new(),
                major: major.parse().ok()?,
                minor: minor.parse().ok()?,
                value: words.next()?.parse().ok()?,
            })
        })
        .collect()
}

fn unified(dir: &Path) -> v2::Metrics {
    let cpu = table(&dir.join("cpu.stat"));
    let memory = table(&dir.join("memory.stat"));
    let events = table(&dir.join("memory.events"));
    let from = |table: &BTreeMap<String, u64>, key: &str| table.get(key).copied().unwrap_or(0);
    let cpu = |key: &str| from(&cpu, key);
    let stat = |key: &str| from(&memory, key);
    let event = |key: &str| from(&events, key);
    let io = std::fs::read_to_string(dir.join("io.stat")).unwrap_or_default();
    v2::Metrics {
        pids: Some(v2::PidsStat {
            current: number(&dir.join("pids.current")),
            limit: match number(&dir.join("pids.max")) {
                u64::MAX => 0,
                limit => limit,
            },
        }),
        cpu: Some(v2::CpuStat {
            usage_usec: cpu("usage_usec"),
            user_usec: cpu("user_usec"),
            system_usec: cpu("system_usec"),
            nr_periods: cpu("nr_periods"),
            nr_throttled: cpu("nr_throttled"),
            throttled_usec: cpu("throttled_usec"),
            nr_bursts: cpu("nr_bursts"),
            burst_usec: cpu("burst_usec"),
            ..v2::CpuStat::default()
        }),
        memory: Some(v2::MemoryStat {
            anon: stat("anon"),
            file: stat("file"),
            kernel_stack: stat("kernel_stack"),
            slab: stat("slab"),
            sock: stat("sock"),
            shmem: stat("shmem"),
            file_mapped: stat("file_mapped"),
            file_dirty: stat("file_dirty"),
            file_writeback: stat("file_writeback"),
            anon_thp: stat("anon_thp"),
            inactive_anon: stat("inactive_anon"),
            active_anon: stat("active_anon"),
            inactive_file: stat("inactive_file"),
            active_file: stat("active_file"),
            unevictable: stat("unevictable"),
            slab_reclaimable: stat("slab_reclaimable"),
            slab_unreclaimable: stat("slab_unreclaimable"),
            pgfault: stat("pgfault"),
            pgmajfault: stat("pgmajfault"),
            usage: number(&dir.join("memory.current")),
            usage_limit: number(&dir.join("memory.max")),
            swap_usage: number(&dir.join("memory.swap.current")),
            swap_limit: number(&dir.join("memory.swap.max")),
            max_usage: number(&dir.join("memory.peak")),
            ..v2::MemoryStat::default()
        }),
        memory_events: Some(v2::MemoryEvents {
            low: event("low"),
            high: event("high"),
            max: event("max"),
            oom: event("oom"),
            oom_kill: event("oom_kill"),
            oom_group_kill: event("oom_group_kill"),
        }),
        io: Some(v2::IoStat { usage: io.lines().filter_map(io_line).collect(), ..v2::IoStat::default() }),
        ..v2::Metrics::default()
    }
}

/// A line `major:minor rbytes=1 wbytes=2 ...` of v2's io.stat.
fn io_line(line: &str) -> Option<v2::IoEntry> {
    let (device, rest) = line.split_once(' ')?;
    let (major, minor) = device.split_once(':')?;
    let value = |key: &str| {
        rest.split(' ').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('=')?.parse().ok()).unwrap_or(0)
    };
    Some(v2::IoEntry {
        major: major.parse().ok()?,
        minor: minor.parse().ok()?,
        rbytes: value("rbytes"),
        wbytes: value("wbytes"),
        rios: value("rios"),
        wios: value("wios"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_nobodys_own() {
        let mounts = "30 20 0:26 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
            32 20 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        assert_eq!(Cgroups::parse("3:pids:/\n0::/\n", mounts), Cgroups::default());
        assert_eq!(Cgroups::of(std::process::id()), Cgroups::default(), "the shim's own is no container's");
        assert!(Cgroups::default().pids().is_empty());
    }

    #[test]
    fn hybrid_hierarchies_are_found() {
        let own = "5:cpu,cpuacct:/a/c\n3:memory:/a/c\n1:name=systemd:/a/c\n0::/u\n";
        let mounts = "30 20 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
            31 20 0:27 /a /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
            32 20 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let found = Cgroups::parse(own, mounts);
        assert_eq!(found.v1["memory"], Path::new("/sys/fs/cgroup/memory/a/c"));
        assert_eq!(found.v1["cpuacct"], Path::new("/sys/fs/cgroup/cpu/c"));
        assert_eq!(found.v2.as_deref(), Some(Path::new("/sys/fs/cgroup/unified/u")));
    }
}
