//! Mount options: the specification's words to what the kernel is told.

use std::ffi::CString;
use std::path::Path;

use oci::runtime::Mount;
use oci::{Error, Result};
use sys::mount_attr as attr;

/// One mount, ready to be made.
#[derive(Debug, Clone)]
pub(crate) struct PlannedMount {
    /// Absolute inside the container, without `.`, `..` or doubled slashes.
    pub(crate) destination: String,
    pub(crate) kind: MountKind,
    /// Propagation types (`MS_*` with `MS_REC` where recursive), set afterwards in this order.
    pub(crate) propagation: Vec<u64>,
    /// Attributes for the whole tree, from the options that begin with `r`.
    pub(crate) recursive: AttrChange,
}

/// Attribute bits of `mount_setattr(2)`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct AttrChange {
    pub(crate) set: u64,
    pub(crate) clear: u64,
}

#[derive(Debug, Clone)]
pub(crate) enum MountKind {
    /// A bind mount of a host path.
    Bind { source: CString, recursive: bool, attrs: AttrChange },
    /// A new filesystem.
    Filesystem { kind: CString, source: CString, flags: u64, data: CString, copy_up: bool },
    /// The container's own view of the cgroups.
    Cgroup { flags: u64 },
}

const MS_RDONLY: u64 = 1;
const MS_NOSUID: u64 = 2;
const MS_NODEV: u64 = 4;
const MS_NOEXEC: u64 = 8;
const MS_SYNCHRONOUS: u64 = 16;
const MS_REMOUNT: u64 = 32;
const MS_MANDLOCK: u64 = 64;
const MS_DIRSYNC: u64 = 128;
const MS_NOSYMFOLLOW: u64 = 256;
const MS_NOATIME: u64 = 1024;
const MS_NODIRATIME: u64 = 2048;
const MS_SILENT: u64 = 32768;
const MS_POSIXACL: u64 = 1 << 16;
const MS_RELATIME: u64 = 1 << 21;
const MS_I_VERSION: u64 = 1 << 23;
const MS_STRICTATIME: u64 = 1 << 24;
const MS_LAZYTIME: u64 = 1 << 25;
pub(crate) const MS_BIND: u64 = 4096;
pub(crate) const MS_REC: u64 = 16384;
pub(crate) const MS_UNBINDABLE: u64 = 1 << 17;
pub(crate) const MS_PRIVATE: u64 = 1 << 18;
pub(crate) const MS_SLAVE: u64 = 1 << 19;
pub(crate) const MS_SHARED: u64 = 1 << 20;

/// Option, `MS_*` bits it sets, `MS_*` bits it clears, attribute bits it sets, attribute bits it clears.
type Row = (&'static str, u64, u64, u64, u64);

/// Options that set or clear a flag. Those with attribute bits exist with an `r` in front for the whole tree.
const FLAGS: [Row; 29] = [
    ("acl", MS_POSIXACL, 0, 0, 0),
    ("async", 0, MS_SYNCHRONOUS, 0, 0),
    ("atime", 0, MS_NOATIME, 0, attr::ATIME),
    ("defaults", 0, 0, 0, 0),
    ("dev", 0, MS_NODEV, 0, attr::NODEV),
    ("diratime", 0, MS_NODIRATIME, 0, attr::NODIRATIME),
    ("dirsync", MS_DIRSYNC, 0, 0, 0),
    ("exec", 0, MS_NOEXEC, 0, attr::NOEXEC),
    ("iversion", MS_I_VERSION, 0, 0, 0),
    ("lazytime", MS_LAZYTIME, 0, 0, 0),
    ("loud", 0, MS_SILENT, 0, 0),
    ("mand", MS_MANDLOCK, 0, 0, 0),
    ("noacl", 0, MS_POSIXACL, 0, 0),
    ("noatime", MS_NOATIME, 0, attr::NOATIME, attr::ATIME),
    ("nodev", MS_NODEV, 0, attr::NODEV, 0),
    ("nodiratime", MS_NODIRATIME, 0, attr::NODIRATIME, 0),
    ("noexec", MS_NOEXEC, 0, attr::NOEXEC, 0),
    ("noiversion", 0, MS_I_VERSION, 0, 0),
    ("nolazytime", 0, MS_LAZYTIME, 0, 0),
    ("nomand", 0, MS_MANDLOCK, 0, 0),
    ("nosuid", MS_NOSUID, 0, attr::NOSUID, 0),
    ("nosymfollow", MS_NOSYMFOLLOW, 0, attr::NOSYMFOLLOW, 0),
    ("remount", MS_REMOUNT, 0, 0, 0),
    ("ro", MS_RDONLY, 0, attr::RDONLY, 0),
    ("rw", 0, MS_RDONLY, 0, attr::RDONLY),
    ("silent", MS_SILENT, 0, 0, 0),
    ("suid", 0, MS_NOSUID, 0, attr::NOSUID),
    ("symfollow", 0, MS_NOSYMFOLLOW, 0, attr::NOSYMFOLLOW),
    ("sync", MS_SYNCHRONOUS, 0, 0, 0),
];

/// Options about access times, which are one choice among several and not single flags.
const TIMES: [Row; 4] = [
    ("norelatime", 0, MS_RELATIME, 0, attr::ATIME),
    ("nostrictatime", 0, MS_STRICTATIME, 0, attr::ATIME),
    ("relatime", MS_RELATIME, 0, 0, attr::ATIME),
    ("strictatime", MS_STRICTATIME, 0, attr::STRICTATIME, attr::ATIME),
];

const PROPAGATION: [(&str, u64); 8] = [
    ("private", MS_PRIVATE),
    ("rprivate", MS_PRIVATE | MS_REC),
    ("rshared", MS_SHARED | MS_REC),
    ("rslave", MS_SLAVE | MS_REC),
    ("runbindable", MS_UNBINDABLE | MS_REC),
    ("shared", MS_SHARED),
    ("slave", MS_SLAVE),
    ("unbindable", MS_UNBINDABLE),
];

/// `MS_*` bits of a propagation word, for mounts and for `linux.rootfsPropagation`.
pub(crate) fn propagation(word: &str) -> Option<u64> {
    PROPAGATION.iter().find(|(name, _)| *name == word).map(|(_, bits)| *bits)
}

/// Every option understood, sorted, for `features`.
pub(crate) fn option_names() -> Vec<String> {
    let rows = || FLAGS.iter().chain(&TIMES);
    let mut names: Vec<String> = ["bind", "rbind", "tmpcopyup"].map(String::from).to_vec();
    names.extend(rows().map(|r| r.0.to_owned()));
    names.extend(rows().filter(|r| r.3 | r.4 != 0).map(|r| format!("r{}", r.0)));
    names.extend(PROPAGATION.iter().map(|p| p.0.to_owned()));
    names.sort();
    names
}

/// A path without `.`, `..` and doubled slashes, beginning with one slash. `..` goes up by word, as runc does it.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    let mut cleaned = String::with_capacity(path.len() + 1);
    for part in &parts {
        cleaned.push('/');
        cleaned.push_str(part);
    }
    if parts.is_empty() { "/".into() } else { cleaned }
}

fn c_string(what: &str, text: impl Into<Vec<u8>>) -> Result<CString> {
    CString::new(text).map_err(|_| Error::invalid(format!("{what}: contains a zero byte")))
}

/// Files below `/proc` that may be mount destinations, as lxcfs replaces them.
const PROC_ALLOWED: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/net/dev",
    "/proc/sys/kernel/ns_last_pid",
];

/// Whether a mount may be placed here: below `/proc` almost nothing may, because what lies there is believed.
pub(crate) fn destination_allowed(cleaned: &str) -> bool {
    !cleaned.starts_with("/proc/") || PROC_ALLOWED.contains(&cleaned)
}

/// Turns one entry of `mounts` into a plan. Relative bind sources are relative to the bundle.
pub(crate) fn plan(index: usize, mount: &Mount, bundle: &Path) -> Result<PlannedMount> {
    let at = |what: &str| format!("mounts[{index}] ({}){what}", mount.destination);
    if mount.destination.is_empty() {
        return Err(Error::invalid(format!("mounts[{index}].destination: is missing")));
    }
    if !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty() {
        return Err(Error::unsupported(at(".uidMappings: id-mapped mounts are not supported")));
    }
    let destination = clean(&mount.destination);
    if destination == "/" {
        return Err(Error::invalid(at(": the root itself cannot be a mount's destination")));
    }
    if !destination_allowed(&destination) {
        return Err(Error::invalid(at(": cannot be mounted because it is inside /proc")));
    }
    let (mut flags, mut bind, mut copy_up) = (0u64, 0u64, false);
    let (mut attrs, mut recursive) = (AttrChange::default(), AttrChange::default());
    let (mut props, mut data) = (Vec::new(), Vec::<&str>::new());
    let change = |target: &mut AttrChange, row: &Row| {
        target.set = target.set & !row.4 | row.3;
        target.clear = (target.clear & !row.3) | row.4;
    };
    for option in &mount.options {
        let find = |name: &str| FLAGS.iter().chain(&TIMES).find(|r| r.0 == name);
        match option.as_str() {
            "" => {}
            "bind" => bind |= MS_BIND,
            "rbind" => bind |= MS_BIND | MS_REC,
            "tmpcopyup" => copy_up = true,
            "idmap" | "ridmap" => {
                return Err(Error::unsupported(at(&format!(
                    ": option {option:?} (id-mapped mounts) is not supported"
                ))));
            }
            name => {
                if let Some(bits) = propagation(name) {
                    props.push(bits);
                } else if let Some(row) = find(name) {
                    flags = flags & !row.2 | row.1;
                    change(&mut attrs, row);
                } else if let Some(row) = name.strip_prefix('r').and_then(find).filter(|r| r.3 | r.4 != 0) {
                    change(&mut recursive, row);
                } else {
                    data.push(name);
                }
            }
        }
    }
    // The kernel wants the whole access time mode cleared when one is set.
    for change in [&mut attrs, &mut recursive] {
        if change.set & attr::ATIME != 0 {
            change.clear |= attr::ATIME;
        }
    }
    let kind = mount.kind.as_deref().unwrap_or_default();
    let kind = if bind != 0 || kind == "bind" || kind == "rbind" {
        let source = mount.source.as_deref().filter(|s| !s.is_empty());
        let source = source.ok_or_else(|| Error::invalid(at(".source: a bind mount needs one")))?;
        if !data.is_empty() {
            return Err(Error::invalid(at(&format!(
                ".options: {:?} is not known; a bind mount takes no filesystem's options",
                data.join(",")
            ))));
        }
        if copy_up {
            return Err(Error::invalid(at(".options: \"tmpcopyup\" needs type tmpfs")));
        }
        let source = bundle.join(source).into_os_string().into_encoded_bytes();
        let recursive = bind & MS_REC != 0 || kind == "rbind";
        MountKind::Bind { source: c_string(&at(".source"), source)?, recursive, attrs }
    } else if kind == "cgroup" || kind == "cgroup2" {
        MountKind::Cgroup { flags }
    } else if kind.is_empty() {
        return Err(Error::invalid(at(".type: is missing, and there is no option \"bind\"")));
    } else {
        if copy_up && kind != "tmpfs" {
            return Err(Error::invalid(at(".options: \"tmpcopyup\" needs type tmpfs")));
        }
        MountKind::Filesystem {
            kind: c_string(&at(".type"), kind)?,
            source: c_string(&at(".source"), mount.source.as_deref().unwrap_or(kind))?,
            flags,
            data: c_string(&at(".options"), data.join(","))?,
            copy_up,
        }
    };
    Ok(PlannedMount { destination, kind, propagation: props, recursive })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(destination: &str, kind: &str, options: &[&str]) -> Mount {
        Mount {
            destination: destination.into(),
            kind: Some(kind.into()),
            source: Some("src".into()),
            options: options.iter().map(|s| s.to_string()).collect(),
            ..Default::default()
        }
    }

    #[test]
    fn paths_cannot_climb() {
        assert_eq!(clean("a//b/./c/../d/"), "/a/b/d");
        assert_eq!(clean("/../../etc"), "/etc");
        assert_eq!(clean(""), "/");
    }

    #[test]
    fn flags_and_data_are_told_apart() {
        let m = plan(
            0,
            &mount("/t", "tmpfs", &["nosuid", "ro", "rw", "size=1m", "mode=755", "strictatime"]),
            Path::new("/b"),
        );
        let MountKind::Filesystem { flags, data, .. } = m.expect("valid").kind else { panic!("kind") };
        assert_eq!(flags, MS_NOSUID | MS_STRICTATIME);
        assert_eq!(data.to_str(), Ok("size=1m,mode=755"));
    }

    #[test]
    fn bind_options_become_attributes() {
        let m = plan(0, &mount("/t", "bind", &["rbind", "ro", "noatime", "rnosuid", "rslave"]), Path::new("/b"))
            .expect("valid");
        assert_eq!(m.propagation, [MS_SLAVE | MS_REC]);
        assert_eq!(m.recursive, AttrChange { set: attr::NOSUID, clear: 0 });
        let MountKind::Bind { source, recursive, attrs } = m.kind else { panic!("kind") };
        assert_eq!((source.to_str(), recursive), (Ok("/b/src"), true));
        assert_eq!(attrs, AttrChange { set: attr::RDONLY | attr::NOATIME, clear: attr::ATIME });
    }

    #[test]
    fn the_last_of_two_opposites_wins() {
        let m = plan(0, &mount("/t", "bind", &["bind", "ro", "rw"]), Path::new("/b")).expect("valid");
        let MountKind::Bind { attrs, .. } = m.kind else { panic!("kind") };
        assert_eq!(attrs, AttrChange { set: 0, clear: attr::RDONLY });
    }

    #[test]
    fn refuses_what_it_cannot_do() {
        for (m, word) in [
            (mount("/proc/self/attr", "tmpfs", &[]), "inside /proc"),
            (mount("/x/../proc/1", "tmpfs", &[]), "inside /proc"),
            (mount("/", "tmpfs", &[]), "root itself"),
            (mount("/x", "bind", &["bind", "size=1"]), "size=1"),
            (mount("/x", "bind", &["bind", "idmap"]), "idmap"),
            (mount("/x", "ext4", &["tmpcopyup"]), "tmpcopyup"),
        ] {
            let error = plan(3, &m, Path::new("/b")).expect_err("refused").to_string();
            assert!(error.contains(word) && error.contains("mounts[3]"), "{error}");
        }
    }
}
