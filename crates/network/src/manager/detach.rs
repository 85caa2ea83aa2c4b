//! Disconnecting containers.

use super::{Endpoint, Manager, MutexGuard, State};
use crate::plan::{DetachPlan, Request};
use oci::{Error, Result};

impl Manager {
    /// Removes a container from all its networks. Its namespace need not exist any more, and a
    /// container that isn't connected is fine.
    ///
    /// # Errors
    /// The helper's; then the records stay, so that it can be tried again.
    pub fn detach(&self, container: &str) -> Result<()> {
        let state = self.lock();
        let endpoints: Vec<Endpoint> = state.endpoints_of(container).cloned().collect();
        self.take_away(state, &endpoints)
    }

    /// Removes a container from one network; one that isn't in it is fine. If the container's
    /// default route went through it, another of its networks takes over.
    ///
    /// # Errors
    /// `NotFound` for the network; the helper's, as with [`detach`](Self::detach).
    pub fn disconnect(&self, container: &str, network: &str) -> Result<()> {
        let state = self.lock();
        let id = state.find(network)?.id.clone();
        let gone: Vec<Endpoint> = state.endpoints.get(&(container.to_owned(), id)).cloned().into_iter().collect();
        self.take_away(state, &gone)?;
        if gone.iter().any(|e| e.default_route) {
            self.move_default_route(container)?;
        }
        Ok(())
    }

    fn take_away(&self, state: MutexGuard<'_, State>, endpoints: &[Endpoint]) -> Result<()> {
        if endpoints.is_empty() {
            return Ok(());
        }
        let last = state.endpoints.len() == endpoints.len();
        let restore_forwarding = last && self.options.restore_forwarding;
        let request = Request::Detach(DetachPlan {
            host: self.host.clone(),
            endpoints: endpoints.iter().map(Endpoint::plan).collect(),
            restore_forwarding,
        });
        // Giving forwarding back must not race with an attach that needs it.
        let mut state = if restore_forwarding {
            self.call(&request)?;
            state
        } else {
            drop(state);
            self.call(&request)?;
            self.lock()
        };
        for endpoint in endpoints {
            self.forget(&mut state, endpoint)?;
        }
        Ok(())
    }

    /// Drops what is remembered of an endpoint whose kernel side is gone.
    pub(super) fn forget(&self, state: &mut State, endpoint: &Endpoint) -> Result<()> {
        self.directory.remove_endpoint(endpoint)?;
        state.endpoints.remove(&endpoint.key());
        state.reservations.remove(&endpoint.key());
        self.release(endpoint)
    }

    fn move_default_route(&self, container: &str) -> Result<()> {
        let mut state = self.lock();
        let next = state
            .endpoints_of(container)
            .find(|e| state.networks.get(&e.network).is_some_and(|network| !network.internal));
        let Some(mut next) = next.cloned() else { return Ok(()) };
        next.default_route = true;
        self.directory.put_endpoint(&next)?;
        state.endpoints.insert(next.key(), next.clone());
        drop(state);
        let (gateway, interface) = (next.gateway, next.interface);
        match self.call(&Request::DefaultRoute { netns: next.netns, gateway, interface }) {
            // The container has ended meanwhile.
            Err(error) if error.kind() == oci::Kind::NotFound => Ok(()),
            Err(error) => Err(Error::prefixed(error, "move the default route")),
            Ok(_) => Ok(()),
        }
    }
}
