//! The order of attempts at one task: each place in turn, each with its own retries.

use crate::Registry;
use crate::credentials::Credentials;
use crate::endpoint::{Endpoint, for_pull, origin};
use crate::errors::Failure;
use crate::retry::Backoff;
use crate::session::{Session, Shared, scope};
use oci::{Error, ImageRef};
use std::sync::Arc;

/// Where a task is tried, and what is left to try. Used as: a loop that does the work on
/// [`Tries::session`], returns on success, and hands a failure to [`Tries::failed`].
pub(crate) struct Tries {
    shared: Arc<Shared>,
    endpoints: std::vec::IntoIter<Endpoint>,
    here: Endpoint,
    credentials: Credentials,
    scopes: Vec<String>,
    backoff: Backoff,
}

impl Registry {
    /// Attempts at reading: the mirrors, then the registry itself, whose failure is the one told.
    pub(crate) fn pulling(&self, image: &ImageRef, credentials: &Credentials) -> Result<Tries, Failure> {
        let endpoints = for_pull(&self.inner.config, image.domain())?;
        self.tries(endpoints, credentials, vec![scope(image.path(), "pull")])
    }

    /// Attempts at writing, which only the registry itself takes; `from` is read besides.
    pub(crate) fn pushing(
        &self,
        image: &ImageRef,
        from: Option<&ImageRef>,
        credentials: &Credentials,
    ) -> Result<Tries, Failure> {
        let mut scopes = vec![scope(image.path(), "pull,push")];
        scopes.extend(from.filter(|f| f.path() != image.path()).map(|f| scope(f.path(), "pull")));
        self.tries(vec![origin(&self.inner.config, image.domain())?], credentials, scopes)
    }

    fn tries(
        &self,
        endpoints: Vec<Endpoint>,
        credentials: &Credentials,
        scopes: Vec<String>,
    ) -> Result<Tries, Failure> {
        let mut endpoints = endpoints.into_iter();
        let here = endpoints.next().ok_or_else(|| Failure::fatal(Error::internal("no endpoint")))?;
        let shared = self.inner.clone();
        let backoff = backoff(&shared, &here);
        Ok(Tries { shared, endpoints, here, credentials: credentials.clone(), scopes, backoff })
    }
}

fn backoff(shared: &Shared, endpoint: &Endpoint) -> Backoff {
    // A mirror gets one chance: there is another place to ask.
    let retries = if endpoint.mirror_of.is_some() { 0 } else { shared.config.retries };
    Backoff::new(&shared.config.timeouts, retries)
}

impl Tries {
    /// Requests for the present attempt.
    pub(crate) fn session(&self) -> Session<'_> {
        Session::new(&self.shared, &self.here, &self.credentials, &self.scopes)
    }

    /// Something was got: the next failure is a first one again.
    pub(crate) fn progress(&mut self) {
        self.backoff.progress();
    }

    /// Pauses, or moves on to the next place.
    ///
    /// # Errors
    /// The failure itself, when nothing is left to try.
    pub(crate) async fn failed(&mut self, failure: Failure) -> Result<(), Failure> {
        match self.backoff.pause(failure).await {
            Ok(()) => Ok(()),
            Err(failure) => match self.endpoints.next() {
                Some(next) => {
                    self.backoff = backoff(&self.shared, &next);
                    self.here = next;
                    Ok(())
                }
                None => Err(failure),
            },
        }
    }
}
