//! Limits as properties of a unit, and properties that annotations ask for.
//!
//! What systemd knows is set through it as well as in the files: it writes its own values again whenever it likes.

use std::collections::BTreeMap;

use oci::runtime::{PidsLimit, Resources};
use oci::{Context, Error, Result};

use super::Bus;
use crate::cgroups::devices::{DeviceRules, Exception};
use crate::cgroups::v2;
use crate::dbus::gvariant;
use crate::dbus::value::Value;
use crate::log;

/// One property of a unit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Property {
    pub(super) name: String,
    pub(super) value: Value,
}

impl Property {
    pub(super) fn new(name: &str, value: Value) -> Self {
        Self { name: name.to_owned(), value }
    }
}

const INFINITY: u64 = u64::MAX;
const DEFAULT_PERIOD: u64 = 100_000;
/// The highest number of a processor or node that is turned into bits.
const MAX_BIT: usize = 8192;

/// Annotations `org.systemd.property.NAME`, their values as GVariant text.
pub(super) fn from_annotations(annotations: &BTreeMap<String, String>) -> Result<Vec<Property>> {
    let mut list = Vec::new();
    for (key, text) in annotations {
        let Some(name) = key.strip_prefix("org.systemd.property.") else { continue };
        let reason = if name.len() < 3 {
            Some("too short")
        } else if !name.bytes().all(|b| b.is_ascii_alphabetic()) {
            Some("contains non-alphabetic character")
        } else {
            None
        };
        if let Some(reason) = reason {
            return Err(Error::invalid(format!("annotation {key} name incorrect: {reason}")));
        }
        let what = || format!("annotation {key}={text} value parse error");
        let value = gvariant::parse(text).context(what)?;
        // Documented as seconds (TimeoutStopSec), understood as microseconds (TimeoutStopUSec).
        let stem = name.strip_suffix("Sec").filter(|s| s.ends_with(|c: char| c.is_ascii_lowercase()));
        list.push(match stem {
            Some(stem) => Property { name: format!("{stem}USec"), value: microseconds(&value).context(what)? },
            None => Property { name: name.to_owned(), value },
        });
    }
    Ok(list)
}

fn microseconds(value: &Value) -> Result<Value> {
    const SECOND: u64 = 1_000_000;
    let seconds = match value {
        Value::Byte(n) => u64::from(*n),
        Value::Uint16(n) => u64::from(*n),
        Value::Uint32(n) => u64::from(*n),
        Value::Uint64(n) => *n,
        Value::Int16(n) if *n >= 0 => n.unsigned_abs().into(),
        Value::Int32(n) if *n >= 0 => n.unsigned_abs().into(),
        Value::Int64(n) if *n >= 0 => n.unsigned_abs(),
        Value::Double(n) if *n >= 0.0 => return Ok(Value::Uint64((n * SECOND as f64) as u64)),
        Value::Int16(_) | Value::Int32(_) | Value::Int64(_) | Value::Double(_) => {
            return Err(Error::invalid("a time cannot be negative"));
        }
        _ => return Err(Error::invalid("not a number")),
    };
    Ok(Value::Uint64(seconds.saturating_mul(SECOND)))
}

/// The properties of a v2 cgroup's limits. `new` is for a unit that is being made.
pub(super) fn for_v2(bus: &mut Bus, resources: &mut Resources, new: bool) -> Result<Vec<Property>> {
    round_quota(resources);
    let mut list = devices(resources, new)?;
    let settings = v2::settings(resources)?;
    let period_given = resources.cpu.as_ref().is_some_and(|c| c.period.is_some_and(|p| p != 0));
    let is_idle = |file: &str, value: &str| file == "cpu.idle" && value.trim() == "1";
    let idle = settings.iter().any(|s| is_idle(&s.file, &s.value))
        || resources.unified.iter().any(|(file, value)| is_idle(file, value));
    let idle = idle && bus.version() >= 252;
    for setting in &settings {
        let (file, value) = (&setting.file, &setting.value);
        from_file(bus, &mut list, file, value, period_given, idle)
            .map_err(|e| e.prefixed(format!("linux.resources: {file} {value:?}")))?;
    }
    for (file, value) in &resources.unified {
        if new && file == "memory.oom.group" {
            match value.trim() {
                "0" => list.push(Property::new("OOMPolicy", Value::str("continue"))),
                "1" => list.push(Property::new("OOMPolicy", Value::str("kill"))),
                _ => {}
            }
        }
        from_file(bus, &mut list, file, value.trim(), true, idle)
            .map_err(|e| e.prefixed(format!("unified resource {file:?} value conversion error: {value:?}")))?;
    }
    Ok(list)
}

/// Translates what is written to a control file. Files that systemd has no property for are only written.
fn from_file(
    bus: &mut Bus,
    list: &mut Vec<Property>,
    file: &str,
    value: &str,
    period_given: bool,
    idle: bool,
) -> Result<()> {
    let number = || {
        if value == "max" {
            return Ok(INFINITY);
        }
        value.parse().map_err(|_| Error::invalid(format!("{value:?} is neither a number nor \"max\"")))
    };
    let simple = match file {
        "memory.max" => "MemoryMax",
        "memory.high" => "MemoryHigh",
        "memory.low" => "MemoryLow",
        "memory.min" => "MemoryMin",
        "memory.swap.max" => "MemorySwapMax",
        "pids.max" => "TasksMax",
        "cpu.idle" if idle && value == "1" => {
            // To systemd, no weight at all means idle.
            list.push(Property::new("CPUWeight", Value::Uint64(0)));
            return Ok(());
        }
        "cpu.weight" if idle => {
            log::warn(format_args!("unable to apply both CPUWeight and CpuIdle to systemd, ignoring CPUWeight"));
            return Ok(());
        }
        "cpu.weight" => "CPUWeight",
        "cpu.max" => {
            let mut words = value.split_whitespace();
            let quota = match words.next() {
                Some("max") => 0,
                Some(word) => word.parse().map_err(|_| Error::invalid(format!("quota {word:?} is not a number")))?,
                None => return Err(Error::invalid("no quota")),
            };
            let period = match words.next() {
                Some(word) => word.parse().map_err(|_| Error::invalid(format!("period {word:?} is not a number")))?,
                None => DEFAULT_PERIOD,
            };
            if words.next().is_some() || period == 0 {
                return Err(Error::invalid("not a quota and a period"));
            }
            quota_properties(bus, list, quota, period_given.then_some(period));
            return Ok(());
        }
        "cpuset.cpus" | "cpuset.mems" => {
            let name = if file == "cpuset.cpus" { "AllowedCPUs" } else { "AllowedMemoryNodes" };
            let bits = range_to_bits(value)?;
            if bus.version() >= 244 {
                list.push(Property::new(name, Value::bytes(&bits)));
            }
            return Ok(());
        }
        _ => return Ok(()),
    };
    list.push(Property::new(simple, Value::Uint64(number()?)));
    Ok(())
}

/// The properties of v1 cgroups' limits.
pub(super) fn for_v1(bus: &mut Bus, r: &mut Resources, new: bool) -> Result<Vec<Property>> {
    round_quota(r);
    let mut list = devices(r, new)?;
    fn given<T: PartialEq + Default>(value: Option<T>) -> Option<T> {
        value.filter(|v| *v != T::default())
    }
    if let Some(limit) = r.memory.as_ref().and_then(|m| given(m.limit)) {
        list.push(Property::new("MemoryLimit", Value::Uint64(limit.cast_unsigned())));
    }
    if let Some(cpu) = &r.cpu {
        if let Some(shares) = given(cpu.shares) {
            list.push(Property::new("CPUShares", Value::Uint64(shares)));
        }
        let (quota, period) = (given(cpu.quota), given(cpu.period));
        if quota.is_some() || period.is_some() {
            quota_properties(bus, &mut list, quota.unwrap_or(0).max(0).cast_unsigned(), period);
        }
        for (name, numbers) in [("AllowedCPUs", &cpu.cpus), ("AllowedMemoryNodes", &cpu.mems)] {
            let Some(numbers) = numbers.as_deref().filter(|n| !n.is_empty()) else { continue };
            let bits = range_to_bits(numbers).map_err(|e| e.prefixed(format!("linux.resources.cpu: {numbers:?}")))?;
            if bus.version() >= 244 {
                list.push(Property::new(name, Value::bytes(&bits)));
            }
        }
    }
    if let Some(weight) = r.block_io.as_ref().and_then(|b| given(b.weight)) {
        list.push(Property::new("BlockIOWeight", Value::Uint64(weight.into())));
    }
    if let Some(limit) = r.pids.as_ref().and_then(PidsLimit::tasks) {
        list.push(Property::new("TasksMax", Value::Uint64(if limit < 0 { INFINITY } else { limit.cast_unsigned() })));
    }
    Ok(list)
}

/// `quota` 0 is none.
fn quota_properties(bus: &mut Bus, list: &mut Vec<Property>, quota: u64, period: Option<u64>) {
    if let Some(period) = period
        && bus.version() >= 242
    {
        list.push(Property::new("CPUQuotaPeriodUSec", Value::Uint64(period)));
    }
    let per_second = if quota == 0 { INFINITY } else { quota_per_second(quota, period.unwrap_or(DEFAULT_PERIOD)) };
    list.push(Property::new("CPUQuotaPerSecUSec", Value::Uint64(per_second)));
}

/// systemd counts in whole hundredths of a processor: rounded up, so that what is below gets what it asks for.
fn quota_per_second(quota: u64, period: u64) -> u64 {
    quota.saturating_mul(1_000_000).checked_div(period).unwrap_or(0).div_ceil(10_000).saturating_mul(10_000)
}

/// The files get the quota that systemd will arrive at, or its next write would change it.
fn round_quota(resources: &mut Resources) {
    if let Some(cpu) = &mut resources.cpu
        && let Some(quota) = cpu.quota.filter(|q| *q > 0)
    {
        let period = cpu.period.filter(|p| *p != 0).unwrap_or(DEFAULT_PERIOD);
        let rounded = u128::from(quota_per_second(quota.cast_unsigned(), period)) * u128::from(period) / 1_000_000;
        cpu.quota = Some(i64::try_from(rounded).unwrap_or(quota));
    }
}

/// `0-2,7` as bits, the lowest numbers in the first byte.
fn range_to_bits(text: &str) -> Result<Vec<u8>> {
    let mut bits = Vec::new();
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |word: &str| {
            let number = word.trim().parse::<usize>().ok().filter(|n| *n < MAX_BIT);
            number.ok_or_else(|| Error::invalid(format!("{word:?} is not a number below {MAX_BIT}")))
        };
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(Error::invalid(format!("invalid range: {part}")));
        }
        if bits.len() <= last / 8 {
            bits.resize(last / 8 + 1, 0);
        }
        for bit in first..=last {
            bits[bit / 8] |= 1 << (bit % 8);
        }
    }
    if bits.is_empty() {
        return Err(Error::invalid("empty value"));
    }
    Ok(bits)
}

/// Device rules. An update without any leaves the old ones.
fn devices(resources: &Resources, new: bool) -> Result<Vec<Property>> {
    if !new && resources.devices.is_empty() {
        return Ok(Vec::new());
    }
    let rules = DeviceRules::for_container(&resources.devices)?;
    let allow = |list: Vec<Value>| Property::new("DeviceAllow", Value::Array("(ss)".into(), list));
    let policy = |name: &str| Property::new("DevicePolicy", Value::str(name));
    if rules.allow_by_default {
        // systemd knows only lists of what is allowed. Its rules hold together with the cgroup's own, which know the
        // exceptions; they must not forbid more.
        return Ok(vec![policy("auto"), allow(Vec::new())]);
    }
    let entries = rules.exceptions.iter().map(|e| {
        let pair = [device(e), e.letters()];
        Value::Struct(pair.map(Value::Str).into())
    });
    // An empty list first takes away what an older one has allowed.
    Ok(vec![policy("strict"), allow(Vec::new()), allow(entries.collect())])
}

/// A device in systemd's words.
fn device(e: &Exception) -> String {
    let kind = if e.block { "block" } else { "char" };
    match (e.major, e.minor) {
        (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
        (Some(major), None) => format!("{kind}-{major}"),
        _ => format!("{kind}-*"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotations_become_properties() {
        let read = |key: &str, text: &str| {
            from_annotations(&[(format!("org.systemd.property.{key}"), text.to_owned())].into())
                .map(|list| list.into_iter().map(|p| (p.name, p.value)).collect::<Vec<_>>())
                .map_err(|e| e.to_string())
        };
        let one = |name: &str, value| Ok(vec![(name.to_owned(), value)]);
        assert_eq!(read("TimeoutStopUSec", "uint64 123456789"), one("TimeoutStopUSec", Value::Uint64(123_456_789)));
        assert_eq!(read("TimeoutStopSec", "uint32 5"), one("TimeoutStopUSec", Value::Uint64(5_000_000)));
        assert_eq!(read("RuntimeMaxSec", "1.5"), one("RuntimeMaxUSec", Value::Uint64(1_500_000)));
        assert_eq!(read("CollectMode", "'inactive-or-failed'"), one("CollectMode", Value::str("inactive-or-failed")));
        assert!(from_annotations(&[("org.other".to_owned(), "]".to_owned())].into()).is_ok_and(|list| list.is_empty()));
        for (key, text, words) in [
            ("ab", "true", "name incorrect: too short"),
            ("a-b", "true", "name incorrect: contains non-alphabetic character"),
            ("After", "['a'", "org.systemd.property.After=['a' value parse error"),
            ("TimeoutStopSec", "'5'", "not a number"),
            ("TimeoutStopSec", "-5", "negative"),
        ] {
            let error = read(key, text).expect_err(text);
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn ranges_become_bits() {
        for (text, bits) in
            [("0", vec![1]), ("0-3", vec![15]), ("1,3-4", vec![0x1a]), ("8", vec![0, 1]), ("0-8", vec![255, 1])]
        {
            assert_eq!(range_to_bits(text).expect(text), bits);
        }
        for text in ["", ",", "a", "3-1", "-1", "1-", "99999999999"] {
            assert!(range_to_bits(text).is_err(), "{text}");
        }
    }

    #[test]
    fn quotas_are_rounded_up_to_hundredths() {
        assert_eq!(quota_per_second(50_000, 100_000), 500_000);
        assert_eq!(quota_per_second(12_345, 100_000), 130_000);
        let mut resources = Resources {
            cpu: Some(oci::runtime::CpuLimits { quota: Some(12_345), ..Default::default() }),
            ..Default::default()
        };
        round_quota(&mut resources);
        assert_eq!(resources.cpu.and_then(|c| c.quota), Some(13_000));
    }
}
