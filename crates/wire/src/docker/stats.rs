//! Resource use (`GET /containers/{id}/stats`).

use super::{Map, is_default};

model! {
    keys "snake_case";

    /// One sample, with the sample before it.
    pub struct Stats {
        name: String,
        id: String,
        read: String,
        preread: String,
        pids_stats: PidsStats,
        blkio_stats: BlkioStats,
        num_procs: u32,
        storage_stats: StorageStats,
        cpu_stats: CpuStats,
        precpu_stats: CpuStats,
        memory_stats: MemoryStats,
        #[serde(skip_serializing_if = "Option::is_none")]
        networks: Option<Map<NetworkStats>>,
    }

    /// Processes and threads.
    pub struct PidsStats {
        #[serde(skip_serializing_if = "is_default")]
        current: u64,
        #[serde(skip_serializing_if = "is_default")]
        limit: u64,
    }

    /// Block I/O. The lists after the first are cgroup v1's.
    pub struct BlkioStats {
        io_service_bytes_recursive: Option<Vec<BlkioEntry>>,
        io_serviced_recursive: Option<Vec<BlkioEntry>>,
        io_queue_recursive: Option<Vec<BlkioEntry>>,
        io_service_time_recursive: Option<Vec<BlkioEntry>>,
        io_wait_time_recursive: Option<Vec<BlkioEntry>>,
        io_merged_recursive: Option<Vec<BlkioEntry>>,
        io_time_recursive: Option<Vec<BlkioEntry>>,
        sectors_recursive: Option<Vec<BlkioEntry>>,
    }

    /// One device's count of one operation (`read`, `write`, ...).
    pub struct BlkioEntry {
        major: u64,
        minor: u64,
        op: String,
        value: u64,
    }

    /// Windows only.
    pub struct StorageStats {
        #[serde(skip_serializing_if = "is_default")]
        read_count_normalized: u64,
    }

    /// Processor time, in nanoseconds.
    pub struct CpuStats {
        cpu_usage: CpuUsage,
        #[serde(skip_serializing_if = "is_default")]
        system_cpu_usage: u64,
        #[serde(skip_serializing_if = "is_default")]
        online_cpus: u32,
        throttling_data: ThrottlingData,
    }

    /// A container's processor time, in nanoseconds.
    pub struct CpuUsage {
        total_usage: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        percpu_usage: Option<Vec<u64>>,
        usage_in_kernelmode: u64,
        usage_in_usermode: u64,
    }

    /// How often and how long the quota held the container back.
    pub struct ThrottlingData {
        periods: u64,
        throttled_periods: u64,
        throttled_time: u64,
    }

    /// Memory, in bytes; `stats` are the kernel's own names (`memory.stat`).
    pub struct MemoryStats {
        #[serde(skip_serializing_if = "is_default")]
        usage: u64,
        #[serde(skip_serializing_if = "is_default")]
        max_usage: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        stats: Option<Map<u64>>,
        #[serde(skip_serializing_if = "is_default")]
        failcnt: u64,
        #[serde(skip_serializing_if = "is_default")]
        limit: u64,
    }

    /// One interface's counters.
    pub struct NetworkStats {
        rx_bytes: u64,
        rx_packets: u64,
        rx_errors: u64,
        rx_dropped: u64,
        tx_bytes: u64,
        tx_packets: u64,
        tx_errors: u64,
        tx_dropped: u64,
    }
}
