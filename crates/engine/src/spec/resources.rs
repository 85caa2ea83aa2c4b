//! Cgroup limits: checks and defaults as Docker has them, then the runtime's form.

use super::host::Host;
use crate::model::ResourceSpec;
use oci::runtime::{BlockIo, CpuLimits, MemoryLimits, PidsLimit, Resources, ThrottleDevice};
use oci::{Error, Result};

const MIN_MEMORY: i64 = 6 << 20;
const PERIOD: u64 = 100_000;

/// Numbers of a device file. Given in, because looking is the caller's business.
pub(crate) type DeviceNumber<'a> = &'a dyn Fn(&str) -> Result<(i64, i64)>;

/// Refuses what can't work and completes what depends on other values. Returns warnings for people.
pub(crate) fn check(spec: &mut ResourceSpec, host: &Host) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    let positive = |value: Option<i64>| value.filter(|v| *v != 0);
    spec.memory = positive(spec.memory);
    spec.memory_reservation = positive(spec.memory_reservation);
    spec.memory_swap = positive(spec.memory_swap);
    spec.nano_cpus = positive(spec.nano_cpus);
    spec.cpu_quota = positive(spec.cpu_quota);
    spec.cpu_period = spec.cpu_period.filter(|v| *v != 0);
    spec.cpu_shares = spec.cpu_shares.filter(|v| *v != 0);
    spec.blkio_weight = spec.blkio_weight.filter(|v| *v != 0);
    if spec.memory.is_some_and(|m| m < MIN_MEMORY) {
        return Err(Error::invalid("Minimum memory limit allowed is 6MB"));
    }
    match (spec.memory, spec.memory_swap) {
        (None, Some(swap)) if swap > 0 => {
            return Err(Error::invalid(
                "You should always set the Memory limit when using Memoryswap limit, see usage",
            ));
        }
        (Some(memory), Some(swap)) if swap > 0 && swap < memory => {
            return Err(Error::invalid("Minimum memoryswap limit should be larger than memory limit, see usage"));
        }
        (Some(_), Some(swap)) if swap > 0 && !host.swap_accounting => {
            warnings.push(
                "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited \
                 without swap."
                    .into(),
            );
            spec.memory_swap = None;
        }
        (Some(memory), None) if host.swap_accounting => spec.memory_swap = Some(memory.saturating_mul(2)),
        _ => {}
    }
    if let (Some(memory), Some(reservation)) = (spec.memory, spec.memory_reservation)
        && memory < reservation
    {
        return Err(Error::invalid("Minimum memory limit can not be less than memory reservation limit, see usage"));
    }
    if spec.memory_reservation.is_some_and(|m| m < MIN_MEMORY) {
        return Err(Error::invalid("Minimum memory reservation allowed is 6MB"));
    }
    if spec.memory_swappiness.is_some() && host.cgroup_v2 {
        warnings.push("Your kernel does not support memory swappiness capabilities. Swappiness discarded.".into());
        spec.memory_swappiness = None;
    }
    if spec.memory_swappiness.is_some_and(|v| v > 100) {
        return Err(Error::invalid("Invalid value: memory swappiness, valid range is 0-100"));
    }
    if spec.oom_kill_disable == Some(true) && host.cgroup_v2 {
        warnings.push("Your kernel does not support OomKillDisable. OomKillDisable discarded.".into());
        spec.oom_kill_disable = None;
    }
    if let Some(nano) = spec.nano_cpus {
        if spec.cpu_quota.is_some() || spec.cpu_period.is_some() {
            return Err(Error::invalid("Conflicting options: Nano CPUs and CPU Period or Quota cannot both be set"));
        }
        if nano < 0 || nano > i64::from(host.cpus) * 1_000_000_000 {
            return Err(Error::invalid(format!(
                "range of CPUs is from 0.01 to {}.00, as there are only {} CPUs available",
                host.cpus, host.cpus
            )));
        }
    }
    if spec.cpu_period.is_some_and(|p| !(1_000..=1_000_000).contains(&p)) {
        return Err(Error::invalid(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ));
    }
    if spec.cpu_quota.is_some_and(|q| q > 0 && q < 1_000) {
        return Err(Error::invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)"));
    }
    if spec.blkio_weight.is_some_and(|w| !(10..=1000).contains(&w)) {
        return Err(Error::invalid("Range of blkio weight is from 10 to 1000"));
    }
    if spec.pids_limit.is_some_and(|p| p <= 0) {
        spec.pids_limit = Some(-1);
    }
    Ok(warnings)
}

/// `new` over `old`, as an update wants it.
pub(crate) fn merge(old: &ResourceSpec, new: &ResourceSpec) -> ResourceSpec {
    let mut merged = old.clone();
    macro_rules! take {
        ($($field:ident)*) => { $( if new.$field.is_some() { merged.$field = new.$field.clone(); } )* };
    }
    take!(memory memory_reservation memory_swap memory_swappiness oom_kill_disable cpu_shares cpu_quota cpu_period
        nano_cpus cpu_rt_runtime cpu_rt_period cpuset_cpus cpuset_mems pids_limit blkio_weight);
    // The two ways to say one thing exclude each other: the newer word counts.
    if new.nano_cpus.is_some_and(|n| n != 0) {
        merged.cpu_quota = new.cpu_quota;
        merged.cpu_period = new.cpu_period;
    } else if new.cpu_quota.is_some() || new.cpu_period.is_some() {
        merged.nano_cpus = None;
    }
    merged
}

/// The runtime's form, without devices.
pub(crate) fn limits(spec: &ResourceSpec, device: DeviceNumber<'_>) -> Result<Resources> {
    let memory = MemoryLimits {
        limit: spec.memory,
        reservation: spec.memory_reservation,
        swap: spec.memory_swap,
        swappiness: spec.memory_swappiness,
        disable_oom_killer: spec.oom_kill_disable.filter(|d| *d),
        ..Default::default()
    };
    let (period, quota) = match spec.nano_cpus {
        Some(nano) => {
            (Some(PERIOD), Some(i64::try_from(i128::from(nano) * i128::from(PERIOD) / 1_000_000_000).unwrap_or(-1)))
        }
        None => (spec.cpu_period, spec.cpu_quota),
    };
    let filled = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
    let cpu = CpuLimits {
        shares: spec.cpu_shares,
        quota,
        period,
        realtime_runtime: spec.cpu_rt_runtime.filter(|v| *v != 0),
        realtime_period: spec.cpu_rt_period.filter(|v| *v != 0),
        cpus: filled(&spec.cpuset_cpus),
        mems: filled(&spec.cpuset_mems),
        ..Default::default()
    };
    let throttle = |list: &[(String, u64)]| -> Result<Vec<ThrottleDevice>> {
        list.iter()
            .map(|(path, rate)| device(path).map(|(major, minor)| ThrottleDevice { major, minor, rate: *rate }))
            .collect()
    };
    let block_io = BlockIo {
        weight: spec.blkio_weight,
        throttle_read_bps_device: throttle(&spec.device_read_bps)?,
        throttle_write_bps_device: throttle(&spec.device_write_bps)?,
        throttle_read_iops_device: throttle(&spec.device_read_iops)?,
        throttle_write_iops_device: throttle(&spec.device_write_iops)?,
        ..Default::default()
    };
    fn some<T: Default + PartialEq>(value: T) -> Option<T> {
        (value != T::default()).then_some(value)
    }
    Ok(Resources {
        memory: some(memory),
        cpu: some(cpu),
        pids: spec.pids_limit.map(|limit| PidsLimit { limit: Some(limit) }),
        block_io: some(block_io),
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_defaults_to_twice_the_memory_where_it_is_accounted() {
        let mut host = Host::for_tests();
        let mut spec = ResourceSpec { memory: Some(64 << 20), ..Default::default() };
        assert!(check(&mut spec, &host).unwrap().is_empty());
        assert_eq!(spec.memory_swap, Some(128 << 20));
        host.swap_accounting = false;
        let mut spec = ResourceSpec { memory: Some(64 << 20), memory_swap: Some(70 << 20), ..Default::default() };
        assert_eq!(check(&mut spec, &host).unwrap().len(), 1);
        assert_eq!(spec.memory_swap, None);
    }

    #[test]
    fn refusals() {
        let host = Host::for_tests();
        let bad = |spec: ResourceSpec| check(&mut spec.clone(), &host).unwrap_err().to_string();
        assert!(bad(ResourceSpec { memory: Some(1), ..Default::default() }).contains("6MB"));
        assert!(bad(ResourceSpec { memory_swap: Some(1), ..Default::default() }).contains("Memoryswap"));
        assert!(bad(ResourceSpec { nano_cpus: Some(99_000_000_000), ..Default::default() }).contains("range of CPUs"));
        let both = ResourceSpec { nano_cpus: Some(1), cpu_quota: Some(5000), ..Default::default() };
        assert!(bad(both).contains("Conflicting"));
    }

    #[test]
    fn cpus_become_a_quota() {
        let spec = ResourceSpec { nano_cpus: Some(1_500_000_000), ..Default::default() };
        let cpu = limits(&spec, &|_| Ok((0, 0))).unwrap().cpu.unwrap();
        assert_eq!((cpu.quota, cpu.period), (Some(150_000), Some(100_000)));
        let merged = merge(&spec, &ResourceSpec { cpu_quota: Some(7000), ..Default::default() });
        assert_eq!((merged.nano_cpus, merged.cpu_quota), (None, Some(7000)));
    }

    #[test]
    fn nothing_said_means_nothing_written() {
        assert_eq!(limits(&ResourceSpec::default(), &|_| Ok((0, 0))).unwrap(), Resources::default());
    }
}
