//! Ids and names.

use oci::{Context, Error, Result};
use std::io::Read;

/// Bytes nobody can guess.
fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    std::fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut bytes)).context(|| "read /dev/urandom")?;
    Ok(bytes)
}

/// 64 hexadecimal digits. An id whose first twelve digits are all decimal would look like a number; Docker avoids
/// them, too.
pub(crate) fn new_id() -> Result<String> {
    use std::fmt::Write;
    loop {
        let id = random::<32>()?.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        if !id.bytes().take(12).all(|b| b.is_ascii_digit()) {
            return Ok(id);
        }
    }
}

/// Refuses what can't be a container's or volume's name. `what`: `container` or `volume`.
pub(crate) fn check(name: &str, what: &str) -> Result<()> {
    let bytes = name.as_bytes();
    let fine = bytes.len() >= 2
        && bytes.len() <= 255
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if fine {
        return Ok(());
    }
    Err(Error::invalid(match what {
        "volume" => format!(
            "create {name}: {name:?} includes invalid characters for a local volume name, only \
             \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are allowed. If you intended to pass a host directory, use absolute path"
        ),
        _ => format!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
    }))
}

#[rustfmt::skip]
const ADJECTIVES: &[&str] = &[
    "able", "amber", "bold", "brave", "breezy", "bright", "brisk", "calm", "clear", "clever", "crisp", "deft", "eager",
    "early", "fair", "fleet", "fresh", "gentle", "glad", "golden", "happy", "hardy", "jolly", "keen", "kind", "lively",
    "loyal", "lucid", "merry", "mild", "neat", "nimble", "noble", "patient", "placid", "polite", "quick", "quiet",
    "ready", "sharp", "silent", "silver", "smooth", "snug", "steady", "sunny", "swift", "tidal", "tidy", "trim",
    "upbeat", "vivid", "warm", "wise",
];
#[rustfmt::skip]
const NOUNS: &[&str] = &[
    "anchor", "barge", "bay", "beacon", "boat", "breeze", "bridge", "buoy", "canal", "canoe", "cargo", "coast", "coral",
    "cove", "crane", "current", "deck", "delta", "dock", "ferry", "fjord", "gull", "harbor", "heron", "hull", "island",
    "jetty", "junk", "kayak", "keel", "lagoon", "lantern", "lighthouse", "lock", "marina", "mast", "oar", "otter",
    "pelican", "pier", "pilot", "port", "quay", "raft", "reef", "river", "rudder", "sail", "shoal", "shore", "sloop",
    "tide", "wharf",
];

/// A made-up name; `attempt` above 2 adds a number to it.
pub(crate) fn made_up(attempt: u32) -> Result<String> {
    let [a, b, c, d] = random::<4>()?;
    let adjective = ADJECTIVES[usize::from(a) % ADJECTIVES.len()];
    let noun = NOUNS[usize::from(b) % NOUNS.len()];
    Ok(match attempt {
        0..=2 => format!("{adjective}_{noun}"),
        _ => format!("{adjective}_{noun}{}", u16::from_le_bytes([c, d])),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["ab", "a.b-c_d", "9x"] {
            assert!(check(good, "container").is_ok(), "{good}");
        }
        for bad in ["", "a", "-a", ".ab", "a/b", "a b", "ä1", &"x".repeat(256)] {
            assert!(check(bad, "container").is_err(), "{bad}");
        }
        for attempt in 0..5 {
            assert!(check(&made_up(attempt).unwrap(), "container").is_ok());
        }
    }

    #[test]
    fn ids() {
        let id = new_id().unwrap();
        assert_eq!(id.len(), 64);
        assert!(id.bytes().all(|b| b.is_ascii_hexdigit()));
        assert_ne!(id, new_id().unwrap());
    }
}
