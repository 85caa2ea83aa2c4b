//! Layers on their way in: fetched, hashed, inflated and unpacked in one pass, several at once.

use super::hub::Hub;
use super::progress::LayerState;
use super::service::{ImageService, lost};
use bytes::Bytes;
use oci::image::Descriptor;
use oci::{Digest, Error, ImageRef, Kind, Result};
use registry::Credentials;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use storage::{LayerSpec, StagedLayer};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

/// Layers of one image that are fetched and unpacked side by side.
const AT_ONCE: usize = 4;
/// Pieces between the line and the unpacker; a piece has at most 128 KiB.
const AHEAD: usize = 32;

/// One lock for each layer's digest: the same layer is never fetched twice at once.
#[derive(Default)]
pub(super) struct LayerLocks {
    all: Mutex<HashMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
}

impl LayerLocks {
    fn of(&self, digest: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = all.get(digest).and_then(Weak::upgrade) {
            return lock;
        }
        all.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        all.insert(digest.clone(), Arc::downgrade(&lock));
        lock
    }
}

/// Where layers come from.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) image: ImageRef,
    pub(super) credentials: Credentials,
}

/// One layer of an image.
#[derive(Clone)]
pub(super) struct Layer {
    pub(super) descriptor: Descriptor,
    pub(super) diff_id: Digest,
    /// Chain id of it and all below it.
    pub(super) chain: Digest,
    /// The chain's snapshot was there when the work began.
    pub(super) unpacked: bool,
}

/// What getting the layers brought.
pub(super) struct Arrived {
    /// The layers that were not unpacked before, the lowest first.
    pub(super) staged: Vec<StagedLayer>,
    /// Something came over the line.
    pub(super) fetched: bool,
    /// When the last byte came.
    pub(super) last_byte: Instant,
}

/// What the layers of one image share on their way in.
struct Job {
    service: Arc<ImageService>,
    origin: Option<Origin>,
    hub: Arc<Hub>,
    slots: Semaphore,
    begin: Instant,
    /// When the last byte came, in microseconds since `begin`.
    last_byte: AtomicU64,
}

/// Gets all of `layers`. Without an `origin` they must be in the content store already.
pub(super) async fn bring(
    service: &Arc<ImageService>,
    layers: &[Layer],
    origin: Option<Origin>,
    hub: &Arc<Hub>,
) -> Result<Arrived> {
    let job = Arc::new(Job {
        service: service.clone(),
        origin,
        hub: hub.clone(),
        slots: Semaphore::new(AT_ONCE),
        begin: Instant::now(),
        last_byte: AtomicU64::new(0),
    });
    // Closed when the last blocking thread that works for this job has ended.
    let (working, mut ended) = mpsc::channel::<()>(1);
    let mut tasks = JoinSet::new();
    for (index, layer) in layers.iter().cloned().enumerate() {
        let (job, working) = (job.clone(), working.clone());
        tasks.spawn(async move {
            let _slot = job.slots.acquire().await.map_err(|_| Error::internal("the layers' queue is closed"))?;
            one(&job, &layer, &working).await.map(|(staged, fetched)| (index, staged, fetched))
        });
    }
    drop(working);
    let mut staged: Vec<(usize, StagedLayer)> = Vec::new();
    let mut fetched = false;
    while let Some(done) = tasks.join_next().await {
        match done.map_err(lost).and_then(|done| done) {
            Ok((index, layer, came)) => {
                fetched |= came;
                staged.extend(layer.map(|layer| (index, layer)));
            }
            Err(error) => {
                // The others end too, and are waited for: with the error in hand nothing half made is left.
                // What was downloaded stays for the next attempt.
                tasks.shutdown().await;
                let _ = ended.recv().await;
                return Err(error);
            }
        }
    }
    staged.sort_by_key(|(index, _)| *index);
    let last_byte = job.begin + Duration::from_micros(job.last_byte.load(Ordering::Relaxed));
    Ok(Arrived { staged: staged.into_iter().map(|(_, layer)| layer).collect(), fetched, last_byte })
}

/// Gets one layer; also tells whether anything came over the line. `working` is held by the threads
/// that work for it.
async fn one(job: &Arc<Job>, layer: &Layer, working: &mpsc::Sender<()>) -> Result<(Option<StagedLayer>, bool)> {
    let (service, hub) = (&job.service, &job.hub);
    let id = layer.descriptor.digest.short();
    let lock = service.layers.of(&layer.descriptor.digest);
    let _alone = match lock.try_lock() {
        Ok(guard) => guard,
        Err(_) => {
            hub.layer(id, LayerState::Waiting);
            lock.lock().await
        }
    };
    let (digest, size) = (layer.descriptor.digest.clone(), layer.descriptor.size);
    let stored = service.blocking(move |s| stored(s, &digest, size)).await?;
    match (stored, layer.unpacked) {
        (true, true) => {
            hub.layer(id, LayerState::AlreadyExists);
            Ok((None, false))
        }
        (true, false) => {
            hub.layer(id, LayerState::Extracting(0, size));
            let (spec, working) = (spec(service, layer), working.clone());
            let work = service
                .blocking(move |s| Ok(Work { written: s.store.unpack_blob(&spec).map(Some), _working: working }))
                .await?;
            let staged = work.written?;
            hub.layer(id, LayerState::Extracting(size, size));
            Ok((staged, false))
        }
        (false, _) => match fetch(job, layer, working).await {
            // The beginning that an earlier attempt left may be what is wrong; it is gone now.
            Fetched { result: Err(error), start: 1.. } if error.kind() == Kind::Corrupt => {
                tracing::info!(layer = %layer.descriptor.digest, %error, "begun anew");
                Ok((fetch(job, layer, working).await.result?, true))
            }
            Fetched { result, .. } => Ok((result?, true)),
        },
    }
}

/// Whether the blob is in the store, with the length its descriptor tells.
fn stored(service: &ImageService, digest: &Digest, size: u64) -> Result<bool> {
    match service.store.content().info(digest) {
        Ok(info) if info.size == size => Ok(true),
        Ok(info) => {
            Err(Error::corrupt(format!("layer {digest}: {} bytes are stored, the manifest says {size}", info.size)))
        }
        Err(error) if error.kind() == Kind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn spec(service: &ImageService, layer: &Layer) -> LayerSpec {
    LayerSpec {
        descriptor: layer.descriptor.clone(),
        diff_id: Some(layer.diff_id.clone()),
        key: ingest_key(&layer.descriptor.digest),
        snapshotter: service.snapshotter.clone(),
    }
}

/// The ingest of a layer; the same after a restart, so that it goes on where it was.
pub(super) fn ingest_key(digest: &Digest) -> String {
    format!("layer-{digest}")
}

/// What a blocking thread made, and its sign that it works. If nobody takes the result it is dropped
/// before the sign, so whoever waits for the sign finds nothing of it left.
struct Work {
    written: Result<Option<StagedLayer>>,
    _working: mpsc::Sender<()>,
}

/// What the fetching side tells the writing side.
enum Piece {
    Bytes(Bytes),
    /// All came: without it the writer keeps what it has for the next attempt.
    End,
}

/// One attempt at a layer.
struct Fetched {
    result: Result<Option<StagedLayer>>,
    /// Bytes that were there already.
    start: u64,
}

async fn fetch(job: &Arc<Job>, layer: &Layer, working: &mpsc::Sender<()>) -> Fetched {
    let mut start = 0;
    let result = fetch_from(job, layer, working, &mut start).await;
    Fetched { result, start }
}

async fn fetch_from(
    job: &Arc<Job>,
    layer: &Layer,
    working: &mpsc::Sender<()>,
    begun: &mut u64,
) -> Result<Option<StagedLayer>> {
    let digest = &layer.descriptor.digest;
    let origin =
        job.origin.as_ref().ok_or_else(|| Error::not_found(format!("layer {digest}: its content is missing")))?;
    let (hub, id, size) = (&job.hub, digest.short(), layer.descriptor.size);
    let (send, pieces) = mpsc::channel(AHEAD);
    let (tell_offset, offset) = oneshot::channel();
    let writer = {
        let (service, spec, unpack) = (job.service.clone(), spec(&job.service, layer), !layer.unpacked);
        let working = working.clone();
        tokio::task::spawn_blocking(move || {
            let written = match unpack {
                true => write_unpacked(&service, &spec, tell_offset, pieces),
                false => write_only(&service, &spec, tell_offset, pieces),
            };
            Work { written, _working: working }
        })
    };
    let Ok(start) = offset.await else {
        // It ended before it began, and says why.
        return writer.await.map_err(lost)?.written;
    };
    *begun = start;
    hub.layer(id, LayerState::Downloading(start, size));
    let mut fetch = job.service.registry.fetch_blob(&origin.image, &layer.descriptor, start, &origin.credentials)?;
    let failure = loop {
        match fetch.chunk().await {
            Ok(Some(piece)) => {
                // A closed channel means that the writer failed; its own words are the better ones.
                if send.send(Piece::Bytes(piece)).await.is_err() {
                    break None;
                }
                hub.layer(id, LayerState::Downloading(fetch.offset(), size));
            }
            Ok(None) => {
                let micros = u64::try_from(job.begin.elapsed().as_micros()).unwrap_or(u64::MAX);
                job.last_byte.fetch_max(micros, Ordering::Relaxed);
                hub.layer(id, LayerState::DownloadComplete);
                hub.layer(id, LayerState::Extracting(size, size));
                let _ = send.send(Piece::End).await;
                break None;
            }
            Err(error) => break Some(error),
        }
    };
    drop(send);
    let written = writer.await.map_err(lost)?.written;
    match failure {
        Some(error) => Err(error),
        None => written,
    }
}

fn cut_off() -> Error {
    Error::cancelled("the transfer was cut off")
}

fn write_unpacked(
    service: &ImageService,
    spec: &LayerSpec,
    tell_offset: oneshot::Sender<u64>,
    mut pieces: mpsc::Receiver<Piece>,
) -> Result<Option<StagedLayer>> {
    let mut sink = service.store.layer_sink(spec)?;
    if tell_offset.send(sink.offset()).is_err() {
        return Err(cut_off());
    }
    loop {
        match pieces.blocking_recv() {
            Some(Piece::Bytes(bytes)) => sink.write(&bytes)?,
            Some(Piece::End) => return sink.finish().map(Some),
            None => return Err(cut_off()),
        }
    }
}

/// For a layer that is unpacked already but whose content is gone.
fn write_only(
    service: &ImageService,
    spec: &LayerSpec,
    tell_offset: oneshot::Sender<u64>,
    mut pieces: mpsc::Receiver<Piece>,
) -> Result<Option<StagedLayer>> {
    let mut ingest = service.store.content().ingest(&spec.key, Some(&spec.descriptor))?;
    if tell_offset.send(ingest.offset()).is_err() {
        return Err(cut_off());
    }
    loop {
        match pieces.blocking_recv() {
            Some(Piece::Bytes(bytes)) => ingest.write(&bytes)?,
            Some(Piece::End) => {
                ingest.commit(&spec.descriptor.digest, spec.descriptor.size)?;
                return Ok(None);
            }
            None => return Err(cut_off()),
        }
    }
}
