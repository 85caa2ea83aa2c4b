//! Entries of `mounts`: checked, and turned into what the kernel is told.

use std::ffi::CString;
use std::path::Path;

use oci::runtime::{IdMapping, Mount};
use oci::{Error, Result};

use super::mount_options::Options;
pub(crate) use super::mount_options::{
    AttrChange, FlagWords, Links, MS_ATIMES, MS_NOATIME, MS_NODEV, MS_NODIRATIME, MS_NOEXEC, MS_NOSUID, MS_NOSYMFOLLOW,
    MS_PRIVATE, MS_RDONLY, MS_REC, MS_RELATIME, MS_REMOUNT, MS_SHARED, MS_SLAVE, MS_STRICTATIME, MS_UNBINDABLE,
    option_names, propagation, propagation_names,
};

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
    pub(crate) links: Links,
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

#[derive(Debug, Clone)]
pub(crate) enum MountKind {
    /// A bind mount of a host path.
    Bind { source: CString, recursive: bool, flags: FlagWords },
    /// Other flags for what is mounted at the destination already (`bind` with `remount`).
    Remount { flags: FlagWords },
    /// A symbolic link in place of a mount (`copy-symlink`).
    Link { target: CString },
    /// A new filesystem.
    Filesystem { kind: CString, source: CString, flags: u64, data: CString, copy_up: bool },
    /// The container's own view of the cgroups.
    Cgroup { flags: u64 },
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
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

/// Whether a mount may be placed here: below `/proc` almost nothing may, because what lies there is believed.
pub(crate) fn destination_allowed(cleaned: &str) -> bool {
    !cleaned.starts_with("/proc/") || PROC_ALLOWED.contains(&cleaned)
}

/// Turns one entry of `mounts` into a plan. Relative bind sources are relative to the bundle. A destination that begins with
/// the rootfs's path on the host is one in it, as to runc.
pub(crate) fn plan(index: usize, mount: &Mount, bundle: &Path, rootfs: &Path) -> Result<PlannedMount> {
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
    let below = Path::new(&destination).strip_prefix(rootfs).ok().and_then(Path::to_str);
    let destination = below.map_or_else(|| destination.clone(), |below| format!("/{below}"));
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
    let links = options.links;
    if links.copy && (links.source || links.destination) {
        return invalid(".options: \"copy-symlink\" excludes \"src-nofollow\" and \"dest-nofollow\"");
    }
    if links != Links::default() && (options.bind == 0 && kind != "bind" || options.flags.set & MS_REMOUNT != 0) {
        return invalid(".options: \"copy-symlink\", \"src-nofollow\" and \"dest-nofollow\" are for new bind mounts");
    }
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
            let source = c_string(&at(".source"), source)?;
            let target = if options.links.copy { rustix::fs::readlink(&source, Vec::new()).ok() } else { None };
            match target {
                Some(target) => MountKind::Link { target },
                None => MountKind::Bind { source, recursive, flags: options.flags },
            }
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
    Ok(PlannedMount { destination, kind, propagation, recursive, inside: None, links, id_map })
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
            && !self.links.source
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
    use sys::mount_attr as attr;

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
            Path::new("/b/rootfs"),
        );
        let MountKind::Filesystem { flags, data, .. } = m.expect("valid").kind else { panic!("kind") };
        assert_eq!(flags, MS_NOSUID | MS_STRICTATIME);
        assert_eq!(data.to_str(), Ok("size=1m,mode=755"));
    }

    #[test]
    fn bind_options_become_attributes() {
        let m = plan(
            0,
            &mount("/t", "bind", &["rbind", "ro", "noatime", "rnosuid", "rslave"]),
            Path::new("/b"),
            Path::new("/b/rootfs"),
        )
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
        let m = plan(0, &mount("/t", "bind", &["bind", "ro", "rw"]), Path::new("/b"), Path::new("/b/rootfs"))
            .expect("valid");
        let MountKind::Bind { flags, .. } = m.kind else { panic!("kind") };
        assert_eq!(flags, FlagWords { set: 0, cleared: MS_RDONLY });
        let m = plan(0, &mount("/t", "bind", &["bind"]), Path::new("/b"), Path::new("/b/rootfs")).expect("valid");
        let MountKind::Bind { flags, .. } = m.kind else { panic!("kind") };
        assert_eq!(flags, FlagWords::default(), "without a word about flags they stay the source's");
    }

    #[test]
    fn a_mount_without_mappings_takes_the_containers() {
        let ids = |host_id| vec![IdMapping { container_id: 0, host_id, size: 9 }];
        let plan = |options: &[&str]| {
            plan(0, &mount("/x", "bind", options), Path::new("/b"), Path::new("/b/rootfs")).expect("valid")
        };
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
        assert!(super::plan(0, &half, Path::new("/b"), Path::new("/b/rootfs")).is_err());
    }

    #[test]
    fn a_source_in_the_rootfs_is_known() {
        let inside = |source: &str| {
            let mut m = mount("/x", "bind", &["bind"]);
            m.source = Some(source.into());
            let mut m = plan(0, &m, Path::new("/b"), Path::new("/b/rootfs")).expect("valid");
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
            let mut m = plan(0, &mount("/x", kind, options), Path::new("/b"), Path::new("/b/rootfs")).expect("valid");
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
            let error = plan(3, &m, Path::new("/b"), Path::new("/b/rootfs")).expect_err("refused").to_string();
            assert!(error.contains(word) && error.contains("mounts[3]"), "{error}");
        }
    }
}
