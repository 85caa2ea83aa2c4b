//! Signals by name and number, as people give them to `kill` and `stop`.

use oci::{Error, Result};

/// Signals of Linux on x86-64 and aarch64 by number, from 1.
#[rustfmt::skip]
const NAMES: &[&str] = &[
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",
    "PWR", "SYS",
];
const OTHER_NAMES: &[(&str, u32)] = &[("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31)];
const RTMIN: u32 = 34;
const RTMAX: u32 = 64;

/// `SIGKILL`.
pub(crate) const KILL: u32 = 9;

/// Reads `TERM`, `SIGTERM`, `sigterm`, `15`, `RTMIN+3`.
pub(crate) fn parse(text: &str) -> Result<u32> {
    let bad = || Error::invalid(format!("invalid signal: {text}"));
    if let Ok(number) = text.parse::<u32>() {
        return if (1..=RTMAX).contains(&number) { Ok(number) } else { Err(bad()) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(at) = NAMES.iter().position(|n| *n == name) {
        return Ok(at as u32 + 1);
    }
    if let Some((_, number)) = OTHER_NAMES.iter().find(|(n, _)| *n == name) {
        return Ok(*number);
    }
    let real_time = match name {
        "RTMIN" => Some(RTMIN),
        "RTMAX" => Some(RTMAX),
        _ => {
            let plus =
                name.strip_prefix("RTMIN+").and_then(|n| n.parse::<u32>().ok()).and_then(|n| RTMIN.checked_add(n));
            let minus =
                || name.strip_prefix("RTMAX-").and_then(|n| n.parse::<u32>().ok()).and_then(|n| RTMAX.checked_sub(n));
            plus.or_else(minus)
        }
    };
    real_time.filter(|n| (RTMIN..=RTMAX).contains(n)).ok_or_else(bad)
}

/// The name with `SIG`, or the number where there is none.
pub(crate) fn name(signal: u32) -> String {
    match signal.checked_sub(1).and_then(|at| NAMES.get(at as usize)) {
        Some(name) => format!("SIG{name}"),
        None if signal == RTMIN => "SIGRTMIN".into(),
        None if (RTMIN..=RTMAX).contains(&signal) => format!("SIGRTMIN+{}", signal - RTMIN),
        None => signal.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling() {
        for (text, number) in
            [("TERM", 15), ("SIGTERM", 15), ("sigkill", 9), ("15", 15), ("RTMIN+3", 37), ("SIGRTMAX", 64)]
        {
            assert_eq!(parse(text).unwrap(), number, "{text}");
        }
        for bad in ["", "0", "65", "NOPE", "RTMIN+99", "-9"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        for number in 1..=RTMAX {
            assert_eq!(parse(&name(number)).unwrap(), number);
        }
    }
}
