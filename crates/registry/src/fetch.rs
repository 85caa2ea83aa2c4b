//! A whole blob, over as many requests as it takes.

use crate::Registry;
use crate::blob::{BlobBody, open_blob};
use crate::credentials::Credentials;
use crate::errors::Failure;
use crate::tries::Tries;
use bytes::Bytes;
use oci::image::Descriptor;
use oci::{Error, ImageRef, Result};

/// A blob on its way. Where the line is cut or stalls, it goes on at the offset reached, after a
/// pause, at the same endpoint or the next.
pub struct BlobFetch {
    image: ImageRef,
    descriptor: Descriptor,
    offset: u64,
    tries: Tries,
    body: Option<BlobBody>,
    resumed: u32,
}

impl Registry {
    /// Prepares to read a blob from `start` on; the first [`BlobFetch::chunk`] connects.
    ///
    /// # Errors
    /// `InvalidArgument` if the registry's settings are wrong or `start` lies past the end.
    pub fn fetch_blob(
        &self,
        image: &ImageRef,
        descriptor: &Descriptor,
        start: u64,
        credentials: &Credentials,
    ) -> Result<BlobFetch> {
        if start > descriptor.size {
            return Err(Error::invalid(format!("blob {}: offset {start} is past its end", descriptor.digest)));
        }
        let tries = self.pulling(image, credentials)?;
        let (image, descriptor) = (image.clone(), descriptor.clone());
        Ok(BlobFetch { image, descriptor, offset: start, tries, body: None, resumed: 0 })
    }
}

impl BlobFetch {
    /// The next piece, `None` once all of the descriptor's bytes have come.
    ///
    /// # Errors
    /// The last attempt's, when it is final or there were too many.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.offset == self.descriptor.size {
                self.finish().await?;
                return Ok(None);
            }
            match self.step().await {
                Ok(piece) => {
                    self.offset += piece.len() as u64;
                    self.tries.progress();
                    return Ok(Some(piece));
                }
                Err(failure) => {
                    self.body = None;
                    self.resumed += 1;
                    self.tries.failed(failure).await?;
                }
            }
        }
    }

    /// Bytes reached, counted from the blob's beginning.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How often a broken transfer was taken up again.
    pub fn resumed(&self) -> u32 {
        self.resumed
    }

    async fn step(&mut self) -> Result<Bytes, Failure> {
        let mut body = match self.body.take() {
            Some(body) => body,
            None => open_blob(&self.tries.session(), &self.image, &self.descriptor, self.offset).await?,
        };
        let piece = body.next().await?;
        self.body = Some(body);
        piece.ok_or_else(|| Failure::passing(Error::unavailable("the registry ended the blob early")))
    }

    /// Sees that nothing comes after the last byte, which also frees the connection for others.
    async fn finish(&mut self) -> Result<()> {
        if let Some(mut body) = self.body.take()
            && let Ok(Some(_)) | Err(Failure { retry: None, .. }) = body.next().await
        {
            let Descriptor { digest, size, .. } = &self.descriptor;
            return Err(Error::corrupt(format!(
                "blob {digest}: the registry sends more than the {size} bytes announced"
            )));
        }
        Ok(())
    }
}
