//! Pull.
//!
//! ```text
//! name ─ HEAD: unchanged? done ─ GET manifest or index ─ choose ─ configuration ─ layers, side by side
//!      ─ all digests and diff-ids match ─ commit the chain ─ name it
//! ```

use super::hub::Hub;
use super::layers::{Layer, Origin, bring};
use super::manifest::{Documents, chain_ids, check_platform, choose, parse_config, parse_index, parse_manifest};
use super::model::{Image, PullOptions, Pulled, Timeline};
use super::progress::{LayerState, Progress, ProgressSink};
use super::records::{KIND, NameRecord, assemble, set_name};
use super::service::{ImageService, Kept};
use super::{Images, find::no_such_image};
use bytes::Bytes;
use oci::image::{Descriptor, media};
use oci::{Context as _, Digest, Error, ImageRef, Platform, Result, Timestamp};
use registry::Credentials;
use sha2::Digest as _;
use std::sync::Arc;
use std::time::Instant;
use storage::{Root, StagedLayer};

/// Documents that are stored beside the layers.
pub(super) struct Document {
    pub(super) descriptor: Descriptor,
    pub(super) body: Bytes,
}

/// An image whose documents are at hand and whose layers are yet to come.
pub(super) struct Plan {
    /// What the name stands for.
    pub(super) target: Descriptor,
    pub(super) manifest: Descriptor,
    pub(super) documents: Documents,
    /// Index, manifest, configuration: what has to be stored.
    pub(super) bodies: Vec<Document>,
}

impl Images {
    /// Brings an image here and unpacks it, under its name. Pulls of the same name join.
    ///
    /// # Errors
    /// `NotFound` ("pull access denied", "manifest unknown"), `Unauthorized`, `Unavailable`, `Corrupt`;
    /// nothing is named then.
    pub async fn pull(&self, name: &ImageRef, options: PullOptions, progress: ProgressSink) -> Result<Pulled> {
        let platform = options.platform.as_ref().map(ToString::to_string).unwrap_or_default();
        // A tag beside a digest is decoration.
        let name = name.digest().map_or_else(|| name.clone(), |digest| name.with_digest(digest.clone()));
        let key = format!("{}\0{name}\0{platform}", self.ns);
        let (service, ns) = (self.service.clone(), self.ns.clone());
        self.service
            .flights
            .join(key, progress, |hub| async move { pull(&service, &ns, &name, options, &hub).await })
            .await
    }

    /// All tags of a repository in its registry.
    ///
    /// # Errors
    /// As [`Images::pull`].
    pub async fn remote_tags(&self, repository: &ImageRef, credentials: &Credentials) -> Result<Vec<String>> {
        self.service.registry.tags(repository, credentials).await
    }

    /// Sees whether the registry of `domain` takes these credentials.
    ///
    /// # Errors
    /// `Unauthorized` if not; `Unavailable` if it can't be reached.
    pub async fn login(&self, domain: &str, credentials: &Credentials) -> Result<registry::Login> {
        self.service.registry.login(domain, credentials).await
    }
}

async fn pull(
    service: &Arc<ImageService>,
    ns: &str,
    name: &ImageRef,
    options: PullOptions,
    hub: &Arc<Hub>,
) -> Result<Pulled> {
    let begin = Instant::now();
    hub.tell(Progress::PullingFrom(name.clone()));
    if let Some(pulled) = super::builtin::stand_in(service, ns, name, hub).await? {
        return Ok(pulled);
    }
    let hold = service.hold().await?;
    if let Some(image) = unchanged(service, ns, name, &options).await? {
        hub.tell(Progress::Digest(image.target.digest.clone()));
        hub.tell(Progress::UpToDate(name.clone()));
        let timeline = Timeline { resolve: begin.elapsed(), ..Timeline::default() };
        return Ok(Pulled { image, up_to_date: true, timeline });
    }
    let plan = plan(service, name, &options).await?;
    let mut timeline = Timeline { resolve: begin.elapsed(), ..Timeline::default() };
    let origin = Origin { image: name.clone(), credentials: options.credentials };
    let target = plan.target.digest.clone();
    let pinned = name.with_digest(target.clone());
    let own_names =
        if name.digest().is_some() { vec![name.to_string()] } else { vec![name.to_string(), pinned.to_string()] };
    let before = current(service, ns, name).await?;
    let origin = Some(origin);
    let errand = Errand { ns, origin, names: &own_names, hub, hold: &hold, timeline: &mut timeline };
    let (image, fetched) = take_in(service, plan, errand).await?;
    drop(hold);
    hub.tell(Progress::Digest(target.clone()));
    let up_to_date = !fetched && before.is_some_and(|before| before.target.digest == target);
    hub.tell(if up_to_date { Progress::UpToDate(name.clone()) } else { Progress::Downloaded(name.clone()) });
    service.event(ns, "pull", &name.familiar(), &name.familiar_repository());
    Ok(Pulled { image, up_to_date, timeline })
}

/// What the name stands for here.
async fn current(service: &Arc<ImageService>, ns: &str, name: &ImageRef) -> Result<Option<NameRecord>> {
    let (ns, name) = (ns.to_owned(), name.to_string());
    service.blocking(move |s| s.store.meta().get(&ns, KIND, &name)).await
}

/// The image, if the name stands here for what it stands for there, and all of it is here.
async fn unchanged(
    service: &Arc<ImageService>,
    ns: &str,
    name: &ImageRef,
    options: &PullOptions,
) -> Result<Option<Image>> {
    let Some(record) = current(service, ns, name).await? else { return Ok(None) };
    let target = match name.digest() {
        Some(digest) => Some(digest.clone()),
        // Trouble here is told by the request that follows.
        None => match service.registry.head(name, &options.credentials).await {
            Ok(descriptor) => descriptor.map(|d| d.digest),
            Err(_) => None,
        },
    };
    if target.as_ref() != Some(&record.target.digest) {
        return Ok(None);
    }
    let (ns, wanted) = (ns.to_owned(), options.platform.clone());
    service
        .blocking(move |s| {
            let names = super::records::names(&s.store, &ns)?;
            let Some(image) = assemble(&s.store, &names, &record.config.digest)? else { return Ok(None) };
            let right = wanted.as_ref().is_none_or(|w| w.rank(&image.config.platform).is_some());
            Ok((right && super::ready::is_complete(s, &record)?).then_some(image))
        })
        .await
}

/// Gets the documents that say what the image is.
async fn plan(service: &Arc<ImageService>, name: &ImageRef, options: &PullOptions) -> Result<Plan> {
    let (registry, credentials) = (&service.registry, &options.credentials);
    let resolved = registry.resolve(name, credentials).await?;
    let mut bodies = vec![Document { descriptor: resolved.descriptor.clone(), body: resolved.body.clone() }];
    let familiar = name.familiar();
    let (manifest, body) = if media::is_index(&resolved.descriptor.media_type) {
        let index = parse_index(&resolved.body).context(|| familiar.clone())?;
        let wanted = options.platform.clone().unwrap_or_else(Platform::host);
        let chosen = choose(&index, &wanted)?.clone();
        let (_, body) = registry.manifest(name, &chosen.digest, credentials).await?;
        if body.len() as u64 != chosen.size {
            return Err(Error::corrupt(format!(
                "manifest {} of {familiar}: {} bytes came, the index says {}",
                chosen.digest,
                body.len(),
                chosen.size
            )));
        }
        bodies.push(Document { descriptor: chosen.clone(), body: body.clone() });
        (chosen, body)
    } else {
        (resolved.descriptor.clone(), resolved.body.clone())
    };
    let parsed = parse_manifest(&body).context(|| familiar.clone())?;
    let config = small_blob(service, name, &parsed.config, credentials).await?;
    bodies.push(Document { descriptor: parsed.config.clone(), body: config.clone() });
    let documents = parse_config(parsed, &config).context(|| familiar.clone())?;
    check_platform(&familiar, &documents.config, options.platform.as_ref())?;
    Ok(Plan { target: resolved.descriptor, manifest, documents, bodies })
}

/// A blob that fits in memory, from the store or the registry.
async fn small_blob(
    service: &Arc<ImageService>,
    name: &ImageRef,
    descriptor: &Descriptor,
    credentials: &Credentials,
) -> Result<Bytes> {
    let wanted = descriptor.clone();
    let stored = service.blocking(move |s| Ok(s.store.content().read(&wanted.digest, wanted.size).ok())).await?;
    if let Some(bytes) = stored.filter(|b| b.len() as u64 == descriptor.size) {
        return Ok(bytes.into());
    }
    let mut fetch = service.registry.fetch_blob(name, descriptor, 0, credentials)?;
    let mut all = Vec::new();
    while let Some(piece) = fetch.chunk().await? {
        all.extend_from_slice(&piece);
    }
    let found = digest_like(&descriptor.digest, &all);
    if found != descriptor.digest {
        return Err(Error::corrupt(format!("image configuration {}: what came has digest {found}", descriptor.digest)));
    }
    Ok(all.into())
}

/// The digest of `bytes` by the algorithm of `like`.
pub(super) fn digest_like(like: &Digest, bytes: &[u8]) -> Digest {
    if like.algorithm() == "sha512" {
        use std::fmt::Write as _;
        let mut text = String::from("sha512:");
        for byte in sha2::Sha512::digest(bytes) {
            let _ = write!(text, "{byte:02x}");
        }
        if let Ok(digest) = text.parse() {
            return digest;
        }
    }
    Digest::from_sha256(&sha2::Sha256::digest(bytes).into())
}

/// What bringing an image in needs besides its plan.
pub(super) struct Errand<'a> {
    pub(super) ns: &'a str,
    /// Where missing layers are fetched; without it they must be stored already.
    pub(super) origin: Option<Origin>,
    /// The names it gets.
    pub(super) names: &'a [String],
    pub(super) hub: &'a Arc<Hub>,
    pub(super) hold: &'a Arc<Kept>,
    pub(super) timeline: &'a mut Timeline,
}

/// Brings in the layers of a planned image, and gives it its names: of pull, load, import and the
/// built-in image the common end. Also tells whether anything came over the line.
pub(super) async fn take_in(service: &Arc<ImageService>, plan: Plan, errand: Errand<'_>) -> Result<(Image, bool)> {
    let Errand { ns, origin, names, hub, hold, timeline } = errand;
    let begin = Instant::now();
    protect(service, &plan, hold).await?;
    let layers = look(service, &plan.documents).await?;
    for layer in &layers {
        if !layer.unpacked {
            hub.layer(layer.descriptor.digest.short(), LayerState::PullingFsLayer);
        }
    }
    let arrived = bring(service, &layers, origin, hub).await?;
    let (ns, own_names) = (ns.to_owned(), names.to_vec());
    let (fetched, last_byte, staged) = (arrived.fetched, arrived.last_byte, arrived.staged);
    let below = layers.iter().take_while(|layer| layer.unpacked).last().map(|layer| layer.chain.clone());
    let image = service.blocking(move |s| commit(s, &ns, plan, below, staged, &own_names)).await?;
    for layer in layers.iter().filter(|layer| !layer.unpacked) {
        hub.layer(layer.descriptor.digest.short(), LayerState::PullComplete);
    }
    if fetched {
        timeline.fetch += last_byte.saturating_duration_since(begin);
        timeline.unpack += last_byte.elapsed();
    } else if layers.iter().any(|layer| !layer.unpacked) {
        timeline.unpack += begin.elapsed();
    }
    Ok((image, fetched))
}

/// Keeps the collector from all that the image consists of, there already or not.
async fn protect(service: &Arc<ImageService>, plan: &Plan, hold: &Arc<Kept>) -> Result<()> {
    let manifest = &plan.documents.manifest;
    let content = [&plan.target, &plan.manifest, &manifest.config].into_iter().chain(&manifest.layers);
    let mut roots: Vec<Root> = content.map(|d| Root::Content(d.digest.clone())).collect();
    // Each link of the chain, as the lower ones are there before the top one.
    for chain in chain_ids(&plan.documents.config.rootfs.diff_ids) {
        roots.push(Root::Snapshot { snapshotter: service.snapshotter.clone(), key: chain.to_string() });
    }
    let hold = hold.clone();
    service
        .blocking(move |_| {
            roots.into_iter().for_each(|root| hold.add(root));
            Ok(())
        })
        .await
}

/// The layers, and which of them are unpacked.
async fn look(service: &Arc<ImageService>, documents: &Documents) -> Result<Vec<Layer>> {
    let descriptors = documents.manifest.layers.clone();
    let diff_ids = documents.config.rootfs.diff_ids.clone();
    service
        .blocking(move |s| {
            let chains = chain_ids(&diff_ids);
            let snapshots = s.store.snapshotter(&s.snapshotter)?;
            let layers = descriptors.into_iter().zip(diff_ids).zip(chains);
            layers
                .map(|((descriptor, diff_id), chain)| {
                    let unpacked = super::ready::has_snapshot(snapshots, &chain)?;
                    Ok(Layer { descriptor, diff_id, chain, unpacked })
                })
                .collect()
        })
        .await
}

/// Everything matched: stores the documents, makes the chain visible, gives the names.
fn commit(
    service: &ImageService,
    ns: &str,
    plan: Plan,
    below: Option<Digest>,
    staged: Vec<StagedLayer>,
    own_names: &[String],
) -> Result<Image> {
    let store = &service.store;
    for document in &plan.bodies {
        store.content().put_as(&document.descriptor.digest, &document.body)?;
    }
    if !staged.is_empty() {
        store.commit_chain(&service.snapshotter, below.as_ref().map(Digest::as_str), staged)?;
    }
    let snapshots = store.snapshotter(&service.snapshotter)?;
    let chains = chain_ids(&plan.documents.config.rootfs.diff_ids);
    let layer_sizes = chains.iter().map(|chain| Ok(snapshots.usage(chain.as_str())?.bytes)).collect::<Result<_>>()?;
    let record = NameRecord {
        target: plan.target,
        manifest: plan.manifest,
        config: plan.documents.manifest.config.clone(),
        chain: chains.last().cloned(),
        layer_sizes,
        tagged: Timestamp::now(),
        labels: Default::default(),
    };
    let id = record.config.digest.clone();
    let all = store.meta().transaction(|txn| {
        for name in own_names {
            set_name(txn, ns, name, &record)?;
        }
        if own_names.is_empty() {
            super::records::keep_nameless(txn, ns, &record)?;
        }
        txn.list(ns, KIND)
    })?;
    assemble(store, &all, &id)?.ok_or_else(|| no_such_image(id.as_str()))
}
