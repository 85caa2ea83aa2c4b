//! Manifests on their way up.

use crate::Registry;
use crate::client::Payload;
use crate::credentials::Credentials;
use crate::errors::{Asked, Failure, Refusal};
use crate::limits::MANIFEST_LIMIT;
use crate::session::{Session, Wanted};
use bytes::Bytes;
use http::{HeaderValue, Method, header};
use oci::{Digest, Error, ImageRef, Result};
use sha2::{Digest as _, Sha256};

impl Registry {
    /// Puts a manifest or index at `reference`, a tag or a digest, of the repository of `image`,
    /// and returns its digest. What it refers to must be there already.
    ///
    /// # Errors
    /// `InvalidArgument` if the registry finds something missing or wrong; `Unauthorized`,
    /// `PermissionDenied`, `Unavailable`.
    pub async fn push_manifest(
        &self,
        image: &ImageRef,
        reference: &str,
        media_type: &str,
        body: Bytes,
        credentials: &Credentials,
    ) -> Result<Digest> {
        if body.len() as u64 > MANIFEST_LIMIT {
            return Err(Error::invalid(format!(
                "manifest of {} bytes is over the limit of {MANIFEST_LIMIT}",
                body.len()
            )));
        }
        let digest = Digest::from_sha256(&Sha256::digest(&body).into());
        if reference.contains(':') && reference != digest.as_str() {
            return Err(Error::invalid(format!("manifest has digest {digest}, not {reference}")));
        }
        let media_type = HeaderValue::try_from(media_type)
            .map_err(|_| Error::invalid(format!("invalid media type {media_type:?}")))?;
        let path = format!("/v2/{}/manifests/{reference}", image.path());
        let mut tries = self.pushing(image, None, credentials)?;
        loop {
            let wanted = Wanted::new(Method::PUT, &path)
                .header(header::CONTENT_TYPE, media_type.clone())
                .payload(Payload::Bytes(body.clone()));
            match put(&tries.session(), image, wanted, &digest).await {
                Ok(()) => return Ok(digest),
                Err(failure) => tries.failed(failure).await?,
            }
        }
    }
}

async fn put(session: &Session<'_>, image: &ImageRef, wanted: Wanted<'_>, digest: &Digest) -> Result<(), Failure> {
    let answer = session.call(wanted, Asked::Push(image)).await?;
    if !answer.status.is_success() {
        return Err(Refusal::read(answer).await.failure(Asked::Push(image)));
    }
    let told = answer.header("docker-content-digest").map(str::to_owned);
    answer.body.drain().await;
    match told {
        Some(told) if told != digest.as_str() => {
            Err(Failure::broken(format!("manifest {digest}: the registry stored it as {told}")))
        }
        _ => Ok(()),
    }
}
