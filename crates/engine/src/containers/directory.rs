//! The containers of the engine, found by id and name. It is rebuilt from the records when the engine opens.

use super::supervisor::Command;
use crate::attach::Pending;
use crate::model::ContainerRecord;
use crate::task::Task;
use oci::{Error, Result};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, watch};

/// What everyone may see of a container.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    /// The newest record.
    pub(crate) record: Arc<ContainerRecord>,
    /// It was removed; the record is its last.
    pub(crate) gone: bool,
}

/// A container from the outside: its published record, and the way to its supervisor.
pub(crate) struct Handle {
    pub(crate) id: String,
    pub(crate) published: watch::Sender<Published>,
    pub(crate) commands: mpsc::Sender<Command>,
    /// The running task. Written by the supervisor only.
    task: Mutex<Option<Arc<Task>>>,
    /// Clients that wait for the next start.
    pending: Mutex<Vec<Pending>>,
}

impl Handle {
    pub(crate) fn new(record: &ContainerRecord, commands: mpsc::Sender<Command>) -> Self {
        Self {
            id: record.id.clone(),
            published: watch::Sender::new(Published { record: Arc::new(record.clone()), gone: false }),
            commands,
            task: Mutex::default(),
            pending: Mutex::default(),
        }
    }

    /// The newest record.
    pub(crate) fn record(&self) -> Arc<ContainerRecord> {
        self.published.borrow().record.clone()
    }

    /// The running task.
    ///
    /// # Errors
    /// `Conflict` in Docker's words if there is none.
    pub(crate) fn task(&self) -> Result<Arc<Task>> {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        task.ok_or_else(|| Error::conflict(format!("container {} is not running", self.id)))
    }

    pub(super) fn set_task(&self, task: Option<Arc<Task>>) {
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = task;
    }

    /// Lets a client wait for the next start.
    pub(crate) fn add_pending(&self, pending: Pending) {
        let mut list = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|p| !p.is_gone());
        list.push(pending);
    }

    pub(super) fn take_pending(&self) -> Vec<Pending> {
        std::mem::take(&mut self.pending.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Containers of one namespace.
#[derive(Default)]
struct Space {
    by_id: BTreeMap<String, Arc<Handle>>,
    by_name: HashMap<String, String>,
}

/// All containers.
#[derive(Default)]
pub(crate) struct Directory {
    spaces: Mutex<HashMap<String, Space>>,
}

impl Directory {
    fn with<R>(&self, namespace: &str, work: impl FnOnce(&mut Space) -> R) -> R {
        let mut spaces = self.spaces.lock().unwrap_or_else(PoisonError::into_inner);
        work(spaces.entry(namespace.to_owned()).or_default())
    }

    /// Takes a name for an id: the reservation that makes names unique.
    ///
    /// # Errors
    /// `Conflict` in Docker's words.
    pub(crate) fn reserve(&self, namespace: &str, name: &str, id: &str) -> Result<()> {
        self.with(namespace, |space| match space.by_name.get(name) {
            Some(other) if other != id => Err(Error::conflict(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{other}\". You have to \
                 remove (or rename) that container to be able to reuse that name."
            ))),
            _ => {
                space.by_name.insert(name.to_owned(), id.to_owned());
                Ok(())
            }
        })
    }

    /// Gives a name back, if it belongs to `id`.
    pub(crate) fn release(&self, namespace: &str, name: &str, id: &str) {
        self.with(namespace, |space| {
            if space.by_name.get(name).is_some_and(|owner| owner == id) {
                space.by_name.remove(name);
            }
        });
    }

    pub(crate) fn insert(&self, namespace: &str, handle: Arc<Handle>) {
        self.with(namespace, |space| space.by_id.insert(handle.id.clone(), handle));
    }

    /// Forgets a container and its name.
    pub(crate) fn remove(&self, namespace: &str, id: &str) {
        self.with(namespace, |space| {
            space.by_id.remove(id);
            space.by_name.retain(|_, owner| owner != id);
        });
    }

    /// By id, name (with or without a slash), or unique beginning of an id.
    ///
    /// # Errors
    /// `NotFound`, or `InvalidArgument` for an ambiguous beginning.
    pub(crate) fn find(&self, namespace: &str, given: &str) -> Result<Arc<Handle>> {
        let missing = || Error::not_found(format!("No such container: {given}"));
        self.with(namespace, |space| {
            if let Some(handle) = space.by_id.get(given) {
                return Ok(handle.clone());
            }
            let name = given.strip_prefix('/').unwrap_or(given);
            if let Some(handle) = space.by_name.get(name).and_then(|id| space.by_id.get(id)) {
                return Ok(handle.clone());
            }
            if given.is_empty() {
                return Err(missing());
            }
            let mut matches = space.by_id.range(given.to_owned()..).take_while(|(id, _)| id.starts_with(given));
            match (matches.next(), matches.next()) {
                (Some((_, handle)), None) => Ok(handle.clone()),
                (Some(_), Some(_)) => Err(Error::invalid(format!("Multiple IDs found with provided prefix: {given}"))),
                (None, _) => Err(missing()),
            }
        })
    }

    /// Containers of one namespace.
    pub(crate) fn list(&self, namespace: &str) -> Vec<Arc<Handle>> {
        self.with(namespace, |space| space.by_id.values().cloned().collect())
    }

    /// Containers of all namespaces.
    pub(crate) fn all(&self) -> Vec<Arc<Handle>> {
        let spaces = self.spaces.lock().unwrap_or_else(PoisonError::into_inner);
        spaces.values().flat_map(|space| space.by_id.values().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ContainerSpec;

    fn handle(id: &str) -> Arc<Handle> {
        let mut record = crate::spec::test_record(ContainerSpec::default());
        record.id = id.into();
        Arc::new(Handle::new(&record, mpsc::channel(1).0))
    }

    #[test]
    fn found_by_id_name_and_unique_beginning() {
        let directory = Directory::default();
        for (id, name) in [("abc1", "one"), ("abd2", "two"), ("one9", "three")] {
            directory.reserve("moby", name, id).unwrap();
            directory.insert("moby", handle(id));
        }
        let find = |given: &str| directory.find("moby", given).map(|h| h.id.clone());
        assert_eq!(find("abc").unwrap(), "abc1");
        assert_eq!(find("/two").unwrap(), "abd2");
        assert_eq!(find("one").unwrap(), "abc1", "a name wins over a beginning");
        assert_eq!(find("ab").unwrap_err().kind(), oci::Kind::InvalidArgument);
        assert_eq!(find("x").unwrap_err().to_string(), "No such container: x");
        assert!(directory.find("other", "one").is_err());
        directory.remove("moby", "abc1");
        assert_eq!(find("one").unwrap(), "one9");
    }

    #[test]
    fn a_name_belongs_to_one() {
        let directory = Directory::default();
        directory.reserve("moby", "n", "1").unwrap();
        directory.reserve("moby", "n", "1").unwrap();
        let error = directory.reserve("moby", "n", "2").unwrap_err();
        assert_eq!(error.kind(), oci::Kind::Conflict);
        assert!(error.to_string().contains("\"/n\" is already in use by container \"1\""));
        directory.release("moby", "n", "2");
        assert!(directory.reserve("moby", "n", "2").is_err(), "only the owner gives it back");
        directory.release("moby", "n", "1");
        directory.reserve("moby", "n", "2").unwrap();
    }
}
