//! `update`: changes limits of a living container.

use std::io::Read;

use oci::runtime::{BlockIo, CpuLimits, MemoryLimits, PidsLimit, Resources};
use oci::{Context, Error, Result};

use super::Command;
use crate::cli::{Args, Count, Failure, Flag, Global, value};
use crate::state::{Container, Status};

static FLAGS: [Flag; 18] = [
    value(
        &["resources", "r"],
        "path to the file containing the resources to update or '-' to read from the standard input",
    ),
    value(&["blkio-weight"], "specifies per cgroup weight, range is from 10 to 1000"),
    value(&["cpu-period"], "CPU CFS period to be used for hardcapping (in usecs)"),
    value(&["cpu-quota"], "CPU CFS hardcap limit (in usecs)"),
    value(&["cpu-burst"], "CPU CFS hardcap burst limit (in usecs)"),
    value(&["cpu-share"], "CPU shares (relative weight vs. other containers)"),
    value(&["cpu-rt-period"], "CPU realtime period to be used for hardcapping (in usecs)"),
    value(&["cpu-rt-runtime"], "CPU realtime hardcap limit (in usecs)"),
    value(&["cpuset-cpus"], "CPU(s) to use"),
    value(&["cpuset-mems"], "memory node(s) to use"),
    value(&["memory"], "memory limit (in bytes)"),
    value(&["memory-reservation"], "memory reservation or soft_limit (in bytes)"),
    value(&["memory-swap"], "total memory usage (memory + swap); set '-1' to enable unlimited swap"),
    value(&["pids-limit"], "maximum number of pids allowed in the container"),
    value(&["cpu-idle"], "set cgroup SCHED_IDLE or not"),
    value(&["kernel-memory"], "(obsoleted; do not use)"),
    value(&["kernel-memory-tcp"], "(obsoleted; do not use)"),
    value(&["l3-cache-schema", "mem-bw-schema"], "(not supported)"),
];

pub(super) static COMMAND: Command = Command {
    name: "update",
    about: "update container resource constraints",
    usage: "<container-id>",
    flags: &FLAGS,
    arguments: Count::Exactly(1),
    command_after: None,
    makes: false,
    run,
};

fn run(global: &Global, args: &Args) -> Result<i32, Failure> {
    let container = Container::open_locked(&global.root, args.id("update")?)?;
    if container.status() == Status::Stopped {
        return Err(Error::conflict("container not running").into());
    }
    let resources = resources(args)?;
    container.record()?.cgroup.update(&resources)?;
    Ok(0)
}

fn resources(args: &Args) -> Result<Resources> {
    if args.get("l3-cache-schema").is_some() {
        return Err(Error::unsupported("--l3-cache-schema, --mem-bw-schema: Intel RDT is not supported"));
    }
    if args.get("kernel-memory").is_some() || args.get("kernel-memory-tcp").is_some() {
        return Err(Error::unsupported("--kernel-memory: kernels no longer limit kernel memory apart"));
    }
    if let Some(path) = args.get("resources") {
        const MAX: u64 = 1 << 20;
        let mut text = Vec::new();
        match path {
            "-" => std::io::stdin().take(MAX).read_to_end(&mut text),
            path => std::fs::File::open(path).and_then(|f| f.take(MAX).read_to_end(&mut text)),
        }
        .context(|| format!("read resources from {path}"))?;
        return oci::json::from_slice(&text).context(|| format!("--resources {path}"));
    }
    let mut resources = Resources::default();
    let cpu = CpuLimits {
        shares: args.number("cpu-share")?,
        quota: args.number("cpu-quota")?,
        burst: args.number("cpu-burst")?,
        period: args.number("cpu-period")?,
        realtime_runtime: args.number("cpu-rt-runtime")?,
        realtime_period: args.number("cpu-rt-period")?,
        cpus: args.get("cpuset-cpus").map(String::from),
        mems: args.get("cpuset-mems").map(String::from),
        idle: args.number("cpu-idle")?,
    };
    let bytes = |name: &str| args.get(name).map(|text| parse_bytes(name, text)).transpose();
    let memory = MemoryLimits {
        limit: bytes("memory")?,
        reservation: bytes("memory-reservation")?,
        swap: bytes("memory-swap")?,
        ..Default::default()
    };
    resources.cpu = (cpu != CpuLimits::default()).then_some(cpu);
    resources.memory = (memory != MemoryLimits::default()).then_some(memory);
    resources.pids = args.number("pids-limit")?.map(|limit| PidsLimit { limit: Some(limit) });
    if let Some(weight) = args.number("blkio-weight")? {
        resources.block_io = Some(BlockIo { weight: Some(weight), ..Default::default() });
    }
    if resources == Resources::default() {
        return Err(Error::invalid("nothing to update: give --resources or a limit"));
    }
    Ok(resources)
}

/// `-1`, `1000`, `64m`, `1gb`.
fn parse_bytes(name: &str, text: &str) -> Result<i64> {
    let bad = || Error::invalid(format!("invalid value for {name}: {text:?}"));
    if text == "-1" {
        return Ok(-1);
    }
    let lower = text.to_ascii_lowercase();
    let number = lower.trim_end_matches('b').trim_end_matches('i');
    let (digits, shift) = match number.as_bytes().last() {
        Some(b'k') => (&number[..number.len() - 1], 10),
        Some(b'm') => (&number[..number.len() - 1], 20),
        Some(b'g') => (&number[..number.len() - 1], 30),
        Some(b't') => (&number[..number.len() - 1], 40),
        _ => (number, 0),
    };
    let value: i64 = digits.parse().map_err(|_| bad())?;
    value.checked_mul(1 << shift).filter(|v| *v >= 0).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::parse_bytes;

    #[test]
    fn sizes() {
        for (text, value) in [("-1", -1), ("0", 0), ("1000", 1000), ("64m", 64 << 20), ("1GB", 1 << 30), ("2KiB", 2048)]
        {
            assert_eq!(parse_bytes("memory", text).expect(text), value);
        }
        for bad in ["", "m", "-2", "1x", "9999999999g"] {
            assert!(parse_bytes("memory", bad).is_err(), "{bad}");
        }
    }
}
