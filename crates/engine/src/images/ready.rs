//! An image as containers need it: found, with all layers unpacked.

use super::Images;
use super::find::find;
use super::hub::Hub;
use super::manifest::{Documents, chain_ids, parse_config, parse_manifest};
use super::model::{Ready, Timeline};
use super::pull::{Errand, Plan, take_in};
use super::records::{CONFIG_LIMIT, KIND, NameRecord, names};
use super::service::ImageService;
use oci::{Digest, Error, ImageRef, Kind, Result};
use registry::MANIFEST_LIMIT;
use std::sync::Arc;
use storage::{Root, Snapshotter};

impl Images {
    /// As [`Images::get`], and sees that its layers are unpacked. The built-in image is made if it is asked for.
    ///
    /// # Errors
    /// As [`Images::get`]; `Corrupt` if layers are missing or broken.
    pub async fn ready(&self, given: &str) -> Result<Ready> {
        let mut timeline = Timeline::default();
        let hold = self.service.hold().await?;
        let image = match self.get(given).await {
            Err(error) if error.kind() == Kind::NotFound => {
                match super::builtin::make(&self.service, &self.ns, given, &hold, &mut timeline).await? {
                    Some(image) => image,
                    None => return Err(error),
                }
            }
            other => other?,
        };
        let reference = self.named(given).await?;
        let (ns, id, held) = (self.ns.clone(), image.id.clone(), hold.clone());
        let missing = self
            .service
            .blocking(move |s| {
                let names = names(&s.store, &ns)?;
                let record = names.into_iter().map(|(_, record)| record).find(|record| record.config.digest == id);
                let Some(record) = record else { return Ok(None) };
                held.add(Root::Content(record.manifest.digest.clone()));
                if let Some(chain) = &record.chain {
                    held.add(Root::Snapshot { snapshotter: s.snapshotter.clone(), key: chain.to_string() });
                }
                let snapshots = s.store.snapshotter(&s.snapshotter)?;
                match &record.chain {
                    Some(chain) if !has_snapshot(snapshots, chain)? => Ok(Some(record)),
                    _ => Ok(None),
                }
            })
            .await?;
        if let Some(record) = missing {
            let plan = self.service.blocking(move |s| stored_plan(s, &record)).await?;
            let hub: Arc<Hub> = Arc::default();
            let errand =
                Errand { ns: &self.ns, origin: None, names: &[], hub: &hub, hold: &hold, timeline: &mut timeline };
            // Its names stay as they are; `keep_nameless` finds one.
            take_in(&self.service, plan, errand).await?;
        }
        Ok(Ready { image, reference, timeline, hold })
    }

    /// The name that `given` is, if it was found by a name.
    async fn named(&self, given: &str) -> Result<Option<ImageRef>> {
        let (ns, given) = (self.ns.clone(), given.to_owned());
        self.service
            .blocking(move |s| {
                let found = find(&names(&s.store, &ns)?, &given)?;
                Ok(found.name.and_then(|name| name.parse().ok()))
            })
            .await
    }
}

/// Whether a snapshot is committed under `chain`.
pub(super) fn has_snapshot(snapshots: &dyn Snapshotter, chain: &Digest) -> Result<bool> {
    match snapshots.stat(chain.as_str()) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == Kind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether all content and the unpacked layers of a name are here.
pub(super) fn is_complete(service: &ImageService, record: &NameRecord) -> Result<bool> {
    let content = service.store.content();
    let snapshots = service.store.snapshotter(&service.snapshotter)?;
    if let Some(chain) = &record.chain
        && !has_snapshot(snapshots, chain)?
    {
        return Ok(false);
    }
    let there = |digest: &Digest| content.info(digest).is_ok();
    if ![&record.target, &record.manifest, &record.config].iter().all(|d| there(&d.digest)) {
        return Ok(false);
    }
    let manifest = parse_manifest(&content.read(&record.manifest.digest, MANIFEST_LIMIT)?)?;
    Ok(manifest.layers.iter().all(|layer| there(&layer.digest)))
}

/// The documents of an image from the store.
pub(super) fn documents(service: &ImageService, record: &NameRecord) -> Result<Documents> {
    let content = service.store.content();
    let manifest = parse_manifest(&content.read(&record.manifest.digest, MANIFEST_LIMIT)?)?;
    let config = content.read(&record.config.digest, CONFIG_LIMIT)?;
    parse_config(manifest, &config)
}

/// An image's plan from the store, to unpack it again.
fn stored_plan(service: &ImageService, record: &NameRecord) -> Result<Plan> {
    let documents = documents(service, record)?;
    let chains = chain_ids(&documents.config.rootfs.diff_ids);
    if chains.last() != record.chain.as_ref() {
        return Err(Error::corrupt(format!("image {}: its record and its configuration differ", record.config.digest)));
    }
    Ok(Plan { target: record.target.clone(), manifest: record.manifest.clone(), documents, bodies: Vec::new() })
}

/// The records of one name or, by id, of any name of the image.
pub(super) fn record_of(service: &ImageService, ns: &str, given: &str) -> Result<(Option<String>, NameRecord)> {
    let names = names(&service.store, ns)?;
    let found = find(&names, given)?;
    let record = match &found.name {
        Some(name) => service.store.meta().get(ns, KIND, name)?,
        None => names.into_iter().map(|(_, record)| record).find(|record| record.config.digest == found.id),
    };
    record.map(|record| (found.name, record)).ok_or_else(|| super::find::no_such_image(given))
}
