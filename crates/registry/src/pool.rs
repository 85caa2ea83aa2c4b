//! Idle connections, kept for the next request to the same target.

use crate::address::Target;
use crate::body::Outgoing;
use crate::limits;
use hyper::client::conn::http1::SendRequest;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Servers commonly close idle connections after a minute; ours go first.
const IDLE: Duration = Duration::from_secs(30);
/// How long a connection may take to finish its last answer before it is given up.
const SETTLE: Duration = Duration::from_millis(100);

/// One HTTP/1.1 connection.
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<Outgoing>,
    pub(crate) forward: bool,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// The idle connections of a client.
#[derive(Default)]
pub(crate) struct Pool {
    idle: Mutex<HashMap<Target, Vec<Idle>>>,
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, HashMap<Target, Vec<Idle>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that should still be good, the latest used first.
    pub(crate) async fn take(&self, target: &Target) -> Option<Connection> {
        loop {
            let idle = self.lock().get_mut(target)?.pop()?;
            if idle.since.elapsed() > IDLE || idle.connection.sender.is_closed() {
                continue;
            }
            let mut connection = idle.connection;
            // Its task may not yet have noticed that the last body is over.
            if matches!(tokio::time::timeout(SETTLE, connection.sender.ready()).await, Ok(Ok(()))) {
                return Some(connection);
            }
        }
    }

    /// Gives a connection back after its answer was read to the end.
    pub(crate) fn put(&self, target: Target, connection: Connection) {
        if connection.sender.is_closed() {
            return;
        }
        let mut all = self.lock();
        all.retain(|_, list| {
            list.retain(|idle| idle.since.elapsed() <= IDLE && !idle.connection.sender.is_closed());
            !list.is_empty()
        });
        if all.values().map(Vec::len).sum::<usize>() >= limits::IDLE_TOTAL {
            return;
        }
        let list = all.entry(target).or_default();
        if list.len() < limits::IDLE_PER_HOST {
            list.push(Idle { connection, since: Instant::now() });
        }
    }
}
