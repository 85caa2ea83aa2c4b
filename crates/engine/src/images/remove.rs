//! Removing names and images, with Docker's rules about what stands in the way.

use super::Images;
use super::find::{find, no_such_image};
use super::manifest::chain_ids;
use super::model::{Image, ImageUser, PrunedImages, Removed};
use super::records::{KIND, Name, NameRecord, all, assemble, keep_nameless, names};
use super::service::ImageService;
use oci::{Digest, Error, ImageRef, Result};
use std::collections::HashSet;

impl Images {
    /// Removes a name, and with the last one the image. By id it removes all names, which needs `force` if
    /// they are in several repositories.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if a container uses it.
    pub async fn remove(&self, given: &str, force: bool) -> Result<Vec<Removed>> {
        let (ns, given) = (self.ns.clone(), given.to_owned());
        let removed = self.service.blocking(move |s| remove(s, &ns, &given, force)).await?;
        self.tell_removed(&removed);
        if removed.iter().any(|r| matches!(r, Removed::Deleted(_))) {
            // The names are gone; what is left on the disk goes with this or the next collection.
            if let Err(error) = self.service.collect().await {
                tracing::warn!(%error, "collecting what the removed image left");
            }
        }
        Ok(removed)
    }

    /// Removes images that no container uses, that have no tag (or, with `all`, any), and that `filter` takes.
    ///
    /// # Errors
    /// If the records can't be read.
    pub async fn prune(&self, all: bool, filter: &(dyn Fn(&Image) -> bool + Send + Sync)) -> Result<PrunedImages> {
        let images = self.list().await?;
        let chosen: Vec<Digest> =
            images.iter().filter(|i| (all || i.is_dangling()) && filter(i)).map(|i| i.id.clone()).collect();
        let ns = self.ns.clone();
        let removed = self
            .service
            .blocking(move |s| {
                if all {
                    forget_broken_downloads(s)?;
                }
                let mut removed = Vec::new();
                for id in chosen {
                    // One that a container uses, or that somebody removed or tagged meanwhile, is left alone.
                    if s.users(&ns, &id).is_empty() {
                        let image = assemble(&s.store, &names(&s.store, &ns)?, &id)?;
                        if image.is_some_and(|i| all || i.is_dangling()) {
                            removed.extend(delete(s, &ns, &id)?);
                        }
                    }
                }
                Ok(removed)
            })
            .await?;
        self.tell_removed(&removed);
        let freed = if removed.is_empty() { 0 } else { self.service.collect().await? };
        Ok(PrunedImages { removed, freed })
    }

    fn tell_removed(&self, removed: &[Removed]) {
        for step in removed {
            match step {
                Removed::Untagged(name) => self.service.event(&self.ns, "untag", &name.familiar(), &name.familiar()),
                Removed::Deleted(digest) => self.service.event(&self.ns, "delete", digest.as_str(), digest.as_str()),
            }
        }
    }
}

/// Names of one image.
struct Names {
    tags: Vec<ImageRef>,
    digests: Vec<ImageRef>,
}

impl Names {
    fn of(all: &[(String, NameRecord)], id: &Digest) -> Self {
        let (mut tags, mut digests) = (Vec::new(), Vec::new());
        for (name, _) in all.iter().filter(|(_, record)| record.config.digest == *id) {
            match Name::parse(name) {
                Some(Name::Tag(name)) => tags.push(name),
                Some(Name::Digest(name)) => digests.push(name),
                _ => {}
            }
        }
        Self { tags, digests }
    }

    /// At most one tag, and everything in one repository.
    fn is_single(&self) -> bool {
        let repositories: HashSet<String> = self.tags.iter().chain(&self.digests).map(ImageRef::repository).collect();
        self.tags.len() <= 1 && repositories.len() <= 1
    }
}

fn remove(service: &ImageService, ns: &str, given: &str, force: bool) -> Result<Vec<Removed>> {
    let before = names(&service.store, ns)?;
    let found = find(&before, given)?;
    let (id, own) = (&found.id, Names::of(&before, &found.id));
    let users = service.users(ns, id);
    let Some(name) = &found.name else {
        check_users(id, &users, force)?;
        if !own.is_single() && !force {
            return Err(conflict(id, "must be forced", "image is referenced in multiple repositories"));
        }
        return delete(service, ns, id);
    };
    let name: ImageRef = name.parse()?;
    if !force
        && own.is_single()
        && let Some(user) = users.first()
    {
        return Err(Error::conflict(format!(
            "conflict: unable to remove repository reference {given:?} (must force) - container {} is using its \
             referenced image {}",
            short(&user.container),
            id.short()
        )));
    }
    // With the last tag of a repository its digests go too.
    let mut going = vec![name.clone()];
    if name.digest().is_none() {
        let repository = name.repository();
        let last = !own.tags.iter().any(|t| *t != name && t.repository() == repository);
        going.extend(own.digests.iter().filter(|d| last && d.repository() == repository).cloned());
    }
    let left = own.tags.iter().chain(&own.digests).any(|n| !going.contains(n));
    let used_up = !left && (force && !users.iter().any(|u| u.running) || users.is_empty());
    let mut removed: Vec<Removed> = going.iter().cloned().map(Removed::Untagged).collect();
    if used_up {
        return delete(service, ns, id);
    }
    service.store.meta().transaction(|txn| {
        let mut last = None;
        for name in &going {
            last = txn.get::<NameRecord>(ns, KIND, &name.to_string())?.or(last);
            txn.delete(ns, KIND, &name.to_string())?;
        }
        // A running container's image stays, without a name.
        last.map_or(Ok(()), |record| keep_nameless(txn, ns, &record))
    })?;
    removed.dedup();
    Ok(removed)
}

/// Docker's reasons why an image can't be deleted.
fn check_users(id: &Digest, users: &[ImageUser], force: bool) -> Result<()> {
    if let Some(user) = users.iter().find(|u| u.running) {
        let why = format!("image is being used by running container {}", short(&user.container));
        return Err(conflict(id, "cannot be forced", &why));
    }
    match users.first() {
        Some(user) if !force => {
            let why = format!("image is being used by stopped container {}", short(&user.container));
            Err(conflict(id, "must be forced", &why))
        }
        _ => Ok(()),
    }
}

fn conflict(id: &Digest, remedy: &str, why: &str) -> Error {
    Error::conflict(format!("conflict: unable to delete {} ({remedy}) - {why}", id.short()))
}

fn short(container: &str) -> &str {
    &container[..container.len().min(12)]
}

/// Removes all names of an image; tells which layers nothing else here needs.
fn delete(service: &ImageService, ns: &str, id: &Digest) -> Result<Vec<Removed>> {
    let store = &service.store;
    let (own, chains) = store.meta().transaction(|txn| {
        let every: Vec<(String, NameRecord)> = txn.list(ns, KIND)?;
        let own = Names::of(&every, id);
        let mut any = None;
        for (name, record) in every.into_iter().filter(|(_, record)| record.config.digest == *id) {
            txn.delete(ns, KIND, &name)?;
            any = Some(record);
        }
        let record = any.ok_or_else(|| no_such_image(id.as_str()))?;
        Ok((own, record))
    })?;
    let mut removed: Vec<Removed> = own.tags.into_iter().chain(own.digests).map(Removed::Untagged).collect();
    removed.push(Removed::Deleted(id.clone()));
    // What a forced removal took from under a stopped container keeps its layers.
    if service.users(ns, id).is_empty() {
        removed.extend(orphaned(service, &chains)?.into_iter().rev().map(Removed::Deleted));
    }
    Ok(removed)
}

/// Chain ids of the removed image's layers that no image of any namespace has, the lowest first.
fn orphaned(service: &ImageService, record: &NameRecord) -> Result<Vec<Digest>> {
    let Ok(config) = super::records::read_config(&service.store, &record.config) else { return Ok(Vec::new()) };
    let mut kept = HashSet::new();
    for ns in service.store.meta().namespaces()? {
        for image in all(&service.store, &ns)? {
            kept.extend(chain_ids(&image.config.rootfs.diff_ids));
        }
    }
    Ok(chain_ids(&config.rootfs.diff_ids).into_iter().filter(|chain| !kept.contains(chain)).collect())
}

/// Drops downloads that broke off and wait to be resumed. One that is under way is left alone.
fn forget_broken_downloads(service: &ImageService) -> Result<()> {
    let content = service.store.content();
    for ingest in content.ingests()? {
        match content.abort(&ingest.key) {
            Err(error) if error.kind() != oci::Kind::Conflict => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
