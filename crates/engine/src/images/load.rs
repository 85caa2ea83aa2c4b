//! Load: images from an archive of `docker save` (old or new), podman, skopeo, or an OCI layout.
//!
//! ```text
//! manifest.json   [{Config, RepoTags, Layers}]      docker-archive; wins where both are there
//! index.json      an OCI index, with names in annotations
//! ```

use super::Images;
use super::archive::{Contents, Intake, MAX_ENTRIES, Stored};
use super::builtin::document;
use super::hub::Hub;
use super::manifest::{LAYER_LIMIT, choose, parse_config, parse_index, parse_manifest};
use super::model::{Loaded, Timeline};
use super::progress::{Progress, ProgressSink};
use super::pull::{Document, Errand, Plan, take_in};
use super::records::CONFIG_LIMIT;
use super::service::{ImageService, Kept, lost};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use oci::image::{Descriptor, ImageConfig, Index, Manifest, media};
use oci::{Context as _, Error, ImageRef, Platform, Result};
use registry::MANIFEST_LIMIT;
use serde::Deserialize;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use storage::Compression;
use storage::bundle::Reader;
use tokio::sync::mpsc;

/// Pieces of the archive between the line and the reader.
const AHEAD: usize = 16;
/// Silence after which the sender of an archive is given up.
const SILENCE: Duration = Duration::from_secs(300);
/// Images of one archive.
const MAX_IMAGES: usize = 1000;

/// One entry of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// An image of the archive.
struct Planned {
    plan: Plan,
    names: Vec<ImageRef>,
}

impl Images {
    /// Takes images from an archive: of `docker save`, old or new, or an OCI layout; compressed or not.
    ///
    /// # Errors
    /// `InvalidArgument` if it is no such archive, `Corrupt` if a part doesn't match its digest; nothing is
    /// named then.
    pub async fn load<S>(&self, archive: S, progress: ProgressSink) -> Result<Vec<Loaded>>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + Unpin + 'static,
    {
        let hold = self.service.hold().await?;
        let held = hold.clone();
        let planned = feed(archive, &self.service, move |s, pieces| read_archive(s, pieces, &held)).await?;
        let hub = Arc::new(Hub::loading());
        let listening = hub.listen(progress);
        let mut loaded = Vec::new();
        for Planned { plan, names } in planned {
            let own: Vec<String> = names.iter().map(ToString::to_string).collect();
            let mut timeline = Timeline::default();
            let errand =
                Errand { ns: &self.ns, origin: None, names: &own, hub: &hub, hold: &hold, timeline: &mut timeline };
            let (image, _) = take_in(&self.service, plan, errand).await?;
            for name in &names {
                hub.tell(Progress::Loaded(name.clone()));
                self.service.event(&self.ns, "load", image.id.as_str(), &name.familiar());
            }
            if names.is_empty() {
                hub.tell(Progress::LoadedId(image.id.clone()));
                self.service.event(&self.ns, "load", image.id.as_str(), image.id.as_str());
            }
            loaded.push(Loaded { id: image.id, names });
        }
        drop(listening);
        drop(hold);
        Ok(loaded)
    }
}

/// The pieces of a stream, on a blocking thread.
pub(super) struct Pieces(mpsc::Receiver<std::io::Result<Bytes>>);

impl Pieces {
    /// The next piece, `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>> {
        self.0.blocking_recv().transpose().context(|| "read the archive")
    }
}

/// Runs `work` on a blocking thread over the stream's pieces.
pub(super) async fn feed<S, T>(
    mut stream: S,
    service: &Arc<ImageService>,
    work: impl FnOnce(&ImageService, Pieces) -> Result<T> + Send + 'static,
) -> Result<T>
where
    S: Stream<Item = std::io::Result<Bytes>> + Send + Unpin + 'static,
    T: Send + 'static,
{
    let (send, pieces) = mpsc::channel(AHEAD);
    let own = service.clone();
    let reader = tokio::task::spawn_blocking(move || work(&own, Pieces(pieces)));
    loop {
        let piece = match tokio::time::timeout(SILENCE, stream.next()).await {
            Ok(Some(piece)) => piece,
            Ok(None) => break,
            Err(_) => Err(std::io::Error::new(std::io::ErrorKind::TimedOut, format!("nothing came for {SILENCE:?}"))),
        };
        let failed = piece.is_err();
        // A reader that has had enough, or failed, closes its end.
        if send.send(piece).await.is_err() || failed {
            break;
        }
    }
    drop(send);
    reader.await.map_err(lost)?
}

/// A number that no other archive of this process has, and hardly one of an earlier one.
pub(super) fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let nanos = oci::Timestamp::now().unix_nanos();
    format!("{}-{nanos}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn read_archive(service: &ImageService, mut pieces: Pieces, hold: &Kept) -> Result<Vec<Planned>> {
    let mut intake = Intake::new(service, &unique(), hold);
    let mut reader = Reader::new(MAX_ENTRIES);
    let wrong = |e: Error| if e.kind() == oci::Kind::Corrupt { e.prefixed("not an image archive") } else { e };
    while let Some(piece) = pieces.next()? {
        reader.push(&piece, &mut intake).map_err(wrong)?;
    }
    reader.finish(&mut intake).map_err(wrong)?;
    let contents = intake.contents();
    let index = match contents.get("index.json") {
        Some(file) => Some(parse_index(&read(service, file, MANIFEST_LIMIT)?).context(|| "index.json")?),
        None => None,
    };
    let planned = match (contents.get("manifest.json"), &index) {
        (Some(file), _) => from_docker(service, &contents, file, index.as_ref())?,
        (None, Some(index)) => from_index(service, index)?,
        (None, None) => {
            return Err(Error::invalid(
                "not an image archive: it has neither manifest.json (docker save) nor index.json (OCI layout)",
            ));
        }
    };
    if planned.is_empty() {
        return Err(Error::invalid("the archive holds no image"));
    }
    Ok(planned)
}

fn read(service: &ImageService, file: &Stored, limit: u64) -> Result<Bytes> {
    service.store.content().read(&file.digest, limit).map(Into::into)
}

fn from_docker(
    service: &ImageService,
    contents: &Contents,
    file: &Stored,
    index: Option<&Index>,
) -> Result<Vec<Planned>> {
    let entries: Vec<DockerEntry> = serde_json::from_slice(&read(service, file, MANIFEST_LIMIT)?)
        .map_err(|e| Error::corrupt(format!("manifest.json: {e}")))?;
    if entries.len() > MAX_IMAGES {
        return Err(Error::invalid(format!("manifest.json: more than {MAX_IMAGES} images")));
    }
    let mut planned = Vec::new();
    for entry in entries {
        let names: Result<Vec<ImageRef>> = entry.repo_tags.iter().flatten().map(|name| name.parse()).collect();
        let config = contents.need(&entry.config)?;
        // The archive may hold the image's own manifest; with it the image keeps its digest.
        let own = index.and_then(|index| original(service, index, config));
        let plan = match own {
            Some(plan) => plan,
            None => compose(service, contents, &entry, config)?,
        };
        planned.push(Planned { plan, names: names? });
    }
    Ok(planned)
}

/// The manifest of the OCI layout with this configuration.
fn original(service: &ImageService, index: &Index, config: &Stored) -> Option<Plan> {
    index
        .manifests
        .iter()
        .filter_map(|d| descend(service, d).ok())
        .find(|plan| plan.documents.manifest.config.digest == config.digest)
}

/// Makes a manifest for an image that has none.
fn compose(service: &ImageService, contents: &Contents, entry: &DockerEntry, config: &Stored) -> Result<Plan> {
    let paths = entry.layers.as_deref().unwrap_or_default();
    if paths.len() > LAYER_LIMIT {
        return Err(Error::invalid(format!("{}: more than {LAYER_LIMIT} layers", entry.config)));
    }
    let mut layers = Vec::new();
    for path in paths {
        let file = contents.need(path)?;
        let mut magic = Vec::new();
        service.store.content().open(&file.digest)?.take(8).read_to_end(&mut magic)?;
        let media_type = match Compression::detect(&magic) {
            Compression::None => media::OCI_LAYER,
            Compression::Gzip => media::OCI_LAYER_GZIP,
            Compression::Zstd => media::OCI_LAYER_ZSTD,
        };
        layers.push(Descriptor::new(media_type, file.digest.clone(), file.size));
    }
    let body = read(service, config, CONFIG_LIMIT)?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media::OCI_MANIFEST.into()),
        artifact_type: None,
        config: Descriptor::new(media::OCI_CONFIG, config.digest.clone(), config.size),
        layers,
        annotations: Default::default(),
    };
    let made = document(media::OCI_MANIFEST, &manifest)?;
    let documents = parse_config(manifest, &body).context(|| entry.config.clone())?;
    check_os(&documents.config)?;
    Ok(Plan { target: made.descriptor.clone(), manifest: made.descriptor.clone(), documents, bodies: vec![made] })
}

fn from_index(service: &ImageService, index: &Index) -> Result<Vec<Planned>> {
    if index.manifests.len() > MAX_IMAGES {
        return Err(Error::invalid(format!("index.json: more than {MAX_IMAGES} images")));
    }
    // With several platforms of one image at the top, only this machine's is of use.
    let host = Platform::host();
    let fits = |d: &&Descriptor| d.platform.as_ref().is_none_or(|p| host.rank(p).is_some());
    let mut planned: Vec<Planned> = Vec::new();
    for descriptor in index.manifests.iter().filter(fits) {
        let plan = descend(service, descriptor)?;
        let name = name_of(descriptor)?;
        let known = planned.iter_mut().find(|p| p.plan.target.digest == plan.target.digest);
        match (known, name) {
            (Some(known), Some(name)) if !known.names.contains(&name) => known.names.push(name),
            (Some(_), _) => {}
            (None, name) => planned.push(Planned { plan, names: name.into_iter().collect() }),
        }
    }
    if planned.is_empty() && !index.manifests.is_empty() {
        return Err(Error::not_found(format!("no matching manifest for {host} in the archive's index.json")));
    }
    Ok(planned)
}

/// The name that an entry of index.json has. What is only a tag names no repository, and is none.
fn name_of(descriptor: &Descriptor) -> Result<Option<ImageRef>> {
    let full = descriptor.annotations.get("io.containerd.image.name");
    let reference = descriptor.annotations.get("org.opencontainers.image.ref.name");
    match full.or_else(|| reference.filter(|name| name.contains(['/', ':']))) {
        Some(name) => name.parse().map(Some).map_err(|e: Error| e.prefixed("index.json")),
        None => Ok(None),
    }
}

/// Reads the documents below an entry of index.json, from the store.
fn descend(service: &ImageService, top: &Descriptor) -> Result<Plan> {
    let content = service.store.content();
    let get = |d: &Descriptor| -> Result<Bytes> {
        let body = content.read(&d.digest, MANIFEST_LIMIT).context(|| "the archive's OCI layout")?;
        if body.len() as u64 != d.size {
            return Err(Error::corrupt(format!("{}: {} bytes, its descriptor says {}", d.digest, body.len(), d.size)));
        }
        Ok(body.into())
    };
    // Only digest, size and type describe the target; names and the like belong to the archive.
    let target = Descriptor::new(top.media_type.clone(), top.digest.clone(), top.size);
    let mut bodies = Vec::new();
    let manifest = if media::is_index(&top.media_type) {
        let body = get(top)?;
        let chosen = choose(&parse_index(&body)?, &Platform::host())?.clone();
        bodies.push(Document { descriptor: target.clone(), body });
        chosen
    } else {
        target.clone()
    };
    let body = get(&manifest)?;
    let parsed = parse_manifest(&body)?;
    bodies.push(Document { descriptor: manifest.clone(), body });
    let config = content.read(&parsed.config.digest, CONFIG_LIMIT).context(|| "the archive's OCI layout")?;
    let documents = parse_config(parsed, &config)?;
    check_os(&documents.config)?;
    Ok(Plan { target, manifest, documents, bodies })
}

fn check_os(config: &ImageConfig) -> Result<()> {
    super::manifest::check_platform("in the archive", config, None)
}
