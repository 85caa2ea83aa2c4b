//! Limits as control files of v2.

use oci::runtime::{PidsLimit, Resources};
use oci::{Error, Result};

use crate::cgroups::files::{Absent, Setting};
use crate::cgroups::v1::{check_page_size, rdma_line};
use crate::log;

/// v1 shares (2 to 262144, normal 1024) on v2's scale (1 to 10000, normal 100): the curve through these three points that
/// crun and runc agree on.
pub(super) fn weight_of_shares(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let l = (shares as f64).log2();
            let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
            10f64.powf(exponent).ceil() as u64
        }
    }
}

/// blkio's scale is 10 to 1000, that of the other scheduler's file 1 to 10000.
fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight.max(10)) - 10) * 9999 / 990
}

/// What `memory.swap.max` gets: v1 counts memory and swap together, v2 swap alone.
fn swap_max(swap: i64, limit: Option<i64>) -> Result<Option<String>> {
    let refuse = |why: &str| Err(Error::invalid(format!("linux.resources.memory.swap: {swap}: {why}")));
    match (swap, limit.unwrap_or(0)) {
        (0, -1) => Ok(Some("max".into())),
        (0, _) => Ok(None),
        (-1, _) => Ok(Some("max".into())),
        (..=-2, _) => refuse("is less than -1, which is unlimited"),
        (swap, -1) => Ok(Some(swap.to_string())),
        (_, 0) => refuse("unable to set swap limit without memory limit"),
        (swap, limit) if swap < limit => refuse(&format!("memory+swap limit should be >= memory limit ({limit})")),
        (swap, limit) => Ok(Some((swap - limit).to_string())),
    }
}

/// Limits to control files, in the order of writing. Zero means "not given", as engines write it. `unified` is not
/// among them: it is written last, and as it is.
pub(in crate::cgroups) fn settings(r: &Resources) -> Result<Vec<Setting>> {
    let mut list: Vec<Setting> = Vec::new();
    let mut put = |controller, file: &str, value: String, absent| {
        list.push(Setting { controller, file: file.to_owned(), value, absent });
    };
    let number = |value: i64| if value < 0 { "max".to_owned() } else { value.to_string() };
    let v1_only = |what: &str| Err(Error::unsupported(format!("linux.resources.{what}: exists only on cgroup v1")));
    if let Some(limit) = r.pids.as_ref().and_then(PidsLimit::tasks) {
        put("pids", "pids.max", number(limit), Absent::Fail);
    }
    if let Some(m) = &r.memory {
        let limit = m.limit.filter(|l| *l != 0);
        if let Some(value) = swap_max(m.swap.unwrap_or(0), limit)? {
            // Swap accounting can be off; "no swap at all" and "unlimited" then hold anyway.
            let absent = if matches!(value.as_str(), "0" | "max") { Absent::Skip } else { Absent::Fail };
            put("memory", "memory.swap.max", value, absent);
        }
        if let Some(limit) = limit {
            put("memory", "memory.max", number(limit), Absent::Fail);
        }
        if let Some(soft) = m.reservation.filter(|s| *s != 0) {
            put("memory", "memory.low", number(soft), Absent::Fail);
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
        if m.use_hierarchy == Some(false) {
            log::warn(format_args!(
                "linux.resources.memory.useHierarchy: cgroup v2 accounts hierarchically only; false is ignored"
            ));
        }
    }
    if let Some(b) = &r.block_io {
        if b.leaf_weight.is_some_and(|w| w != 0) {
            return v1_only("blockIO.leafWeight");
        }
        // The scheduler of the disks decides which of the two files exists.
        let mut weighted = |prefix: &str, weight: u16| {
            let instead = Absent::Instead("io.weight".into(), format!("{prefix}{}", io_weight(weight)));
            put("io", "io.bfq.weight", format!("{prefix}{weight}"), instead);
        };
        if let Some(weight) = b.weight.filter(|w| *w != 0) {
            weighted("", weight);
        }
        for d in &b.weight_device {
            if d.leaf_weight.is_some_and(|w| w != 0) {
                return v1_only("blockIO.weightDevice.leafWeight");
            }
            if let Some(weight) = d.weight.filter(|w| *w != 0) {
                weighted(&format!("{}:{} ", d.major, d.minor), weight);
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
                put("io", "io.max", format!("{}:{} {name}={rate}", d.major, d.minor), Absent::Fail);
            }
        }
    }
    if let Some(c) = &r.cpu {
        if c.realtime_period.is_some_and(|p| p != 0) || c.realtime_runtime.is_some_and(|t| t != 0) {
            return v1_only("cpu.realtimeRuntime");
        }
        // An idle cgroup's weight cannot be set, so idleness goes first when it ends and last when it begins.
        if c.idle == Some(0) {
            put("cpu", "cpu.idle", "0".into(), Absent::Skip);
        }
        if let Some(shares) = c.shares.filter(|s| *s != 0) {
            put("cpu", "cpu.weight", weight_of_shares(shares).to_string(), Absent::Fail);
        }
        if let Some(burst) = c.burst {
            let absent = if burst == 0 { Absent::Skip } else { Absent::Fail };
            put("cpu", "cpu.max.burst", burst.to_string(), absent);
        }
        let (quota, period) = (c.quota.filter(|q| *q != 0), c.period.filter(|p| *p != 0));
        if quota.is_some() || period.is_some() {
            let quota = quota.map_or("max".to_owned(), number);
            put("cpu", "cpu.max", period.map_or_else(|| quota.clone(), |p| format!("{quota} {p}")), Absent::Fail);
        }
        if let Some(idle) = c.idle.filter(|i| *i != 0) {
            put("cpu", "cpu.idle", idle.to_string(), Absent::Fail);
        }
        if let Some(cpus) = c.cpus.as_deref().filter(|c| !c.is_empty()) {
            put("cpuset", "cpuset.cpus", cpus.into(), Absent::Fail);
        }
        if let Some(mems) = c.mems.as_deref().filter(|m| !m.is_empty()) {
            put("cpuset", "cpuset.mems", mems.into(), Absent::Fail);
        }
    }
    for h in &r.hugepage_limits {
        check_page_size(&h.page_size)?;
        put("hugetlb", &format!("hugetlb.{}.max", h.page_size), h.limit.to_string(), Absent::Fail);
        // What is only reserved counts too, where the kernel can count it (5.7).
        put("hugetlb", &format!("hugetlb.{}.rsvd.max", h.page_size), h.limit.to_string(), Absent::Skip);
    }
    if r.network.as_ref().is_some_and(|n| n.class_id.is_some_and(|c| c != 0) || !n.priorities.is_empty()) {
        return v1_only("network");
    }
    for (device, limit) in &r.rdma {
        put("rdma", "rdma.max", rdma_line(device, limit), Absent::Fail);
    }
    for file in r.unified.keys() {
        if file.contains('/') {
            return Err(unified(file, "must be a file name (no slashes)"));
        }
        if !file.contains('.') {
            return Err(unified(file, "must be in the form CONTROLLER.PARAMETER"));
        }
    }
    Ok(list)
}

/// A refusal in the words that callers know.
pub(super) fn unified(file: &str, why: &str) -> Error {
    Error::invalid(format!("linux.resources.unified: unified resource {file:?} {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::runtime::{BlockIo, CpuLimits, MemoryLimits, WeightDevice};

    fn shown(resources: &Resources) -> Vec<String> {
        settings(resources).expect("valid").iter().map(|s| format!("{}={}", s.file, s.value)).collect()
    }

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
            ..Default::default()
        };
        assert_eq!(
            shown(&resources),
            ["memory.swap.max=50", "memory.max=100", "memory.low=50", "cpu.weight=100", "cpu.max=max 100000"]
        );
    }

    #[test]
    fn weights_keep_their_ends_and_the_middle() {
        assert_eq!([0, 1, 2, 262_144, 1_000_000].map(weight_of_shares), [1, 1, 1, 10_000, 10_000]);
        assert_eq!([100, 1024, 3333].map(weight_of_shares), [17, 100, 256]);
        let mut last = 1;
        for shares in (2..262_144).step_by(97) {
            let weight = weight_of_shares(shares);
            assert!((last..=10_000).contains(&weight), "{shares}: {weight} after {last}");
            last = weight;
        }
        assert_eq!([10, 750, 1000].map(io_weight), [1, 7475, 10_000]);
    }

    #[test]
    fn weights_of_devices_have_a_second_form() {
        let device = WeightDevice { major: 8, minor: 0, weight: Some(750), ..Default::default() };
        let block = BlockIo { weight_device: vec![device], ..Default::default() };
        let list = settings(&Resources { block_io: Some(block), ..Default::default() }).expect("valid");
        assert_eq!(list[0].value, "8:0 750");
        assert_eq!(list[0].absent, Absent::Instead("io.weight".into(), "8:0 7475".into()));
    }

    #[test]
    fn swap_is_what_exceeds_memory() {
        let of = |swap, limit| swap_max(swap, limit).map_err(|e| e.to_string());
        assert_eq!(of(150, Some(100)), Ok(Some("50".into())));
        assert_eq!(of(100, Some(100)), Ok(Some("0".into())));
        assert_eq!(of(-1, Some(100)), Ok(Some("max".into())));
        assert_eq!(of(0, Some(-1)), Ok(Some("max".into())));
        assert_eq!(of(70, Some(-1)), Ok(Some("70".into())));
        assert_eq!(of(0, Some(100)), Ok(None));
        assert!(of(70, None).is_err_and(|e| e.contains("unable to set swap limit without memory limit")));
        assert!(of(70, Some(100)).is_err_and(|e| e.contains("memory+swap limit should be >= memory limit")));
        assert!(of(-2, Some(100)).is_err());
    }

    #[test]
    fn unified_names_are_names() {
        for (name, words) in
            [("../x.y", "must be a file name (no slashes)"), ("memory", "in the form CONTROLLER.PARAMETER")]
        {
            let unified = [(name.to_owned(), "1".to_owned())].into();
            let error = settings(&Resources { unified, ..Default::default() }).expect_err("refused").to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
