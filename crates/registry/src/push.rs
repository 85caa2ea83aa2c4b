//! Blobs on their way up (distribution-spec, "Pushing blobs"): skip, mount, or upload. An upload
//! that breaks is asked how far it got and goes on from there.

use crate::Registry;
use crate::address::{escape, join, shown, with_query};
use crate::body::{Outgoing, Watch};
use crate::client::Payload;
use crate::credentials::Credentials;
use crate::errors::{Asked, Failure, Refusal};
use crate::limits;
use crate::session::{Session, Wanted};
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, Uri, header};
use oci::image::Descriptor;
use oci::{Digest, Error, ImageRef, Result};
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::mpsc;

/// Pieces read ahead of the line.
const AHEAD: usize = 4;

/// Where a blob's bytes come from; opened anew for each attempt, on the blocking pool.
pub trait BlobSource: Send + Sync + 'static {
    /// The bytes from `offset` to the end.
    ///
    /// # Errors
    /// Whatever keeps it from being read.
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send>>;
}

impl<F> BlobSource for F
where
    F: Fn(u64) -> io::Result<Box<dyn Read + Send>> + Send + Sync + 'static,
{
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        self(offset)
    }
}

/// How a blob got there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It was there already.
    Existed,
    /// It was taken from another repository of the same registry.
    Mounted,
    /// Its bytes were sent.
    Uploaded,
}

/// The answer to a wish for an upload.
enum Start {
    Mounted,
    At(Uri),
}

impl Registry {
    /// Whether the repository of `image` has a blob of this digest and, where it says, this size.
    ///
    /// # Errors
    /// Anything but yes and no.
    pub async fn blob_exists(
        &self,
        image: &ImageRef,
        descriptor: &Descriptor,
        credentials: &Credentials,
    ) -> Result<bool> {
        let path = format!("/v2/{}/blobs/{}", image.path(), descriptor.digest);
        let mut tries = self.pushing(image, None, credentials)?;
        loop {
            match exists(&tries.session(), image, descriptor, &path).await {
                Ok(found) => return Ok(found),
                Err(failure) => tries.failed(failure).await?,
            }
        }
    }

    /// Asks the registry to take a blob over from the repository of `from`. `false` if it will not,
    /// and the blob has to be sent.
    ///
    /// # Errors
    /// `InvalidArgument` if the two are in different registries; the registry's own.
    pub async fn mount_blob(
        &self,
        image: &ImageRef,
        digest: &Digest,
        from: &ImageRef,
        credentials: &Credentials,
    ) -> Result<bool> {
        if image.domain() != from.domain() {
            return Err(Error::invalid(format!("cannot mount a blob of {from} into {image}: another registry")));
        }
        let mut tries = self.pushing(image, Some(from), credentials)?;
        let begun = loop {
            match start(&tries.session(), image, Some((digest, from))).await {
                Ok(begun) => break begun,
                Err(failure) => tries.failed(failure).await?,
            }
        };
        if let Start::At(url) = &begun {
            // The upload that was begun in its place is not wanted. A registry that keeps it for a
            // while all the same does no harm.
            let _ = tries.session().call(Wanted::at(Method::DELETE, url), Asked::Push(image)).await;
        }
        Ok(matches!(begun, Start::Mounted))
    }

    /// Brings a blob to the repository of `image`: not at all if it is there, by mounting it from
    /// `from` if that works, else by sending it. `progress` gets the number of bytes sent so far.
    ///
    /// # Errors
    /// The last attempt's.
    pub async fn push_blob(
        &self,
        image: &ImageRef,
        descriptor: &Descriptor,
        source: Arc<dyn BlobSource>,
        from: Option<&ImageRef>,
        credentials: &Credentials,
        progress: Arc<dyn Fn(u64) + Send + Sync>,
    ) -> Result<Pushed> {
        if self.blob_exists(image, descriptor, credentials).await? {
            return Ok(Pushed::Existed);
        }
        let from = from.filter(|f| f.domain() == image.domain() && f.path() != image.path());
        let mut tries = self.pushing(image, from, credentials)?;
        let mut upload = Upload { image, descriptor, source, progress, at: None, offset: 0 };
        loop {
            let before = upload.offset;
            match upload.attempt(&tries.session(), from).await {
                Ok(pushed) => return Ok(pushed),
                Err(failure) => {
                    if upload.offset > before {
                        tries.progress();
                    }
                    tries.failed(failure).await?;
                }
            }
        }
    }
}

async fn exists(session: &Session<'_>, image: &ImageRef, descriptor: &Descriptor, path: &str) -> Result<bool, Failure> {
    let answer = session.call(Wanted::new(Method::HEAD, path), Asked::Push(image)).await?;
    match answer.status {
        StatusCode::NOT_FOUND => Ok(false),
        status if status.is_success() => {
            let length = answer.header(header::CONTENT_LENGTH).and_then(|l| l.parse::<u64>().ok());
            Ok(length.is_none_or(|n| n == descriptor.size))
        }
        _ => Err(Refusal::read(answer).await.failure(Asked::Push(image))),
    }
}

async fn start(session: &Session<'_>, image: &ImageRef, mount: Option<(&Digest, &ImageRef)>) -> Result<Start, Failure> {
    let mut path = format!("/v2/{}/blobs/uploads/", image.path());
    if let Some((digest, from)) = mount {
        path.push_str(&format!("?mount={digest}&from={}", escape(from.path())));
    }
    let answer = session.call(Wanted::new(Method::POST, &path), Asked::Push(image)).await?;
    match answer.status {
        StatusCode::CREATED if mount.is_some() => {
            answer.body.drain().await;
            Ok(Start::Mounted)
        }
        StatusCode::ACCEPTED => {
            let url = location(&answer.uri, answer.header(header::LOCATION))?;
            answer.body.drain().await;
            Ok(Start::At(url))
        }
        _ => Err(Refusal::read(answer).await.failure(Asked::Push(image))),
    }
}

fn location(base: &Uri, header: Option<&str>) -> Result<Uri, Failure> {
    header
        .and_then(|l| join(base, l))
        .ok_or_else(|| Failure::broken(format!("{}: the registry names no place for the upload", shown(base))))
}

/// One blob's upload through all its attempts.
struct Upload<'a> {
    image: &'a ImageRef,
    descriptor: &'a Descriptor,
    source: Arc<dyn BlobSource>,
    progress: Arc<dyn Fn(u64) + Send + Sync>,
    /// Where the registry wants the rest.
    at: Option<Uri>,
    /// Bytes that it has.
    offset: u64,
}

impl Upload<'_> {
    async fn attempt(&mut self, session: &Session<'_>, from: Option<&ImageRef>) -> Result<Pushed, Failure> {
        if let Some(url) = self.at.take() {
            self.at = self.ask_offset(session, &url).await?;
        }
        let url = match self.at.clone() {
            Some(url) => url,
            None => {
                self.offset = 0;
                match start(session, self.image, from.map(|f| (&self.descriptor.digest, f))).await? {
                    Start::Mounted => return Ok(Pushed::Mounted),
                    Start::At(url) => url,
                }
            }
        };
        self.at = Some(url.clone());
        let url = if self.offset < self.descriptor.size { self.send(session, &url).await? } else { url };
        self.at = Some(url.clone());
        self.close(session, &url).await?;
        Ok(Pushed::Uploaded)
    }

    /// How much of a broken upload arrived; `None` if it has to begin anew.
    async fn ask_offset(&mut self, session: &Session<'_>, url: &Uri) -> Result<Option<Uri>, Failure> {
        let answer = session.call(Wanted::at(Method::GET, url), Asked::Push(self.image)).await?;
        if answer.status != StatusCode::NO_CONTENT {
            answer.body.drain().await;
            return Ok(None);
        }
        let Some(held) = answer.header(header::RANGE).and_then(held).filter(|n| *n <= self.descriptor.size) else {
            return Ok(None);
        };
        self.offset = held;
        Ok(answer.header(header::LOCATION).and_then(|l| join(&answer.uri, l)))
    }

    /// Sends all that is missing in one PATCH, as docker does; returns where to close the upload.
    async fn send(&mut self, session: &Session<'_>, url: &Uri) -> Result<Uri, Failure> {
        let watch = Arc::new(Watch::default());
        let (offset, size) = (self.offset, self.descriptor.size);
        let open = {
            let (source, watch, progress) = (self.source.clone(), watch.clone(), self.progress.clone());
            move || {
                watch.sent.store(0, Ordering::Relaxed);
                let pieces = read_ahead(source.clone(), offset, watch.clone(), progress.clone());
                Outgoing::Pieces { pieces, left: size - offset, watch: watch.clone() }
            }
        };
        let mut wanted = Wanted::at(Method::PATCH, url)
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))
            .payload(Payload::Stream { open: Arc::new(open), watch });
        if offset > 0 {
            let range =
                HeaderValue::try_from(format!("{offset}-{}", size - 1)).map_err(|_| Failure::broken("range"))?;
            wanted = wanted.header(header::CONTENT_RANGE, range);
        }
        let answer = session.call(wanted, Asked::Push(self.image)).await?;
        match answer.status {
            StatusCode::ACCEPTED | StatusCode::NO_CONTENT | StatusCode::CREATED => {
                let next = location(&answer.uri, answer.header(header::LOCATION))?;
                if let Some(have) = answer.header(header::RANGE).and_then(held).filter(|n| *n != size) {
                    self.at = Some(next);
                    let text = format!("blob {}: the registry has {have} of {size} bytes", self.descriptor.digest);
                    return Err(Failure::passing(Error::unavailable(text)));
                }
                answer.body.drain().await;
                self.offset = size;
                (self.progress)(size);
                Ok(next)
            }
            StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::NOT_FOUND => {
                // The upload is not what we think it is: begin anew.
                self.at = None;
                let refusal = Refusal::read(answer).await.failure(Asked::Push(self.image));
                Err(Failure::passing(refusal.error))
            }
            _ => Err(Refusal::read(answer).await.failure(Asked::Push(self.image))),
        }
    }

    /// Names the digest; the registry checks it.
    async fn close(&mut self, session: &Session<'_>, url: &Uri) -> Result<(), Failure> {
        let digest = &self.descriptor.digest;
        let url = with_query(url, "digest", digest.as_str()).ok_or_else(|| Failure::broken("upload URL too long"))?;
        let wanted = Wanted::at(Method::PUT, &url)
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let answer = session.call(wanted, Asked::Push(self.image)).await?;
        if !answer.status.is_success() {
            let failure = Refusal::read(answer).await.failure(Asked::Push(self.image));
            return Err(Failure { error: failure.error.prefixed(format!("blob {digest}")), ..failure });
        }
        let told = answer.header("docker-content-digest").map(str::to_owned);
        answer.body.drain().await;
        match told {
            Some(told) if told != digest.as_str() => {
                Err(Failure::broken(format!("blob {digest}: the registry stored it as {told}")))
            }
            _ => Ok(()),
        }
    }
}

/// The number of bytes in a `Range: 0-<last>` of an upload. Docker's registry says `0-0` for none
/// and for one byte alike; sending that byte again is what the caller's retry then does.
fn held(range: &str) -> Option<u64> {
    let range = range.trim().strip_prefix("bytes=").unwrap_or(range.trim());
    let (first, last) = range.split_once('-')?;
    match (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?) {
        (0, 0) => None,
        (0, last) => last.checked_add(1),
        _ => None,
    }
}

fn read_ahead(
    source: Arc<dyn BlobSource>,
    offset: u64,
    watch: Arc<Watch>,
    progress: Arc<dyn Fn(u64) + Send + Sync>,
) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut reader = match source.open(offset) {
            Ok(reader) => reader,
            Err(error) => {
                let _ = sender.blocking_send(Err(error));
                return;
            }
        };
        loop {
            let mut piece = vec![0; limits::PIECE];
            match read_some(&mut reader, &mut piece) {
                Ok(0) => return,
                Ok(n) => piece.truncate(n),
                Err(error) => {
                    let _ = sender.blocking_send(Err(error));
                    return;
                }
            }
            progress(offset + watch.sent.load(Ordering::Relaxed));
            // A closed channel means that the request is over, one way or the other.
            if sender.blocking_send(Ok(piece.into())).is_err() {
                return;
            }
        }
    });
    receiver
}

fn read_some(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_upload_ranges() {
        assert_eq!(held("0-9"), Some(10));
        assert_eq!(held("bytes=0-9"), Some(10));
        for none in ["0-0", "", "1-9", "x", "0-18446744073709551615"] {
            assert_eq!(held(none), None);
        }
    }
}
