//! The numbers of a v1 cgroup.

use std::path::{Path, PathBuf};

use oci::Result;

use super::{
    Blkio, BlkioEntry, Cpu, Cpuset, Hugetlb, Memory, MemoryEntry, Pids, Stats, list, number, page_sizes, parse, table,
    text,
};
use crate::cgroups::v1::find;

/// What a tick of `cpuacct.stat` is: the kernel tells user space hundredths of seconds, whatever it counts itself.
const NANOSECONDS_OF_TICK: u64 = 10_000_000;

pub(super) fn stats(paths: &[(String, PathBuf)]) -> Result<Stats> {
    let mut stats = Stats::default();
    if let Some(path) = find(paths, "cpu") {
        throttling(path, &mut stats.cpu)?;
    }
    if let Some(path) = find(paths, "cpuacct") {
        usage(path, &mut stats.cpu)?;
    }
    if let Some(path) = find(paths, "cpuset") {
        stats.cpuset = cpuset(path)?;
    }
    if let Some(path) = find(paths, "memory") {
        stats.memory = memory(path)?;
    }
    if let Some(path) = find(paths, "pids") {
        let limit = number(path, "pids.max")?;
        stats.pids = Pids { current: number(path, "pids.current")?, limit: if limit == u64::MAX { 0 } else { limit } };
    }
    if let Some(path) = find(paths, "blkio") {
        stats.blkio = blkio(path)?;
    }
    if let Some(path) = find(paths, "hugetlb") {
        for size in page_sizes() {
            // What is reserved counts, where the kernel counts it.
            let reserved = format!("hugetlb.{size}.rsvd");
            let prefix = if path.join(format!("{reserved}.usage_in_bytes")).exists() {
                reserved
            } else {
                format!("hugetlb.{size}")
            };
            let entry = Hugetlb {
                usage: number(path, &format!("{prefix}.usage_in_bytes"))?,
                max: number(path, &format!("{prefix}.max_usage_in_bytes"))?,
                failcnt: number(path, &format!("{prefix}.failcnt"))?,
            };
            stats.hugetlb.insert(size, entry);
        }
    }
    Ok(stats)
}

fn throttling(path: &Path, cpu: &mut Cpu) -> Result<()> {
    let table = table(path, "cpu.stat")?;
    let get = |name: &str| table.get(name).copied().unwrap_or(0);
    cpu.throttling.periods = get("nr_periods");
    cpu.throttling.throttled_periods = get("nr_throttled");
    cpu.throttling.throttled_time = get("throttled_time");
    Ok(())
}

fn usage(path: &Path, cpu: &mut Cpu) -> Result<()> {
    let stat = table(path, "cpuacct.stat")?;
    let ticks = |name: &str| stat.get(name).copied().unwrap_or(0) * NANOSECONDS_OF_TICK;
    cpu.usage.user = ticks("user");
    cpu.usage.kernel = ticks("system");
    cpu.usage.total = number(path, "cpuacct.usage")?;
    let each = text(path, "cpuacct.usage_percpu")?.unwrap_or_default();
    cpu.usage.percpu = each.split_whitespace().map(parse).collect();
    // The first line names the columns.
    for line in text(path, "cpuacct.usage_all")?.unwrap_or_default().lines().skip(1) {
        let mut columns = line.split_whitespace().skip(1).map(parse);
        cpu.usage.percpu_user.push(columns.next().unwrap_or(0));
        cpu.usage.percpu_kernel.push(columns.next().unwrap_or(0));
    }
    Ok(())
}

fn cpuset(path: &Path) -> Result<Cpuset> {
    let ranges = |file: &str| -> Result<Vec<u64>> { Ok(text(path, file)?.map(|t| list(&t)).unwrap_or_default()) };
    let level = text(path, "cpuset.sched_relax_domain_level")?.unwrap_or_default();
    Ok(Cpuset {
        cpus: ranges("cpuset.cpus")?,
        cpu_exclusive: number(path, "cpuset.cpu_exclusive")?,
        mems: ranges("cpuset.mems")?,
        mem_hardwall: number(path, "cpuset.mem_hardwall")?,
        mem_exclusive: number(path, "cpuset.mem_exclusive")?,
        memory_migrate: number(path, "cpuset.memory_migrate")?,
        memory_spread_page: number(path, "cpuset.memory_spread_page")?,
        memory_spread_slab: number(path, "cpuset.memory_spread_slab")?,
        memory_pressure: number(path, "cpuset.memory_pressure")?,
        sched_load_balance: number(path, "cpuset.sched_load_balance")?,
        sched_relax_domain_level: level.trim().parse().unwrap_or(0),
    })
}

fn memory(path: &Path) -> Result<Memory> {
    let raw = table(path, "memory.stat")?;
    let entry = |kind: &str| -> Result<MemoryEntry> {
        Ok(MemoryEntry {
            limit: number(path, &format!("memory{kind}.limit_in_bytes"))?,
            usage: number(path, &format!("memory{kind}.usage_in_bytes"))?,
            max: number(path, &format!("memory{kind}.max_usage_in_bytes"))?,
            failcnt: number(path, &format!("memory{kind}.failcnt"))?,
        })
    };
    Ok(Memory {
        cache: raw.get("cache").copied().unwrap_or(0),
        usage: entry("")?,
        swap: entry(".memsw")?,
        kernel: entry(".kmem")?,
        kernel_tcp: entry(".kmem.tcp")?,
        raw,
        psi: None,
    })
}

type Target = fn(&mut Blkio) -> &mut Vec<BlkioEntry>;

/// Who keeps the numbers depends on the scheduler of the disks: the first group whose first file says something counts.
const GROUPS: [&[(&str, Target)]; 5] = [
    &[
        ("blkio.bfq.sectors_recursive", |b| &mut b.sectors_recursive),
        ("blkio.bfq.io_service_time_recursive", |b| &mut b.io_service_time_recursive),
        ("blkio.bfq.io_wait_time_recursive", |b| &mut b.io_wait_time_recursive),
        ("blkio.bfq.io_merged_recursive", |b| &mut b.io_merged_recursive),
        ("blkio.bfq.io_queued_recursive", |b| &mut b.io_queued_recursive),
        ("blkio.bfq.time_recursive", |b| &mut b.io_time_recursive),
        ("blkio.bfq.io_serviced_recursive", |b| &mut b.io_serviced_recursive),
        ("blkio.bfq.io_service_bytes_recursive", |b| &mut b.io_service_bytes_recursive),
    ],
    &[
        ("blkio.bfq.io_serviced_recursive", |b| &mut b.io_serviced_recursive),
        ("blkio.bfq.io_service_bytes_recursive", |b| &mut b.io_service_bytes_recursive),
    ],
    &[
        ("blkio.sectors_recursive", |b| &mut b.sectors_recursive),
        ("blkio.io_service_time_recursive", |b| &mut b.io_service_time_recursive),
        ("blkio.io_wait_time_recursive", |b| &mut b.io_wait_time_recursive),
        ("blkio.io_merged_recursive", |b| &mut b.io_merged_recursive),
        ("blkio.io_queued_recursive", |b| &mut b.io_queued_recursive),
        ("blkio.time_recursive", |b| &mut b.io_time_recursive),
        ("blkio.io_serviced_recursive", |b| &mut b.io_serviced_recursive),
        ("blkio.io_service_bytes_recursive", |b| &mut b.io_service_bytes_recursive),
    ],
    &[
        ("blkio.throttle.io_serviced_recursive", |b| &mut b.io_serviced_recursive),
        ("blkio.throttle.io_service_bytes_recursive", |b| &mut b.io_service_bytes_recursive),
    ],
    &[
        ("blkio.throttle.io_serviced", |b| &mut b.io_serviced_recursive),
        ("blkio.throttle.io_service_bytes", |b| &mut b.io_service_bytes_recursive),
    ],
];

fn blkio(path: &Path) -> Result<Blkio> {
    let mut blkio = Blkio::default();
    for group in GROUPS {
        for (index, (file, target)) in group.iter().enumerate() {
            let entries = entries(&text(path, file)?.unwrap_or_default());
            if index == 0 && entries.is_empty() {
                break;
            }
            *target(&mut blkio) = entries;
            if index + 1 == group.len() {
                return Ok(blkio);
            }
        }
    }
    Ok(blkio)
}

/// `8:0 Read 4096`, or `8:0 4096`; the sum at the end belongs to no device.
fn entries(text: &str) -> Vec<BlkioEntry> {
    let entry = |line: &str| {
        let (device, rest) = line.split_once(' ')?;
        let (major, minor) = device.split_once(':')?;
        let (op, value) = rest.rsplit_once(' ').unwrap_or(("", rest));
        Some(BlkioEntry { major: major.parse().ok()?, minor: minor.parse().ok()?, op: op.into(), value: parse(value) })
    };
    text.lines().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_devices() {
        let of = |op: &str, value| BlkioEntry { major: 8, minor: 16, op: op.into(), value };
        assert_eq!(entries("8:16 Read 5\n8:16 Total 7\nTotal 7\n"), [of("Read", 5), of("Total", 7)]);
        assert_eq!(entries("8:16 9\n"), [of("", 9)]);
    }
}
