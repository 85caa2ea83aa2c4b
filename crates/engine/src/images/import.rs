//! Import: an image of one layer from a tar stream.

use super::Images;
use super::builtin::document;
use super::changes::apply;
use super::hub::Hub;
use super::load::{Pieces, feed, unique};
use super::manifest::Documents;
use super::model::{ImportOptions, Loaded, Timeline};
use super::pull::{Errand, Plan, take_in};
use super::service::{ImageService, Kept};
use bytes::Bytes;
use futures_util::Stream;
use oci::image::{Descriptor, ExecConfig, History, ImageConfig, Manifest, RootFs, media};
use oci::{Digest, Error, Platform, Result, Timestamp};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;
use storage::Root;
use storage::bundle::Inflater;

impl Images {
    /// Makes an image of one layer from a tar stream, compressed or not.
    ///
    /// # Errors
    /// `InvalidArgument` for a stream that is no tar, or a change that isn't understood.
    pub async fn import<S>(&self, layer: S, options: ImportOptions) -> Result<Loaded>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Send + Unpin + 'static,
    {
        let mut config = ExecConfig::default();
        for change in &options.changes {
            apply(&mut config, change)?;
        }
        let hold = self.service.hold().await?;
        let held = hold.clone();
        let (diff_id, size) = feed(layer, &self.service, move |s, pieces| store_layer(s, pieces, &held)).await?;
        let names = options.reference.iter().cloned().collect();
        let own: Vec<String> = options.reference.iter().map(ToString::to_string).collect();
        let plan = plan(diff_id, size, config, &options)?;
        let (hub, mut timeline) = (Arc::<Hub>::default(), Timeline::default());
        let errand =
            Errand { ns: &self.ns, origin: None, names: &own, hub: &hub, hold: &hold, timeline: &mut timeline };
        let (image, _) = take_in(&self.service, plan, errand).await?;
        drop(hold);
        let shown = options.reference.as_ref().map_or_else(|| image.id.to_string(), |name| name.familiar());
        self.service.event(&self.ns, "import", image.id.as_str(), &shown);
        Ok(Loaded { id: image.id, names })
    }
}

/// Stores the uncompressed stream: its digest is then the diff-id too.
fn store_layer(service: &ImageService, mut pieces: Pieces, hold: &Kept) -> Result<(Digest, u64)> {
    let mut ingest = service.store.content().ingest(&format!("import-{}", unique()), None)?;
    let mut hasher = Sha256::new();
    let mut inflater = Inflater::default();
    let filled = {
        let mut sink = |plain: &[u8]| {
            hasher.update(plain);
            ingest.write(plain)
        };
        let work = || {
            while let Some(piece) = pieces.next()? {
                inflater.push(&piece, &mut sink)?;
            }
            inflater.finish(&mut sink)
        };
        work()
    };
    let size = ingest.offset();
    if let Err(error) = filled {
        let _ = ingest.abort();
        return Err(error);
    }
    if size == 0 {
        let _ = ingest.abort();
        return Err(Error::invalid("the layer to import is empty"));
    }
    let digest = Digest::from_sha256(&hasher.finalize().into());
    hold.add(Root::Content(digest.clone()));
    ingest.commit(&digest, size)?;
    Ok((digest, size))
}

fn plan(diff_id: Digest, size: u64, config: ExecConfig, options: &ImportOptions) -> Result<Plan> {
    let now = Timestamp::now();
    let message = if options.message.is_empty() { "Imported from -" } else { &options.message };
    let config = ImageConfig {
        created: Some(now),
        author: None,
        platform: options.platform.clone().unwrap_or_else(Platform::host),
        config: Some(config),
        rootfs: RootFs { kind: "layers".into(), diff_ids: vec![diff_id.clone()] },
        history: Some(vec![History { created: Some(now), comment: Some(message.into()), ..History::default() }]),
    };
    let config_document = document(media::OCI_CONFIG, &config)?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(media::OCI_MANIFEST.into()),
        artifact_type: None,
        config: config_document.descriptor.clone(),
        layers: vec![Descriptor::new(media::OCI_LAYER, diff_id, size)],
        annotations: Default::default(),
    };
    let made = document(media::OCI_MANIFEST, &manifest)?;
    Ok(Plan {
        target: made.descriptor.clone(),
        manifest: made.descriptor.clone(),
        documents: Documents { manifest, config },
        bodies: vec![config_document, made],
    })
}
