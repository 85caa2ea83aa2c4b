//! Limits: memory, processors, processes, block I/O, ulimits. `update` uses them, too.

use crate::args::{Flags, bad_flag};
use crate::failure::{Failure, Result};
use crate::format::units::parse_size;
use clap::ArgMatches;
use wire::docker::host_config::{Resources, ThrottleDevice, Ulimit, WeightDevice};

const LIMITS: &[&str] = &[
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// A size in bytes.
pub(crate) fn size(m: &ArgMatches, name: &str) -> Result<i64> {
    match m.given(name) {
        // "unlimited"
        Some("-1") if name == "memory-swap" => Ok(-1),
        Some(text) => parse_size(text).map_err(|why| bad_flag(name, text, &why)),
        None => Ok(0),
    }
}

pub(crate) fn from_flags(m: &ArgMatches) -> Result<Resources> {
    let number = |name: &str| m.integer(name).map(Option::unwrap_or_default);
    let swappiness = m.integer("memory-swappiness")?.unwrap_or(-1);
    if !(-1..=100).contains(&swappiness) {
        return Err(
            Failure::new(format!("invalid value: {swappiness}. Valid memory swappiness range is 0-100")).with_code(125)
        );
    }
    let weight = m.text("blkio-weight");
    let blkio_weight = match weight {
        "" => 0,
        text => text.parse().map_err(|_| {
            bad_flag("blkio-weight", text, &format!("strconv.ParseUint: parsing {text:?}: invalid syntax"))
        })?,
    };
    let rates = |name: &str, bytes: bool| -> Result<Option<Vec<ThrottleDevice>>> {
        let parse = |text: String| throttle(&text, bytes).map_err(|why| bad_flag(name, &text, &why));
        m.texts(name).into_iter().map(parse).collect::<Result<_>>().map(Some)
    };
    let parse = |text: String| ulimit(&text).map_err(|why| bad_flag("ulimit", &text, &why));
    let mut ulimits: Vec<Ulimit> = m.texts("ulimit").into_iter().map(parse).collect::<Result<_>>()?;
    ulimits.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Resources {
        cpu_shares: number("cpu-shares")?,
        memory: size(m, "memory")?,
        nano_cpus: cpus(m)?,
        cgroup_parent: m.text("cgroup-parent").to_owned(),
        blkio_weight,
        blkio_weight_device: Some(
            m.texts("blkio-weight-device")
                .into_iter()
                .map(|text| weight_device(&text).map_err(|why| bad_flag("blkio-weight-device", &text, &why)))
                .collect::<Result<_>>()?,
        ),
        blkio_device_read_bps: rates("device-read-bps", true)?,
        blkio_device_write_bps: rates("device-write-bps", true)?,
        blkio_device_read_iops: rates("device-read-iops", false)?,
        blkio_device_write_iops: rates("device-write-iops", false)?,
        cpu_period: number("cpu-period")?,
        cpu_quota: number("cpu-quota")?,
        cpu_realtime_period: number("cpu-rt-period")?,
        cpu_realtime_runtime: number("cpu-rt-runtime")?,
        cpuset_cpus: m.text("cpuset-cpus").to_owned(),
        cpuset_mems: m.text("cpuset-mems").to_owned(),
        memory_reservation: size(m, "memory-reservation")?,
        memory_swap: size(m, "memory-swap")?,
        memory_swappiness: Some(swappiness),
        oom_kill_disable: Some(m.on("oom-kill-disable")),
        pids_limit: Some(number("pids-limit")?),
        ulimits: Some(ulimits),
        ..Resources::default()
    })
}

/// `--cpus` in billionths.
pub(crate) fn cpus(m: &ArgMatches) -> Result<i64> {
    let text = m.text("cpus");
    if text.is_empty() { Ok(0) } else { nano_cpus(text).map_err(|why| bad_flag("cpus", text, &why)) }
}

/// A decimal number with at most nine digits after the point, or a fraction.
fn nano_cpus(text: &str) -> Result<i64, String> {
    let malformed = || format!("failed to parse {text} as a rational number");
    let imprecise = || "value is too precise".to_owned();
    let nanos = if let Some((above, below)) = text.split_once('/') {
        let (above, below): (i128, i128) =
            (above.parse().map_err(|_| malformed())?, below.parse().map_err(|_| malformed())?);
        if below == 0 {
            return Err(malformed());
        }
        let scaled = above.checked_mul(1_000_000_000).ok_or_else(malformed)?;
        if scaled % below != 0 {
            return Err(imprecise());
        }
        scaled / below
    } else {
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let is_number = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
        if (whole.is_empty() && fraction.is_empty()) || !is_number(whole) || !is_number(fraction) || whole.len() > 18 {
            return Err(malformed());
        }
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > 9 {
            return Err(imprecise());
        }
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| malformed())? };
        let part: i128 = format!("{fraction:0<9}").parse().map_err(|_| malformed())?;
        let nanos = whole * 1_000_000_000 + part;
        if negative { -nanos } else { nanos }
    };
    i64::try_from(nanos).map_err(|_| malformed())
}

fn weight_device(text: &str) -> Result<WeightDevice, String> {
    let (path, weight) = device_path(text)?;
    let weight: u16 = weight.parse().map_err(|_| format!("invalid weight for device: {text}"))?;
    if weight > 0 && !(10..=1000).contains(&weight) {
        return Err(format!("invalid weight for device: {text}"));
    }
    Ok(WeightDevice { path, weight })
}

fn throttle(text: &str, bytes: bool) -> Result<ThrottleDevice, String> {
    let (path, rate) = device_path(text)?;
    let rate = if bytes {
        parse_size(rate).ok().and_then(|rate| u64::try_from(rate).ok()).ok_or_else(|| {
            format!(
                "invalid rate for device: {text}. The correct format is <device-path>:<number>[<unit>]. Number must be a \
                 positive integer. Unit is optional and can be kb, mb, or gb"
            )
        })?
    } else {
        rate.parse().map_err(|_| {
            format!(
                "invalid rate for device: {text}. The correct format is <device-path>:<number>. Number must be a positive \
                 integer"
            )
        })?
    };
    Ok(ThrottleDevice { path, rate })
}

fn device_path(text: &str) -> Result<(String, &str), String> {
    let (path, rest) = text.split_once(':').ok_or_else(|| format!("bad format: {text}"))?;
    if rest.is_empty() || rest.contains(':') {
        return Err(format!("bad format: {text}"));
    }
    if !path.starts_with("/dev/") {
        return Err(format!("bad format for device path: {text}"));
    }
    Ok((path.to_owned(), rest))
}

fn ulimit(text: &str) -> Result<Ulimit, String> {
    let (name, values) = text.split_once('=').ok_or_else(|| format!("invalid ulimit argument: {text}"))?;
    if !LIMITS.contains(&name) {
        return Err(format!("invalid ulimit type: {name}"));
    }
    let parts: Vec<&str> = values.split(':').collect();
    let number =
        |text: &str| text.parse::<i64>().map_err(|_| format!("strconv.ParseInt: parsing {text:?}: invalid syntax"));
    let (soft, hard) = match parts.as_slice() {
        [one] => (number(one)?, number(one)?),
        [soft, hard] => (number(soft)?, number(hard)?),
        _ => return Err(format!("too many limit value arguments - {values}, can only have up to two, `soft[:hard]`")),
    };
    if hard != -1 && (soft == -1 || soft > hard) {
        return Err(if soft == -1 {
            "ulimit soft limit must be less than or equal to hard limit: soft: -1 (unlimited), hard: ".to_owned()
                + &hard.to_string()
        } else {
            format!("ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}")
        });
    }
    Ok(Ulimit { name: name.to_owned(), soft, hard })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors() {
        assert_eq!(nano_cpus("1.5"), Ok(1_500_000_000));
        assert_eq!(nano_cpus(".1"), Ok(100_000_000));
        assert_eq!(nano_cpus("3/2"), Ok(1_500_000_000));
        assert_eq!(nano_cpus("foo").unwrap_err(), "failed to parse foo as a rational number");
        assert_eq!(nano_cpus("0.0000000001").unwrap_err(), "value is too precise");
        assert_eq!(nano_cpus("1/3").unwrap_err(), "value is too precise");
        assert!(nano_cpus("1/0").is_err() && nano_cpus("").is_err() && nano_cpus("99999999999999999999").is_err());
    }

    #[test]
    fn ulimits() {
        assert_eq!(ulimit("nofile=1024:2048").map(|u| (u.soft, u.hard)), Ok((1024, 2048)));
        assert_eq!(ulimit("core=0").map(|u| (u.soft, u.hard)), Ok((0, 0)));
        assert_eq!(ulimit("core=-1").map(|u| (u.soft, u.hard)), Ok((-1, -1)));
        assert_eq!(ulimit("x=1").unwrap_err(), "invalid ulimit type: x");
        assert_eq!(ulimit("nofile").unwrap_err(), "invalid ulimit argument: nofile");
        assert!(ulimit("nofile=2:1").unwrap_err().ends_with("2 > 1"));
        assert!(ulimit("nofile=1:2:3").unwrap_err().starts_with("too many"));
    }

    #[test]
    fn block_devices() {
        assert_eq!(throttle("/dev/sda:1mb", true).map(|t| t.rate), Ok(1 << 20));
        assert_eq!(weight_device("/dev/sda:500").map(|t| t.weight), Ok(500));
        assert!(throttle("sda:1", true).is_err() && throttle("/dev/sda", false).is_err());
        assert!(weight_device("/dev/sda:5").is_err());
    }
}
