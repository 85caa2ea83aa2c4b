//! What the machine can do, read once when the engine opens.

use super::caps;
use oci::Platform;
use std::fs;

/// Facts about this machine that decide what a container gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// Go's name of the architecture.
    pub(crate) arch: String,
    /// Major and minor version of the kernel.
    pub(crate) kernel: (u32, u32),
    /// cgroup v2 alone.
    pub(crate) cgroup_v2: bool,
    /// The memory controller accounts swap.
    pub(crate) swap_accounting: bool,
    /// seccomp filters.
    pub(crate) seccomp: bool,
    /// AppArmor is switched on.
    pub(crate) apparmor: bool,
    /// Capabilities that this process can hand on.
    pub(crate) capabilities: Vec<String>,
    /// The lowest `oom_score_adj` that this process can give.
    pub(crate) oom_score_adj_min: i32,
    /// Bytes of memory.
    pub(crate) memory: u64,
    /// Processors on line.
    pub(crate) cpus: u32,
}

impl Host {
    /// Reads the facts.
    pub(crate) fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let status = text("/proc/self/status");
        let hex = |name: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(name));
            line.and_then(|v| u64::from_str_radix(v.trim_start_matches(':').trim(), 16).ok()).unwrap_or(0)
        };
        let own_score = text("/proc/self/oom_score_adj").trim().parse().unwrap_or(0);
        let cgroup_v2 = fs::metadata("/sys/fs/cgroup/cgroup.controllers").is_ok();
        let capabilities = caps::from_mask(hex("CapBnd"));
        let may_lower = caps::from_mask(hex("CapEff")).iter().any(|c| c == "CAP_SYS_RESOURCE");
        Self {
            arch: Platform::host().architecture,
            kernel: kernel_version(&text("/proc/sys/kernel/osrelease")),
            cgroup_v2,
            swap_accounting: if cgroup_v2 {
                fs::metadata("/proc/swaps").is_ok()
            } else {
                fs::metadata("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").is_ok()
            },
            seccomp: status.lines().any(|l| l.starts_with("Seccomp:")),
            apparmor: text("/sys/module/apparmor/parameters/enabled").starts_with('Y'),
            capabilities,
            oom_score_adj_min: if may_lower { -1000 } else { own_score },
            memory: meminfo_total(&text("/proc/meminfo")),
            cpus: std::thread::available_parallelism().map_or(1, |n| n.get() as u32),
        }
    }

    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        Self {
            arch: "amd64".into(),
            kernel: (6, 1),
            cgroup_v2: true,
            swap_accounting: true,
            seccomp: true,
            apparmor: false,
            capabilities: caps::ALL.iter().map(|&n| n.to_owned()).collect(),
            oom_score_adj_min: -1000,
            memory: 8 << 30,
            cpus: 2,
        }
    }
}

fn kernel_version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn meminfo_total(text: &str) -> u64 {
    let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"));
    line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_texts_of_proc() {
        assert_eq!(kernel_version("6.18.5-gentoo\n"), (6, 18));
        assert_eq!(kernel_version(""), (0, 0));
        assert_eq!(meminfo_total("MemTotal:        1024 kB\nMemFree: 1 kB\n"), 1 << 20);
    }
}
