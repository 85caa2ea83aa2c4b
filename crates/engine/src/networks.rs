//! Networks. They belong to the whole engine, whatever the namespace.

use crate::engine::Namespace;
use crate::model::{EndpointSpec, Network, NetworkSpec, Pruned};
use crate::net::network_of;
use network::NetworkConfig;
use oci::{Error, Result};

/// Networks as one namespace sees them.
pub struct Networks {
    pub(crate) ns: Namespace,
}

fn view(network: network::Network) -> Network {
    let text = |value: Option<String>| value.unwrap_or_default();
    Network {
        subnet: text(network.subnet.map(|s| s.to_string())),
        gateway: text(network.gateway.map(|g| g.to_string())),
        name: network.name,
        id: network.id,
        created: network.created,
        driver: network.driver,
        internal: network.internal,
        options: network.options,
        labels: network.labels,
        builtin: network.builtin,
    }
}

impl Networks {
    /// Makes a network.
    ///
    /// # Errors
    /// For a name or subnet in use, an unknown driver or option.
    pub async fn create(&self, spec: NetworkSpec) -> Result<Network> {
        let bad = |what: &str, value: &str| Error::invalid(format!("invalid {what} {value:?}"));
        let config = NetworkConfig {
            subnet: spec.subnet.as_deref().filter(|s| !s.is_empty()).map(str::parse).transpose()?,
            gateway: match spec.gateway.as_deref().filter(|g| !g.is_empty()) {
                Some(text) => Some(text.parse().map_err(|_| bad("gateway", text))?),
                None => None,
            },
            name: spec.name,
            driver: spec.driver.filter(|d| !d.is_empty()),
            internal: spec.internal,
            options: spec.options,
            labels: spec.labels,
            ..Default::default()
        };
        let core = self.ns.core();
        let network = core.net.with(move |manager| manager.create(&config)).await?;
        core.network_event(&network.name, &network.id, "create", "");
        Ok(view(network))
    }

    /// The network with that name, id, or unique beginning of an id.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn get(&self, name: &str) -> Result<Network> {
        let name = name.to_owned();
        self.ns.core().net.with(move |manager| manager.inspect(&name)).await.map(view)
    }

    /// All networks, with the built-in `bridge`, `host` and `none`.
    ///
    /// # Errors
    /// If their state can't be read.
    pub async fn list(&self) -> Result<Vec<Network>> {
        let networks = self.ns.core().net.with(|manager| Ok(manager.networks())).await?;
        Ok(networks.into_iter().map(view).collect())
    }

    /// Containers of any namespace that are made for a network, running or not.
    fn users(&self, network: &Network) -> Vec<String> {
        let records = self.ns.core().containers.all().into_iter().map(|h| h.record());
        let uses = |name: &str| name == network.name || network.id.starts_with(name);
        records.filter(|r| network_of(r).is_some_and(uses)).map(|r| r.id.clone()).collect()
    }

    /// Removes a network.
    ///
    /// # Errors
    /// `NotFound`; `PermissionDenied` for a built-in one; `Conflict` while a container is connected.
    pub async fn remove(&self, name: &str) -> Result<()> {
        let network = self.get(name).await?;
        let core = self.ns.core();
        let id = network.id.clone();
        core.net.with(move |manager| manager.remove(&id)).await?;
        core.network_event(&network.name, &network.id, "destroy", "");
        Ok(())
    }

    /// Removes networks that no container uses and `filter` takes.
    ///
    /// # Errors
    /// If their state can't be read.
    pub async fn prune(&self, filter: &(dyn Fn(&Network) -> bool + Send + Sync)) -> Result<Pruned> {
        let mut pruned = Pruned::default();
        for network in self.list().await? {
            if network.builtin || !filter(&network) || !self.users(&network).is_empty() {
                continue;
            }
            match self.remove(&network.id).await {
                Ok(()) => pruned.removed.push(network.name),
                Err(error) => tracing::debug!(network = %network.name, %error, "prune"),
            }
        }
        Ok(pruned)
    }

    /// Connects a container that exists to a network.
    ///
    /// # Errors
    /// `NotFound`; `Unsupported` while connecting existing containers can't be done.
    pub async fn connect(&self, network: &str, container: &str, _endpoint: EndpointSpec) -> Result<()> {
        self.get(network).await?;
        self.ns.core().containers.find(self.ns.name(), container)?;
        Err(Error::unsupported("connecting an existing container to another network"))
    }

    /// Disconnects a container.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn disconnect(&self, network: &str, container: &str, _force: bool) -> Result<()> {
        self.get(network).await?;
        self.ns.core().containers.find(self.ns.name(), container)?;
        Err(Error::unsupported("disconnecting an existing container from a network"))
    }
}
