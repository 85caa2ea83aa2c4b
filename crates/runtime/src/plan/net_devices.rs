//! `linux.netDevices`: which of the host's network devices move into the container.

use std::collections::BTreeMap;
use std::os::fd::AsFd;

use oci::runtime::NetDevice;
use oci::{Context, Error, Result};

use super::namespaces::{NETWORK, Namespaces};

/// One device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedNetDevice {
    /// Its name on the host.
    pub(crate) host: String,
    /// Its name inside; one with `%d` lets the kernel number it.
    pub(crate) inside: String,
}

/// Checks the names and that there is a network namespace to move them to.
pub(crate) fn plan(devices: &BTreeMap<String, NetDevice>, namespaces: &Namespaces) -> Result<Vec<PlannedNetDevice>> {
    if devices.is_empty() {
        return Ok(Vec::new());
    }
    if !namespaces.has(NETWORK) || is_own(namespaces)? {
        return Err(Error::invalid("linux.netDevices: unable to move network devices without a private NET namespace"));
    }
    if !rustix::process::geteuid().is_root() {
        return Err(Error::unsupported("linux.netDevices: network devices are not supported for rootless containers"));
    }
    let mut planned = Vec::with_capacity(devices.len());
    for (host, device) in devices {
        let inside = device.name.as_deref().filter(|n| !n.is_empty()).unwrap_or(host);
        for (what, name) in [("", host.as_str()), (".name", inside)] {
            if !valid_name(name) {
                return Err(Error::invalid(format!(
                    "linux.netDevices[{host:?}]{what}: invalid network device name {name:?}; 1 to 15 bytes without \
                     /, : and white space are allowed"
                )));
            }
        }
        if planned.iter().any(|p: &PlannedNetDevice| p.inside == inside && !inside.contains("%d")) {
            return Err(Error::invalid(format!(
                "linux.netDevices[{host:?}].name: {inside:?} is the name of another device already"
            )));
        }
        planned.push(PlannedNetDevice { host: host.clone(), inside: inside.to_owned() });
    }
    Ok(planned)
}

/// What the kernel takes as a name.
fn valid_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() < 16
        && name != "."
        && name != ".."
        && !name.bytes().any(|b| b == b'/' || b == b':' || b == 0 || b.is_ascii_whitespace() || b == 0x0b)
}

/// Whether the namespace to be joined is the runtime's.
fn is_own(namespaces: &Namespaces) -> Result<bool> {
    let Some(join) = namespaces.join.iter().find(|j| j.bit == NETWORK) else { return Ok(false) };
    let own =
        rustix::fs::stat("/proc/self/ns/net").map_err(std::io::Error::from).context(|| "stat /proc/self/ns/net")?;
    let other = rustix::fs::fstat(join.file.as_fd()).map_err(std::io::Error::from)?;
    Ok((own.st_dev, own.st_ino) == (other.st_dev, other.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(list: &[(&str, Option<&str>)]) -> BTreeMap<String, NetDevice> {
        list.iter().map(|(host, name)| (host.to_string(), NetDevice { name: name.map(String::from) })).collect()
    }

    #[test]
    fn names_are_checked() {
        let spaces = Namespaces { create: NETWORK, ..Default::default() };
        let ok = plan(&devices(&[("a", None), ("b", Some("eth%d")), ("c", Some("eth%d"))]), &spaces).expect("valid");
        assert_eq!(ok[0], PlannedNetDevice { host: "a".into(), inside: "a".into() });
        for list in [
            [("a/b", None), ("x", None)],
            [("a", Some("0123456789abcdef")), ("x", None)],
            [("..", None), ("x", None)],
            [("a", Some("b c")), ("x", None)],
            [("a", Some("same")), ("b", Some("same"))],
        ] {
            assert!(plan(&devices(&list), &spaces).is_err(), "{list:?}");
        }
        let error = plan(&devices(&[("a", None)]), &Namespaces::default()).expect_err("no namespace").to_string();
        assert!(error.contains("unable to move network devices without a private NET namespace"), "{error}");
    }
}
