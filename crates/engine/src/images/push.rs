//! Push: layers side by side, then the configuration, then what names them.

use super::Images;
use super::hub::Hub;
use super::model::Pushed;
use super::progress::{LayerState, Progress, ProgressSink};
use super::ready::documents;
use super::records::{Name, NameRecord, names, set_name};
use super::service::{ImageService, Kept, lost};
use bytes::Bytes;
use oci::image::{Descriptor, media};
use oci::{Context as _, Digest, Error, ImageRef, Result, Timestamp};
use registry::{BlobSource, Credentials, MANIFEST_LIMIT};
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;
use storage::Root;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Layers that are sent side by side.
const AT_ONCE: usize = 4;

/// What is to be sent, read from the store.
struct Parcel {
    /// Layers with their diff-ids, then the configuration without one.
    blobs: Vec<(Descriptor, Option<Digest>)>,
    /// Manifests in the order in which they must be put; the last gets the tag.
    manifests: Vec<(Descriptor, Bytes)>,
    record: NameRecord,
    /// Repositories of the same registry that may have the layers already.
    relatives: Vec<ImageRef>,
}

impl Images {
    /// Brings an image to its registry.
    ///
    /// # Errors
    /// `NotFound` ("An image does not exist locally with the tag"), `Unauthorized`, `PermissionDenied`,
    /// `Unavailable`.
    pub async fn push(&self, name: &ImageRef, credentials: Credentials, progress: ProgressSink) -> Result<Pushed> {
        let Some(tag) = name.tag().filter(|_| name.digest().is_none()).map(str::to_owned) else {
            return Err(Error::invalid("cannot push a digest reference"));
        };
        let service = &self.service;
        let hold = service.hold().await?;
        let (ns, wanted) = (self.ns.clone(), name.clone());
        let held = hold.clone();
        let parcel = service.blocking(move |s| parcel(s, &ns, &wanted, &held)).await?;
        let hub: Arc<Hub> = Arc::default();
        let _listening = hub.listen(progress);
        hub.tell(Progress::PushTo(name.clone()));
        send_blobs(service, name, &parcel, &credentials, &hub).await?;
        let (last, before) = parcel.manifests.split_last().ok_or_else(|| Error::internal("nothing to push"))?;
        for (descriptor, body) in before {
            let reference = descriptor.digest.as_str();
            service.registry.push_manifest(name, reference, &descriptor.media_type, body.clone(), &credentials).await?;
        }
        let (descriptor, body) = last;
        service.registry.push_manifest(name, &tag, &descriptor.media_type, body.clone(), &credentials).await?;
        let pushed = Pushed { reference: name.clone(), digest: descriptor.digest.clone(), size: body.len() as u64 };
        self.remember(name, &pushed.digest, parcel.record).await?;
        drop(hold);
        hub.tell(Progress::Pushed { tag, digest: pushed.digest.clone(), size: pushed.size });
        service.event(&self.ns, "push", &name.familiar(), &name.familiar_repository());
        Ok(pushed)
    }

    /// From now on the image has the digest under which the registry knows it.
    async fn remember(&self, name: &ImageRef, digest: &Digest, mut record: NameRecord) -> Result<()> {
        let pinned = name.with_digest(digest.clone()).to_string();
        if *digest != record.target.digest {
            record.target = record.manifest.clone();
        }
        record.tagged = Timestamp::now();
        let ns = self.ns.clone();
        self.service.blocking(move |s| s.store.meta().transaction(|txn| set_name(txn, &ns, &pinned, &record))).await
    }
}

fn parcel(service: &ImageService, ns: &str, name: &ImageRef, hold: &Kept) -> Result<Parcel> {
    let all = names(&service.store, ns)?;
    let own = name.to_string();
    let record = all.iter().find(|(known, _)| *known == own).map(|(_, record)| record.clone()).ok_or_else(|| {
        Error::not_found(format!("An image does not exist locally with the tag: {}", name.familiar_repository()))
    })?;
    hold.add(Root::Content(record.target.digest.clone()));
    hold.add(Root::Content(record.manifest.digest.clone()));
    let content = service.store.content();
    let documents = documents(service, &record)?;
    let layers = documents.manifest.layers.iter().cloned();
    let mut blobs: Vec<(Descriptor, Option<Digest>)> =
        layers.zip(documents.config.rootfs.diff_ids.iter().cloned().map(Some)).collect();
    blobs.push((documents.manifest.config, None));
    let read = |d: &Descriptor| -> Result<(Descriptor, Bytes)> {
        let body = content.read(&d.digest, MANIFEST_LIMIT)?;
        let descriptor = Descriptor::new(d.media_type.clone(), d.digest.clone(), body.len() as u64);
        Ok((descriptor, body.into()))
    };
    let mut manifests = vec![read(&record.manifest)?];
    // An index goes along where it names nothing else; of the others the content is not here.
    if media::is_index(&record.target.media_type) {
        let index = read(&record.target)?;
        let parsed = super::manifest::parse_index(&index.1)?;
        if parsed.manifests.iter().all(|d| d.digest == record.manifest.digest) {
            manifests.push(index);
        }
    }
    let mut relatives: Vec<ImageRef> = all
        .iter()
        .filter(|(_, other)| other.config.digest == record.config.digest)
        .filter_map(|(known, _)| match Name::parse(known) {
            Some(Name::Digest(other)) => Some(other),
            _ => None,
        })
        .filter(|other| other.domain() == name.domain() && other.path() != name.path())
        .collect();
    relatives.sort();
    relatives.dedup_by_key(|r| r.repository());
    Ok(Parcel { blobs, manifests, record, relatives })
}

async fn send_blobs(
    service: &Arc<ImageService>,
    name: &ImageRef,
    parcel: &Parcel,
    credentials: &Credentials,
    hub: &Arc<Hub>,
) -> Result<()> {
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for (_, diff_id) in &parcel.blobs {
        if let Some(diff_id) = diff_id {
            hub.layer(diff_id.short(), LayerState::Preparing);
        }
    }
    for (descriptor, diff_id) in parcel.blobs.iter().cloned() {
        let (service, name, credentials) = (service.clone(), name.clone(), credentials.clone());
        let (hub, slots, from) = (hub.clone(), slots.clone(), parcel.relatives.first().cloned());
        tasks.spawn(async move {
            let _slot = slots.acquire_owned().await.map_err(|_| Error::internal("the layers' queue is closed"))?;
            send(&service, &name, &descriptor, diff_id.as_ref(), from.as_ref(), &credentials, &hub)
                .await
                .context(|| format!("push {}", descriptor.digest))
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.map_err(lost)??;
    }
    Ok(())
}

async fn send(
    service: &Arc<ImageService>,
    name: &ImageRef,
    descriptor: &Descriptor,
    diff_id: Option<&Digest>,
    from: Option<&ImageRef>,
    credentials: &Credentials,
    hub: &Arc<Hub>,
) -> Result<()> {
    let id = diff_id.map(|d| d.short().to_owned());
    let size = descriptor.size;
    let progress: Arc<dyn Fn(u64) + Send + Sync> = {
        let (hub, id) = (hub.clone(), id.clone());
        Arc::new(move |sent| {
            if let Some(id) = &id {
                hub.layer(id, LayerState::Pushing(sent, size));
            }
        })
    };
    let source = Arc::new(Stored { service: service.clone(), digest: descriptor.digest.clone() });
    let pushed = service.registry.push_blob(name, descriptor, source, from, credentials, progress).await?;
    if let Some(id) = &id {
        hub.layer(
            id,
            match pushed {
                registry::Pushed::Existed => LayerState::LayerExists,
                registry::Pushed::Mounted => LayerState::Mounted,
                registry::Pushed::Uploaded => LayerState::Pushed,
            },
        );
    }
    Ok(())
}

/// A blob of the content store, opened anew for each attempt.
struct Stored {
    service: Arc<ImageService>,
    digest: Digest,
}

impl BlobSource for Stored {
    fn open(&self, offset: u64) -> std::io::Result<Box<dyn Read + Send>> {
        let mut blob = self.service.store.content().open(&self.digest).map_err(std::io::Error::other)?;
        blob.seek(SeekFrom::Start(offset))?;
        Ok(Box::new(blob))
    }
}
