//! The names that say whose an interface, table or rule is.
//!
//! ```text
//! table      sampan-<owner>                    owner: 5 characters of a-z2-7
//! veth       sv<owner><8 characters of (container, interface, attempt)>
//! bridge     sampan0 | smp-<owner> | smp-<owner><5 of the network's id> | configured
//! alias      sampan:<owner>:<what>:<id>         of bridges and veths; `what` is net or ctr
//! rule       net:<id>:<hash> | ctr:<container>:<network>     as the rule's comment
//! ```
//! Interface names have at most 15 characters.

use oci::{Error, Result};

const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// Length of an owner's id.
const OWNER: usize = 5;

/// FNV-1a, 64 bits, mixed once more so that the low bits depend on all input. For names only:
/// collisions are handled where they can happen.
pub(crate) fn hash(parts: &[&[u8]]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in part.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ (hash >> 32)
}

/// The first `length` (at most 12) characters that stand for a hash.
pub(crate) fn letters(mut hash: u64, length: usize) -> String {
    let mut text = String::with_capacity(length);
    for _ in 0..length {
        text.push(char::from(LETTERS[(hash & 31) as usize]));
        hash >>= 5;
    }
    text
}

/// The owner id of a state directory.
pub(crate) fn owner_of(path: &std::path::Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    letters(hash(&[path.as_os_str().as_bytes()]), OWNER)
}

/// Refuses what can't be an owner id.
pub(crate) fn check_owner(owner: &str) -> Result<()> {
    if owner.len() == OWNER && owner.bytes().all(|b| LETTERS.contains(&b)) {
        return Ok(());
    }
    Err(Error::invalid(format!("invalid owner {owner:?}: expected {OWNER} characters of a-z and 2-7")))
}

/// Refuses what the kernel or nftables would not take as an interface's name.
pub(crate) fn check_interface(name: &str) -> Result<()> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if (1..=15).contains(&name.len()) && name.bytes().all(fine) && name != "." && name != ".." {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "invalid interface name {name:?}: expected 1 to 15 letters, digits, dots, dashes, underscores"
    )))
}

/// Refuses ids that can't stand in file names, aliases and comments.
pub(crate) fn check_id(id: &str) -> Result<()> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if (1..=76).contains(&id.len()) && id.bytes().all(fine) && !id.starts_with('.') {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "invalid container id {id:?}: expected 1 to 76 letters, digits, dots, dashes, underscores"
    )))
}

/// The table of an owner.
pub(crate) fn table(owner: &str) -> String {
    format!("sampan-{owner}")
}

/// What the names of an owner's veths begin with.
pub(crate) fn veth_prefix(owner: &str) -> String {
    format!("sv{owner}")
}

/// The host's end of a veth pair. `attempt` gives another name where one is taken.
pub(crate) fn veth(owner: &str, container: &str, interface: &str, attempt: u32) -> String {
    let hash = hash(&[container.as_bytes(), interface.as_bytes(), &attempt.to_le_bytes()]);
    format!("sv{owner}{}", letters(hash, 8))
}

/// What the derived names of an owner's bridges begin with.
pub(crate) fn bridge_prefix(owner: &str) -> String {
    format!("smp-{owner}")
}

/// A network's bridge.
pub(crate) fn bridge(owner: &str, network: &str) -> String {
    format!("smp-{owner}{}", letters(hash(&[network.as_bytes()]), 5))
}

/// What the aliases of an owner's interfaces begin with.
pub(crate) fn alias_prefix(owner: &str) -> String {
    format!("sampan:{owner}:")
}

/// The alias of a network's bridge.
pub(crate) fn network_alias(owner: &str, network: &str) -> String {
    format!("sampan:{owner}:net:{network}")
}

/// The alias of a container's veth.
pub(crate) fn container_alias(owner: &str, container: &str) -> String {
    format!("sampan:{owner}:ctr:{container}")
}

/// The comment of the rules for a network, up to the hash.
pub(crate) fn network_key(network: &str) -> String {
    format!("net:{}:", short(network))
}

/// The comment of the rules for a container in one network.
pub(crate) fn endpoint_key(container: &str, network: &str) -> String {
    format!("ctr:{container}:{}", short(network))
}

/// The id as people see it.
pub(crate) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn names_fit_and_are_told_apart() {
        let owner = owner_of(Path::new("/var/lib/sampan/network"));
        check_owner(&owner).unwrap();
        assert_ne!(owner, owner_of(Path::new("/tmp/other")));
        let id = "f".repeat(64);
        let first = veth(&owner, &id, "eth0", 0);
        assert_eq!(first.len(), 15);
        assert_ne!(first, veth(&owner, &id, "eth1", 0));
        assert_ne!(first, veth(&owner, &id, "eth0", 1));
        assert!(first.starts_with(&veth_prefix(&owner)));
        assert!(bridge(&owner, &id).len() <= 15);
        // nft takes comments of up to 127 bytes.
        assert!(endpoint_key(&"f".repeat(76), &id).len() <= 127);
    }

    #[test]
    fn bad_names_are_refused() {
        for wrong in ["", ".", "..", "a/b", "a b", "sixteen-letters-"] {
            assert!(check_interface(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "../x", ".hidden", "a:b", "a/b"] {
            assert!(check_id(wrong).is_err(), "{wrong}");
        }
    }
}
