//! The kernel settings that bridge networking needs. `/proc/sys/net` shows the namespace of the
//! calling thread.

use crate::plan::Host;
use oci::{Context, Error, Kind, Result};
use std::io::Write;
use std::path::Path;

const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// Lets the host forward packets. What it was before is remembered first.
pub(super) fn enable_forwarding(host: &Host) -> Result<()> {
    let before = std::fs::read_to_string(FORWARDING).context(|| format!("read {FORWARDING}"))?;
    if before.trim() != "0" {
        return Ok(());
    }
    if !host.forwarding_memo.exists() {
        let memo = &host.forwarding_memo;
        let mut file = std::fs::File::create(memo).context(|| format!("create {}", memo.display()))?;
        file.write_all(before.as_bytes()).context(|| format!("write {}", memo.display()))?;
    }
    write(FORWARDING, "1")
}

/// Gives back what [`enable_forwarding`] changed.
pub(super) fn restore_forwarding(host: &Host) -> Result<()> {
    if !host.forwarding_memo.exists() {
        return Ok(());
    }
    // The only value ever remembered is 0; a memo cut short by a crash means the same.
    write(FORWARDING, "0")?;
    forget_forwarding(&host.forwarding_memo)
}

fn forget_forwarding(memo: &Path) -> Result<()> {
    match std::fs::remove_file(memo) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::from(error).prefixed(format!("remove {}", memo.display())))
        }
        _ => Ok(()),
    }
}

/// Lets packets from 127.0.0.0/8 pass a bridge; the guard rule keeps the containers out of it.
pub(super) fn enable_route_localnet(bridge: &str) -> Result<()> {
    write(&format!("/proc/sys/net/ipv4/conf/{bridge}/route_localnet"), "1")
}

/// Switches IPv6 off on an interface; a kernel without IPv6 has it off.
pub(super) fn disable_ipv6(interface: &str) -> Result<()> {
    match write(&format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"), "1") {
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        other => other,
    }
}

fn write(path: &str, value: &str) -> Result<()> {
    std::fs::write(path, value).context(|| format!("write {value} to {path}"))
}
