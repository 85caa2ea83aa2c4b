//! Resource use.

use engine::model::{ContainerRecord, Stats};
use oci::Timestamp;
use wire::docker::stats::{
    BlkioEntry, BlkioStats, CpuStats, CpuUsage, MemoryStats, NetworkStats, PidsStats, Stats as Shown, ThrottlingData,
};

/// A sample, with the one before it. Without a sample (the container doesn't run) everything is zero.
pub fn stats(record: &ContainerRecord, now: Option<&Stats>, before: Option<&Stats>) -> Shown {
    let mut shown = Shown {
        name: format!("/{}", record.name),
        id: record.id.clone(),
        read: now.map_or(Timestamp::ZERO, |s| s.read).to_string(),
        preread: before.map_or(Timestamp::ZERO, |s| s.read).to_string(),
        precpu_stats: before.map(cpu).unwrap_or_default(),
        ..Shown::default()
    };
    let Some(now) = now else { return shown };
    shown.cpu_stats = cpu(now);
    shown.pids_stats =
        PidsStats { current: now.pids, limit: if now.pids_limit == u64::MAX { 0 } else { now.pids_limit } };
    shown.memory_stats = MemoryStats {
        usage: now.memory_usage,
        max_usage: now.memory_max_usage,
        stats: Some(now.memory_stats.clone()),
        failcnt: now.memory_failcnt,
        limit: now.memory_limit,
    };
    shown.blkio_stats = blkio(now);
    shown.networks = (!now.networks.is_empty()).then(|| {
        let counters = |n: &engine::model::InterfaceStats| NetworkStats {
            rx_bytes: n.rx_bytes,
            rx_packets: n.rx_packets,
            rx_errors: n.rx_errors,
            rx_dropped: n.rx_dropped,
            tx_bytes: n.tx_bytes,
            tx_packets: n.tx_packets,
            tx_errors: n.tx_errors,
            tx_dropped: n.tx_dropped,
        };
        now.networks.iter().map(|n| (n.name.clone(), counters(n))).collect()
    });
    shown
}

fn cpu(stats: &Stats) -> CpuStats {
    CpuStats {
        cpu_usage: CpuUsage {
            total_usage: stats.cpu_total,
            percpu_usage: (!stats.cpu_per_cpu.is_empty()).then(|| stats.cpu_per_cpu.clone()),
            usage_in_kernelmode: stats.cpu_system,
            usage_in_usermode: stats.cpu_user,
        },
        system_cpu_usage: stats.machine_cpu,
        online_cpus: stats.online_cpus,
        throttling_data: ThrottlingData {
            periods: stats.throttling_periods,
            throttled_periods: stats.throttled_periods,
            throttled_time: stats.throttled_time,
        },
    }
}

fn blkio(stats: &Stats) -> BlkioStats {
    let entries = |value: fn(&engine::model::BlkioEntry) -> u64| -> Vec<BlkioEntry> {
        stats
            .blkio
            .iter()
            .map(|e| BlkioEntry { major: e.major, minor: e.minor, op: e.op.clone(), value: value(e) })
            .collect()
    };
    // With cgroup v2 dockerd gives bytes alone; the lists of v1 are then null.
    let v1 = || (!stats.cgroup_v2).then(Vec::new);
    BlkioStats {
        io_service_bytes_recursive: Some(entries(|e| e.bytes)),
        io_serviced_recursive: (!stats.cgroup_v2).then(|| entries(|e| e.operations)),
        io_queue_recursive: v1(),
        io_service_time_recursive: v1(),
        io_wait_time_recursive: v1(),
        io_merged_recursive: v1(),
        io_time_recursive: v1(),
        sectors_recursive: v1(),
    }
}
