//! The built-in image: one static program, made into an image in memory. It needs no registry.

use super::hub::Hub;
use super::manifest::Documents;
use super::model::{Image, Pulled, Timeline};
use super::progress::Progress;
use super::pull::{Document, Errand, Plan, take_in};
use super::records::{KIND, NameRecord, assemble};
use super::service::{ImageService, Kept};
use bytes::Bytes;
use oci::image::{Descriptor, ExecConfig, History, ImageConfig, Manifest, RootFs, media};
use oci::{Error, ImageRef, Platform, Result, Timestamp};
use serde::Serialize;
use std::sync::Arc;
use std::time::Instant;
use storage::{Root, bundle, digest_of};

/// The name under which it is known.
const NAME: &str = "docker.io/library/hello:latest";
/// The program's name in it.
const PROGRAM: &str = "hello";

/// The built-in image's program, and a lock: it is made once at a time.
pub(super) struct Builtin {
    program: &'static [u8],
    making: tokio::sync::Mutex<()>,
}

impl Builtin {
    pub(super) fn new(program: &'static [u8]) -> Self {
        Self { program, making: tokio::sync::Mutex::new(()) }
    }
}

/// The built-in image for a pull of its name.
pub(super) async fn stand_in(
    service: &Arc<ImageService>,
    ns: &str,
    name: &ImageRef,
    hub: &Arc<Hub>,
) -> Result<Option<Pulled>> {
    if service.builtin.is_none() || name.to_string() != NAME {
        return Ok(None);
    }
    let (hold, mut timeline) = (service.hold().await?, Timeline::default());
    let Some((image, made)) = import(service, ns, hub, &hold, &mut timeline).await? else { return Ok(None) };
    hub.tell(Progress::Digest(image.target.digest.clone()));
    hub.tell(if made { Progress::Downloaded(name.clone()) } else { Progress::UpToDate(name.clone()) });
    Ok(Some(Pulled { image, up_to_date: !made, timeline }))
}

/// The built-in image, if it is what `given` names.
pub(super) async fn make(
    service: &Arc<ImageService>,
    ns: &str,
    given: &str,
    hold: &Arc<Kept>,
    timeline: &mut Timeline,
) -> Result<Option<Image>> {
    if service.builtin.is_none() || given.parse::<ImageRef>().is_ok_and(|name| name.to_string() != NAME) {
        return Ok(None);
    }
    if given.parse::<ImageRef>().is_err() {
        return Ok(None);
    }
    let hub: Arc<Hub> = Arc::default();
    Ok(import(service, ns, &hub, hold, timeline).await?.map(|(image, _)| image))
}

/// Makes the image unless its name is taken; also tells whether it was made.
async fn import(
    service: &Arc<ImageService>,
    ns: &str,
    hub: &Arc<Hub>,
    hold: &Arc<Kept>,
    timeline: &mut Timeline,
) -> Result<Option<(Image, bool)>> {
    let Some(builtin) = &service.builtin else { return Ok(None) };
    let _alone = builtin.making.lock().await;
    let begin = Instant::now();
    let own = ns.to_owned();
    let there = service
        .blocking(move |s| {
            let record: Option<NameRecord> = s.store.meta().get(&own, KIND, NAME)?;
            let Some(record) = record else { return Ok(None) };
            assemble(&s.store, &super::records::names(&s.store, &own)?, &record.config.digest)
        })
        .await?;
    if let Some(image) = there {
        return Ok(Some((image, false)));
    }
    let program = builtin.program;
    let held = hold.clone();
    let (plan, planned) = service
        .blocking(move |s| {
            let (plan, layer) = plan(program)?;
            let planned = Instant::now();
            held.add(Root::Content(digest_of(&layer)));
            s.store.content().put(&layer)?;
            Ok((plan, planned))
        })
        .await?;
    // Its registry is this program: making the manifest is the resolving, storing the layer the fetching.
    timeline.resolve += planned.duration_since(begin);
    timeline.fetch += planned.elapsed();
    let errand = Errand { ns, origin: None, names: &[NAME.to_owned()], hub, hold, timeline };
    let (image, _) = take_in(service, plan, errand).await?;
    Ok(Some((image, true)))
}

/// The image's documents and its layer. Nothing in them depends on when or where they are made.
fn plan(program: &[u8]) -> Result<(Plan, Vec<u8>)> {
    let mut layer = bundle::file_header(PROGRAM, 0o755, program.len() as u64);
    layer.extend_from_slice(program);
    layer.extend_from_slice(bundle::padding(program.len() as u64));
    layer.extend_from_slice(bundle::END);
    let diff_id = digest_of(&layer);
    let config = ImageConfig {
        created: Some(Timestamp::from_unix(0, 0)),
        author: None,
        platform: Platform::host(),
        config: Some(ExecConfig { cmd: Some(vec![format!("/{PROGRAM}")]), ..ExecConfig::default() }),
        rootfs: RootFs { kind: "layers".into(), diff_ids: vec![diff_id.clone()] },
        history: Some(vec![History {
            created: Some(Timestamp::from_unix(0, 0)),
            created_by: Some(format!("built into sampand: COPY {PROGRAM} /")),
            ..History::default()
        }]),
    };
    let config_document = document(media::OCI_CONFIG, &config)?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media::OCI_MANIFEST.into()),
        artifact_type: None,
        config: config_document.descriptor.clone(),
        layers: vec![Descriptor::new(media::OCI_LAYER, diff_id, layer.len() as u64)],
        annotations: Default::default(),
    };
    let manifest_document = document(media::OCI_MANIFEST, &manifest)?;
    let plan = Plan {
        target: manifest_document.descriptor.clone(),
        manifest: manifest_document.descriptor.clone(),
        documents: Documents { manifest, config },
        bodies: vec![config_document, manifest_document],
    };
    Ok((plan, layer))
}

/// A value as a stored document.
pub(super) fn document(media_type: &str, value: &impl Serialize) -> Result<Document> {
    let body = serde_json::to_vec(value).map_err(|e| Error::internal(format!("{media_type}: {e}")))?;
    let descriptor = Descriptor::new(media_type, digest_of(&body), body.len() as u64);
    Ok(Document { descriptor, body: Bytes::from(body) })
}
