//! A blob on its way in.

use super::Shared;
use crate::Result;
use crate::fs::{Sys, make_dir, remove_tree, sync_dir, write_durably};
use crate::hash::{Hasher, digest_of};
use oci::image::Descriptor;
use oci::{Context, Digest, Error, Timestamp};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Arc;

/// What is known of an ingest on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestInfo {
    /// The key it was opened with.
    pub key: String,
    /// How many bytes are there.
    pub offset: u64,
    /// When it was begun.
    pub started: Timestamp,
    /// When the last bytes came.
    pub updated: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Record {
    key: String,
    started: Timestamp,
    boot: String,
}

/// An open ingest. Dropping it keeps the bytes for the next [`Content::ingest`](super::Content::ingest)
/// with the same key; [`Ingest::commit`] turns it into a blob; [`Ingest::abort`] drops the bytes.
pub struct Ingest {
    claim: Claim,
    dir: String,
    file: File,
    offset: u64,
    hasher: Hasher,
    size: Option<u64>,
}

impl Ingest {
    pub(super) fn open(
        shared: &Arc<Shared>,
        key: &str,
        expected: Option<&Descriptor>,
        replay: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Self> {
        if key.is_empty() {
            return Err(Error::invalid("an ingest's key must not be empty"));
        }
        let claim = Claim::new(shared, key)?;
        Self::open_claimed(claim, expected, replay).context(|| format!("open ingest {key:?}"))
    }

    fn open_claimed(
        claim: Claim,
        expected: Option<&Descriptor>,
        replay: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Self> {
        let (shared, key) = (&claim.shared, claim.key.as_str());
        let name = digest_of(key.as_bytes()).hex().to_owned();
        let dir = make_dir(&shared.ingests, &name, 0o700)?;
        let known: Option<Record> = read_record(&dir).ok().flatten();
        let fresh = known.as_ref().is_none_or(|r| r.boot != shared.boot || r.key != key);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let flags = if fresh { flags | OFlags::TRUNC } else { flags };
        let fd = rustix::fs::openat(&dir, "data", flags, Mode::from_raw_mode(0o600)).what(|| "open its data")?;
        if fresh {
            let record = Record { key: key.to_owned(), started: Timestamp::now(), boot: shared.boot.clone() };
            let bytes = serde_json::to_vec(&record).map_err(|e| Error::internal("ingest").with_source(e))?;
            write_record(&dir, &bytes)?;
        }
        let mut ingest = Self {
            dir: name,
            file: File::from(fd),
            offset: 0,
            hasher: expected.map_or_else(Hasher::sha256, |d| Hasher::like(&d.digest)),
            size: expected.map(|d| d.size),
            claim,
        };
        ingest.replay(replay)?;
        Ok(ingest)
    }

    /// Hashes what is there and hands it on.
    fn replay(&mut self, pass: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let length = self.file.metadata().context(|| "read its length")?.len();
        if self.size.is_some_and(|size| length > size) {
            return self.truncate();
        }
        if length == 0 {
            return Ok(());
        }
        let mut buffer = vec![0; 256 << 10];
        self.file.seek(SeekFrom::Start(0)).context(|| "rewind")?;
        loop {
            let n = self.file.read(&mut buffer).context(|| "read what is there")?;
            if n == 0 {
                return Ok(());
            }
            self.hasher.update(&buffer[..n]);
            self.offset += n as u64;
            pass(&buffer[..n])?;
        }
    }

    /// How many bytes are in; the next ones belong here.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The key it was opened with.
    pub fn key(&self) -> &str {
        &self.claim.key
    }

    /// Appends `bytes`. More than the expected length is [`oci::Kind::Corrupt`]; a full disk is
    /// [`oci::Kind::ResourceExhausted`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let end = self.offset + bytes.len() as u64;
        if let Some(size) = self.size.filter(|size| end > *size) {
            return Err(Error::corrupt(format!(
                "ingest {:?}: expected {size} bytes, found at least {end}",
                self.claim.key
            )));
        }
        if let Err(e) = self.file.write_all(bytes) {
            // What reached the file is unknown: forget the part, so that the offset stays true.
            let _ = self.file.set_len(self.offset).and_then(|()| self.file.seek(SeekFrom::End(0)));
            return Err(Error::from(e).prefixed(format!("write content of ingest {:?}", self.claim.key)));
        }
        self.hasher.update(bytes);
        self.offset = end;
        Ok(())
    }

    /// Drops the bytes and starts anew.
    pub fn truncate(&mut self) -> Result<()> {
        self.file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)))
            .context(|| format!("truncate ingest {:?}", self.claim.key))?;
        self.offset = 0;
        self.hasher = match self.hasher {
            Hasher::Sha256(_) => Hasher::sha256(),
            Hasher::Sha512(_) => Hasher::Sha512(sha2::Digest::new()),
        };
        Ok(())
    }

    /// Checks length and digest, flushes, and makes the blob visible. On a mismatch, which is
    /// [`oci::Kind::Corrupt`], the bytes are dropped: resuming them could not help.
    pub fn commit(mut self, expected: &Digest, size: u64) -> Result<Digest> {
        self.finish(expected, size)
    }

    pub(super) fn finish(&mut self, expected: &Digest, size: u64) -> Result<Digest> {
        if self.offset != size {
            let error = Error::corrupt(format!("content {expected}: expected {size} bytes, found {}", self.offset));
            // Too few bytes can be completed; too many can't.
            if self.offset > size {
                self.remove();
            }
            return Err(error);
        }
        if expected.algorithm() != self.hasher.algorithm() {
            self.rehash(expected)?;
        }
        if let Err(error) = self.check(expected) {
            self.remove();
            return Err(error);
        }
        self.file.sync_data().context(|| format!("flush content {expected}"))?;
        let from = self.claim.shared.open_ingest_dir(&self.dir)?;
        let to = self.claim.shared.blobs(expected);
        rustix::fs::fchmod(&self.file, Mode::from_raw_mode(0o400)).what(|| format!("commit content {expected}"))?;
        rustix::fs::renameat(&from, "data", to, expected.hex()).what(|| format!("commit content {expected}"))?;
        sync_dir(to)?;
        self.remove();
        Ok(expected.clone())
    }

    /// Compares the digest of the bytes so far; the algorithm must be that of the ingest.
    pub(crate) fn check(&self, expected: &Digest) -> Result<()> {
        let found = self.hasher.clone().finish()?;
        if found == *expected {
            return Ok(());
        }
        Err(Error::corrupt(format!("wrong digest: expected {expected}, found {found} in {} bytes", self.offset)))
    }

    /// Hashes everything again, by the algorithm of `expected`.
    fn rehash(&mut self, expected: &Digest) -> Result<()> {
        let mut hasher = Hasher::like(expected);
        let mut buffer = vec![0; 256 << 10];
        self.file.seek(SeekFrom::Start(0)).context(|| "rewind")?;
        loop {
            match self.file.read(&mut buffer).context(|| format!("read content {expected}"))? {
                0 => break,
                n => hasher.update(&buffer[..n]),
            }
        }
        self.hasher = hasher;
        Ok(())
    }

    /// Drops the bytes for good.
    pub fn abort(self) -> Result<()> {
        remove_tree(&self.claim.shared.ingests, self.dir.as_str()).what(|| format!("abort ingest {:?}", self.claim.key))
    }

    fn remove(&self) {
        // A leftover directory holds no data any more, and expires like every stale ingest.
        let _ = remove_tree(&self.claim.shared.ingests, self.dir.as_str());
    }
}

/// The exclusive right to an ingest's key, for as long as it lives.
struct Claim {
    shared: Arc<Shared>,
    key: String,
}

impl Claim {
    fn new(shared: &Arc<Shared>, key: &str) -> Result<Self> {
        if !shared.lock().insert(key.to_owned()) {
            return Err(Error::conflict(format!("ingest {key:?} is already being written")));
        }
        Ok(Self { shared: shared.clone(), key: key.to_owned() })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.shared.lock().remove(&self.key);
    }
}

fn write_record(dir: &std::os::fd::OwnedFd, bytes: &[u8]) -> Result<()> {
    write_durably(dir, "info.json", bytes)
}

fn read_record(dir: &std::os::fd::OwnedFd) -> Result<Option<Record>> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = match rustix::fs::openat(dir, "info.json", flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(None),
        Err(e) => return Err(e).what(|| "open an ingest's info.json"),
    };
    let mut text = String::new();
    File::from(fd).take(64 << 10).read_to_string(&mut text).context(|| "read an ingest's info.json")?;
    Ok(serde_json::from_str(&text).ok())
}

/// What the ingest in directory `name` is.
pub(super) fn info_of(shared: &Shared, name: &str) -> Result<IngestInfo> {
    let dir = shared.open_ingest_dir(name)?;
    let record = read_record(&dir)?.ok_or_else(|| Error::corrupt(format!("ingest {name} has no info.json")))?;
    let stat = rustix::fs::statat(&dir, "data", rustix::fs::AtFlags::SYMLINK_NOFOLLOW).what(|| "stat an ingest")?;
    Ok(IngestInfo {
        key: record.key,
        offset: stat.st_size as u64,
        started: record.started,
        updated: Timestamp::from_unix(stat.st_mtime, stat.st_mtime_nsec as u32),
    })
}
