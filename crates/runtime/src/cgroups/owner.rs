//! Whose a container's cgroup is: where the container may manage it, its user's, as the specification allows on v2.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::chown;
use std::path::Path;

use oci::runtime::{IdMapping, Linux, Mount};
use oci::{Context, Result};

use super::Location;

/// The user on the host to whom a v2 cgroup goes: the container must have a cgroup namespace of its own and the cgroup
/// filesystem writable, or nobody inside could do anything with it.
pub(crate) fn owner(linux: &Linux, mounts: &[Mount], user: u32) -> Option<u32> {
    let own = |kind: &str| linux.namespaces.iter().any(|n| n.kind == kind && n.path.is_none());
    let is_cgroup = |m: &&Mount| matches!(m.kind.as_deref(), Some("cgroup" | "cgroup2"));
    // The last mount at a place is the one that is seen.
    let writable = |m: &Mount| !m.options.iter().any(|o| matches!(o.as_str(), "ro" | "rro"));
    let mount = mounts.iter().rev().find(|m| m.destination.trim_end_matches('/') == "/sys/fs/cgroup")?;
    if !own("cgroup") || !is_cgroup(&mount) || !writable(mount) {
        return None;
    }
    if !own("user") {
        // One that is joined has mappings that are not known here.
        let joined = linux.namespaces.iter().any(|n| n.kind == "user");
        return (!joined && user != 0).then_some(user);
    }
    on_host(&linux.uid_mappings, user)
}

fn on_host(mappings: &[IdMapping], user: u32) -> Option<u32> {
    mappings.iter().find_map(|m| {
        let offset = user.checked_sub(m.container_id).filter(|o| *o < m.size)?;
        m.host_id.checked_add(offset)
    })
}

impl Location {
    /// Gives the container's own cgroup, and none of the limits on it, to a user.
    pub(crate) fn give_to(&self, user: u32) -> Result<()> {
        let Self::V2 { path } = self else { return Ok(()) };
        let give = |path: &Path| match chown(path, Some(user), None) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result.context(|| format!("give cgroup {} to user {user}", path.display())),
        };
        give(path)?;
        // The kernel says which files do not limit the cgroup itself.
        let files = fs::read_to_string("/sys/kernel/cgroup/delegate")
            .unwrap_or_else(|_| "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n".into());
        files.lines().filter(|file| !file.contains('/')).try_for_each(|file| give(&path.join(file)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::runtime::Namespace;

    #[test]
    fn it_is_given_where_it_can_be_used() {
        let kinds = |list: &[&str]| list.iter().map(|k| Namespace { kind: k.to_string(), path: None }).collect();
        let mut linux = Linux {
            namespaces: kinds(&["cgroup", "user"]),
            uid_mappings: vec![IdMapping { container_id: 0, host_id: 100_000, size: 1000 }],
            ..Default::default()
        };
        let mount = |options: &[&str]| Mount {
            destination: "/sys/fs/cgroup".into(),
            kind: Some("cgroup".into()),
            options: options.iter().map(|o| o.to_string()).collect(),
            ..Default::default()
        };
        assert_eq!(owner(&linux, &[mount(&["nosuid"])], 5), Some(100_005));
        assert_eq!(owner(&linux, &[mount(&["nosuid"])], 1000), None, "not mapped");
        assert_eq!(owner(&linux, &[mount(&["ro"])], 5), None);
        assert_eq!(owner(&linux, &[], 5), None);
        linux.namespaces = kinds(&["cgroup"]);
        assert_eq!(owner(&linux, &[mount(&[])], 5), Some(5));
        assert_eq!(owner(&linux, &[mount(&[])], 0), None, "it is root's already");
        linux.namespaces = kinds(&["user"]);
        assert_eq!(owner(&linux, &[mount(&[])], 5), None);
    }
}
