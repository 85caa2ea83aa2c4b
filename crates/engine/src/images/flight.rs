//! Pulls under way: who asks for the same name joins, and the last to leave ends it.

use super::hub::{Hub, Listening};
use super::model::Pulled;
use super::progress::ProgressSink;
use super::service::same;
use oci::{Error, Result};
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::watch;

/// The outcome, once there is one.
type Outcome = Option<Arc<Result<Pulled>>>;

/// One pull.
struct Flight {
    hub: Arc<Hub>,
    outcome: watch::Receiver<Outcome>,
    task: tokio::task::AbortHandle,
}

impl Drop for Flight {
    fn drop(&mut self) {
        // Nobody waits any more. A task that has ended doesn't mind.
        self.task.abort();
    }
}

/// The pulls under way, by what they are for.
#[derive(Default)]
pub(super) struct Flights {
    all: Mutex<HashMap<String, Weak<Flight>>>,
}

impl Flights {
    /// Joins the pull `key`, or begins it with `work`; waits for its outcome.
    pub(super) async fn join<F>(
        &self,
        key: String,
        sink: ProgressSink,
        work: impl FnOnce(Arc<Hub>) -> F,
    ) -> Result<Pulled>
    where
        F: Future<Output = Result<Pulled>> + Send + 'static,
    {
        let (flight, _listening) = self.enter(key, sink, work);
        let mut outcome = flight.outcome.clone();
        let done = outcome
            .wait_for(Option::is_some)
            .await
            .map_err(|_| Error::internal("the pull ended without an outcome"))?
            .clone();
        match done.as_deref() {
            Some(Ok(pulled)) => Ok(pulled.clone()),
            Some(Err(error)) => Err(same(error)),
            None => Err(Error::internal("the pull ended without an outcome")),
        }
    }

    fn enter<F>(&self, key: String, sink: ProgressSink, work: impl FnOnce(Arc<Hub>) -> F) -> (Arc<Flight>, Listening)
    where
        F: Future<Output = Result<Pulled>> + Send + 'static,
    {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let under_way = all.get(&key).and_then(Weak::upgrade).filter(|f| f.outcome.borrow().is_none());
        // A task that died without an outcome can't be joined.
        if let Some(flight) = under_way.filter(|f| !f.task.is_finished()) {
            let listening = flight.hub.listen(sink);
            return (flight, listening);
        }
        all.retain(|_, flight| flight.strong_count() > 0);
        let hub: Arc<Hub> = Arc::default();
        // Before the work begins: the one who asked first sees every step.
        let listening = hub.listen(sink);
        let (tell, outcome) = watch::channel(None);
        let pull = work(hub.clone());
        let task = tokio::spawn(async move {
            let result = pull.await;
            let _ = tell.send(Some(Arc::new(result)));
        });
        let flight = Arc::new(Flight { hub, outcome, task: task.abort_handle() });
        all.insert(key, Arc::downgrade(&flight));
        (flight, listening)
    }
}
