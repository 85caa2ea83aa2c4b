//! Dates, in UTC.

use oci::Timestamp;
use std::time::Duration;

/// How long ago a time in seconds since the epoch was.
pub(crate) fn since(seconds: i64) -> Duration {
    Timestamp::now().since(Timestamp::from_unix(seconds, 0))
}

/// `3 minutes ago`; `N/A` where there is no date.
pub(crate) fn ago(seconds: i64) -> String {
    if seconds <= 0 {
        return "N/A".into();
    }
    format!("{} ago", super::units::human_duration(since(seconds)))
}

/// Go's `Time.String()` of whole seconds: `2026-11-24 02:50:35 +0000 UTC`.
pub(crate) fn go_string(seconds: i64) -> String {
    let text = Timestamp::from_unix(seconds, 0).to_string();
    format!("{} +0000 UTC", text.trim_end_matches('Z').replace('T', " "))
}

/// The same of a date in RFC 3339, with its fraction.
pub(crate) fn go_text(date: &str) -> String {
    match date.parse::<Timestamp>() {
        Ok(time) => format!("{} +0000 UTC", time.to_string().trim_end_matches('Z').replace('T', " ")),
        Err(_) => date.to_owned(),
    }
}

/// RFC 3339 with seconds.
pub(crate) fn rfc3339(seconds: i64) -> String {
    Timestamp::from_unix(seconds, 0).to_string()
}

/// RFC 3339 with all nine digits of the fraction.
pub(crate) fn rfc3339_nanos(nanos: i64) -> String {
    let time = Timestamp::from_unix(nanos.div_euclid(1_000_000_000), 0);
    format!("{}.{:09}Z", time.to_string().trim_end_matches('Z'), nanos.rem_euclid(1_000_000_000))
}

/// What `--since` and `--until` take, as the API wants it: seconds and nanoseconds since the epoch. A Go duration counts
/// back from now; a date may be cut short (`2026-11-24`, `2026-11-24T02:50`); a number of seconds stays.
pub(crate) fn moment(text: &str) -> Result<String, String> {
    if let Ok(nanos) = super::units::parse_duration(text) {
        let now = Timestamp::now().unix_nanos();
        return Ok(unix(now - nanos));
    }
    if text.split_once('.').map_or(text, |(whole, _)| whole).parse::<i64>().is_ok() && text.parse::<f64>().is_ok() {
        return Ok(text.to_owned());
    }
    let whole = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        13 => format!("{text}:00:00Z"),
        16 => format!("{text}:00Z"),
        _ if text.ends_with('Z') || text.get(19..).is_some_and(|zone| zone.contains(['+', '-'])) => text.to_owned(),
        _ => format!("{text}Z"),
    };
    let time: Timestamp = whole.parse().map_err(|_| {
        format!(
            "failed to parse value as time or duration: {text:?}: write 10m, 2026-11-24T02:50:00Z or seconds since 1970"
        )
    })?;
    Ok(unix(time.unix_nanos()))
}

fn unix(nanos: i64) -> String {
    format!("{}.{:09}", nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(go_string(0), "1970-01-01 00:00:00 +0000 UTC");
        assert_eq!(rfc3339_nanos(1_000_000_001), "1970-01-01T00:00:01.000000001Z");
        assert_eq!(moment("1970-01-02").unwrap(), "86400.000000000");
        assert_eq!(moment("1970-01-01T00:01").unwrap(), "60.000000000");
        assert_eq!(moment("1970-01-01T01:00:00+01:00").unwrap(), "0.000000000");
        assert_eq!(moment("12.5").unwrap(), "12.5");
        assert!(moment("yesterday").is_err());
        let back: f64 = moment("10m").unwrap().parse().unwrap();
        assert!((Timestamp::now().seconds() as f64 - back - 600.0).abs() < 5.0);
    }
}
