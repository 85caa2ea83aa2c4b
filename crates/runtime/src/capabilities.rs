//! Capability names and sets.

use std::collections::BTreeSet;

use oci::runtime::Capabilities;

use crate::log;

/// Names in the kernel's order: the index is the capability's number.
pub(crate) const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The five sets as bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Sets {
    pub(crate) bounding: u64,
    pub(crate) effective: u64,
    pub(crate) inheritable: u64,
    pub(crate) permitted: u64,
    pub(crate) ambient: u64,
}

impl Sets {
    /// Unknown names are left out with one warning for all, as the specification asks.
    pub(crate) fn from_spec(spec: &Capabilities) -> Self {
        let mut unknown = BTreeSet::new();
        let mut bits = |names: &[String]| {
            names.iter().fold(0, |bits, name| match number(name) {
                Some(n) => bits | 1 << n,
                None => {
                    unknown.insert(name.clone());
                    bits
                }
            })
        };
        let mut sets = Self {
            bounding: bits(&spec.bounding),
            effective: bits(&spec.effective),
            inheritable: bits(&spec.inheritable),
            permitted: bits(&spec.permitted),
            ambient: bits(&spec.ambient),
        };
        if !unknown.is_empty() {
            let names: Vec<String> = unknown.into_iter().collect();
            log::warn(format_args!("ignoring unknown or unavailable capabilities: [{}]", names.join(" ")));
        }
        // What is effective is permitted: the kernel takes no other, and some configurations only say the one.
        sets.permitted |= sets.effective;
        sets
    }
}

/// The number of a capability.
pub(crate) fn number(name: &str) -> Option<u32> {
    NAMES.iter().position(|n| *n == name).map(|i| i as u32)
}

/// Names of the capabilities in a set.
pub(crate) fn names(bits: u64) -> String {
    let known = NAMES.iter().enumerate().filter(|(n, _)| bits & 1 << n != 0).map(|(_, name)| *name);
    known.collect::<Vec<_>>().join(" ")
}
