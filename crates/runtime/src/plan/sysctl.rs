//! Kernel parameters: only those that belong to a namespace of the container may be set; all others are the host's.

use std::collections::BTreeMap;

use oci::{Error, Result};

use super::namespaces::{self, Namespaces};

const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// Paths below `/proc/sys` and values.
pub(crate) fn plan(wanted: &BTreeMap<String, String>, spaces: &Namespaces) -> Result<Vec<(String, String)>> {
    wanted.iter().map(|(key, value)| Ok((path(key, spaces)?, value.clone()))).collect()
}

fn path(key: &str, spaces: &Namespaces) -> Result<String> {
    let swap = || {
        key.chars().map(|c| match c {
            '.' => '/',
            '/' => '.',
            c => c,
        })
    };
    // Both spellings exist: net.ipv4.conf.eth0/1.forwarding and net/ipv4/conf/eth0.1/forwarding.
    let slashes = key.find(['.', '/']).is_some_and(|at| key.as_bytes()[at] == b'/');
    let (path, dotted): (String, String) =
        if slashes { (key.to_owned(), swap().collect()) } else { (swap().collect(), key.to_owned()) };
    let refuse = |why: &str| Err(Error::invalid(format!("linux.sysctl: sysctl {dotted:?} {why}")));
    if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return refuse("contains an invalid path");
    }
    if IPC.contains(&dotted.as_str()) || dotted.starts_with("fs.mqueue.") {
        if !spaces.has(namespaces::IPC) {
            return refuse("is not allowed in the hosts ipc namespace");
        }
    } else if dotted.starts_with("net.") {
        if !spaces.has(namespaces::NETWORK) || spaces.joins_own(namespaces::NETWORK)? {
            return refuse("not allowed in host network namespace");
        }
    } else if dotted == "kernel.hostname" && spaces.has(namespaces::UTS) {
        return refuse("is not allowed as it conflicts with the OCI \"hostname\" field");
    } else if !(dotted == "kernel.domainname" && spaces.has(namespaces::UTS)
        || dotted.starts_with("user.") && spaces.has(namespaces::USER))
    {
        return refuse("is not in a separate kernel namespace");
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spaces(create: u64) -> Namespaces {
        Namespaces { create, ..Default::default() }
    }

    #[test]
    fn parameters_follow_the_namespaces() {
        let net = spaces(namespaces::NETWORK);
        for key in ["net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding"] {
            assert_eq!(path(key, &net).expect("allowed"), "net/ipv4/conf/eth0.1/forwarding");
        }
        assert_eq!(path("kernel.domainname", &spaces(namespaces::UTS)).expect("allowed"), "kernel/domainname");
        assert_eq!(path("user.max_net_namespaces", &spaces(namespaces::USER)).expect("own"), "user/max_net_namespaces");
        for (key, bits, words) in [
            ("net.ipv4.ip_forward", 0, "sysctl \"net.ipv4.ip_forward\" not allowed in host network namespace"),
            ("net/ipv4/ip_forward", 0, "sysctl \"net.ipv4.ip_forward\" not allowed in host network namespace"),
            (
                "kernel.shmmax",
                namespaces::NETWORK,
                "sysctl \"kernel.shmmax\" is not allowed in the hosts ipc namespace",
            ),
            ("fs.mqueue.msg_max", 0, "is not allowed in the hosts ipc namespace"),
            ("kernel.hostname", !0, "conflicts with the OCI \"hostname\" field"),
            ("kernel.hostname", 0, "is not in a separate kernel namespace"),
            ("kernel.domainname", 0, "is not in a separate kernel namespace"),
            ("kernel.core_pattern", !0, "sysctl \"kernel.core_pattern\" is not in a separate kernel namespace"),
            ("net/../kernel/core_pattern", !0, "contains an invalid path"),
            ("net..x", !0, "contains an invalid path"),
            ("", !0, "contains an invalid path"),
        ] {
            let error = path(key, &spaces(bits)).expect_err(key).to_string();
            assert!(error.starts_with("linux.sysctl: ") && error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_namespace_by_path_can_be_the_hosts() {
        let file = std::fs::File::open("/proc/self/ns/net").expect("open").into();
        let join = namespaces::Join { bit: namespaces::NETWORK, name: "network", file };
        let own = Namespaces { join: vec![join], ..Default::default() };
        let error = path("net.ipv4.ip_forward", &own).expect_err("refused").to_string();
        assert!(error.contains("not allowed in host network namespace"), "{error}");
    }
}
