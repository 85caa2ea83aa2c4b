//! A container's root filesystem as the engine needs it: its snapshot, users in it, and what of it goes into volumes.
//! Nothing in it is reached by path: `storage` opens everything through a handle on the root.

use crate::engine::Core;
use crate::model::{ContainerRecord, MountKind};
use crate::spec::{self, ResolvedUser};
use oci::{Context, Error, Kind, Result};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

/// The largest passwd or group file that is read.
const NAMES_LIMIT: u64 = 4 << 20;

impl Core {
    /// Makes the writable snapshot of a container.
    pub(crate) async fn prepare_snapshot(self: &Arc<Self>, record: &ContainerRecord) -> Result<()> {
        let (core, record) = (self.clone(), record.clone());
        crate::blocking(move || {
            let parent = record.image.chain.as_ref().map(|c| c.as_str());
            let snapshotter = core.store.snapshotter(&record.snapshotter)?;
            snapshotter.prepare(&record.snapshot_key(), parent, Default::default()).map(drop)
        })
        .await
        .context(|| "prepare the root filesystem")
    }

    /// Removes the writable snapshot of a container; one that is gone is fine.
    pub(crate) async fn remove_snapshot(self: &Arc<Self>, record: &ContainerRecord) -> Result<()> {
        let (core, record) = (self.clone(), record.clone());
        let removed =
            crate::blocking(move || core.store.snapshotter(&record.snapshotter)?.remove(&record.snapshot_key())).await;
        match removed {
            Err(error) if error.kind() != Kind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// What to mount as a container's root.
    pub(crate) async fn mounts(self: &Arc<Self>, record: &ContainerRecord) -> Result<Vec<storage::Mount>> {
        let (core, record) = (self.clone(), record.clone());
        crate::blocking(move || core.store.snapshotter(&record.snapshotter)?.mounts(&record.snapshot_key())).await
    }

    /// A handle on a container's root: of a running one as its processes see it, with its mounts; of another one its
    /// snapshot, mounted for the handle alone. Blocks.
    pub(crate) fn open_root(&self, record: &ContainerRecord, read_only: bool) -> Result<OwnedFd> {
        if record.phase.is_running() && record.pid != 0 {
            let path = format!("/proc/{}/root", record.pid);
            if let Ok(dir) = File::open(&path) {
                return Ok(dir.into());
            }
        }
        self.open_snapshot(record, read_only)
    }

    fn open_snapshot(&self, record: &ContainerRecord, read_only: bool) -> Result<OwnedFd> {
        let mounts = self.store.snapshotter(&record.snapshotter)?.mounts(&record.snapshot_key())?;
        storage::archive::open_rootfs(&mounts, read_only)
            .context(|| format!("open the root filesystem of container {}", record.id))
    }

    /// Whom a container's process runs as, before it runs. Blocks.
    pub(crate) fn look_up_user(&self, record: &ContainerRecord) -> Result<ResolvedUser> {
        let root = self.open_snapshot(record, true)?;
        resolve(&root, &record.process.user, &record.spec.groups)
    }

    /// Whom a process added to a running container runs as. Blocks.
    pub(crate) fn look_up_user_inside(&self, record: &ContainerRecord, user: &str) -> Result<ResolvedUser> {
        resolve(&self.open_root(record, true)?, user, &record.spec.groups)
    }

    /// Fills empty volumes with what the image has where they are mounted, as Docker does when a container is made.
    /// Blocks.
    pub(crate) fn copy_up(&self, record: &ContainerRecord) -> Result<()> {
        let wanted: Vec<_> = record.mounts.iter().filter(|m| m.kind == MountKind::Volume && m.copy_up).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        let root = self.open_snapshot(record, true)?;
        for mount in wanted {
            let volume = Path::new(&mount.source);
            storage::copy_into_empty(root.as_fd(), mount.target.trim_start_matches('/'), volume)
                .context(|| format!("copy {} of the image into volume {}", mount.target, mount.name))?;
        }
        Ok(())
    }
}

fn resolve(root: &OwnedFd, user: &str, extra: &[String]) -> Result<ResolvedUser> {
    let text = |path: &str| match storage::read_in_root(root.as_fd(), path, NAMES_LIMIT) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        // Images without them are common; numbers need no names.
        Err(error) if error.kind() == Kind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    };
    spec::resolve_user(user, extra, &text("etc/passwd")?, &text("etc/group")?)
}

/// Refuses what can't be a path inside a container.
pub(crate) fn check_inside(path: &str) -> Result<()> {
    if path.is_empty() || path.contains('\0') {
        return Err(Error::invalid(format!("invalid path {path:?}")));
    }
    Ok(())
}
