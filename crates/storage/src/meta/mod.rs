//! The metadata database: JSON records in redb, addressed by namespace, kind and id.
//!
//! ```text
//! meta.redb
//!   table "records"   key  namespace NUL kind NUL id      value  JSON
//!   table "about"     "format" -> 1
//! ```
//!
//! Every change is on disk when the call returns: a kill at any instruction, or a power cut, shows
//! either the whole transaction or nothing of it. Writers that come at the same moment share one
//! flush. Readers never block.

mod key;
mod txn;

pub use txn::Txn;

use crate::Result;
use key::{Key, check_part, prefix_end};
use oci::{Context, Error, Kind};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A change of this number makes older programs refuse the database, and needs a migration here.
const FORMAT: u64 = 1;
/// redb keeps at most this much of the file in memory, in bytes.
const CACHE: usize = 8 << 20;

const RECORDS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("records");
const ABOUT: TableDefinition<'static, &str, u64> = TableDefinition::new("about");

/// The metadata database of a [`Store`](crate::Store). All methods block for at most one flush.
#[derive(Debug)]
pub struct Meta {
    db: Database,
    /// Writers at work or waiting: more than one means that a flush can be shared.
    writers: AtomicUsize,
    flush: Mutex<Flushed>,
}

/// Which commits are durable; the numbers count commits since the database was opened.
#[derive(Debug, Default)]
struct Flushed {
    up_to: u64,
}

impl Meta {
    /// Opens or makes the database file at `path`.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let db = Database::builder()
            .set_cache_size(CACHE)
            .create(path)
            .map_err(redb_error)
            .context(|| format!("open the metadata database {}", path.display()))?;
        let meta = Self { db, writers: AtomicUsize::new(0), flush: Mutex::default() };
        meta.check_format().context(|| format!("open the metadata database {}", path.display()))?;
        Ok(meta)
    }

    fn check_format(&self) -> Result<()> {
        let txn = self.db.begin_write().map_err(redb_error)?;
        {
            let mut about = txn.open_table(ABOUT).map_err(redb_error)?;
            let found = about.get("format").map_err(redb_error)?.map(|v| v.value());
            match found {
                None => {
                    about.insert("format", FORMAT).map_err(redb_error)?;
                    txn.open_table(RECORDS).map_err(redb_error)?;
                }
                Some(FORMAT) => return Ok(()),
                Some(other) => {
                    return Err(Error::unsupported(format!(
                        "its format is {other} and this program knows {FORMAT}; use the version of sampand that wrote it"
                    )));
                }
            }
        }
        txn.commit().map_err(redb_error)
    }

    /// Writes one record, new or not.
    pub fn put<T: Serialize + ?Sized>(&self, namespace: &str, kind: &str, id: &str, value: &T) -> Result<()> {
        self.transaction(|txn| txn.put(namespace, kind, id, value))
    }

    /// Writes one new record; [`Kind::AlreadyExists`] if there is one by that id.
    pub fn create<T: Serialize + ?Sized>(&self, namespace: &str, kind: &str, id: &str, value: &T) -> Result<()> {
        self.transaction(|txn| txn.create(namespace, kind, id, value))
    }

    /// Removes one record; whether there was one.
    pub fn delete(&self, namespace: &str, kind: &str, id: &str) -> Result<bool> {
        self.transaction(|txn| txn.delete(namespace, kind, id))
    }

    /// Reads one record, changes it by `change`, and writes it back, all in one transaction.
    /// [`Kind::NotFound`] if there is none; an error of `change` leaves the record as it was.
    pub fn update<T, R>(
        &self,
        namespace: &str,
        kind: &str,
        id: &str,
        change: impl FnOnce(&mut T) -> Result<R>,
    ) -> Result<R>
    where
        T: Serialize + DeserializeOwned,
    {
        self.transaction(|txn| {
            let mut value: T =
                txn.get(namespace, kind, id)?.ok_or_else(|| Error::not_found(format!("no {kind} {id:?}")))?;
            let result = change(&mut value)?;
            txn.put(namespace, kind, id, &value)?;
            Ok(result)
        })
    }

    /// Reads one record.
    pub fn get<T: DeserializeOwned>(&self, namespace: &str, kind: &str, id: &str) -> Result<Option<T>> {
        check_part("namespace", namespace)?;
        get(&self.db, namespace, kind, id)
    }

    /// All records of one kind in one namespace, with their ids, in the ids' byte order.
    pub fn list<T: DeserializeOwned>(&self, namespace: &str, kind: &str) -> Result<Vec<(String, T)>> {
        check_part("namespace", namespace)?;
        list(&self.db, namespace, kind)
    }

    /// All records of one kind in every namespace, as (namespace, id, record).
    pub fn list_all<T: DeserializeOwned>(&self, kind: &str) -> Result<Vec<(String, String, T)>> {
        check_part("kind", kind)?;
        let mut found = Vec::new();
        for namespace in self.namespaces()? {
            found.extend(self.list(&namespace, kind)?.into_iter().map(|(id, value)| (namespace.clone(), id, value)));
        }
        Ok(found)
    }

    /// The namespaces that hold any record, in byte order.
    pub fn namespaces(&self) -> Result<Vec<String>> {
        let txn = self.db.begin_read().map_err(redb_error)?;
        let table = txn.open_table(RECORDS).map_err(redb_error)?;
        let mut found: Vec<String> = Vec::new();
        let mut from: Vec<u8> = Vec::new();
        loop {
            let namespace = match table.range::<&[u8]>(from.as_slice()..).map_err(redb_error)?.next() {
                Some(entry) => Key::parse(entry.map_err(redb_error)?.0.value())?.namespace.to_owned(),
                None => return Ok(found),
            };
            from = prefix_end(Key::prefix_of_namespace(&namespace));
            if !key::is_reserved(&namespace) {
                found.push(namespace);
            }
        }
    }

    /// Runs `work` in one transaction: all of its changes are made, or, if it fails, none.
    /// Transactions run one after the other, so `work` must be short and must not call `Meta`.
    pub fn transaction<R>(&self, work: impl FnOnce(&mut Txn<'_>) -> Result<R>) -> Result<R> {
        self.run(false, work)
    }

    /// As [`Meta::transaction`], for the store's own records.
    pub(crate) fn own_transaction<R>(&self, work: impl FnOnce(&mut Txn<'_>) -> Result<R>) -> Result<R> {
        self.run(true, work)
    }

    /// As [`Meta::get`], for the store's own records.
    pub(crate) fn own_get<T: DeserializeOwned>(&self, namespace: &str, kind: &str, id: &str) -> Result<Option<T>> {
        get(&self.db, namespace, kind, id)
    }

    /// As [`Meta::list`], for the store's own records.
    pub(crate) fn own_list<T: DeserializeOwned>(&self, namespace: &str, kind: &str) -> Result<Vec<(String, T)>> {
        list(&self.db, namespace, kind)
    }

    fn run<R>(&self, own: bool, work: impl FnOnce(&mut Txn<'_>) -> Result<R>) -> Result<R> {
        let _at_work = Counted::new(&self.writers);
        let mut inner = self.db.begin_write().map_err(redb_error)?;
        let alone = self.writers.load(Ordering::Acquire) == 1;
        let result = {
            let mut table = inner.open_table(RECORDS).map_err(redb_error)?;
            let mut txn = Txn::new(&mut table, own);
            let result = work(&mut txn).map(|value| (value, txn.changed()));
            drop(table);
            result
        };
        match result {
            Ok((value, false)) => {
                inner.abort().map_err(redb_error)?;
                Ok(value)
            }
            Ok((value, true)) if alone => {
                inner.commit().map_err(redb_error)?;
                Ok(value)
            }
            Ok((value, true)) => {
                // Others wait: commit in memory now, and let one of us flush for all.
                let number = {
                    let mut about = inner.open_table(ABOUT).map_err(redb_error)?;
                    let number = about.get("commits").map_err(redb_error)?.map_or(0, |v| v.value()) + 1;
                    about.insert("commits", number).map_err(redb_error)?;
                    number
                };
                inner.set_durability(Durability::None).map_err(redb_error)?;
                inner.commit().map_err(redb_error)?;
                self.flush(number)?;
                Ok(value)
            }
            Err(error) => {
                inner.abort().map_err(redb_error)?;
                Err(error)
            }
        }
    }

    /// Makes sure that commit `number` is on disk.
    fn flush(&self, number: u64) -> Result<()> {
        let mut flushed = self.flush.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if flushed.up_to >= number {
            return Ok(());
        }
        let txn = self.db.begin_write().map_err(redb_error)?;
        let up_to = {
            let mut about = txn.open_table(ABOUT).map_err(redb_error)?;
            let up_to = about.get("commits").map_err(redb_error)?.map_or(0, |v| v.value());
            about.insert("flushed", up_to).map_err(redb_error)?;
            up_to
        };
        txn.commit().map_err(redb_error)?;
        flushed.up_to = up_to;
        Ok(())
    }
}

fn get<T: DeserializeOwned>(db: &Database, namespace: &str, kind: &str, id: &str) -> Result<Option<T>> {
    let key = Key::new(namespace, kind, id)?;
    let txn = db.begin_read().map_err(redb_error)?;
    let table = txn.open_table(RECORDS).map_err(redb_error)?;
    match table.get(key.bytes()).map_err(redb_error)? {
        None => Ok(None),
        Some(value) => decode(kind, id, value.value()).map(Some),
    }
}

fn list<T: DeserializeOwned>(db: &Database, namespace: &str, kind: &str) -> Result<Vec<(String, T)>> {
    let prefix = Key::prefix_of_kind(namespace, kind)?;
    let txn = db.begin_read().map_err(redb_error)?;
    let table = txn.open_table(RECORDS).map_err(redb_error)?;
    list_in(&table, prefix, kind)
}

/// Every record under `prefix`, decoded.
fn list_in<T: DeserializeOwned>(
    table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    prefix: Vec<u8>,
    kind: &str,
) -> Result<Vec<(String, T)>> {
    let end = prefix_end(prefix.clone());
    let mut found = Vec::new();
    for entry in table.range::<&[u8]>(prefix.as_slice()..end.as_slice()).map_err(redb_error)? {
        let (key, value) = entry.map_err(redb_error)?;
        let id = Key::parse(key.value())?.id.to_owned();
        let value = decode(kind, &id, value.value())?;
        found.push((id, value));
    }
    Ok(found)
}

fn decode<T: DeserializeOwned>(kind: &str, id: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|e| Error::corrupt(format!("the stored record of {kind} {id:?} cannot be read")).with_source(e))
}

/// Counts a writer for as long as it lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::AcqRel);
        Self(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn redb_error(error: impl Into<redb::Error>) -> Error {
    match error.into() {
        redb::Error::Io(e) => Error::from(e).prefixed("metadata database"),
        redb::Error::Corrupted(what) => Error::corrupt(format!("metadata database: {what}")),
        redb::Error::PreviousIo => {
            Error::new(Kind::Unavailable, "metadata database: an earlier write failed; restart sampand")
        }
        redb::Error::DatabaseAlreadyOpen => Error::conflict("another process has it open"),
        other => Error::internal("metadata database").with_source(other),
    }
}

#[cfg(test)]
mod tests;
