//! One transaction: reads see its own writes.

use super::key::{Key, check_part};
use super::{decode, list_in, redb_error};
use crate::Result;
use oci::Error;
use redb::{ReadableTable, Table};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// An open transaction, see [`Meta::transaction`](super::Meta::transaction).
pub struct Txn<'a> {
    table: &'a mut dyn Records,
    own: bool,
    changed: bool,
}

/// The records table with its lifetime hidden.
pub(super) trait Records {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>>;
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()>;
    fn remove(&mut self, key: &[u8]) -> Result<bool>;
    fn raw(&self, prefix: Vec<u8>, kind: &str) -> Result<Vec<(String, serde_json::Value)>>;
}

impl Records for Table<'_, &'static [u8], &'static [u8]> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(ReadableTable::get(self, key).map_err(redb_error)?.map(|v| v.value().to_vec()))
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.insert(key, value).map_err(redb_error)?;
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result<bool> {
        Ok(Table::remove(self, key).map_err(redb_error)?.is_some())
    }

    fn raw(&self, prefix: Vec<u8>, kind: &str) -> Result<Vec<(String, serde_json::Value)>> {
        list_in(self, prefix, kind)
    }
}

impl<'a> Txn<'a> {
    pub(super) fn new(table: &'a mut dyn Records, own: bool) -> Self {
        Self { table, own, changed: false }
    }

    pub(super) fn changed(&self) -> bool {
        self.changed
    }

    fn key(&self, namespace: &str, kind: &str, id: &str) -> Result<Key> {
        if !self.own {
            check_part("namespace", namespace)?;
        }
        Key::new(namespace, kind, id)
    }

    /// Reads one record.
    pub fn get<T: DeserializeOwned>(&self, namespace: &str, kind: &str, id: &str) -> Result<Option<T>> {
        let key = self.key(namespace, kind, id)?;
        self.table.get(key.bytes())?.map(|bytes| decode(kind, id, &bytes)).transpose()
    }

    /// Writes one record, new or not.
    pub fn put<T: Serialize + ?Sized>(&mut self, namespace: &str, kind: &str, id: &str, value: &T) -> Result<()> {
        let key = self.key(namespace, kind, id)?;
        let bytes = serde_json::to_vec(value)
            .map_err(|e| Error::internal(format!("{kind} {id:?} cannot be written as JSON")).with_source(e))?;
        self.table.put(key.bytes(), &bytes)?;
        self.changed = true;
        Ok(())
    }

    /// Writes one new record; [`oci::Kind::AlreadyExists`] if there is one by that id.
    pub fn create<T: Serialize + ?Sized>(&mut self, namespace: &str, kind: &str, id: &str, value: &T) -> Result<()> {
        let key = self.key(namespace, kind, id)?;
        if self.table.get(key.bytes())?.is_some() {
            return Err(Error::already_exists(format!("{kind} {id:?} exists already")));
        }
        self.put(namespace, kind, id, value)
    }

    /// Removes one record; whether there was one.
    pub fn delete(&mut self, namespace: &str, kind: &str, id: &str) -> Result<bool> {
        let key = self.key(namespace, kind, id)?;
        let existed = self.table.remove(key.bytes())?;
        self.changed |= existed;
        Ok(existed)
    }

    /// All records of one kind in one namespace, with their ids, in the ids' byte order.
    pub fn list<T: DeserializeOwned>(&self, namespace: &str, kind: &str) -> Result<Vec<(String, T)>> {
        if !self.own {
            check_part("namespace", namespace)?;
        }
        let raw = self.table.raw(Key::prefix_of_kind(namespace, kind)?, kind)?;
        raw.into_iter()
            .map(|(id, value)| match serde_json::from_value(value) {
                Ok(value) => Ok((id, value)),
                Err(e) => {
                    Err(Error::corrupt(format!("the stored record of {kind} {id:?} cannot be read")).with_source(e))
                }
            })
            .collect()
    }
}
