//! Named directories that outlive containers.
//!
//! ```text
//! <root>/volumes/<namespace>/<name>/_data
//! ```
//! The record is written before the directory is made and deleted after it is gone.

use crate::engine::{Core, Namespace, VOLUME};
use crate::events::Subject;
use crate::model::{Pruned, Volume, VolumeSpec};
use crate::{bundle, names};
use oci::{Context, Error, Kind, Result, Timestamp};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Making and removing volumes come one after the other: whether one is used must not change in between.
pub(crate) type VolumeLocks = tokio::sync::Mutex<()>;

/// Label of anonymous volumes, as Docker has it.
const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// Volumes of one namespace.
pub struct Volumes {
    pub(crate) ns: Namespace,
}

impl Core {
    pub(crate) fn volumes_dir(&self) -> PathBuf {
        self.config.root.join("volumes")
    }

    fn volume_dir(&self, ns: &str, name: &str) -> PathBuf {
        self.volumes_dir().join(ns).join(name)
    }

    /// Makes a volume, or finds the one that has the name. `container`: whom it is made for.
    pub(crate) async fn make_volume(
        self: &Arc<Self>,
        ns: &str,
        spec: VolumeSpec,
        container: Option<&str>,
    ) -> Result<Volume> {
        if let Some(driver) = spec.driver.as_deref().filter(|d| !d.is_empty() && *d != "local") {
            return Err(Error::not_found(format!(
                "error looking up volume plugin {driver}: plugin {driver:?} not found; only local is supported"
            )));
        }
        if let Some(option) = spec.options.keys().next() {
            return Err(Error::unsupported(format!("option {option:?} of the volume driver local")));
        }
        let anonymous = spec.name.is_none();
        let name = match spec.name {
            Some(name) => {
                names::check(&name, "volume")?;
                name
            }
            None => names::new_id()?,
        };
        let _lock = self.volume_locks.lock().await;
        let dir = self.volume_dir(ns, &name);
        let data = dir.join("_data");
        let mut labels = spec.labels;
        if anonymous {
            labels.insert(ANONYMOUS.into(), String::new());
        }
        let volume = Volume {
            name: name.clone(),
            driver: "local".into(),
            mountpoint: data.to_string_lossy().into_owned(),
            created: Timestamp::now(),
            labels,
            options: BTreeMap::new(),
            anonymous,
        };
        let (core, namespace) = (self.clone(), ns.to_owned());
        let made_for = container.map(str::to_owned);
        let (volume, made) = crate::blocking(move || {
            if let Some(found) = core.store.meta().get::<Volume>(&namespace, VOLUME, &volume.name)? {
                return Ok((found, false));
            }
            core.store.meta().create(&namespace, VOLUME, &volume.name, &volume)?;
            // Other users inside containers must get through; the directory above is root's alone.
            bundle::private_dir(&core.volumes_dir())?;
            fs::create_dir_all(&data).context(|| format!("make volume directory {}", data.display()))?;
            fs::set_permissions(&data, fs::Permissions::from_mode(0o755))
                .context(|| format!("set the mode of {}", data.display()))?;
            if let (true, Some(id)) = (volume.anonymous, made_for) {
                // Tells the sweep after a crash whose it is.
                fs::write(dir.join("container"), id).context(|| format!("write {}", dir.display()))?;
            }
            Ok((volume, true))
        })
        .await?;
        if made {
            self.volume_event(ns, &volume.name, "create", "");
        }
        Ok(volume)
    }

    fn volume_event(&self, ns: &str, name: &str, action: &str, container: &str) {
        let mut attributes: BTreeMap<String, String> = [("driver".to_owned(), "local".to_owned())].into();
        if !container.is_empty() {
            attributes.insert("container".into(), container.into());
        }
        self.publish(ns.to_owned(), Subject::Volume, action, name, attributes);
    }

    /// Ids of containers that use a volume.
    fn volume_users(&self, ns: &str, name: &str) -> Vec<String> {
        let records = self.containers.list(ns).into_iter().map(|h| h.record());
        records.filter(|r| r.mounts.iter().any(|m| m.name == name)).map(|r| r.id.clone()).collect()
    }

    async fn delete_volume(self: &Arc<Self>, ns: &str, name: &str) -> Result<()> {
        let (core, namespace, volume) = (self.clone(), ns.to_owned(), name.to_owned());
        crate::blocking(move || {
            let dir = core.volume_dir(&namespace, &volume);
            match fs::remove_dir_all(&dir) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::from(e).prefixed(format!("remove volume {}", dir.display())));
                }
                _ => {}
            }
            core.store.meta().delete(&namespace, VOLUME, &volume).map(drop)
        })
        .await?;
        self.volume_event(ns, name, "destroy", "");
        Ok(())
    }

    /// Removes an anonymous volume with the container it was made for, unless another one uses it, too.
    pub(crate) async fn remove_anonymous_volume(self: &Arc<Self>, ns: &str, name: &str, container: &str) -> Result<()> {
        let _lock = self.volume_locks.lock().await;
        if self.volume_users(ns, name).iter().any(|user| user != container) {
            return Ok(());
        }
        self.delete_volume(ns, name).await
    }

    /// Removes what a crash left of volumes: directories without a record, and anonymous volumes whose container never
    /// came to be. Blocks. `known`: ids of containers.
    pub(crate) fn sweep_volumes(&self, known: &dyn Fn(&str, &str) -> bool) -> Result<()> {
        let root = self.volumes_dir();
        for ns in subdirectories(&root)? {
            for name in subdirectories(&root.join(&ns))? {
                let dir = self.volume_dir(&ns, &name);
                let recorded = self.store.meta().get::<Volume>(&ns, VOLUME, &name)?.is_some();
                let owner = fs::read_to_string(dir.join("container")).ok();
                // Its owner may have been removed without its volumes on purpose; then somebody may still want it. Only
                // a container that was never finished leaves a volume that nobody has seen.
                let orphan = owner.is_some_and(|id| !known(&ns, &id)) && is_empty(&dir.join("_data"));
                if !recorded || orphan {
                    tracing::info!(volume = %name, "removing what is left of a volume");
                    fs::remove_dir_all(&dir).context(|| format!("remove {}", dir.display()))?;
                    self.store.meta().delete(&ns, VOLUME, &name)?;
                }
            }
        }
        Ok(())
    }
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none())
}

/// Names of the directories in a directory; none if it isn't there.
pub(crate) fn subdirectories(dir: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.context(|| format!("read {}", dir.display()))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.context(|| format!("read {}", dir.display()))?;
        if entry.file_type().is_ok_and(|t| t.is_dir())
            && let Ok(name) = entry.file_name().into_string()
        {
            names.push(name);
        }
    }
    Ok(names)
}

fn missing(name: &str) -> Error {
    Error::not_found(format!("get {name}: no such volume"))
}

impl Volumes {
    /// Makes a volume, or returns the one that has the name already.
    ///
    /// # Errors
    /// For a bad name, an unknown driver or option.
    pub async fn create(&self, spec: VolumeSpec) -> Result<Volume> {
        self.ns.core().make_volume(self.ns.name(), spec, None).await
    }

    /// The volume.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get(&self, name: &str) -> Result<Volume> {
        let (core, ns, volume) = (self.ns.core().clone(), self.ns.name().to_owned(), name.to_owned());
        let valid = names::check(name, "volume").is_ok();
        let found =
            if valid { crate::blocking(move || core.store.meta().get(&ns, VOLUME, &volume)).await? } else { None };
        found.ok_or_else(|| missing(name))
    }

    /// All volumes, by name.
    ///
    /// # Errors
    /// If the records can't be read.
    pub async fn list(&self) -> Result<Vec<Volume>> {
        let (core, ns) = (self.ns.core().clone(), self.ns.name().to_owned());
        let list = crate::blocking(move || core.store.meta().list::<Volume>(&ns, VOLUME)).await?;
        Ok(list.into_iter().map(|(_, volume)| volume).collect())
    }

    /// Ids of the containers that use the volume.
    pub fn users(&self, name: &str) -> Vec<String> {
        self.ns.core().volume_users(self.ns.name(), name)
    }

    /// Bytes that the volume takes.
    ///
    /// # Errors
    /// `NotFound`, or if it can't be read.
    pub async fn size(&self, name: &str) -> Result<u64> {
        let volume = self.get(name).await?;
        crate::blocking(move || disk_use(Path::new(&volume.mountpoint))).await
    }

    /// Removes a volume and what is in it.
    ///
    /// # Errors
    /// `NotFound` (not with `force`); `Conflict` while a container uses it.
    pub async fn remove(&self, name: &str, force: bool) -> Result<()> {
        let core = self.ns.core();
        let _lock = core.volume_locks.lock().await;
        match self.get(name).await {
            Ok(_) => {}
            Err(error) if error.kind() == Kind::NotFound && force => return Ok(()),
            Err(error) => return Err(error),
        }
        let users = self.users(name);
        if !users.is_empty() {
            return Err(Error::conflict(format!("remove {name}: volume is in use - [{}]", users.join(", "))));
        }
        core.delete_volume(self.ns.name(), name).await
    }

    /// Removes volumes that no container uses and `filter` takes.
    ///
    /// # Errors
    /// If the records can't be read; a volume that can't be removed is left out.
    pub async fn prune(&self, filter: &(dyn Fn(&Volume) -> bool + Send + Sync)) -> Result<Pruned> {
        let mut pruned = Pruned::default();
        for volume in self.list().await? {
            if !filter(&volume) || !self.users(&volume.name).is_empty() {
                continue;
            }
            let size = self.size(&volume.name).await.unwrap_or(0);
            match self.remove(&volume.name, false).await {
                Ok(()) => {
                    pruned.reclaimed += size;
                    pruned.removed.push(volume.name);
                }
                Err(error) => tracing::debug!(volume = %volume.name, %error, "prune"),
            }
        }
        Ok(pruned)
    }
}

/// Bytes that a tree takes on disk; hard links count once, other filesystems are left out.
fn disk_use(root: &Path) -> Result<u64> {
    let top = fs::symlink_metadata(root).context(|| format!("look at {}", root.display()))?;
    let (mut total, mut seen, mut todo) = (0, std::collections::HashSet::new(), vec![root.to_owned()]);
    while let Some(dir) = todo.pop() {
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for entry in entries.flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.dev() != top.dev() || (meta.nlink() > 1 && !meta.is_dir() && !seen.insert(meta.ino())) {
                continue;
            }
            total += meta.blocks() * 512;
            if meta.is_dir() {
                todo.push(entry.path());
            }
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_use_counts_links_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("a/x"), vec![1; 100_000]).unwrap();
        let once = disk_use(dir.path()).unwrap();
        fs::hard_link(dir.path().join("a/x"), dir.path().join("y")).unwrap();
        assert!(once >= 100_000);
        assert_eq!(disk_use(dir.path()).unwrap(), once);
    }
}
