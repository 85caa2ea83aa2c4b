//! Where hierarchies are that nobody finds below `/sys/fs/cgroup` by the names of their controllers:
//! `/proc/self/mountinfo` tells. It is asked only when they were not found, because it is long.

use std::path::{Path, PathBuf};

use oci::{Error, Result};

use crate::mountinfo::{self, Mount};

pub(in crate::cgroups) const CGROUP_MAGIC: i64 = 0x0027_e0eb;

/// The container's directories in hierarchies that are mounted, by `/proc/self/cgroup` and `/proc/self/mountinfo`. Those
/// that are not are left out, but not the one that guards devices.
pub(super) fn paths(own: &str, mountinfo: &str, inner: &str, absolute: bool) -> Result<Vec<(String, PathBuf)>> {
    // Mounts that others lie upon are listed too.
    let seen = |mount: &Mount| rustix::fs::statfs(&mount.point).is_ok_and(|s| s.f_type == CGROUP_MAGIC);
    let mounts: Vec<Mount> = mountinfo.lines().filter_map(parse).filter(seen).collect();
    let paths = choose(own, &mounts, inner, absolute);
    let guards = |list: &str| list.split(',').any(|c| c == "devices");
    let listed = own.lines().any(|line| line.split(':').nth(1).is_some_and(guards));
    if !paths.is_empty() && listed && !paths.iter().any(|(controllers, _)| guards(controllers)) {
        return Err(Error::unsupported(
            "the cgroup hierarchy of the controller \"devices\" is not mounted, and without it nothing guards devices; \
             mount it with `mount -t cgroup -o devices cgroup /sys/fs/cgroup/devices`",
        ));
    }
    Ok(paths)
}

fn choose(own: &str, mounts: &[Mount], inner: &str, absolute: bool) -> Vec<(String, PathBuf)> {
    let mut paths = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(own_path)) = (fields.next(), fields.next()) else { continue };
        let one = controllers.split(',').next().unwrap_or("");
        if one.is_empty() {
            continue;
        }
        let Some(mount) = mounts.iter().find(|m| m.options.split(',').any(|option| option == one)) else { continue };
        // What is seen may begin below the hierarchy's root, and then the own cgroup may be out of sight.
        let below = Path::new(own_path).strip_prefix(&mount.root).ok().filter(|_| !absolute);
        paths.push((controllers.to_owned(), mount.point.join(below.unwrap_or(Path::new(""))).join(inner)));
    }
    paths
}

fn parse(line: &str) -> Option<Mount> {
    mountinfo::parse(line).filter(|mount| mount.kind == "cgroup")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_where_they_are_mounted() {
        let own = "9:name=systemd:/a\n4:memory:/docker/x/y\n3:cpuset:/\n1:cpu,cpuacct:/b\n0::/\n";
        let mountinfo = "20 1 0:20 / /sys rw - sysfs sysfs rw\n\
                         31 20 0:27 / /my\\040cgroups/sys rw,nosuid shared:9 - cgroup cgroup rw,xattr,name=systemd\n\
                         32 20 0:28 /docker/x /m rw - cgroup cgroup rw,memory\n\
                         33 20 0:29 / /c rw - cgroup cgroup rw,cpu,cpuacct\n\
                         34 20 0:30 / /u rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let mounts: Vec<Mount> = mountinfo.lines().filter_map(parse).collect();
        assert_eq!(mounts.len(), 3);
        let with = |absolute| -> Vec<(String, PathBuf)> { choose(own, &mounts, "in/c", absolute) };
        let expected = |list: [(&str, &str); 3]| list.map(|(c, p)| (c.to_owned(), PathBuf::from(p))).to_vec();
        assert_eq!(
            with(false),
            expected([
                ("name=systemd", "/my cgroups/sys/a/in/c"),
                ("memory", "/m/y/in/c"),
                ("cpu,cpuacct", "/c/b/in/c")
            ])
        );
        assert_eq!(
            with(true),
            expected([("name=systemd", "/my cgroups/sys/in/c"), ("memory", "/m/in/c"), ("cpu,cpuacct", "/c/in/c")])
        );
    }
}
