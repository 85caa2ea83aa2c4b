//! Names of images in the metadata database.
//!
//! ```text
//! kind "image", id = the name                          value = NameRecord
//!   docker.io/library/busybox:latest                   a tag
//!   docker.io/library/busybox@sha256:<target>          what a registry called it
//!   sha256:<configuration>                             an image that has no other name
//! ```
//! An image is everything with the same configuration; it lives as long as one of its names.

use super::model::Image;
use oci::image::{Descriptor, ImageConfig};
use oci::{Digest, Error, ImageRef, Result, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use storage::{Store, Txn};

/// The kind of the records here.
pub(super) const KIND: &str = "image";
/// The longest image configuration, in bytes.
pub(super) const CONFIG_LIMIT: u64 = 8 << 20;

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NameRecord {
    /// A manifest or an index.
    pub(super) target: Descriptor,
    /// The manifest for this machine.
    pub(super) manifest: Descriptor,
    /// Its configuration, whose digest is the image's id.
    pub(super) config: Descriptor,
    /// Chain id of the top layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) chain: Option<Digest>,
    /// Bytes of each unpacked layer, the lowest first.
    #[serde(default)]
    pub(super) layer_sizes: Vec<u64>,
    /// When the name was given.
    pub(super) tagged: Timestamp,
    /// Labels of the name, as containerd's clients set them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) labels: BTreeMap<String, String>,
}

/// A record's name, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    Tag(ImageRef),
    Digest(ImageRef),
    Anonymous(Digest),
}

impl Name {
    pub(super) fn parse(id: &str) -> Option<Self> {
        if let Ok(digest) = id.parse::<Digest>() {
            return Some(Self::Anonymous(digest));
        }
        let name: ImageRef = id.parse().ok()?;
        Some(if name.digest().is_some() { Self::Digest(name) } else { Self::Tag(name) })
    }
}

/// All names of a namespace.
pub(super) fn names(store: &Store, ns: &str) -> Result<Vec<(String, NameRecord)>> {
    store.meta().list(ns, KIND)
}

/// Reads an image's configuration.
pub(super) fn read_config(store: &Store, descriptor: &Descriptor) -> Result<ImageConfig> {
    let bytes = store.content().read(&descriptor.digest, CONFIG_LIMIT)?;
    serde_json::from_slice(&bytes)
        .map_err(|e| Error::corrupt(format!("image configuration {}: {e}", descriptor.digest)))
}

/// The image of id `id`, from its names.
pub(super) fn assemble(store: &Store, names: &[(String, NameRecord)], id: &Digest) -> Result<Option<Image>> {
    let mut own = names.iter().filter(|(_, record)| record.config.digest == *id);
    let Some((_, first)) = own.clone().find(|(name, _)| matches!(Name::parse(name), Some(Name::Tag(_)))).or(own.next())
    else {
        return Ok(None);
    };
    let mut image = Image {
        id: id.clone(),
        tags: Vec::new(),
        digests: Vec::new(),
        target: first.target.clone(),
        manifest: first.manifest.clone(),
        config: read_config(store, &first.config)?,
        chain: first.chain.clone(),
        size: first.layer_sizes.iter().sum(),
        layer_sizes: first.layer_sizes.clone(),
        tagged: Timestamp::ZERO,
    };
    for (name, record) in names.iter().filter(|(_, record)| record.config.digest == *id) {
        image.tagged = image.tagged.max(record.tagged);
        match Name::parse(name) {
            Some(Name::Tag(name)) => image.tags.push(name),
            Some(Name::Digest(name)) => image.digests.push(name),
            _ => {}
        }
    }
    Ok(Some(image))
}

/// All images of a namespace, the newest first. One whose configuration can't be read is left out
/// rather than hiding the others.
pub(super) fn all(store: &Store, ns: &str) -> Result<Vec<Image>> {
    let names = names(store, ns)?;
    let mut seen = HashMap::new();
    for (_, record) in &names {
        seen.entry(record.config.digest.clone()).or_insert(());
    }
    let mut images = Vec::new();
    for id in seen.keys() {
        match assemble(store, &names, id) {
            Ok(Some(image)) => images.push(image),
            Ok(None) => {}
            Err(error) => tracing::warn!(image = %id, %error, "image left out of the list"),
        }
    }
    images.sort_by(|a, b| b.created().cmp(&a.created()).then_with(|| a.id.cmp(&b.id)));
    Ok(images)
}

/// Gives `name` to `record`. An image that loses its last name by it stays, without one.
pub(super) fn set_name(txn: &mut Txn<'_>, ns: &str, name: &str, record: &NameRecord) -> Result<()> {
    let before: Option<NameRecord> = txn.get(ns, KIND, name)?;
    txn.put(ns, KIND, name, record)?;
    let id = &record.config.digest;
    if let Some(before) = before.filter(|b| b.config.digest != *id) {
        keep_nameless(txn, ns, &before)?;
    }
    // With a name, it needs no stand-in.
    let own = id.to_string();
    if name != own {
        txn.delete(ns, KIND, &own)?;
    }
    Ok(())
}

/// Sees that the image of `record` has at least one name.
pub(super) fn keep_nameless(txn: &mut Txn<'_>, ns: &str, record: &NameRecord) -> Result<()> {
    let id = &record.config.digest;
    let all: Vec<(String, NameRecord)> = txn.list(ns, KIND)?;
    if all.iter().any(|(_, other)| other.config.digest == *id) {
        return Ok(());
    }
    txn.put(ns, KIND, &id.to_string(), record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        let hex = "ab".repeat(32);
        assert!(matches!(Name::parse("docker.io/library/a:1"), Some(Name::Tag(_))));
        assert!(matches!(Name::parse(&format!("docker.io/library/a@sha256:{hex}")), Some(Name::Digest(_))));
        assert!(matches!(Name::parse(&format!("sha256:{hex}")), Some(Name::Anonymous(_))));
        assert_eq!(Name::parse("A B"), None);
    }
}
