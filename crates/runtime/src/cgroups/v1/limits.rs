//! Limits as control files of v1.

use oci::runtime::{PidsLimit, Resources};
use oci::{Error, Result};

use crate::cgroups::files::{Absent, Setting};
use crate::log;

/// Limits to control files, in the order of writing. Zero means "not given", as engines write it;
/// but for tasks it is a limit.
pub(super) fn settings(r: &Resources) -> Result<Vec<Setting>> {
    let mut list = Vec::new();
    let mut put = |controller, file: &str, value: String, absent| {
        list.push(Setting { controller, file: file.to_owned(), value, absent });
    };
    fn given<T: PartialEq + Default + Copy>(value: Option<T>) -> Option<T> {
        value.filter(|v| *v != T::default())
    }
    if !r.unified.is_empty() {
        return Err(Error::invalid(
            "linux.resources.unified: invalid configuration: cannot use unified on cgroup v1; on cgroup v2 it is allowed",
        ));
    }
    if let Some(m) = &r.memory {
        let limit = given(m.limit);
        let swap = given(m.swap);
        if let (Some(limit), Some(swap)) = (limit, swap)
            && swap > 0
            && swap < limit
        {
            return Err(Error::invalid(format!(
                "linux.resources.memory.swap: {swap}: memory+swap limit should be >= memory limit ({limit})"
            )));
        }
        if let Some(limit) = limit {
            put("memory", "memory.limit_in_bytes", limit.to_string(), Absent::Fail);
        }
        // Without a limit on memory there can be none on memory and swap together; one that was there goes.
        match (swap, limit) {
            (Some(swap), _) => put("memory", "memory.memsw.limit_in_bytes", swap.to_string(), Absent::Fail),
            (None, Some(-1)) => put("memory", "memory.memsw.limit_in_bytes", "-1".into(), Absent::Skip),
            _ => {}
        }
        if let Some(soft) = given(m.reservation) {
            put("memory", "memory.soft_limit_in_bytes", soft.to_string(), Absent::Fail);
        }
        if given(m.kernel).is_some() {
            log::warn(format_args!(
                "linux.resources.memory.kernel: kernels no longer limit kernel memory apart; ignored"
            ));
        }
        if let Some(tcp) = given(m.kernel_tcp) {
            put("memory", "memory.kmem.tcp.limit_in_bytes", tcp.to_string(), Absent::Fail);
        }
        if let Some(swappiness) = m.swappiness.filter(|s| *s != u64::MAX) {
            if swappiness > 100 {
                return Err(Error::invalid(format!(
                    "linux.resources.memory.swappiness: invalid memory swappiness value: {swappiness} (valid range is 0-100)"
                )));
            }
            put("memory", "memory.swappiness", swappiness.to_string(), Absent::Fail);
        }
        if let Some(disable) = m.disable_oom_killer {
            // Its default needs no writing in a new cgroup, but an update may want it back.
            put("memory", "memory.oom_control", u8::from(disable).to_string(), Absent::Fail);
        }
        if m.use_hierarchy == Some(false) {
            log::warn(format_args!(
                "linux.resources.memory.useHierarchy: kernels account hierarchically only; false is ignored"
            ));
        }
    }
    if let Some(c) = &r.cpu {
        if let Some(shares) = given(c.shares) {
            // The kernel would silently take the nearest it allows.
            let bound = if shares < 2 { Some(("minimum", 2)) } else { None };
            let bound = bound.or((shares > 262_144).then_some(("maximum", 262_144)));
            if let Some((word, bound)) = bound {
                return Err(Error::invalid(format!(
                    "linux.resources.cpu.shares: {shares}: the {word} allowed cpu-shares is {bound}"
                )));
            }
            put("cpu", "cpu.shares", shares.to_string(), Absent::Fail);
        }
        if let Some(period) = given(c.period) {
            put("cpu", "cpu.cfs_period_us", period.to_string(), Absent::Fail);
        }
        if let Some(burst) = c.burst {
            let absent = if burst == 0 { Absent::Skip } else { Absent::Fail };
            put("cpu", "cpu.cfs_burst_us", burst.to_string(), absent);
        }
        if let Some(quota) = given(c.quota) {
            put("cpu", "cpu.cfs_quota_us", quota.to_string(), Absent::Fail);
        }
        if let Some(idle) = c.idle {
            let absent = if idle == 0 { Absent::Skip } else { Absent::Fail };
            put("cpu", "cpu.idle", idle.to_string(), absent);
        }
        if let Some(period) = given(c.realtime_period) {
            put("cpu", "cpu.rt_period_us", period.to_string(), Absent::Fail);
        }
        if let Some(runtime) = given(c.realtime_runtime) {
            put("cpu", "cpu.rt_runtime_us", runtime.to_string(), Absent::Fail);
        }
        if let Some(cpus) = c.cpus.as_deref().filter(|c| !c.is_empty()) {
            put("cpuset", "cpuset.cpus", cpus.into(), Absent::Fail);
        }
        if let Some(mems) = c.mems.as_deref().filter(|m| !m.is_empty()) {
            put("cpuset", "cpuset.mems", mems.into(), Absent::Fail);
        }
    }
    if let Some(limit) = r.pids.as_ref().and_then(PidsLimit::tasks) {
        put("pids", "pids.max", if limit < 0 { "max".into() } else { limit.to_string() }, Absent::Fail);
    }
    if let Some(b) = &r.block_io {
        // The scheduler of the disks decides which of the two forms exists.
        let mut weighted = |plain: &str, bfq: &str, value: String| {
            put("blkio", plain, value.clone(), Absent::Instead(bfq.into(), value));
        };
        if let Some(weight) = given(b.weight) {
            weighted("blkio.weight", "blkio.bfq.weight", weight.to_string());
        }
        for d in &b.weight_device {
            if let Some(weight) = given(d.weight) {
                let value = format!("{}:{} {weight}", d.major, d.minor);
                weighted("blkio.weight_device", "blkio.bfq.weight_device", value);
            }
        }
        if let Some(weight) = given(b.leaf_weight) {
            put("blkio", "blkio.leaf_weight", weight.to_string(), Absent::Fail);
        }
        for d in &b.weight_device {
            if let Some(weight) = given(d.leaf_weight) {
                let value = format!("{}:{} {weight}", d.major, d.minor);
                put("blkio", "blkio.leaf_weight_device", value, Absent::Fail);
            }
        }
        for (file, devices) in [
            ("blkio.throttle.read_bps_device", &b.throttle_read_bps_device),
            ("blkio.throttle.write_bps_device", &b.throttle_write_bps_device),
            ("blkio.throttle.read_iops_device", &b.throttle_read_iops_device),
            ("blkio.throttle.write_iops_device", &b.throttle_write_iops_device),
        ] {
            for d in devices {
                put("blkio", file, format!("{}:{} {}", d.major, d.minor, d.rate), Absent::Fail);
            }
        }
    }
    for h in &r.hugepage_limits {
        check_page_size(&h.page_size)?;
        put("hugetlb", &format!("hugetlb.{}.limit_in_bytes", h.page_size), h.limit.to_string(), Absent::Fail);
        // What is only reserved counts too, where the kernel can count it (5.7).
        let file = format!("hugetlb.{}.rsvd.limit_in_bytes", h.page_size);
        put("hugetlb", &file, h.limit.to_string(), Absent::Skip);
    }
    if let Some(n) = &r.network {
        if let Some(class) = given(n.class_id) {
            put("net_cls", "net_cls.classid", class.to_string(), Absent::Fail);
        }
        for p in &n.priorities {
            put("net_prio", "net_prio.ifpriomap", format!("{} {}", p.name, p.priority), Absent::Fail);
        }
    }
    for (device, limit) in &r.rdma {
        put("rdma", "rdma.max", rdma_line(device, limit), Absent::Fail);
    }
    Ok(list)
}

/// A line of `rdma.max`; the same on v1 and v2.
pub(in crate::cgroups) fn rdma_line(device: &str, limit: &oci::runtime::RdmaLimit) -> String {
    let mut line = device.to_owned();
    for (name, value) in [("hca_handle", limit.hca_handles), ("hca_object", limit.hca_objects)] {
        if let Some(value) = value {
            line += &format!(" {name}={value}");
        }
    }
    line
}

/// The size becomes part of a file's name.
pub(in crate::cgroups) fn check_page_size(size: &str) -> Result<()> {
    let digits = size.trim_end_matches("KB").trim_end_matches("MB").trim_end_matches("GB");
    if digits.len() + 2 == size.len() && !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(());
    }
    Err(Error::invalid(format!("linux.resources.hugepageLimits: {size:?} is not a page size; 2MB is one")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::runtime::{BlockIo, CpuLimits, HugepageLimit, MemoryLimits, PidsLimit, WeightDevice};

    fn shown(resources: &Resources) -> Vec<String> {
        settings(resources).expect("valid").iter().map(|s| format!("{}={}", s.file, s.value)).collect()
    }

    #[test]
    fn limits_become_files() {
        let resources = Resources {
            memory: Some(MemoryLimits { limit: Some(1 << 20), swap: Some(1 << 21), ..Default::default() }),
            cpu: Some(CpuLimits { quota: Some(50_000), period: Some(100_000), shares: Some(0), ..Default::default() }),
            pids: Some(PidsLimit { limit: Some(-1) }),
            ..Default::default()
        };
        assert_eq!(
            shown(&resources),
            [
                "memory.limit_in_bytes=1048576",
                "memory.memsw.limit_in_bytes=2097152",
                "cpu.cfs_period_us=100000",
                "cpu.cfs_quota_us=50000",
                "pids.max=max"
            ]
        );
        let unlimited = MemoryLimits { limit: Some(-1), ..Default::default() };
        let resources = Resources { memory: Some(unlimited), ..Default::default() };
        assert_eq!(shown(&resources), ["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1"]);
    }

    #[test]
    fn weights_and_pages() {
        let device = WeightDevice { major: 8, minor: 16, weight: Some(300), leaf_weight: Some(20) };
        let resources = Resources {
            block_io: Some(BlockIo {
                weight: Some(100),
                leaf_weight: Some(10),
                weight_device: vec![device],
                ..Default::default()
            }),
            hugepage_limits: vec![HugepageLimit { page_size: "2MB".into(), limit: 4 << 20 }],
            ..Default::default()
        };
        assert_eq!(
            shown(&resources),
            [
                "blkio.weight=100",
                "blkio.weight_device=8:16 300",
                "blkio.leaf_weight=10",
                "blkio.leaf_weight_device=8:16 20",
                "hugetlb.2MB.limit_in_bytes=4194304",
                "hugetlb.2MB.rsvd.limit_in_bytes=4194304",
            ]
        );
        let list = settings(&resources).expect("valid");
        assert_eq!(list[1].absent, Absent::Instead("blkio.bfq.weight_device".into(), "8:16 300".into()));
    }

    #[test]
    fn bad_values_are_refused() {
        let swap = MemoryLimits { limit: Some(100), swap: Some(50), ..Default::default() };
        let swappiness = MemoryLimits { swappiness: Some(101), ..Default::default() };
        for (memory, words) in [(swap, "memory+swap limit should be >="), (swappiness, "valid range is 0-100")] {
            let resources = Resources { memory: Some(memory), ..Default::default() };
            assert!(settings(&resources).expect_err("refused").to_string().contains(words));
        }
        for (shares, words) in
            [(1, "minimum allowed cpu-shares is 2"), (1 << 20, "maximum allowed cpu-shares is 262144")]
        {
            let cpu = CpuLimits { shares: Some(shares), ..Default::default() };
            let resources = Resources { cpu: Some(cpu), ..Default::default() };
            assert!(settings(&resources).expect_err("refused").to_string().contains(words));
        }
        let pages = HugepageLimit { page_size: "../2MB".into(), limit: 1 };
        assert!(settings(&Resources { hugepage_limits: vec![pages], ..Default::default() }).is_err());
        let unified = [("memory.high".to_owned(), "1".to_owned())].into();
        let error = settings(&Resources { unified, ..Default::default() }).expect_err("refused").to_string();
        assert!(error.contains("invalid configuration"), "{error}");
    }
}
