//! What is outside of a container that is restored, in the words by which criu and the images know it.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use oci::runtime::Linux;
use oci::{Context, Error, Result};

use super::client::Program;
use super::proto::{Message, field};
use super::{DESCRIPTORS, EXTERNAL_NAMESPACES, bound_devices, directory, oldest_for};
use crate::cgroups::Location;
use crate::init::criu_root;
use crate::plan::mounts::MountKind;
use crate::plan::{InitPlan, namespaces};

/// Namespaces by path: criu is given those that it calls external, and joins the others.
pub(super) fn name_namespaces<'a>(
    message: &mut Message,
    linux: &Linux,
    plan: &'a InitPlan,
    program: &Program,
    inherit: &mut Vec<BorrowedFd<'a>>,
) -> Result<()> {
    for join in &plan.namespaces.join {
        if let Some((_, name, key)) = EXTERNAL_NAMESPACES.iter().find(|(bit, ..)| *bit == join.bit) {
            if program.version < oldest_for(join.bit) {
                return Err(Error::unsupported(format!(
                    "criu lacks support for external {name} namespace during the restoration process (old criu \
                     version?)"
                )));
            }
            message.named_number(field::INHERIT_FD, key, join.file.as_raw_fd());
            inherit.push(join.file.as_fd());
            continue;
        }
        if join.bit == namespaces::CGROUP {
            return Err(Error::unsupported("linux.namespaces: criu cannot restore into a cgroup namespace by path"));
        }
        let file = namespaces::KINDS.iter().find(|kind| kind.1 == join.bit).map_or(join.name, |kind| kind.2);
        let path = linux.namespaces.iter().find(|n| n.kind == join.name).and_then(|n| n.path.as_deref());
        if let Some(path) = path {
            message.pair(field::JOIN_NS, file, &path.to_string_lossy());
        }
    }
    Ok(())
}

/// Where the contents of external mounts are.
pub(super) fn name_mounts(message: &mut Message, plan: &InitPlan, location: &Location) -> Result<()> {
    let root = directory(&plan.rootfs)?;
    // The names are places in the rootfs, and its links are the image's, or whatever the container has made of them
    // before it was saved: no link may give one mount the name of another (CVE-2026-119101).
    let mut named: Vec<(String, String)> = Vec::new();
    let mut name = |place: &str, source: &str| match named.iter().find(|(known, _)| known == place) {
        Some((_, known)) if known == source => Ok(()),
        Some((_, known)) => Err(Error::permission_denied(format!(
            "mounts: both {known} and {source} would be mounted at {place} in the rootfs; is there a symbolic link?"
        ))),
        None => {
            message.pair(field::EXT_MNT, place, source);
            named.push((place.to_owned(), source.to_owned()));
            Ok(())
        }
    };
    for mount in &plan.mounts {
        match &mount.kind {
            MountKind::Bind { source, .. } => {
                let source = source.to_string_lossy();
                let real = criu_root::real_path(&root, &mount.destination)?;
                name(&real, &source)?;
                // A link to what only existed in the container could not be followed here.
                name(&mount.destination, &source)?;
            }
            MountKind::Cgroup { .. } => {
                if let Location::V1 { paths } = location
                    && !plan.namespaces.has(namespaces::CGROUP)
                {
                    for (controllers, path) in paths.iter().filter(|(controllers, _)| !controllers.is_empty()) {
                        let hierarchy = controllers.strip_prefix("name=").unwrap_or(controllers);
                        name(&format!("{}/{hierarchy}", mount.destination), &path.to_string_lossy())?;
                    }
                }
            }
            MountKind::Filesystem { .. } | MountKind::Remount { .. } | MountKind::Link { .. } => {}
        }
    }
    if !plan.masked_paths.is_empty() {
        message.pair(field::EXT_MNT, "/dev/null", "/dev/null");
    }
    for device in bound_devices(plan) {
        message.pair(field::EXT_MNT, device, device);
    }
    Ok(())
}

/// Standard descriptors that were pipes are the restorer's now.
pub(super) fn name_descriptors(message: &mut Message, images: &Path) -> Result<()> {
    const MOST: u64 = 1 << 20;
    let path: PathBuf = images.join(DESCRIPTORS);
    let mut text = Vec::new();
    File::open(&path)
        .and_then(|f| f.take(MOST).read_to_end(&mut text))
        .context(|| format!("open {}", path.display()))?;
    let names: Vec<String> =
        serde_json::from_slice(&text).map_err(|e| Error::corrupt(format!("{}: {e}", path.display())))?;
    for (fd, name) in names.iter().take(3).enumerate() {
        if name.contains("pipe:") {
            message.named_number(field::INHERIT_FD, name, fd as i32);
        }
    }
    Ok(())
}

/// The cgroups that take the place of those of the checkpoint: criu's own, which the runtime has put it in.
pub(super) fn name_cgroups(message: &mut Message, pid: i32) -> Result<()> {
    let path = format!("/proc/{pid}/cgroup");
    let text = fs::read_to_string(&path).context(|| format!("read {path}"))?;
    for line in text.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(place)) = (fields.next(), fields.next()) else { continue };
        for controller in controllers.split(',') {
            message.pair(field::CG_ROOT, controller, place);
        }
    }
    Ok(())
}
