//! Mount options: the specification's words to what the kernel is told.

use std::ffi::CString;
use std::path::Path;

use oci::runtime::{IdMapping, Mount};
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
    /// Of a bind mount whose source is in the rootfs, where earlier mounts can have put something: its path there.
    pub(crate) inside: Option<String>,
    /// Only of bind mounts.
    pub(crate) id_map: Option<IdMap>,
}

/// The id mapping of a mount.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct IdMap {
    /// Whether mounts below the source are mapped too (`ridmap`).
    pub(crate) recursive: bool,
    /// Users and groups; `None` means the container's own.
    pub(crate) maps: Option<Mappings>,
}

/// Flags of a mount by the words of its options.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FlagWords {
    /// `MS_*` bits named.
    pub(crate) set: u64,
    /// `MS_*` bits whose opposite was named (`rw`, `suid`).
    pub(crate) cleared: u64,
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
    Bind { source: CString, recursive: bool, flags: FlagWords },
    /// Other flags for what is mounted at the destination already (`bind` with `remount`).
    Remount { flags: FlagWords },
    /// A new filesystem.
    Filesystem { kind: CString, source: CString, flags: u64, data: CString, copy_up: bool },
    /// The container's own view of the cgroups.
    Cgroup { flags: u64 },
}

impl FlagWords {
    /// The change that gives a mount these flags and no others, as `mount --bind -o` and runc have it. Access times
    /// stay as they are unless they are named.
    pub(crate) fn exact(self) -> AttrChange {
        let mut change = AttrChange::default();
        for (ms, bit) in PLAIN {
            if self.set & ms != 0 {
                change.set |= bit;
            } else {
                change.clear |= bit;
            }
        }
        if self.set & MS_ATIMES != 0 {
            change.clear |= attr::ATIME;
            change.set |= match self.set {
                bits if bits & MS_STRICTATIME != 0 => attr::STRICTATIME,
                bits if bits & MS_NOATIME != 0 => attr::NOATIME,
                _ => 0,
            };
            if self.set & MS_NODIRATIME != 0 {
                change.set |= attr::NODIRATIME;
            } else {
                change.clear |= attr::NODIRATIME;
            }
        }
        if self.set & MS_ATIMES == 0 && self.cleared & (MS_NOATIME | MS_STRICTATIME | MS_RELATIME) != 0 {
            change.clear |= attr::ATIME;
        }
        if self.cleared & MS_NODIRATIME != 0 {
            change.clear |= attr::NODIRATIME;
        }
        change
    }
}

/// Flags that are one bit, for mount(2) and for `mount_setattr(2)`.
pub(crate) const PLAIN: [(u64, u64); 5] = [
    (MS_RDONLY, attr::RDONLY),
    (MS_NOSUID, attr::NOSUID),
    (MS_NODEV, attr::NODEV),
    (MS_NOEXEC, attr::NOEXEC),
    (MS_NOSYMFOLLOW, attr::NOSYMFOLLOW),
];

pub(crate) const MS_RDONLY: u64 = 1;
pub(crate) const MS_NOSUID: u64 = 2;
pub(crate) const MS_NODEV: u64 = 4;
pub(crate) const MS_NOEXEC: u64 = 8;
const MS_SYNCHRONOUS: u64 = 16;
pub(crate) const MS_REMOUNT: u64 = 32;
const MS_MANDLOCK: u64 = 64;
const MS_DIRSYNC: u64 = 128;
pub(crate) const MS_NOSYMFOLLOW: u64 = 256;
pub(crate) const MS_NOATIME: u64 = 1024;
pub(crate) const MS_NODIRATIME: u64 = 2048;
const MS_SILENT: u64 = 32768;
const MS_POSIXACL: u64 = 1 << 16;
pub(crate) const MS_RELATIME: u64 = 1 << 21;
const MS_I_VERSION: u64 = 1 << 23;
pub(crate) const MS_STRICTATIME: u64 = 1 << 24;
const MS_LAZYTIME: u64 = 1 << 25;
pub(crate) const MS_BIND: u64 = 4096;
pub(crate) const MS_REC: u64 = 16384;
pub(crate) const MS_UNBINDABLE: u64 = 1 << 17;
pub(crate) const MS_PRIVATE: u64 = 1 << 18;
pub(crate) const MS_SLAVE: u64 = 1 << 19;
pub(crate) const MS_SHARED: u64 = 1 << 20;

/// All that is about access times.
pub(crate) const MS_ATIMES: u64 = MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME;

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

/// The words themselves, for messages.
pub(crate) fn propagation_names() -> String {
    PROPAGATION.map(|p| p.0).join(", ")
}

/// Every option understood, sorted, for `features`.
pub(crate) fn option_names() -> Vec<String> {
    let rows = || FLAGS.iter().chain(&TIMES);
    let mut names: Vec<String> = ["bind", "idmap", "rbind", "ridmap", "tmpcopyup"].map(String::from).to_vec();
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
const PROC_ALLOWED: [&str; 11] = [
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
    "/proc/sys/crypto/fips_enabled",
];

/// Whether a mount may be placed here: below `/proc` almost nothing may, because what lies there is believed.
pub(crate) fn destination_allowed(cleaned: &str) -> bool {
    !cleaned.starts_with("/proc/") || PROC_ALLOWED.contains(&cleaned)
}

/// Turns one entry of `mounts` into a plan. Relative bind sources are relative to the bundle.
pub(crate) fn plan(index: usize, mount: &Mount, bundle: &Path) -> Result<PlannedMount> {
    let at = |what: &str| format!("mounts[{index}] ({}){what}", mount.destination);
    let invalid = |what: &str| Err(Error::invalid(at(what)));
    if mount.destination.is_empty() {
        return Err(Error::invalid(format!("mounts[{index}].destination: is missing")));
    }
    if !mount.destination.starts_with('/') {
        crate::log::warn(format_args!(
            "mount destination {} is not absolute; it is read as relative to /, and the specification allows that no more",
            mount.destination
        ));
    }
    let destination = clean(&mount.destination);
    if destination == "/" {
        return invalid(": the root itself cannot be a mount's destination");
    }
    if !destination_allowed(&destination) {
        return invalid(": cannot be mounted because it is inside /proc");
    }
    let options = Options::parse(&mount.options);
    let id_map = id_map(mount, options.id_map).map_err(|e| e.prefixed(at("")))?;
    let kind = mount.kind.as_deref().unwrap_or_default();
    let data = options.data.join(",");
    let kind = if options.bind != 0 || kind == "bind" || kind == "rbind" {
        if !data.is_empty() {
            return invalid(&format!(
                ".options: {data:?}: bind mounts cannot have any filesystem-specific options applied"
            ));
        }
        if options.copy_up {
            return invalid(".options: \"tmpcopyup\" needs type tmpfs");
        }
        if options.flags.set & MS_REMOUNT != 0 {
            if id_map.is_some() {
                return invalid(".options: \"remount\" cannot give a mount an id mapping");
            }
            MountKind::Remount { flags: FlagWords { set: options.flags.set & !MS_REMOUNT, ..options.flags } }
        } else {
            let Some(source) = mount.source.as_deref().filter(|s| !s.is_empty()) else {
                return invalid(".source: a bind mount needs one");
            };
            let source = bundle.join(source).into_os_string().into_encoded_bytes();
            let recursive = options.bind & MS_REC != 0 || kind == "rbind";
            MountKind::Bind { source: c_string(&at(".source"), source)?, recursive, flags: options.flags }
        }
    } else if id_map.is_some() {
        return invalid(": id-mapped mounts are only supported for bind-mounts");
    } else if destination == "/proc" && kind != "proc" {
        return invalid(": \"/proc\" cannot be mounted because it is not of type proc");
    } else if kind == "cgroup" || kind == "cgroup2" {
        MountKind::Cgroup { flags: options.flags.set }
    } else if kind.is_empty() {
        return invalid(".type: is missing, and there is no option \"bind\"");
    } else {
        if options.copy_up && kind != "tmpfs" {
            return invalid(".options: \"tmpcopyup\" needs type tmpfs");
        }
        MountKind::Filesystem {
            kind: c_string(&at(".type"), kind)?,
            source: c_string(&at(".source"), mount.source.as_deref().unwrap_or(kind))?,
            flags: options.flags.set,
            data: c_string(&at(".options"), data)?,
            copy_up: options.copy_up,
        }
    };
    let (propagation, recursive) = (options.propagation, options.recursive);
    Ok(PlannedMount { destination, kind, propagation, recursive, inside: None, id_map })
}

/// Data of a mount with a SELinux label for everything in it.
pub(crate) fn labelled(data: &str, label: Option<&str>) -> Result<CString> {
    let all = match label {
        None => data.to_owned(),
        // In quotes, because labels have commas of their own.
        Some(label) if data.is_empty() => format!("context=\"{label}\""),
        Some(label) => format!("{data},context=\"{label}\""),
    };
    c_string("linux.mountLabel", all)
}

impl PlannedMount {
    /// Takes over what the whole container says about mounts: its label, and its id mapping for mounts that ask for
    /// one without giving it. `None` stands for that of a user namespace to be joined.
    pub(crate) fn complete(&mut self, label: Option<&str>, own: Option<&OwnMap>, rootfs: &Path) -> Result<()> {
        if let MountKind::Bind { source, .. } = &self.kind
            && self.id_map.is_none()
            && let Ok(source) = source.to_str()
        {
            let inside = Path::new(&clean(source)).strip_prefix(rootfs).ok().and_then(Path::to_str).map(str::to_owned);
            self.inside = inside.map(|path| format!("/{path}"));
        }
        if let Some(map) = &mut self.id_map
            && map.maps.is_none()
        {
            let Some(own) = own else {
                return Err(Error::invalid(format!(
                    "mounts ({}): id-mapped mounts must have both uid and gid mappings specified, or the container \
                     a user namespace whose mapping is taken",
                    self.destination
                )));
            };
            map.maps.clone_from(own);
        }
        if let MountKind::Filesystem { kind, data, .. } = &mut self.kind
            && label.is_some()
            && ![c"proc", c"sysfs", c"mqueue"].contains(&kind.as_c_str())
        {
            *data = labelled(&data.to_string_lossy(), label)?;
        }
        Ok(())
    }
}

/// The container's own id mapping; `None` where it comes with a namespace that is joined.
pub(crate) type OwnMap = Option<Mappings>;

/// Of users and of groups.
pub(crate) type Mappings = (Vec<IdMapping>, Vec<IdMapping>);

/// The options of one mount, sorted by what acts on them.
#[derive(Default)]
struct Options<'a> {
    flags: FlagWords,
    /// `MS_BIND`, `MS_REC`.
    bind: u64,
    copy_up: bool,
    /// Whether recursive.
    id_map: Option<bool>,
    recursive: AttrChange,
    propagation: Vec<u64>,
    data: Vec<&'a str>,
}

impl<'a> Options<'a> {
    fn parse(words: &'a [String]) -> Self {
        let mut options = Self::default();
        let find = |name: &str| FLAGS.iter().chain(&TIMES).find(|r| r.0 == name);
        for word in words {
            match word.as_str() {
                "" => {}
                "bind" => options.bind |= MS_BIND,
                "rbind" => options.bind |= MS_BIND | MS_REC,
                "tmpcopyup" => options.copy_up = true,
                "idmap" => options.id_map = Some(false),
                "ridmap" => options.id_map = Some(true),
                name => {
                    if let Some(bits) = propagation(name) {
                        options.propagation.push(bits);
                    } else if let Some(row) = find(name) {
                        options.flags.set = options.flags.set & !row.2 | row.1;
                        options.flags.cleared = options.flags.cleared & !row.1 | row.2;
                    } else if let Some(row) = name.strip_prefix('r').and_then(find).filter(|r| r.3 | r.4 != 0) {
                        let change = &mut options.recursive;
                        change.set = change.set & !row.4 | row.3;
                        change.clear = (change.clear & !row.3) | row.4;
                    } else {
                        options.data.push(name);
                    }
                }
            }
        }
        // The kernel wants the whole access time mode cleared when one is set.
        if options.recursive.set & attr::ATIME != 0 {
            options.recursive.clear |= attr::ATIME;
        }
        options
    }
}

/// The id mapping of a mount, by its own fields or by an option.
fn id_map(mount: &Mount, option: Option<bool>) -> Result<Option<IdMap>> {
    let maps = match (mount.uid_mappings.is_empty(), mount.gid_mappings.is_empty()) {
        (true, true) => None,
        (false, false) => Some((mount.uid_mappings.clone(), mount.gid_mappings.clone())),
        _ => {
            return Err(Error::invalid(
                "uidMappings, gidMappings: id-mapped mounts must have both uid and gid mappings specified",
            ));
        }
    };
    if maps.is_none() && option.is_none() {
        return Ok(None);
    }
    Ok(Some(IdMap { recursive: option.unwrap_or(false), maps }))
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
        let MountKind::Bind { source, recursive, flags } = m.kind else { panic!("kind") };
        assert_eq!((source.to_str(), recursive), (Ok("/b/src"), true));
        let others = attr::NOSUID | attr::NODEV | attr::NOEXEC | attr::NOSYMFOLLOW;
        let change = AttrChange { set: attr::RDONLY | attr::NOATIME, clear: others | attr::ATIME | attr::NODIRATIME };
        assert_eq!(flags.exact(), change);
    }

    #[test]
    fn the_last_of_two_opposites_wins() {
        let m = plan(0, &mount("/t", "bind", &["bind", "ro", "rw"]), Path::new("/b")).expect("valid");
        let MountKind::Bind { flags, .. } = m.kind else { panic!("kind") };
        assert_eq!(flags, FlagWords { set: 0, cleared: MS_RDONLY });
        let m = plan(0, &mount("/t", "bind", &["bind"]), Path::new("/b")).expect("valid");
        let MountKind::Bind { flags, .. } = m.kind else { panic!("kind") };
        assert_eq!(flags, FlagWords::default(), "without a word about flags they stay the source's");
    }

    #[test]
    fn a_mount_without_mappings_takes_the_containers() {
        let ids = |host_id| vec![IdMapping { container_id: 0, host_id, size: 9 }];
        let plan = |options: &[&str]| plan(0, &mount("/x", "bind", options), Path::new("/b")).expect("valid");
        let own = Some((ids(1), ids(2)));
        let mut m = plan(&["rbind", "ridmap"]);
        m.complete(None, Some(&own), Path::new("/b/rootfs")).expect("mapped");
        assert_eq!(m.id_map, Some(IdMap { recursive: true, maps: own.clone() }));
        let error = plan(&["bind", "idmap"])
            .complete(None, None, Path::new("/b/rootfs"))
            .expect_err("nobody's mapping")
            .to_string();
        assert!(error.contains("id-mapped mounts must have both uid and gid mappings specified"), "{error}");
        let mut half = mount("/x", "bind", &["bind"]);
        half.uid_mappings = ids(1);
        assert!(super::plan(0, &half, Path::new("/b")).is_err());
    }

    #[test]
    fn a_source_in_the_rootfs_is_known() {
        let inside = |source: &str| {
            let mut m = mount("/x", "bind", &["bind"]);
            m.source = Some(source.into());
            let mut m = plan(0, &m, Path::new("/b")).expect("valid");
            m.complete(None, None, Path::new("/b/rootfs")).expect("complete");
            m.inside
        };
        assert_eq!(inside("/b/rootfs/mnt/x").as_deref(), Some("/mnt/x"));
        assert_eq!(inside("rootfs/mnt").as_deref(), Some("/mnt"));
        assert_eq!(inside("/b/rootfs").as_deref(), Some("/"));
        assert_eq!(inside("/b/rootfs2/mnt"), None);
        assert_eq!(inside("/b/rootfs/../other"), None);
    }

    #[test]
    fn a_label_becomes_a_mount_option() {
        let data = |kind: &str, options: &[&str]| {
            let mut m = plan(0, &mount("/x", kind, options), Path::new("/b")).expect("valid");
            m.complete(Some("u:r:t:s0:c1,c2"), None, Path::new("/b/rootfs")).expect("labelled");
            let MountKind::Filesystem { data, .. } = m.kind else { panic!("kind") };
            data.into_string().expect("UTF-8")
        };
        assert_eq!(data("tmpfs", &["size=1m"]), "size=1m,context=\"u:r:t:s0:c1,c2\"");
        assert_eq!(data("devpts", &[]), "context=\"u:r:t:s0:c1,c2\"");
        // Those have labels of their own, or none.
        assert_eq!(data("sysfs", &[]), "");
        assert_eq!(data("mqueue", &[]), "");
    }

    #[test]
    fn refuses_what_it_cannot_do() {
        for (m, word) in [
            (mount("/proc/self/attr", "tmpfs", &[]), "inside /proc"),
            (mount("/x/../proc/1", "tmpfs", &[]), "inside /proc"),
            (mount("/", "tmpfs", &[]), "root itself"),
            (mount("/x", "bind", &["bind", "size=1"]), "size=1"),
            (mount("/x", "tmpfs", &["idmap"]), "id-mapped mounts are only supported for bind-mounts"),
            (mount("/x", "bind", &["bind", "remount", "ridmap"]), "remount"),
            (mount("/proc", "tmpfs", &[]), "not of type proc"),
            (mount("/x", "ext4", &["tmpcopyup"]), "tmpcopyup"),
        ] {
            let error = plan(3, &m, Path::new("/b")).expect_err("refused").to_string();
            assert!(error.contains(word) && error.contains("mounts[3]"), "{error}");
        }
    }
}
