//! What happened, as it happens, with a short history for `since`.

use oci::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::broadcast;

/// How many events `since` can reach back.
const HISTORY: usize = 1024;
/// How far a subscriber may lag behind before it loses events.
const QUEUE: usize = 1024;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// A container: `create`, `start`, `die` (exitCode), `oom`, `kill` (signal), `stop`, `restart`, `pause`,
    /// `unpause`, `rename` (oldName), `attach`, `resize`, `update`, `destroy`, `exec_create`, `exec_start`,
    /// `exec_die` (execID, exitCode), `top`, `export`, `archive-path`, `extract-to-dir`.
    Container,
    /// An image: `pull`, `push`, `tag`, `untag`, `delete`, `load`, `save`, `import`.
    Image,
    /// A volume: `create`, `mount`, `unmount`, `destroy`, `prune`.
    Volume,
    /// A network: `create`, `connect`, `disconnect`, `destroy`, `prune`.
    Network,
}

impl Subject {
    /// Docker's word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Volume => "volume",
            Self::Network => "network",
        }
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The containerd namespace.
    pub namespace: String,
    /// What it is about.
    pub subject: Subject,
    /// What happened, in Docker's words (see [`Subject`]).
    pub action: String,
    /// Id of the container or network; name of the image or volume.
    pub id: String,
    /// Name, image, labels of a container; what the action adds.
    pub attributes: BTreeMap<String, String>,
    /// When.
    pub time: Timestamp,
}

/// The bus. Events are hints: records tell what is.
pub struct Events {
    sender: broadcast::Sender<Arc<Event>>,
    history: Mutex<VecDeque<Arc<Event>>>,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self { sender: broadcast::Sender::new(QUEUE), history: Mutex::default() }
    }

    /// Publishes an event; nobody needs to listen.
    pub fn publish(&self, event: Event) {
        let event = Arc::new(event);
        // Both under one lock: a subscriber gets each event either from the history or from its receiver.
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        if history.len() == HISTORY {
            history.pop_front();
        }
        history.push_back(event.clone());
        let _ = self.sender.send(event);
    }

    /// Past events from `since` on (none where absent), and a receiver of those to come. Nothing is lost or doubled
    /// between the two. A receiver that lags too far behind is told so by its `recv`.
    pub fn subscribe(&self, since: Option<Timestamp>) -> (Vec<Arc<Event>>, broadcast::Receiver<Arc<Event>>) {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        let past = match since {
            Some(since) => history.iter().filter(|event| event.time >= since).cloned().collect(),
            None => Vec::new(),
        };
        (past, self.sender.subscribe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(n: i64) -> Event {
        Event {
            namespace: "moby".into(),
            subject: Subject::Container,
            action: "start".into(),
            id: n.to_string(),
            attributes: BTreeMap::new(),
            time: Timestamp::from_unix(n, 0),
        }
    }

    #[test]
    fn history_and_receiver_join_without_gap_or_overlap() {
        let events = Events::new();
        for n in 0..5 {
            events.publish(event(n));
        }
        let (past, mut receiver) = events.subscribe(Some(Timestamp::from_unix(3, 0)));
        events.publish(event(5));
        assert_eq!(past.iter().map(|e| e.id.as_str()).collect::<Vec<_>>(), ["3", "4"]);
        assert_eq!(receiver.try_recv().unwrap().id, "5");
        assert!(receiver.try_recv().is_err());
    }

    #[test]
    fn history_is_bounded() {
        let events = Events::new();
        for n in 0..(HISTORY as i64 + 10) {
            events.publish(event(n));
        }
        let (past, _receiver) = events.subscribe(Some(Timestamp::ZERO));
        assert_eq!(past.len(), HISTORY);
        assert_eq!(past[0].id, "10");
    }
}
