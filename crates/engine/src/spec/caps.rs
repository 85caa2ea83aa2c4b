//! Capabilities.

use oci::runtime::Capabilities;
use oci::{Error, Result};

/// Every capability by its number (capability.h).
#[rustfmt::skip]
pub(super) const ALL: &[&str] = &[
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
    "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
];

/// What a container has if nothing is said (Docker's list).
const DEFAULT: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// `net_admin` and `CAP_NET_ADMIN` are `CAP_NET_ADMIN`; `all` is `ALL`.
fn normalize(name: &str, option: &str) -> Result<String> {
    let upper = name.to_ascii_uppercase();
    if upper == "ALL" || upper == "CAP_ALL" {
        return Ok("ALL".into());
    }
    let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    if ALL.contains(&full.as_str()) {
        Ok(full)
    } else {
        Err(Error::invalid(format!("invalid {option}: unknown capability: {full:?}")))
    }
}

/// The container's capabilities. `available`: those that this process can hand on.
pub(crate) fn choose(add: &[String], drop: &[String], privileged: bool, available: &[String]) -> Result<Vec<String>> {
    if privileged {
        return Ok(available.to_vec());
    }
    let names = |list: &[String], option| list.iter().map(|n| normalize(n, option)).collect::<Result<Vec<_>>>();
    let (add, drop) = (names(add, "CapAdd")?, names(drop, "CapDrop")?);
    let has = |list: &[String], name: &str| list.iter().any(|n| n == name);
    if let Some(missing) = add.iter().find(|n| *n != "ALL" && !has(available, n)) {
        return Err(Error::invalid(format!(
            "invalid CapAdd: capability not supported by your kernel or not available in the current environment: \
             {missing:?}"
        )));
    }
    let wanted = |name: &str| {
        if has(&add, "ALL") {
            return !has(&drop, name);
        }
        let base = !has(&drop, "ALL") && DEFAULT.contains(&name) && !has(&drop, name);
        base || has(&add, name)
    };
    Ok(ALL.iter().filter(|n| wanted(n) && has(available, n)).map(|&n| n.to_owned()).collect())
}

/// The sets of a process. Those of an ordinary user hold only the bounding set, as after execve(2).
pub(crate) fn sets(caps: Vec<String>, uid: u32) -> Capabilities {
    if uid == 0 {
        Capabilities { bounding: caps.clone(), effective: caps.clone(), permitted: caps, ..Default::default() }
    } else {
        Capabilities { bounding: caps, ..Default::default() }
    }
}

/// Names of the capabilities in a mask as `/proc/self/status` prints it.
pub(super) fn from_mask(mask: u64) -> Vec<String> {
    ALL.iter().enumerate().filter(|(bit, _)| mask >> bit & 1 == 1).map(|(_, &name)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|&n| n.to_owned()).collect()
    }

    #[test]
    fn add_and_drop() {
        let all = list(ALL);
        let choose = |add: &[&str], drop: &[&str]| choose(&list(add), &list(drop), false, &all);
        assert_eq!(choose(&[], &[]).unwrap().len(), DEFAULT.len());
        assert_eq!(choose(&["net_admin"], &["all"]).unwrap(), ["CAP_NET_ADMIN"]);
        assert_eq!(choose(&["ALL"], &["MKNOD"]).unwrap().len(), ALL.len() - 1);
        assert!(!choose(&[], &["cap_kill"]).unwrap().contains(&"CAP_KILL".to_owned()));
        assert!(choose(&["nonsense"], &[]).unwrap_err().to_string().contains("CAP_NONSENSE"));
    }

    #[test]
    fn what_the_machine_lacks_is_left_out_or_refused() {
        let few = list(&["CAP_KILL", "CAP_CHOWN"]);
        assert_eq!(choose(&[], &[], true, &few).unwrap(), few);
        assert_eq!(choose(&[], &[], false, &few).unwrap().len(), 2);
        assert!(choose(&list(&["SYS_RESOURCE"]), &[], false, &few).is_err());
    }

    #[test]
    fn a_mask_is_read() {
        assert_eq!(from_mask(0b100001), ["CAP_CHOWN", "CAP_KILL"]);
    }
}
