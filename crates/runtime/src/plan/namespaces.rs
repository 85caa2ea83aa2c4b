//! Which namespaces are made and which are joined.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use oci::runtime::{IdMapping, Linux, Namespace};
use oci::{Context, Error, Result};
use rustix::fs::OFlags;

/// Name in the specification, `CLONE_NEW*` bit, file in `/proc/<pid>/ns`.
///
/// The order is the order of joining.
pub(crate) const KINDS: [(&str, u64, &str); 8] = [
    ("user", 0x1000_0000, "user"),
    ("ipc", 0x0800_0000, "ipc"),
    ("uts", 0x0400_0000, "uts"),
    ("network", 0x4000_0000, "net"),
    ("pid", 0x2000_0000, "pid"),
    ("cgroup", 0x0200_0000, "cgroup"),
    ("time", 0x0000_0080, "time"),
    ("mount", 0x0002_0000, "mnt"),
];

pub(crate) const USER: u64 = 0x1000_0000;
pub(crate) const IPC: u64 = 0x0800_0000;
pub(crate) const UTS: u64 = 0x0400_0000;
pub(crate) const NETWORK: u64 = 0x4000_0000;
pub(crate) const PID: u64 = 0x2000_0000;
pub(crate) const CGROUP: u64 = 0x0200_0000;
pub(crate) const TIME: u64 = 0x0000_0080;
pub(crate) const MOUNT: u64 = 0x0002_0000;

/// The namespaces of a container.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    /// To be made: `CLONE_NEW*` bits.
    pub(crate) create: u64,
    /// To be joined, in [`KINDS`] order.
    pub(crate) join: Vec<Join>,
    /// Those that were joined, once their handles are let go of.
    pub(crate) joined: u64,
}

/// A namespace to be joined; already opened, so that it cannot vanish.
#[derive(Debug)]
pub(crate) struct Join {
    pub(crate) bit: u64,
    pub(crate) name: &'static str,
    pub(crate) file: OwnedFd,
}

impl Namespaces {
    pub(crate) fn from_spec(linux: &Linux) -> Result<Self> {
        let mut seen = 0;
        let mut result = Self::default();
        for Namespace { kind, path } in &linux.namespaces {
            // "net" and "mnt" are not in the specification, but "network" alone is what callers of old versions wrote.
            let Some((name, bit, _)) = KINDS.iter().find(|(name, ..)| name == kind) else {
                return Err(Error::invalid(format!(
                    "linux.namespaces: namespace {kind:?} does not exist; known are pid, network, mount, ipc, uts, user, cgroup, time"
                )));
            };
            if seen & bit != 0 {
                return Err(Error::invalid(format!("linux.namespaces: malformed spec file: duplicated ns {kind:?}")));
            }
            seen |= bit;
            match path.as_deref().filter(|p| !p.as_os_str().is_empty()) {
                None => result.create |= bit,
                Some(path) if !path.is_absolute() => {
                    return Err(Error::invalid(format!(
                        "linux.namespaces: path {} of {kind:?} must be absolute",
                        path.display()
                    )));
                }
                Some(path) => {
                    // A pipe under that name must not be waited for, nor a terminal taken.
                    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
                    let file = File::options().read(true).custom_flags(flags.bits() as i32).open(path);
                    let file = file.context(|| format!("open {name} namespace {}", path.display()))?;
                    match sys::process::namespace_kind(file.as_fd()) {
                        Ok(found) if found == *bit => {}
                        Ok(found) => {
                            let is = KINDS.iter().find(|(_, bit, _)| *bit == found).map_or("unknown", |k| k.0);
                            return Err(Error::invalid(format!(
                                "linux.namespaces: {} is a namespace of type {is:?}, not {kind:?}",
                                path.display()
                            )));
                        }
                        Err(_) => {
                            return Err(Error::invalid(format!(
                                "linux.namespaces: {} is no namespace; type {kind:?} was to be joined",
                                path.display()
                            )));
                        }
                    }
                    result.join.push(Join { bit: *bit, name, file: file.into() });
                }
            }
        }
        result.join.sort_by_key(|j| KINDS.iter().position(|(_, bit, _)| *bit == j.bit));
        if !result.has(MOUNT) {
            if result.has(USER) {
                return Err(Error::unsupported(
                    "linux.namespaces: in a user namespace nothing can be mounted without a mount namespace; add \
                     {\"type\": \"mount\"}",
                ));
            }
            for (name, list) in [("maskedPaths", &linux.masked_paths), ("readonlyPaths", &linux.readonly_paths)] {
                if !list.is_empty() {
                    return Err(Error::invalid(format!(
                        "linux.{name}: unable to restrict sys entries without a private MNT namespace"
                    )));
                }
            }
        }
        result.check_user(linux)?;
        result.check_time(linux)?;
        Ok(result)
    }

    fn check_user(&self, linux: &Linux) -> Result<()> {
        let (uids, gids) = (&linux.uid_mappings, &linux.gid_mappings);
        let mapped = !uids.is_empty() || !gids.is_empty();
        if self.create & USER != 0 {
            if !mapped {
                return Err(Error::invalid(
                    "linux.uidMappings, linux.gidMappings: user namespaces enabled, but no namespace path to join nor \
                     mappings to apply specified",
                ));
            }
            if uids.is_empty() || gids.is_empty() {
                return Err(Error::invalid(
                    "linux.uidMappings, linux.gidMappings: both are needed for a new user namespace",
                ));
            }
        }
        if !mapped {
            return Ok(());
        }
        let Some(join) = self.join.iter().find(|j| j.bit == USER) else {
            if self.create & USER != 0 {
                return Ok(());
            }
            return Err(Error::invalid(
                "linux.uidMappings: user namespace mappings specified, but user namespace isn't enabled in the config",
            ));
        };
        // containerd and CRI-O give both the path and what is mapped there. That harms nobody as long as it is true.
        let (real_uids, real_gids) = crate::user_namespace::mappings(&join.file)?;
        let same = |given: &[IdMapping], real: &[IdMapping]| {
            let sorted = |list: &[IdMapping]| {
                let mut list: Vec<_> = list.iter().map(|m| (m.container_id, m.host_id, m.size)).collect();
                list.sort_unstable();
                list
            };
            sorted(given) == sorted(real)
        };
        if same(uids, &real_uids) && same(gids, &real_gids) {
            return Ok(());
        }
        Err(Error::invalid(
            "linux.uidMappings, linux.gidMappings: user namespaces enabled, but both namespace path and non-matching \
             mapping specified -- you may only provide one",
        ))
    }

    fn check_time(&self, linux: &Linux) -> Result<()> {
        if self.has(TIME) && !std::path::Path::new("/proc/self/timens_offsets").exists() {
            return Err(Error::unsupported("linux.namespaces: time namespaces aren't enabled in the kernel"));
        }
        if linux.time_offsets.is_empty() {
            return Ok(());
        }
        if !self.has(TIME) {
            return Err(Error::invalid(
                "linux.timeOffsets: time namespace offsets specified, but time namespace isn't enabled in the config",
            ));
        }
        if self.create & TIME == 0 {
            return Err(Error::invalid(
                "linux.timeOffsets: time namespace enabled, but both namespace path and time offsets specified -- you \
                 may only provide one",
            ));
        }
        for (clock, offset) in &linux.time_offsets {
            if clock != "monotonic" && clock != "boottime" {
                return Err(Error::invalid(format!(
                    "linux.timeOffsets: unknown clock {clock:?}; known are monotonic, boottime"
                )));
            }
            if offset.nanosecs >= 1_000_000_000 {
                return Err(Error::invalid(format!(
                    "linux.timeOffsets.{clock}.nanosecs: {} is a second or more",
                    offset.nanosecs
                )));
            }
        }
        Ok(())
    }

    /// The container's own id mapping, for mounts that want it. `None` without a user namespace.
    pub(crate) fn own_map(&self, linux: &Linux) -> Option<super::mounts::OwnMap> {
        if self.create & USER != 0 {
            return Some(Some((linux.uid_mappings.clone(), linux.gid_mappings.clone())));
        }
        self.has(USER).then_some(None)
    }

    /// Whether the container has a namespace of this kind that is not the runtime's, made or joined.
    pub(crate) fn has(&self, bit: u64) -> bool {
        (self.create | self.joined) & bit != 0 || self.join.iter().any(|j| j.bit == bit)
    }

    /// Whether a namespace given by path is the one that the runtime itself is in.
    pub(crate) fn joins_own(&self, bit: u64) -> Result<bool> {
        let Some(join) = self.join.iter().find(|j| j.bit == bit) else { return Ok(false) };
        let file = KINDS.iter().find(|(_, b, _)| *b == bit).map_or("", |(.., file)| file);
        let own = rustix::fs::stat(format!("/proc/self/ns/{file}")).map_err(std::io::Error::from);
        let own = own.context(|| format!("look at the own {} namespace", join.name))?;
        let joined = rustix::fs::fstat(&join.file).map_err(std::io::Error::from)?;
        Ok((own.st_dev, own.st_ino) == (joined.st_dev, joined.st_ino))
    }

    /// The bits of all of them.
    pub(crate) fn all(&self) -> u64 {
        self.join.iter().fold(self.create | self.joined, |bits, j| bits | j.bit)
    }
}

#[cfg(test)]
mod tests {
    use oci::runtime::Namespace;

    use super::*;

    #[test]
    fn a_pipe_is_no_namespace_and_not_waited_for() {
        let directory = tempfile::tempdir().expect("tempdir");
        let path = directory.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).expect("mkfifo");
        let namespaces = vec![Namespace { kind: "network".into(), path: Some(path) }];
        let error = Namespaces::from_spec(&Linux { namespaces, ..Default::default() }).expect_err("refused");
        assert!(error.to_string().contains("is no namespace"), "{error}");
    }
}
