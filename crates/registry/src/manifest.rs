//! Manifests and indexes: by tag, by digest, and only their descriptor.

use crate::Registry;
use crate::body::Answer;
use crate::credentials::Credentials;
use crate::errors::{Asked, Failure, Refusal};
use crate::limits::MANIFEST_LIMIT;
use crate::session::{Session, Wanted};
use bytes::Bytes;
use http::{HeaderValue, Method, header};
use oci::image::{Descriptor, media};
use oci::{Digest, Error, ImageRef, Kind, Result};
use serde::Deserialize;
use sha2::{Digest as _, Sha256, Sha512};

/// Everything we can read, the preferred first.
const ACCEPT: &str = concat!(
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, ",
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json, */*;q=0.1"
);
const CONTENT_DIGEST: &str = "docker-content-digest";

/// What a reference stands for at present.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// Media type, digest (computed over the body, and as asked for), length.
    pub descriptor: Descriptor,
    /// The manifest or index, byte for byte.
    pub body: Bytes,
}

impl Registry {
    /// Gets the manifest or index that `image` names; by its digest if it has one, else by its tag.
    ///
    /// # Errors
    /// `NotFound` ("manifest unknown", "pull access denied"), `Unauthorized`, `Corrupt` if the body
    /// does not have the digest asked for or announced, `Unavailable` after several attempts.
    pub async fn resolve(&self, image: &ImageRef, credentials: &Credentials) -> Result<Resolved> {
        let reference = match (image.digest(), image.tag()) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag,
            (None, None) => "latest",
        };
        self.manifest_at(image, reference, image.digest(), credentials).await
    }

    /// Gets a manifest by its digest: its media type and its bytes.
    ///
    /// # Errors
    /// As [`Registry::resolve`].
    pub async fn manifest(
        &self,
        image: &ImageRef,
        digest: &Digest,
        credentials: &Credentials,
    ) -> Result<(String, Bytes)> {
        let resolved = self.manifest_at(image, digest.as_str(), Some(digest), credentials).await?;
        Ok((resolved.descriptor.media_type, resolved.body))
    }

    /// What `image` stands for at present, without its body (which Docker Hub counts as a pull).
    /// `None` if the registry does not say enough in its answer to HEAD.
    ///
    /// # Errors
    /// As [`Registry::resolve`].
    pub async fn head(&self, image: &ImageRef, credentials: &Credentials) -> Result<Option<Descriptor>> {
        let reference = image.digest().map_or_else(|| image.tag().unwrap_or("latest"), Digest::as_str);
        let path = format!("/v2/{}/manifests/{reference}", image.path());
        let mut tries = self.pulling(image, credentials)?;
        let answer = loop {
            match head_once(&tries.session(), image, &path).await {
                Ok(answer) => break answer,
                Err(failure) => tries.failed(failure).await?,
            }
        };
        if !answer.status.is_success() {
            return Ok(None);
        }
        let digest = answer.header(CONTENT_DIGEST).and_then(|d| d.parse::<Digest>().ok());
        let size =
            answer.header(header::CONTENT_LENGTH).and_then(|l| l.parse::<u64>().ok()).filter(|n| *n <= MANIFEST_LIMIT);
        let media_type = answer.header(header::CONTENT_TYPE).map(bare_type);
        Ok(match (digest, size, media_type) {
            (Some(digest), Some(size), Some(media_type)) if known_type(&media_type) => {
                Some(Descriptor::new(media_type, digest, size))
            }
            _ => None,
        })
    }

    async fn manifest_at(
        &self,
        image: &ImageRef,
        reference: &str,
        expected: Option<&Digest>,
        credentials: &Credentials,
    ) -> Result<Resolved> {
        let path = format!("/v2/{}/manifests/{reference}", image.path());
        let limit = self.inner.config.timeouts.exchange;
        let mut tries = self.pulling(image, credentials)?;
        loop {
            let session = tries.session();
            let late =
                |_| Failure::passing(Error::deadline(format!("{}: no manifest within {limit:?}", image.familiar())));
            let once = tokio::time::timeout(limit, get_once(&session, image, &path, expected)).await;
            match once.map_err(late).and_then(|result| result) {
                Ok(resolved) => return Ok(resolved),
                Err(failure) => tries.failed(failure).await?,
            }
        }
    }
}

async fn head_once(session: &Session<'_>, image: &ImageRef, path: &str) -> Result<Answer, Failure> {
    let wanted = Wanted::new(Method::HEAD, path).header(header::ACCEPT, HeaderValue::from_static(ACCEPT));
    let answer = session.call(wanted, Asked::Manifest(image)).await?;
    // An answer to HEAD has no error document: a plain "no" is left to GET.
    if answer.status.is_server_error() {
        return Err(Refusal::read(answer).await.failure(Asked::Manifest(image)));
    }
    Ok(answer)
}

async fn get_once(
    session: &Session<'_>,
    image: &ImageRef,
    path: &str,
    expected: Option<&Digest>,
) -> Result<Resolved, Failure> {
    let wanted = Wanted::new(Method::GET, path).header(header::ACCEPT, HeaderValue::from_static(ACCEPT));
    let answer = session.call(wanted, Asked::Manifest(image)).await?;
    if !answer.status.is_success() {
        return Err(Refusal::read(answer).await.failure(Asked::Manifest(image)));
    }
    read_manifest(image, answer, expected).await
}

async fn read_manifest(image: &ImageRef, answer: Answer, expected: Option<&Digest>) -> Result<Resolved, Failure> {
    let announced = answer.header(CONTENT_DIGEST).map(str::to_owned);
    let header_type = answer.header(header::CONTENT_TYPE).map(bare_type);
    let body = answer.body.whole(MANIFEST_LIMIT, "manifest").await?;
    let name = image.familiar();
    let digest = match expected {
        Some(digest) => {
            let got = digest_like(digest, &body);
            if got != *digest {
                return Err(Failure::broken(format!("manifest of {name}: digest is {got}, expected {digest}")));
            }
            got
        }
        None => Digest::from_sha256(&Sha256::digest(&body).into()),
    };
    if let Some(announced) = announced {
        let announced: Digest = announced.parse().map_err(|e: Error| {
            Failure::fatal(Error::corrupt(format!("manifest of {name}: Docker-Content-Digest: {e}")))
        })?;
        let got = digest_like(&announced, &body);
        if got != announced {
            return Err(Failure::broken(format!(
                "manifest of {name}: digest is {got}, the registry announced {announced}"
            )));
        }
    }
    let media_type =
        media_type(header_type, &body).map_err(|e| Failure::fatal(e.prefixed(format!("manifest of {name}"))))?;
    let descriptor = Descriptor::new(media_type, digest, body.len() as u64);
    Ok(Resolved { descriptor, body })
}

/// The digest of `body` by the algorithm of `like`.
fn digest_like(like: &Digest, body: &[u8]) -> Digest {
    if like.algorithm() == "sha512" {
        use std::fmt::Write as _;
        let mut text = String::from("sha512:");
        for byte in Sha512::digest(body) {
            let _ = write!(text, "{byte:02x}");
        }
        if let Ok(digest) = text.parse() {
            return digest;
        }
    }
    Digest::from_sha256(&Sha256::digest(body).into())
}

/// `type/subtype` without parameters.
fn bare_type(value: &str) -> String {
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn known_type(media_type: &str) -> bool {
    media::is_index(media_type) || media::is_manifest(media_type)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    config: Option<serde::de::IgnoredAny>,
    #[serde(default)]
    layers: Option<serde::de::IgnoredAny>,
}

/// What a document is: the header's word where it is one of ours, else the document's own, else
/// its shape. A document that claims two types, or has the shape of both, could be read as two
/// different images (CVE-2021-41190), and is refused.
fn media_type(header: Option<String>, body: &[u8]) -> Result<String> {
    let shape: Shape = serde_json::from_slice(body).map_err(|e| Error::corrupt(format!("not a manifest: {e}")))?;
    if shape.schema_version == 1 {
        return Err(Error::unsupported(
            "Docker image format v1 and manifest schema 1 are not supported; push the image again with a newer tool",
        ));
    }
    if shape.schema_version != 2 {
        return Err(Error::corrupt(format!("unknown schemaVersion {}", shape.schema_version)));
    }
    let is_index = shape.manifests.is_some();
    let is_manifest = shape.config.is_some() || shape.layers.is_some();
    if is_index == is_manifest {
        return Err(Error::corrupt("the document is neither an image manifest nor an index, or both"));
    }
    let header = header.filter(|h| known_type(h));
    if let (Some(header), Some(own)) = (&header, &shape.media_type)
        && header != own
    {
        return Err(Error::corrupt(format!("Content-Type {header} contradicts the document's mediaType {own}")));
    }
    let media_type = match header.or(shape.media_type) {
        Some(found) => found,
        None if is_index => media::OCI_INDEX.into(),
        None => media::OCI_MANIFEST.into(),
    };
    if media::is_index(&media_type) && is_index || media::is_manifest(&media_type) && is_manifest {
        return Ok(media_type);
    }
    if known_type(&media_type) {
        return Err(Error::corrupt(format!("the document does not have the form of its type {media_type}")));
    }
    Err(Error::new(Kind::Unsupported, format!("unsupported manifest media type {media_type:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_types_and_refuses_ambiguity() {
        let index = br#"{"schemaVersion":2,"manifests":[]}"#;
        let manifest = br#"{"schemaVersion":2,"config":{},"layers":[]}"#;
        assert_eq!(media_type(None, index).unwrap(), media::OCI_INDEX);
        assert_eq!(media_type(Some("application/json".into()), manifest).unwrap(), media::OCI_MANIFEST);
        assert_eq!(media_type(Some(media::DOCKER_MANIFEST.into()), manifest).unwrap(), media::DOCKER_MANIFEST);
        let both = br#"{"schemaVersion":2,"manifests":[],"config":{},"layers":[]}"#;
        let lie = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","config":{}}"#;
        for bad in [&both[..], lie, b"{}", b"[]", b"", br#"{"schemaVersion":2}"#] {
            assert_eq!(media_type(None, bad).unwrap_err().kind(), Kind::Corrupt);
        }
        assert!(media_type(Some(media::DOCKER_INDEX.into()), manifest).is_err());
        let one = br#"{"schemaVersion":1,"fsLayers":[]}"#;
        assert_eq!(media_type(None, one).unwrap_err().kind(), Kind::Unsupported);
    }
}
