//! Sizes, numbers and durations in docker's spelling (its `go-units`).

use std::time::Duration;

/// Go's `%.{digits}g`.
pub(crate) fn significant(number: f64, digits: usize) -> String {
    if number == 0.0 {
        return "0".into();
    }
    let digits = digits.max(1);
    let scientific = format!("{:.*e}", digits - 1, number);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if exponent < -4 || exponent >= i32::try_from(digits).unwrap_or(i32::MAX) {
        let mantissa = trim_fraction(mantissa);
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    let decimals = usize::try_from(i32::try_from(digits).unwrap_or(0) - 1 - exponent).unwrap_or(0);
    trim_fraction(&format!("{number:.decimals$}")).to_owned()
}

fn trim_fraction(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// Go's `%v` of a float: the shortest digits, with an exponent from 1e21 on.
pub(crate) fn go_float(number: f64) -> String {
    if number != 0.0 && (number.abs() >= 1e21 || number.abs() < 1e-4) {
        let text = format!("{number:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or(0);
        return format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
    }
    format!("{number}")
}

fn scaled(mut size: f64, base: f64, units: &[&str], digits: usize) -> String {
    let mut unit = 0;
    while size >= base && unit < units.len() - 1 {
        size /= base;
        unit += 1;
    }
    format!("{}{}", significant(size, digits), units[unit])
}

/// `1.23GB`: thousands, with `digits` significant digits.
pub(crate) fn decimal_size(bytes: f64, digits: usize) -> String {
    scaled(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"], digits)
}

/// `1.23GB` with three digits, as in tables.
pub(crate) fn size3(bytes: i64) -> String {
    decimal_size(bytes as f64, 3)
}

/// `1.205GiB`: powers of 1024, four digits.
pub(crate) fn binary_size(bytes: f64) -> String {
    scaled(bytes, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"], 4)
}

/// `3 minutes`, `About an hour`, `2 weeks`.
pub(crate) fn human_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let minutes = seconds / 60;
    let exact_hours = duration.as_secs_f64() / 3600.0;
    let hours = (exact_hours + 0.5) as u64;
    match () {
        () if seconds < 1 => "Less than a second".into(),
        () if seconds == 1 => "1 second".into(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".into(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".into(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", exact_hours as u64 / 24 / 365),
    }
}

/// A number of bytes like `512m` or `1.5GiB`; powers of 1024. The error is docker's.
pub(crate) fn parse_size(text: &str) -> Result<i64, String> {
    let digits =
        text.rfind(|c: char| c.is_ascii_digit() || c == '.').ok_or_else(|| format!("invalid size: '{text}'"))?;
    let (number, suffix) = (&text[..=digits], text[digits + 1..].strip_prefix(' ').unwrap_or(&text[digits + 1..]));
    let number: f64 = number
        .strip_suffix('.')
        .map_or(number.parse(), |_| "x".parse())
        .map_err(|_| format!("invalid size: '{text}'"))?;
    if number < 0.0 {
        return Err(format!("invalid size: '{text}'"));
    }
    let lower = suffix.to_ascii_lowercase();
    let power = match lower.as_str() {
        "" | "b" => 0,
        _ => {
            let power = ["k", "m", "g", "t", "p"].iter().position(|unit| lower.starts_with(unit));
            match (power, lower.get(1..)) {
                (Some(power), Some("" | "b" | "ib")) => power as i32 + 1,
                _ => return Err(format!("invalid suffix: '{suffix}'")),
            }
        }
    };
    let bytes = number * 1024f64.powi(power);
    if bytes >= i64::MAX as f64 { Err(format!("invalid size: '{text}'")) } else { Ok(bytes as i64) }
}

/// Go's `time.ParseDuration`, in nanoseconds: `1h2m3.5s`.
pub(crate) fn parse_duration(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0f64;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().map_err(|_| invalid())?;
        rest = &rest[end..];
        let end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            "" => return Err(format!("time: missing unit in duration {text:?}")),
            unit => return Err(format!("time: unknown unit {unit:?} in duration {text:?}")),
        };
        total += number * unit;
        rest = &rest[end..];
    }
    if total >= i64::MAX as f64 {
        return Err(invalid());
    }
    Ok(if negative { -(total as i64) } else { total as i64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_docker_prints_them() {
        for (bytes, text) in
            [(0, "0B"), (12, "12B"), (1913, "1.91kB"), (4_260_000, "4.26MB"), (1_850_000_000, "1.85GB")]
        {
            assert_eq!(size3(bytes), text);
        }
        assert_eq!(size3(999_900), "1e+03kB");
        assert_eq!(decimal_size(2_097_152.0, 4), "2.097MB");
        assert_eq!(binary_size(1_293_942_784.0), "1.205GiB");
        assert_eq!(binary_size(1024.0), "1KiB");
    }

    #[test]
    fn durations_as_docker_prints_them() {
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (180, "3 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (14 * 86400, "2 weeks"),
            (60 * 86400, "2 months"),
            (730 * 86400, "2 years"),
        ] {
            assert_eq!(human_duration(Duration::from_secs(seconds)), text, "{seconds}");
        }
    }

    #[test]
    fn sizes_as_people_write_them() {
        for (text, bytes) in [
            ("512", 512),
            ("1k", 1024),
            ("1.5KiB", 1536),
            ("2m", 2 << 20),
            ("1GB", 1 << 30),
            ("1 g", 1 << 30),
            ("3b", 3),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        assert_eq!(parse_size("foo").unwrap_err(), "invalid size: 'foo'");
        assert_eq!(parse_size("1x").unwrap_err(), "invalid suffix: 'x'");
        assert_eq!(parse_size("-1").unwrap_err(), "invalid size: '-1'");
        assert!(parse_size("99999999999p").is_err());
    }

    #[test]
    fn durations_as_go_reads_them() {
        assert_eq!(parse_duration("1h2m3.5s"), Ok(3_723_500_000_000));
        assert_eq!(parse_duration("10ms"), Ok(10_000_000));
        assert_eq!(parse_duration("5").unwrap_err(), "time: missing unit in duration \"5\"");
        assert_eq!(parse_duration("x").unwrap_err(), "time: invalid duration \"x\"");
        assert_eq!(parse_duration("1y").unwrap_err(), "time: unknown unit \"y\" in duration \"1y\"");
    }
}
