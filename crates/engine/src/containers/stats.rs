//! A container's use of resources: the shim's metrics, the network's counters, and what the machine says.

use super::Containers;
use crate::model::{BlkioEntry, ContainerRecord, InterfaceStats, NetworkMode, Stats};
use crate::spec::Host;
use oci::{Error, Result, Timestamp};
use prost::Message;
use std::collections::BTreeMap;
use std::fs;
use wire::metrics::{v1, v2};
use wire::well_known::Any;

/// Clock ticks a second in `/proc/stat`.
const TICKS: u64 = 100;

fn decode(metrics: &Any, host: &Host) -> Result<Stats> {
    let broken = |e: prost::DecodeError| Error::corrupt("the shim's metrics can't be read").with_source(e);
    let name = metrics.type_url.rsplit('/').next().unwrap_or_default();
    let mut stats = match name {
        "io.containerd.cgroups.v1.Metrics" => from_v1(v1::Metrics::decode(&*metrics.value).map_err(broken)?),
        "io.containerd.cgroups.v2.Metrics" => from_v2(v2::Metrics::decode(&*metrics.value).map_err(broken)?),
        other => return Err(Error::unsupported(format!("metrics of type {other:?}"))),
    };
    if stats.memory_limit == 0 || stats.memory_limit > host.memory {
        stats.memory_limit = host.memory;
    }
    stats.online_cpus = host.cpus;
    stats.read = Timestamp::now();
    Ok(stats)
}

fn from_v1(metrics: v1::Metrics) -> Stats {
    let cpu = metrics.cpu.unwrap_or_default();
    let (usage, throttle) = (cpu.usage.unwrap_or_default(), cpu.throttling.unwrap_or_default());
    let memory = metrics.memory.unwrap_or_default();
    let used = memory.usage.clone().unwrap_or_default();
    let pids = metrics.pids.unwrap_or_default();
    let mut blkio: BTreeMap<(u64, u64, String), BlkioEntry> = BTreeMap::new();
    let io = metrics.blkio.unwrap_or_default();
    let mut note = |entry: v1::BlkIoEntry, set: fn(&mut BlkioEntry, u64)| {
        let op = entry.op.to_ascii_lowercase();
        if op == "read" || op == "write" {
            let key = (entry.major, entry.minor, op.clone());
            let made = BlkioEntry { major: entry.major, minor: entry.minor, op, bytes: 0, operations: 0 };
            set(blkio.entry(key).or_insert(made), entry.value);
        }
    };
    io.io_service_bytes_recursive.into_iter().for_each(|e| note(e, |b, v| b.bytes = v));
    io.io_serviced_recursive.into_iter().for_each(|e| note(e, |b, v| b.operations = v));
    let memory_stats = [
        ("cache", memory.cache),
        ("rss", memory.rss),
        ("rss_huge", memory.rss_huge),
        ("mapped_file", memory.mapped_file),
        ("dirty", memory.dirty),
        ("writeback", memory.writeback),
        ("pgpgin", memory.pg_pg_in),
        ("pgpgout", memory.pg_pg_out),
        ("pgfault", memory.pg_fault),
        ("pgmajfault", memory.pg_maj_fault),
        ("inactive_anon", memory.inactive_anon),
        ("active_anon", memory.active_anon),
        ("inactive_file", memory.inactive_file),
        ("active_file", memory.active_file),
        ("unevictable", memory.unevictable),
        ("hierarchical_memory_limit", memory.hierarchical_memory_limit),
        ("hierarchical_memsw_limit", memory.hierarchical_swap_limit),
        ("total_cache", memory.total_cache),
        ("total_rss", memory.total_rss),
        ("total_rss_huge", memory.total_rss_huge),
        ("total_mapped_file", memory.total_mapped_file),
        ("total_dirty", memory.total_dirty),
        ("total_writeback", memory.total_writeback),
        ("total_pgpgin", memory.total_pg_pg_in),
        ("total_pgpgout", memory.total_pg_pg_out),
        ("total_pgfault", memory.total_pg_fault),
        ("total_pgmajfault", memory.total_pg_maj_fault),
        ("total_inactive_anon", memory.total_inactive_anon),
        ("total_active_anon", memory.total_active_anon),
        ("total_inactive_file", memory.total_inactive_file),
        ("total_active_file", memory.total_active_file),
        ("total_unevictable", memory.total_unevictable),
    ];
    Stats {
        cpu_total: usage.total,
        cpu_user: usage.user,
        cpu_system: usage.kernel,
        cpu_per_cpu: usage.per_cpu,
        throttling_periods: throttle.periods,
        throttled_periods: throttle.throttled_periods,
        throttled_time: throttle.throttled_time,
        memory_usage: used.usage,
        memory_max_usage: used.max,
        memory_limit: used.limit,
        memory_failcnt: used.failcnt,
        memory_stats: memory_stats.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
        pids: pids.current,
        pids_limit: pids.limit,
        blkio: blkio.into_values().collect(),
        ..Default::default()
    }
}

fn from_v2(metrics: v2::Metrics) -> Stats {
    let cpu = metrics.cpu.unwrap_or_default();
    let memory = metrics.memory.unwrap_or_default();
    let pids = metrics.pids.unwrap_or_default();
    let blkio = metrics.io.unwrap_or_default().usage.into_iter().flat_map(|e| {
        let entry = |op: &str, bytes, operations| BlkioEntry {
            major: e.major,
            minor: e.minor,
            op: op.into(),
            bytes,
            operations,
        };
        [entry("read", e.rbytes, e.rios), entry("write", e.wbytes, e.wios)]
    });
    let memory_stats = [
        ("anon", memory.anon),
        ("file", memory.file),
        ("kernel_stack", memory.kernel_stack),
        ("slab", memory.slab),
        ("sock", memory.sock),
        ("shmem", memory.shmem),
        ("file_mapped", memory.file_mapped),
        ("file_dirty", memory.file_dirty),
        ("file_writeback", memory.file_writeback),
        ("anon_thp", memory.anon_thp),
        ("inactive_anon", memory.inactive_anon),
        ("active_anon", memory.active_anon),
        ("inactive_file", memory.inactive_file),
        ("active_file", memory.active_file),
        ("unevictable", memory.unevictable),
        ("slab_reclaimable", memory.slab_reclaimable),
        ("slab_unreclaimable", memory.slab_unreclaimable),
        ("pgfault", memory.pgfault),
        ("pgmajfault", memory.pgmajfault),
        ("workingset_refault", memory.workingset_refault),
        ("workingset_activate", memory.workingset_activate),
        ("pgrefill", memory.pgrefill),
        ("pgscan", memory.pgscan),
        ("pgsteal", memory.pgsteal),
        ("pgactivate", memory.pgactivate),
        ("pgdeactivate", memory.pgdeactivate),
    ];
    Stats {
        cpu_total: cpu.usage_usec * 1000,
        cpu_user: cpu.user_usec * 1000,
        cpu_system: cpu.system_usec * 1000,
        throttling_periods: cpu.nr_periods,
        throttled_periods: cpu.nr_throttled,
        throttled_time: cpu.throttled_usec * 1000,
        memory_usage: memory.usage,
        memory_max_usage: memory.max_usage,
        memory_limit: memory.usage_limit,
        memory_failcnt: metrics.memory_events.map_or(0, |e| e.max),
        memory_stats: memory_stats.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
        pids: pids.current,
        pids_limit: if pids.limit == u64::MAX { 0 } else { pids.limit },
        blkio: blkio.collect(),
        cgroup_v2: true,
        ..Default::default()
    }
}

/// Nanoseconds that all processors of the machine have worked or waited, from `/proc/stat`.
fn machine_cpu(stat: &str) -> u64 {
    let line = stat.lines().find_map(|l| l.strip_prefix("cpu ")).unwrap_or_default();
    // user nice system idle iowait irq softirq; steal and guest are contained in others.
    let ticks: u64 = line.split_ascii_whitespace().take(7).filter_map(|n| n.parse::<u64>().ok()).sum();
    ticks * (1_000_000_000 / TICKS)
}

impl Containers {
    /// Its use of resources.
    ///
    /// # Errors
    /// `Conflict` if it doesn't run.
    pub async fn stats(&self, id: &str) -> Result<Stats> {
        let core = self.ns.core().clone();
        let handle = self.find(id)?;
        let record = handle.record();
        let metrics = handle.task()?.stats().await?;
        let mut stats = decode(&metrics, &core.host)?;
        let (machine, networks) = crate::blocking(move || {
            let machine = machine_cpu(&fs::read_to_string("/proc/stat")?);
            Ok((machine, networks(&core, &record)?))
        })
        .await?;
        stats.machine_cpu = machine;
        stats.networks = networks;
        Ok(stats)
    }
}

fn networks(core: &crate::engine::Core, record: &ContainerRecord) -> Result<Vec<InterfaceStats>> {
    // Who shares another container's namespace shares its counters.
    let owner = match &record.spec.network {
        NetworkMode::Container(id) => id.as_str(),
        _ => &record.id,
    };
    let counters = core.net.manager().stats(owner)?;
    let interface = |c: network::Counters| InterfaceStats {
        name: c.interface,
        rx_bytes: c.rx_bytes,
        rx_packets: c.rx_packets,
        rx_errors: c.rx_errors,
        rx_dropped: c.rx_dropped,
        tx_bytes: c.tx_bytes,
        tx_packets: c.tx_packets,
        tx_errors: c.tx_errors,
        tx_dropped: c.tx_dropped,
    };
    Ok(counters.into_iter().map(interface).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_cgroups() {
        let host = Host::for_tests();
        let v1 = v1::Metrics {
            cpu: Some(v1::CpuStat {
                usage: Some(v1::CpuUsage { total: 9, kernel: 4, user: 5, per_cpu: vec![9] }),
                throttling: None,
            }),
            memory: Some(v1::MemoryStat {
                usage: Some(v1::MemoryEntry { limit: u64::MAX, usage: 7, max: 8, failcnt: 1 }),
                ..Default::default()
            }),
            blkio: Some(v1::BlkIoStat {
                io_service_bytes_recursive: vec![v1::BlkIoEntry { op: "Read".into(), value: 3, ..Default::default() }],
                io_serviced_recursive: vec![v1::BlkIoEntry { op: "Read".into(), value: 1, ..Default::default() }],
                ..Default::default()
            }),
            ..Default::default()
        };
        let stats = decode(&Any::pack("io.containerd.cgroups.v1.Metrics", &v1), &host).unwrap();
        assert_eq!((stats.cpu_total, stats.memory_usage, stats.memory_limit), (9, 7, host.memory));
        assert_eq!((stats.blkio[0].bytes, stats.blkio[0].operations), (3, 1));
        let v2 = v2::Metrics {
            cpu: Some(v2::CpuStat { usage_usec: 2, ..Default::default() }),
            memory: Some(v2::MemoryStat { usage: 5, usage_limit: 100, ..Default::default() }),
            ..Default::default()
        };
        let stats = decode(&Any::pack("io.containerd.cgroups.v2.Metrics", &v2), &host).unwrap();
        assert_eq!((stats.cpu_total, stats.memory_usage, stats.memory_limit), (2000, 5, 100));
        assert!(decode(&Any::pack("x", &v2), &host).is_err());
    }

    #[test]
    fn the_machines_time() {
        assert_eq!(machine_cpu("cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1\n"), 28 * 10_000_000);
        assert_eq!(machine_cpu(""), 0);
    }
}
