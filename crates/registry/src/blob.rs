//! One request for a blob, from an offset on.

use crate::Registry;
use crate::body::Arriving;
use crate::credentials::Credentials;
use crate::errors::{Asked, Failure, Refusal};
use crate::session::{Session, Wanted};
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use oci::image::Descriptor;
use oci::{Error, ImageRef, Result};

/// The bytes of a blob as they come. Exactly the announced number of bytes from the offset asked
/// for to the end comes out, or an error; hashing is the receiver's.
pub struct BlobBody {
    body: Arriving,
    /// Bytes before the offset that a server without Range sends all the same.
    skip: u64,
    left: u64,
    range_ignored: bool,
    name: String,
}

impl BlobBody {
    /// The next piece, `None` at the end.
    ///
    /// # Errors
    /// `Unavailable` if the line is cut, `DeadlineExceeded` if it stalls, `Corrupt` if more comes
    /// than the descriptor says.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        self.next().await.map_err(Into::into)
    }

    /// Whether the server sent the blob from its beginning although an offset was asked for. What
    /// lies before the offset was thrown away.
    pub fn range_ignored(&self) -> bool {
        self.range_ignored
    }

    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            let Some(mut piece) = self.body.chunk().await? else {
                if self.left > 0 || self.skip > 0 {
                    let text = format!("{}: unexpected EOF: {} bytes are missing", self.name, self.left + self.skip);
                    return Err(Failure::passing(Error::unavailable(text)));
                }
                return Ok(None);
            };
            let drop = self.skip.min(piece.len() as u64);
            self.skip -= drop;
            let piece = piece.split_off(usize::try_from(drop).unwrap_or(usize::MAX));
            if piece.len() as u64 > self.left {
                return Err(Failure::broken(format!(
                    "{}: the registry sends more than the {} bytes announced",
                    self.name, self.left
                )));
            }
            self.left -= piece.len() as u64;
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
    }
}

impl Registry {
    /// Starts reading a blob at `offset`.
    ///
    /// # Errors
    /// `NotFound`, `Unauthorized`, `Unavailable`; `Corrupt` if the length differs from the
    /// descriptor's.
    pub async fn blob(
        &self,
        image: &ImageRef,
        descriptor: &Descriptor,
        offset: u64,
        credentials: &Credentials,
    ) -> Result<BlobBody> {
        let mut tries = self.pulling(image, credentials)?;
        loop {
            match open_blob(&tries.session(), image, descriptor, offset).await {
                Ok(body) => return Ok(body),
                Err(failure) => tries.failed(failure).await?,
            }
        }
    }
}

/// One attempt at one endpoint.
pub(crate) async fn open_blob(
    session: &Session<'_>,
    image: &ImageRef,
    descriptor: &Descriptor,
    offset: u64,
) -> Result<BlobBody, Failure> {
    let digest = &descriptor.digest;
    let name = format!("blob {digest} of {}", image.familiar_repository());
    let Some(left) = descriptor.size.checked_sub(offset) else {
        return Err(Failure::fatal(Error::invalid(format!("{name}: offset {offset} is past the end"))));
    };
    let path = format!("/v2/{}/blobs/{digest}", image.path());
    let mut wanted =
        Wanted::new(Method::GET, &path).header(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if offset > 0 {
        let range = HeaderValue::try_from(format!("bytes={offset}-")).map_err(|_| Failure::broken("range"))?;
        wanted = wanted.header(header::RANGE, range);
    }
    let asked = Asked::Blob(image, digest);
    let answer = session.call(wanted, asked).await?;
    let (skip, range_ignored) = match answer.status {
        StatusCode::OK => (offset, offset > 0),
        StatusCode::PARTIAL_CONTENT => {
            let range = answer.header(header::CONTENT_RANGE).unwrap_or_default();
            if content_range(range) != Some((offset, descriptor.size)) {
                return Err(Failure::broken(format!(
                    "{name}: asked for bytes {offset}-{}, the registry sends {range:?}",
                    descriptor.size.saturating_sub(1)
                )));
            }
            (0, false)
        }
        StatusCode::RANGE_NOT_SATISFIABLE => {
            return Err(Failure::broken(format!("{name}: the registry's blob is shorter than {offset} bytes")));
        }
        _ => return Err(Refusal::read(answer).await.failure(asked)),
    };
    if let Some(encoding) = answer.header(header::CONTENT_ENCODING).filter(|e| *e != "identity") {
        return Err(Failure::broken(format!("{name}: sent in the encoding {encoding:?} that was not asked for")));
    }
    if let Some(length) = answer.body.announced().filter(|n| *n != left + skip) {
        return Err(Failure::broken(format!(
            "{name}: size mismatch: the registry sends {length} bytes, the manifest says {}",
            left + skip
        )));
    }
    Ok(BlobBody { body: answer.body, skip, left, range_ignored, name })
}

/// The first byte and the whole length of a `Content-Range`; a `*` length counts as none.
fn content_range(value: &str) -> Option<(u64, u64)> {
    let (range, total) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let end = last.checked_add(1)?;
    let total = if total == "*" { end } else { total.parse().ok()? };
    (first <= last && end == total).then_some((first, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_content_ranges() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, 10)));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, 10)));
        for bad in ["", "bytes 5-9/11", "bytes 9-5/10", "bytes */10", "bytes 0-18446744073709551615/*"] {
            assert_eq!(content_range(bad), None);
        }
    }
}
