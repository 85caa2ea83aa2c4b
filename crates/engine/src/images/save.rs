//! Save: images as one archive in both forms at once, docker-archive and OCI layout.
//!
//! ```text
//! oci-layout  index.json  blobs/sha256/...      for skopeo's oci-archive:, podman, containerd
//! manifest.json           (paths into blobs/)   for docker load, skopeo's docker-archive:
//! ```

use super::Images;
use super::find::find;
use super::ready::documents;
use super::records::{Name, NameRecord, names};
use super::service::{ImageService, Kept};
use bytes::Bytes;
use oci::image::{Descriptor, Index, media};
use oci::{Context as _, Digest, Error, ImageRef, Result};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Read;
use storage::{Root, bundle};
use tokio::sync::mpsc;

/// Pieces of a tar stream as they are made; bounded, so that a slow reader slows the maker.
pub type TarStream = mpsc::Receiver<Result<Bytes>>;

/// Pieces made ahead of the reader.
const AHEAD: usize = 16;
/// The length of a piece in bytes.
const PIECE: usize = 128 << 10;

/// What an archive will hold.
struct Cargo {
    /// Small files by path.
    files: Vec<(String, Vec<u8>)>,
    /// Blobs by digest, with their lengths.
    blobs: BTreeMap<Digest, u64>,
}

impl Images {
    /// Images as an archive that `docker load`, and skopeo as `docker-archive:` and `oci-archive:`, can read.
    /// A name without a tag stands for all tags of the repository; an id for the image without names.
    ///
    /// # Errors
    /// As [`Images::get`], before the stream begins.
    pub async fn save(&self, given: &[String]) -> Result<TarStream> {
        if given.is_empty() {
            return Err(Error::invalid("no image to save was named"));
        }
        let hold = self.service.hold().await?;
        let (ns, wanted) = (self.ns.clone(), given.to_vec());
        let held = hold.clone();
        let (cargo, saved) = self.service.blocking(move |s| cargo(s, &ns, &wanted, &held)).await?;
        let (send, stream) = mpsc::channel(AHEAD);
        let service = self.service.clone();
        tokio::task::spawn_blocking(move || {
            let mut out = Out { send, piece: Vec::with_capacity(PIECE) };
            if let Err(error) = write(&service, &cargo, &mut out) {
                // Nobody may be listening any more; that is then the error.
                let _ = out.send.blocking_send(Err(error));
            }
            drop(hold);
        });
        for (id, name) in saved {
            self.service.event(&self.ns, "save", id.as_str(), &name);
        }
        Ok(stream)
    }
}

/// One image to save, with the names that go along.
struct Chosen {
    record: NameRecord,
    names: Vec<ImageRef>,
}

/// Finds what is meant; the same image is saved once, under all names it was asked for by.
fn choose(all: &[(String, NameRecord)], given: &[String]) -> Result<Vec<Chosen>> {
    let mut chosen: Vec<Chosen> = Vec::new();
    let mut add = |record: &NameRecord, name: Option<ImageRef>| {
        let at = chosen.iter().position(|c| c.record.manifest.digest == record.manifest.digest);
        let at = at.unwrap_or_else(|| {
            chosen.push(Chosen { record: record.clone(), names: Vec::new() });
            chosen.len() - 1
        });
        let names = &mut chosen[at].names;
        names.extend(name.filter(|name| !names.contains(name)));
    };
    for given in given {
        let bare = !given.contains('@') && !given.rsplit('/').next().unwrap_or_default().contains(':');
        let repository = given.parse::<ImageRef>().ok().filter(|_| bare).map(|name| name.repository());
        let mut any = false;
        for (name, record) in all {
            if let Some(Name::Tag(name)) = Name::parse(name)
                && Some(name.repository()) == repository
            {
                add(record, Some(name));
                any = true;
            }
        }
        if any {
            continue;
        }
        let found = find(all, given)?;
        let record = match &found.name {
            Some(name) => all.iter().find(|(known, _)| known == name),
            None => all.iter().find(|(_, record)| record.config.digest == found.id),
        };
        let (_, record) = record.ok_or_else(|| super::find::no_such_image(given))?;
        let name = found.name.and_then(|name| name.parse::<ImageRef>().ok()).filter(|name| name.digest().is_none());
        add(record, name);
    }
    Ok(chosen)
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

/// What goes into the archive, and what to tell of it: ids and names.
fn cargo(service: &ImageService, ns: &str, given: &[String], hold: &Kept) -> Result<(Cargo, Vec<(Digest, String)>)> {
    let content = service.store.content();
    let all = names(&service.store, ns)?;
    let mut blobs = BTreeMap::new();
    let (mut entries, mut manifests, mut saved) = (Vec::new(), Vec::new(), Vec::new());
    for Chosen { record, names } in choose(&all, given)? {
        hold.add(Root::Content(record.manifest.digest.clone()));
        let documents = documents(service, &record)?;
        let parts = [&record.manifest, &record.config].into_iter().chain(&documents.manifest.layers);
        for part in parts {
            let size =
                content.info(&part.digest).context(|| format!("save image {}", record.config.digest.short()))?.size;
            blobs.insert(part.digest.clone(), size);
        }
        let tags: Vec<String> = names.iter().map(ImageRef::familiar).collect();
        let layers: Vec<String> = documents.manifest.layers.iter().map(|layer| blob_path(&layer.digest)).collect();
        entries.push(json!({
            "Config": blob_path(&record.config.digest),
            "RepoTags": if tags.is_empty() { None } else { Some(&tags) },
            "Layers": layers,
        }));
        let plain = Descriptor {
            platform: Some(documents.config.platform.clone()),
            ..Descriptor::new(record.manifest.media_type.clone(), record.manifest.digest.clone(), record.manifest.size)
        };
        for name in &names {
            let mut named = plain.clone();
            named.annotations.insert("io.containerd.image.name".into(), name.to_string());
            let tag = name.tag().unwrap_or_default().to_owned();
            named.annotations.insert("org.opencontainers.image.ref.name".into(), tag);
            manifests.push(named);
        }
        let id = record.config.digest.clone();
        if names.is_empty() {
            manifests.push(plain);
            saved.push((id.clone(), id.to_string()));
        }
        saved.extend(tags.into_iter().map(|tag| (id.clone(), tag)));
    }
    let index =
        Index { schema_version: 2, media_type: Some(media::OCI_INDEX.into()), manifests, annotations: BTreeMap::new() };
    let text = |value: serde_json::Result<Vec<u8>>| value.map_err(|e| Error::internal(format!("image archive: {e}")));
    let files = vec![
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ("index.json".to_owned(), text(serde_json::to_vec(&index))?),
        ("manifest.json".to_owned(), text(serde_json::to_vec(&entries))?),
    ];
    Ok((Cargo { files, blobs }, saved))
}

/// Collects bytes into pieces and hands them on.
struct Out {
    send: mpsc::Sender<Result<Bytes>>,
    piece: Vec<u8>,
}

impl Out {
    fn put(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let n = bytes.len().min(PIECE - self.piece.len());
            self.piece.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            if self.piece.len() == PIECE {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.send.blocking_send(Ok(piece.into())).map_err(|_| Error::cancelled("nobody reads the archive any more"))
    }
}

fn write(service: &ImageService, cargo: &Cargo, out: &mut Out) -> Result<()> {
    for (path, bytes) in &cargo.files {
        out.put(&bundle::file_header(path, 0o644, bytes.len() as u64))?;
        out.put(bytes)?;
        out.put(bundle::padding(bytes.len() as u64))?;
    }
    let mut directories: Vec<&str> = cargo.blobs.keys().map(Digest::algorithm).collect();
    directories.dedup();
    out.put(&bundle::directory_header("blobs/", 0o755))?;
    for algorithm in directories {
        out.put(&bundle::directory_header(&format!("blobs/{algorithm}/"), 0o755))?;
    }
    let mut buffer = vec![0; PIECE];
    for (digest, size) in &cargo.blobs {
        let mut blob = service.store.content().open(digest)?;
        out.put(&bundle::file_header(&blob_path(digest), 0o644, *size))?;
        let mut left = *size;
        while left > 0 {
            let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let n = blob.read(&mut buffer[..want]).context(|| format!("read content {digest}"))?;
            if n == 0 {
                return Err(Error::corrupt(format!("content {digest} is shorter than it was")));
            }
            out.put(&buffer[..n])?;
            left -= n as u64;
        }
        out.put(bundle::padding(*size))?;
    }
    out.put(bundle::END)?;
    out.flush()
}
