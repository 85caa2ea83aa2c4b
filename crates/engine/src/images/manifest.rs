//! Manifests and configurations: parsed, checked, and the right one chosen.

use oci::image::{Descriptor, ImageConfig, Index, Manifest, media};
use oci::{Digest, Error, Platform, Result};

/// Layers of one image; docker's own limit is 125.
pub(super) const LAYER_LIMIT: usize = 512;

/// An image's own documents.
#[derive(Debug, Clone)]
pub(super) struct Documents {
    pub(super) manifest: Manifest,
    pub(super) config: ImageConfig,
}

/// The manifest of an index for `wanted`.
///
/// # Errors
/// `NotFound` in Docker's words if there is none.
pub(super) fn choose<'a>(index: &'a Index, wanted: &Platform) -> Result<&'a Descriptor> {
    let host = Platform::host();
    index
        .manifests
        .iter()
        .filter(|d| media::is_manifest(&d.media_type))
        .filter_map(|d| {
            // An entry without a platform is taken for this machine's, as the tools that leave it out mean it.
            let platform = d.platform.as_ref().unwrap_or(&host);
            wanted.rank(platform).map(|rank| (rank, d))
        })
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, d)| d)
        .ok_or_else(|| Error::not_found(format!("no matching manifest for {wanted} in the manifest list entries")))
}

/// Parses an index.
pub(super) fn parse_index(bytes: &[u8]) -> Result<Index> {
    serde_json::from_slice(bytes).map_err(|e| Error::corrupt(format!("image index: {e}")))
}

/// Parses an image manifest and refuses what is none.
pub(super) fn parse_manifest(bytes: &[u8]) -> Result<Manifest> {
    let manifest: Manifest =
        serde_json::from_slice(bytes).map_err(|e| Error::corrupt(format!("image manifest: {e}")))?;
    let config = manifest.config.media_type.as_str();
    if !matches!(config, media::OCI_CONFIG | media::DOCKER_CONFIG) {
        return Err(Error::unsupported(format!(
            "this is no container image: its configuration has the media type {config:?}"
        )));
    }
    if manifest.layers.len() > LAYER_LIMIT {
        return Err(Error::invalid(format!(
            "image manifest: {} layers are more than the limit of {LAYER_LIMIT}",
            manifest.layers.len()
        )));
    }
    if manifest.config.size > super::records::CONFIG_LIMIT {
        return Err(Error::invalid(format!(
            "image configuration of {} bytes is over the limit of {}",
            manifest.config.size,
            super::records::CONFIG_LIMIT
        )));
    }
    for layer in &manifest.layers {
        if layer.media_type.contains("encrypted") {
            return Err(Error::unsupported(format!("layer {}: encrypted layers are not supported", layer.digest)));
        }
    }
    Ok(manifest)
}

/// Parses the configuration and checks that it fits its manifest.
pub(super) fn parse_config(manifest: Manifest, bytes: &[u8]) -> Result<Documents> {
    let config: ImageConfig =
        serde_json::from_slice(bytes).map_err(|e| Error::corrupt(format!("image configuration: {e}")))?;
    let (layers, ids) = (manifest.layers.len(), config.rootfs.diff_ids.len());
    if layers != ids {
        return Err(Error::corrupt(format!(
            "the manifest has {layers} layers and the configuration {}: {ids} diff-ids",
            manifest.config.digest
        )));
    }
    if let Some(history) = &config.history {
        let filled = history.iter().filter(|step| !step.empty_layer).count();
        if filled > layers {
            tracing::debug!(filled, layers, "the image's history tells of more layers than there are");
        }
    }
    Ok(Documents { manifest, config })
}

/// Refuses an image for another platform than the one asked for.
pub(super) fn check_platform(name: &str, config: &ImageConfig, wanted: Option<&Platform>) -> Result<()> {
    let have = &config.platform;
    if have.os.eq_ignore_ascii_case("windows") {
        return Err(Error::unsupported(format!("image {name} is made for {have}: only Linux images can be used")));
    }
    match wanted {
        Some(wanted) if wanted.rank(have).is_none() => Err(Error::not_found(format!(
            "image with reference {name} was found but does not match the specified platform: wanted {wanted}, actual: {have}"
        ))),
        _ => Ok(()),
    }
}

/// The chain id of every layer, the lowest first.
pub(super) fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chains: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        chains.push(match chains.last() {
            None => diff_id.clone(),
            Some(below) => storage::digest_of(format!("{below} {diff_id}").as_bytes()),
        });
    }
    chains
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::Kind;

    fn entry(digest: &str, platform: Option<&str>) -> Descriptor {
        let mut d = Descriptor::new(media::OCI_MANIFEST, format!("sha256:{}", digest.repeat(32)).parse().unwrap(), 1);
        d.platform = platform.map(|p| p.parse().unwrap());
        d
    }

    #[test]
    fn chooses_by_platform() {
        let mut index = Index {
            schema_version: 2,
            media_type: None,
            manifests: vec![
                entry("01", Some("linux/arm/v6")),
                entry("02", Some("linux/arm/v7")),
                entry("03", Some("linux/amd64")),
                entry("04", Some("unknown/unknown")),
            ],
            annotations: Default::default(),
        };
        let pick = |index: &Index, p: &str| choose(index, &p.parse().unwrap()).map(|d| d.digest.hex()[..2].to_owned());
        assert_eq!(pick(&index, "linux/arm/v7").unwrap(), "02");
        assert_eq!(pick(&index, "linux/arm/v6").unwrap(), "01");
        assert_eq!(pick(&index, "linux/amd64").unwrap(), "03");
        let error = pick(&index, "linux/s390x").unwrap_err();
        assert_eq!(error.to_string(), "no matching manifest for linux/s390x in the manifest list entries");
        index.manifests = vec![entry("05", None)];
        assert_eq!(pick(&index, &Platform::host().to_string()).unwrap(), "05");
    }

    #[test]
    fn refuses_what_is_no_image() {
        let manifest = |config: &str, layers: usize| {
            let layer = r#"{"mediaType":"x","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","size":1}"#;
            let layers = vec![layer; layers].join(",");
            format!(
                r#"{{"schemaVersion":2,"config":{},"layers":[{layers}]}}"#,
                layer.replace("\"x\"", &format!("{config:?}"))
            )
        };
        let helm = manifest("application/vnd.cncf.helm.config.v1+json", 1);
        assert_eq!(parse_manifest(helm.as_bytes()).unwrap_err().kind(), Kind::Unsupported);
        let many = manifest(media::OCI_CONFIG, LAYER_LIMIT + 1);
        assert_eq!(parse_manifest(many.as_bytes()).unwrap_err().kind(), Kind::InvalidArgument);
        let good = parse_manifest(manifest(media::OCI_CONFIG, 1).as_bytes()).unwrap();
        let none = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
        assert_eq!(parse_config(good, none).unwrap_err().kind(), Kind::Corrupt);
    }
}
