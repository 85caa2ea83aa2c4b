//! `update`: changes limits of a living container.

use std::io::Read;
use std::path::{Path, PathBuf};

use oci::runtime::{BlockIo, CpuLimits, MemoryLimits, PidsLimit, Resources};
use oci::{Context, Error, Result};

use super::Command;
use crate::cli::{Args, Count, Failure, Flag, Global, number, value};
use crate::state::{Container, Record, Status};
use crate::{log, resctrl};

static FLAGS: [Flag; 19] = [
    value(
        &["resources", "r"],
        "path to the file containing the resources to update or '-' to read from the standard input; all other options are ignored then",
    ),
    number(&["blkio-weight"], "Specifies per cgroup weight, range is from 10 to 1000"),
    value(&["cpu-period"], "CPU CFS period to be used for hardcapping (in usecs). 0 to use system default"),
    value(&["cpu-quota"], "CPU CFS hardcap limit (in usecs). Allowed cpu time in a given period"),
    value(
        &["cpu-burst"],
        "CPU CFS hardcap burst limit (in usecs). Allowed accumulated cpu time additionally for burst a given period",
    ),
    value(&["cpu-share"], "CPU shares (relative weight vs. other containers)"),
    value(&["cpu-rt-period"], "CPU realtime period to be used for hardcapping (in usecs). 0 to use system default"),
    value(&["cpu-rt-runtime"], "CPU realtime hardcap limit (in usecs). Allowed cpu time in a given period"),
    value(&["cpuset-cpus"], "CPU(s) to use"),
    value(&["cpuset-mems"], "Memory node(s) to use"),
    value(&["memory"], "Memory limit (in bytes)"),
    value(&["cpu-idle"], "set cgroup SCHED_IDLE or not, 0: default behavior, 1: SCHED_IDLE"),
    value(&["memory-reservation"], "Memory reservation or soft_limit (in bytes)"),
    value(&["memory-swap"], "Total memory usage (memory + swap); set '-1' to enable unlimited swap"),
    number(&["pids-limit"], "Maximum number of pids allowed in the container"),
    value(&["l3-cache-schema"], "The string of Intel RDT/CAT L3 cache schema"),
    value(&["mem-bw-schema"], "The string of Intel RDT/MBA memory bandwidth schema"),
    value(&["kernel-memory"], ""),
    value(&["kernel-memory-tcp"], ""),
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
    let mut container = Container::open_locked(&global.root, args.id("update")?)?;
    let mut resources = resources(args)?;
    let schemata = schemata(args)?;
    if container.status() == Status::Stopped {
        return Err(Error::conflict("container not running").into());
    }
    if resources != Resources::default() {
        let record = container.record()?;
        match &record.unit {
            Some(unit) => unit.update(&record.cgroup, &mut resources)?,
            None => record.cgroup.update(&resources)?,
        }
    }
    if let Some((tree, schemata)) = schemata {
        set_schemata(&mut container, &tree, &schemata)?;
    }
    Ok(0)
}

/// A container that was made without gets a group of its own now. It is recorded before it is there, so that `delete`
/// finds it whatever happens here.
fn set_schemata(container: &mut Container, tree: &Path, schemata: &[&str]) -> Result<()> {
    let record = container.record()?.clone();
    if let Some(group) = &record.resctrl {
        return group.update(schemata);
    }
    let pid = container.pid().ok_or_else(|| Error::conflict("container not running"))?;
    let group = resctrl::Group::late(tree, &record.id)?;
    container.change(Record { resctrl: Some(group.clone()), ..record.clone() })?;
    group.take_in(pid, schemata).inspect_err(|_| {
        if let Err(second) = container.change(record) {
            log::warn(format_args!("{second}"));
        }
    })
}

/// resctrl's directory, and what is to be written for cache and bandwidth of a group of processes; refused where the
/// kernel has none of it, in the words that callers know.
fn schemata(args: &Args) -> Result<Option<(PathBuf, Vec<&str>)>> {
    let mut schemata = Vec::new();
    let mut tree = None;
    for (option, resource, words) in [
        ("l3-cache-schema", "L3", "Intel RDT/CAT: l3 cache schema is not enabled"),
        ("mem-bw-schema", "MB", "Intel RDT/MBA: memory bandwidth schema is not enabled"),
    ] {
        let Some(schema) = args.get(option).filter(|schema| !schema.is_empty()) else { continue };
        let found = resctrl::mounted()?.filter(|tree| resctrl::knows(tree, resource));
        tree = Some(found.ok_or_else(|| Error::unsupported(words))?);
        schemata.push(schema);
    }
    Ok(tree.map(|tree| (tree, schemata)))
}

fn resources(args: &Args) -> Result<Resources> {
    if let Some(path) = args.get("resources").filter(|path| !path.is_empty()) {
        return read(path);
    }
    for name in ["kernel-memory", "kernel-memory-tcp"] {
        if args.get(name).is_some_and(|text| !text.is_empty()) {
            log::warn(format_args!("Setting --{name} is ignored and will be removed"));
        }
    }
    let mut resources = Resources::default();
    let text = |name: &str| args.get(name).filter(|text| !text.is_empty()).map(String::from);
    let cpu = CpuLimits {
        shares: parse(args, "cpu-share")?,
        quota: parse(args, "cpu-quota")?,
        burst: parse(args, "cpu-burst")?,
        period: parse(args, "cpu-period")?,
        realtime_runtime: parse(args, "cpu-rt-runtime")?,
        realtime_period: parse(args, "cpu-rt-period")?,
        cpus: text("cpuset-cpus"),
        mems: text("cpuset-mems"),
        idle: parse(args, "cpu-idle")?,
    };
    let bytes = |name: &str| text(name).map(|text| parse_bytes(name, &text)).transpose();
    let memory = MemoryLimits {
        limit: bytes("memory")?,
        reservation: bytes("memory-reservation")?,
        swap: bytes("memory-swap")?,
        ..Default::default()
    };
    resources.cpu = (cpu != CpuLimits::default()).then_some(cpu);
    resources.memory = (memory != MemoryLimits::default()).then_some(memory);
    resources.pids = parse(args, "pids-limit")?.map(|limit| PidsLimit { limit: Some(limit) });
    if let Some(weight) = parse(args, "blkio-weight")? {
        resources.block_io = Some(BlockIo { weight: Some(weight), ..Default::default() });
    }
    Ok(resources)
}

/// The specification's `resources` object.
fn read(path: &str) -> Result<Resources> {
    const MAX: u64 = 1 << 20;
    let mut text = Vec::new();
    match path {
        "-" => std::io::stdin().take(MAX + 1).read_to_end(&mut text),
        path => std::fs::File::open(path).and_then(|f| f.take(MAX + 1).read_to_end(&mut text)),
    }
    .context(|| format!("open {path}"))?;
    if text.len() as u64 > MAX {
        return Err(Error::invalid(format!("--resources {path}: is larger than {} KiB", MAX >> 10)));
    }
    oci::json::from_slice(&text).context(|| format!("--resources {path}"))
}

/// A whole number; absent and empty are the same.
fn parse<T: std::str::FromStr>(args: &Args, name: &str) -> Result<Option<T>> {
    let Some(text) = args.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        let why = if text.trim_start_matches('-').bytes().all(|b| b.is_ascii_digit()) && text != "-" {
            "value out of range"
        } else {
            "invalid syntax"
        };
        Error::invalid(format!("invalid value for {name}: parsing {text:?}: {why}"))
    })
}

/// `-1`, `1000`, `64m`, `1gb`, `1.5 GiB`.
fn parse_bytes(name: &str, text: &str) -> Result<i64> {
    let bad = || Error::invalid(format!("invalid value for {name}: invalid size: '{text}'"));
    if text == "-1" {
        return Ok(-1);
    }
    let lower = text.to_ascii_lowercase();
    let end = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(end);
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let unit = match unit.as_bytes() {
        [b'b'] => "",
        [letter, b'b'] | [letter, b'i', b'b'] | [letter] if b"kmgtp".contains(letter) => &unit[..1],
        [] => "",
        _ => return Err(bad()),
    };
    let shift = unit.bytes().next().and_then(|u| b"kmgtp".iter().position(|x| *x == u)).map_or(0, |at| 10 * (at + 1));
    if let Ok(whole) = number.parse::<i64>() {
        return whole.checked_mul(1 << shift).ok_or_else(bad);
    }
    let value = number.parse::<f64>().map_err(|_| bad())? * (1u64 << shift) as f64;
    // Larger than any machine's memory, and than what the fraction can say exactly.
    if value < 9e18 { Ok(value as i64) } else { Err(bad()) }
}

#[cfg(test)]
mod tests {
    use super::parse_bytes;

    #[test]
    fn sizes() {
        for (text, value) in [
            ("-1", -1),
            ("0", 0),
            ("1000", 1000),
            ("64m", 64 << 20),
            ("1GB", 1 << 30),
            ("2KiB", 2048),
            ("32 m", 32 << 20),
            ("5b", 5),
            ("1.5g", 3 << 29),
        ] {
            assert_eq!(parse_bytes("memory", text).expect(text), value);
        }
        for bad in ["", "m", "-2", "1x", "9999999999g", "1.2.3", "1  m", "1ib", "."] {
            let error = parse_bytes("memory", bad).expect_err(bad).to_string();
            assert!(error.contains(&format!("invalid value for memory: invalid size: '{bad}'")), "{error}");
        }
    }
}
