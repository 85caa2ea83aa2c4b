//! Limits, devices and restart policies.

use super::{some, unsupported};
use engine::model::{DeviceSpec, ResourceSpec, RestartPolicy, Update};
use oci::{Error, Result};
use wire::docker::container::UpdateRequest;
use wire::docker::host_config::{self, Resources, ThrottleDevice};

/// dockerd's own minimum: less than this does not start any process.
const MEMORY_MIN: i64 = 6 << 20;

/// A container's limits. Zero means "not said".
///
/// # Errors
/// `InvalidArgument`, in dockerd's words, for limits that contradict each other.
pub fn all(r: &Resources) -> Result<ResourceSpec> {
    let set = |n: i64| (n != 0).then_some(n);
    let positive = |name: &str, n: i64| match u64::try_from(n) {
        Ok(0) => Ok(None),
        Ok(n) => Ok(Some(n)),
        Err(_) => Err(Error::invalid(format!("HostConfig.{name} is negative: {n}"))),
    };
    check_memory(r)?;
    check_cpu(r)?;
    Ok(ResourceSpec {
        memory: set(r.memory),
        memory_reservation: set(r.memory_reservation),
        memory_swap: set(r.memory_swap),
        memory_swappiness: swappiness(r.memory_swappiness)?,
        oom_kill_disable: r.oom_kill_disable,
        cpu_shares: positive("CpuShares", r.cpu_shares)?,
        cpu_quota: set(r.cpu_quota),
        cpu_period: positive("CpuPeriod", r.cpu_period)?,
        nano_cpus: set(r.nano_cpus),
        cpu_rt_runtime: set(r.cpu_realtime_runtime),
        cpu_rt_period: positive("CpuRealtimePeriod", r.cpu_realtime_period)?,
        cpuset_cpus: some(&r.cpuset_cpus),
        cpuset_mems: some(&r.cpuset_mems),
        pids_limit: r.pids_limit.filter(|n| *n != 0),
        blkio_weight: match r.blkio_weight {
            0 => None,
            10..=1000 => Some(r.blkio_weight),
            _ => return Err(Error::invalid("Range of blkio weight is from 10 to 1000")),
        },
        device_read_bps: throttles(r.blkio_device_read_bps.as_ref()),
        device_write_bps: throttles(r.blkio_device_write_bps.as_ref()),
        device_read_iops: throttles(r.blkio_device_read_iops.as_ref()),
        device_write_iops: throttles(r.blkio_device_write_iops.as_ref()),
    })
}

fn check_memory(r: &Resources) -> Result<()> {
    if r.memory < 0 || r.memory_reservation < 0 {
        return Err(Error::invalid("memory limits can't be negative"));
    }
    if (1..MEMORY_MIN).contains(&r.memory) {
        return Err(Error::invalid("Minimum memory limit allowed is 6MB"));
    }
    if (1..MEMORY_MIN).contains(&r.memory_reservation) {
        return Err(Error::invalid("Minimum memory reservation allowed is 6MB"));
    }
    if r.memory_swap < -1 {
        return Err(Error::invalid("MemorySwap must be -1 (unlimited) or larger"));
    }
    if r.memory_swap > 0 && r.memory > 0 && r.memory_swap < r.memory {
        return Err(Error::invalid("Minimum memoryswap limit should be larger than memory limit, see usage"));
    }
    if r.memory_reservation > 0 && r.memory > 0 && r.memory < r.memory_reservation {
        return Err(Error::invalid("Minimum memory limit can not be less than memory reservation limit, see usage"));
    }
    Ok(())
}

fn check_cpu(r: &Resources) -> Result<()> {
    if r.nano_cpus < 0 {
        return Err(Error::invalid(format!("NanoCpus is negative: {}", r.nano_cpus)));
    }
    if r.nano_cpus > 0 && r.cpu_period > 0 {
        return Err(Error::invalid("Conflicting options: Nano CPUs and CPU Period cannot both be set"));
    }
    if r.nano_cpus > 0 && r.cpu_quota > 0 {
        return Err(Error::invalid("Conflicting options: Nano CPUs and CPU Quota cannot both be set"));
    }
    if r.cpu_period != 0 && !(1000..=1_000_000).contains(&r.cpu_period) {
        return Err(Error::invalid(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ));
    }
    if (1..1000).contains(&r.cpu_quota) {
        return Err(Error::invalid("CPU cfs quota can not be less than 1ms (i.e. 1000)"));
    }
    Ok(())
}

fn swappiness(value: Option<i64>) -> Result<Option<u64>> {
    match value {
        // -1 is the old way to say nothing.
        None | Some(-1) => Ok(None),
        Some(percent @ 0..=100) => Ok(u64::try_from(percent).ok()),
        Some(other) => Err(Error::invalid(format!("Invalid value: {other}, valid memory swappiness range is 0-100"))),
    }
}

fn throttles(list: Option<&Vec<ThrottleDevice>>) -> Vec<(String, u64)> {
    list.into_iter().flatten().map(|device| (device.path.clone(), device.rate)).collect()
}

/// The host's devices to pass in.
///
/// # Errors
/// `InvalidArgument`, naming the device.
pub fn devices(r: &Resources) -> Result<Vec<DeviceSpec>> {
    r.devices
        .iter()
        .flatten()
        .map(|device| {
            let permissions = if device.cgroup_permissions.is_empty() { "rwm" } else { &device.cgroup_permissions };
            let container_path =
                if device.path_in_container.is_empty() { &device.path_on_host } else { &device.path_in_container };
            if !device.path_on_host.starts_with('/') || !container_path.starts_with('/') {
                return Err(Error::invalid(format!("device {:?}: the path must be absolute", device.path_on_host)));
            }
            if permissions.bytes().any(|b| !b"rwm".contains(&b)) {
                return Err(Error::invalid(format!(
                    "device {}: invalid permissions {permissions:?}",
                    device.path_on_host
                )));
            }
            Ok(DeviceSpec {
                host_path: device.path_on_host.clone(),
                container_path: container_path.clone(),
                permissions: permissions.to_owned(),
            })
        })
        .collect()
}

/// When to start again.
///
/// # Errors
/// `InvalidArgument`, in dockerd's words.
pub fn restart(policy: &host_config::RestartPolicy) -> Result<RestartPolicy> {
    let count = policy.maximum_retry_count;
    if count < 0 {
        return Err(Error::invalid("invalid restart policy: maximum retry count cannot be negative"));
    }
    if count > 0 && policy.name != "on-failure" {
        return Err(Error::invalid("invalid restart policy: maximum retry count can only be used with 'on-failure'"));
    }
    match policy.name.as_str() {
        "" | "no" => Ok(RestartPolicy::No),
        "always" => Ok(RestartPolicy::Always),
        "unless-stopped" => Ok(RestartPolicy::UnlessStopped),
        "on-failure" => Ok(RestartPolicy::OnFailure { max: u32::try_from(count).unwrap_or(u32::MAX) }),
        other => Err(Error::invalid(format!(
            "invalid restart policy: unknown policy '{other}'; use one of 'no', 'always', 'on-failure', or \
             'unless-stopped'"
        ))),
    }
}

/// What an update asks for.
///
/// # Errors
/// As those of the fields, and `Unsupported` for what can't be changed.
pub fn update(request: &UpdateRequest) -> Result<Update> {
    super::unknown("", &request.other)?;
    let r = &request.resources;
    let refused = [
        ("Devices", r.devices.as_ref().is_some_and(|list| !list.is_empty())),
        ("DeviceRequests", r.device_requests.as_ref().is_some_and(|list| !list.is_empty())),
        ("DeviceCgroupRules", r.device_cgroup_rules.as_ref().is_some_and(|list| !list.is_empty())),
        ("Ulimits", r.ulimits.as_ref().is_some_and(|list| !list.is_empty())),
        ("CgroupParent", !r.cgroup_parent.is_empty()),
        ("KernelMemory", r.kernel_memory > 0),
        ("KernelMemoryTCP", r.kernel_memory_tcp > 0),
        ("BlkioWeightDevice", r.blkio_weight_device.as_ref().is_some_and(|list| !list.is_empty())),
        ("CpuCount", r.cpu_count != 0),
        ("CpuPercent", r.cpu_percent != 0),
        ("IOMaximumIOps", r.io_maximum_iops != 0),
        ("IOMaximumBandwidth", r.io_maximum_bandwidth != 0),
    ];
    if let Some((name, _)) = refused.iter().find(|(_, set)| *set) {
        return Err(unsupported(name));
    }
    let restart = if request.restart_policy.name.is_empty() { None } else { Some(restart(&request.restart_policy)?) };
    let mut resources = all(r)?;
    // In an update 0 lifts the limit, and dockerd's clients send null for "as it is".
    resources.pids_limit = r.pids_limit;
    Ok(Update { resources, restart })
}
