//! Checkpoint and restore: criu does it, over its RPC; here is what it must be told of a container.
//!
//! | module | its job |
//! |---|---|
//! | [`proto`] | criu's messages and protobuf |
//! | [`client`] | finding criu, starting it, talking to it |
//! | [`dump`] | a running container to image files |
//! | [`restore`] | image files to a running container |
//! | [`outside`] | what a restored container finds outside of it |
//!
//! What connects both is the names of what is outside of the container and is not saved with it: bind mounts, cgroup
//! mounts of v1, masked files, namespaces that were joined by path, pipes that are standard descriptors. The names are
//! those that runc gives, so that one runtime restores what the other has saved.

pub(crate) mod client;
pub(crate) mod dump;
mod outside;
pub(crate) mod proto;
pub(crate) mod restore;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use oci::{Context, Error, Result};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::log;
use crate::plan::mounts::MountKind;
use crate::plan::{InitPlan, namespaces};
use proto::{Message, field};

/// What both commands were asked for.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(crate) images: PathBuf,
    pub(crate) work: Option<PathBuf>,
    /// Fields of criu's options that are plain switches, with what was asked for.
    pub(crate) switches: Vec<(u32, bool)>,
    /// `criu_cg_mode`.
    pub(crate) cgroups_mode: u8,
    /// `CLONE_NEW*` bits of namespaces whose contents are not saved.
    pub(crate) empty: u32,
}

/// The file beside the images with the names of the standard descriptors, as runc writes it.
const DESCRIPTORS: &str = "descriptors.json";

/// The configuration file of criu's own that applies to containers, unless an annotation names another.
const CONFIG_FILE: &str = "/etc/criu/runc.conf";
pub(crate) const CONFIG_ANNOTATION: &str = "org.criu.config";

/// Cgroups and their limits are as they were saved.
pub(crate) const FULL: u8 = 4;
/// The same, and they must not exist.
pub(crate) const STRICT: u8 = 5;

/// The word for a way to deal with cgroups to criu's number.
pub(crate) fn cgroups_mode(word: &str) -> Result<u8> {
    match word {
        "" => Ok(6),
        "ignore" => Ok(0),
        "soft" => Ok(3),
        "full" => Ok(FULL),
        "strict" => Ok(STRICT),
        other => Err(Error::invalid(format!(
            "invalid manage-cgroups-mode value {other:?}: soft, full, strict and ignore are allowed"
        ))),
    }
}

/// What of a container is outside of it: kept in its record from `create` on, for a checkpoint.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct External {
    /// Destinations of bind mounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    binds: Vec<String>,
    /// Destinations of cgroup mounts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cgroups: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    masked: Vec<String>,
    /// Device nodes that were bound, because a user namespace cannot make them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    devices: Vec<String>,
    /// `CLONE_NEW*` bits of namespaces that were joined.
    joined: u64,
    /// What is against a restore, so that nobody saves the container and loses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<String>,
}

/// Refuses what criu does not bring back: the container would run on without it.
fn check_restorable(plan: &InitPlan) -> Result<()> {
    let lost = |field: &str, why: &str| Err(Error::unsupported(format!("{field}: criu cannot restore {why}")));
    if !plan.namespaces.has(namespaces::MOUNT) {
        return lost(
            "linux.namespaces",
            "a container without a mount namespace: its mounts are nobody's to make again",
        );
    }
    if let Some(mount) = plan.mounts.iter().find(|m| m.id_map.is_some()) {
        return lost(&format!("mounts ({})", mount.destination), "the id mappings of a mount");
    }
    if plan.seccomp.as_ref().is_some_and(|filter| filter.listener.is_some()) {
        return lost("linux.seccomp.listenerPath", "a listener's descriptor: its system calls would fail");
    }
    Ok(())
}

impl External {
    pub(crate) fn of(plan: &InitPlan) -> Self {
        let by_kind = |wanted: fn(&MountKind) -> bool| {
            plan.mounts.iter().filter(|m| wanted(&m.kind)).map(|m| m.destination.clone()).collect()
        };
        Self {
            binds: by_kind(|kind| matches!(kind, MountKind::Bind { .. })),
            cgroups: by_kind(|kind| matches!(kind, MountKind::Cgroup { .. })),
            masked: plan.masked_paths.clone(),
            devices: bound_devices(plan).map(String::from).collect(),
            joined: plan.namespaces.join.iter().fold(0, |bits, join| bits | join.bit),
            lost: check_restorable(plan).err().map(|error| error.to_string()),
        }
    }
}

/// Devices that are bind mounts of the host's nodes.
fn bound_devices(plan: &InitPlan) -> impl Iterator<Item = &str> {
    let in_user_namespace = plan.namespaces.has(namespaces::USER);
    plan.devices.iter().filter(move |_| in_user_namespace).map(|d| d.path.as_str())
}

/// criu's name of an external namespace: kind in `/proc/<pid>/ns`, key.
const EXTERNAL_NAMESPACES: [(u64, &str, &str); 2] =
    [(namespaces::NETWORK, "net", "extRootNetNS"), (namespaces::PID, "pid", "extRootPidNS")];

/// Oldest criu that knows a namespace as external.
fn oldest_for(bit: u64) -> u32 {
    if bit == namespaces::NETWORK { 31_100 } else { 31_500 }
}

/// Holds back the signals by which a person or a service manager ends a command, so that nothing is left half done.
fn hold_signals() -> Result<sys::signal::Held> {
    const HUP_INT_QUIT_TERM: [i32; 4] = [1, 2, 3, 15];
    sys::signal::Held::new(&HUP_INT_QUIT_TERM).context(|| "hold signals back")
}

/// Whether the container's root, by its ids on the host, may go through a directory.
fn lets_in(directory: &fs::Metadata, (uid, gid): (u32, u32)) -> bool {
    let mode = directory.mode();
    let bit = if uid == directory.uid() {
        0o100
    } else if gid == directory.gid() {
        0o010
    } else {
        0o001
    };
    uid == 0 || mode & bit != 0
}

/// Opens a directory for criu, which opens it again through this process's descriptor.
fn directory(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(std::io::Error::from)
        .context(|| format!("open {}", path.display()))
}

/// Makes and opens the directories; the second is that of criu's log.
fn directories(options: &Options) -> Result<(OwnedFd, Option<OwnedFd>)> {
    let images = directory(&options.images)?;
    let Some(work) = &options.work else { return Ok((images, None)) };
    match fs::DirBuilder::new().mode(0o700).create(work) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(error).context(|| format!("make {}", work.display()));
        }
        _ => {}
    }
    Ok((images, Some(directory(work)?)))
}

/// What both requests say.
fn common(
    message: &mut Message,
    options: &Options,
    images: &OwnedFd,
    work: Option<&OwnedFd>,
    log_file: &str,
    annotations: &BTreeMap<String, String>,
) {
    message.number(field::IMAGES_DIR_FD, images.as_raw_fd());
    if let Some(work) = work {
        message.number(field::WORK_DIR_FD, work.as_raw_fd());
    }
    message
        .number(field::LOG_LEVEL, 4)
        .string(field::LOG_FILE, log_file)
        .number(field::NOTIFY_SCRIPTS, true)
        .number(field::MANAGE_CGROUPS, true)
        .number(field::MANAGE_CGROUPS_MODE, options.cgroups_mode)
        .number(field::EMPTY_NS, options.empty)
        .number(field::ORPHAN_PTS_MASTER, true);
    for (number, on) in &options.switches {
        message.number(*number, *on);
    }
    // criu's own file wins over the request; an annotation names another one, or none.
    let file = annotations.get(CONFIG_ANNOTATION).map_or(CONFIG_FILE, String::as_str);
    if !file.is_empty() {
        message.string(field::CONFIG_FILE, file);
    }
}

/// Repeats the errors of criu's log with the lines before them, because that is where the reason stands.
fn quote_log(options: &Options, file: &str) {
    const BEFORE: usize = 5;
    const MOST: usize = 200;
    let path = options.work.as_ref().unwrap_or(&options.images).join(file);
    let Ok(log) = File::open(&path) else { return };
    let mut last: std::collections::VecDeque<(usize, String)> = std::collections::VecDeque::new();
    let mut quoted = 0;
    for (number, line) in BufReader::new(log).split(b'\n').map_while(std::io::Result::ok).enumerate() {
        if last.len() > BEFORE {
            last.pop_front();
        }
        let found = line.windows(5).any(|w| w == b"Error");
        last.push_back((number + 1, String::from_utf8_lossy(&line).into_owned()));
        if !found {
            continue;
        }
        if quoted == 0 {
            log::warn(format_args!("--- Quoting {:?}", path.display().to_string()));
        }
        for (number, text) in last.drain(..) {
            log::warn(format_args!("{number}:{text}"));
            quoted += 1;
        }
        if quoted > MOST {
            log::warn(format_args!("..."));
            break;
        }
    }
    if quoted > 0 {
        log::warn(format_args!("---"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_let_in_whom_their_mode_says() {
        let directory = tempfile::tempdir().expect("tempdir");
        let own = fs::metadata(directory.path()).expect("stat");
        let (uid, gid) = (own.uid(), own.gid());
        for (mode, users) in [(0o700, [true, false, false]), (0o710, [true, true, false]), (0o701, [true, false, true])]
        {
            fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("chmod");
            let found = fs::metadata(directory.path()).expect("stat");
            let ids = [(uid, 70_000), (70_000, gid), (70_000, 70_000)];
            assert_eq!(ids.map(|ids| lets_in(&found, ids)), users, "{mode:o}");
        }
    }

    #[test]
    fn modes_are_words() {
        for (word, number) in [("", 6), ("ignore", 0), ("soft", 3), ("full", 4), ("strict", 5)] {
            assert_eq!(cgroups_mode(word).expect(word), number);
        }
        assert!(cgroups_mode("props").expect_err("refused").to_string().contains("manage-cgroups-mode"));
    }
}
