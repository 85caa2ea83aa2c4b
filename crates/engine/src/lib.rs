//! The engine behind every door: records, one supervisor per container (its only writer), run and pull flows, events,
//! restart policies, volumes, networks, recovery and garbage collection.
//!
//! - [`Engine::open`] recovers everything, then serves; [`Engine::namespace`] gives one door's view
//! - [`Containers`], [`Execs`], [`Volumes`], [`Networks`]: what can be done
//! - [`model`]: the values passed in and out; [`ContainerRecord`](model::ContainerRecord) is what is stored
//! - [`events`]: what happened, with a short history
//!
//! Nothing here makes system calls of its own: storage, network and shim do.

mod attach;
mod bundle;
mod config;
mod containers;
mod devices;
mod engine;
pub mod events;
mod execs;
mod gc;
pub mod images;
mod logs;
pub mod model;
mod names;
mod net;
mod networks;
mod recover;
mod rootfs;
mod signals;
mod spec;
mod task;
mod volumes;

pub use attach::{AttachInput, AttachOutput, AttachStream};
pub use config::{BridgeConfig, Config, RuntimeConfig};
pub use containers::{Containers, Filter};
pub use engine::{Engine, Namespace};
pub use execs::Execs;
pub use logs::LogStream;
pub use networks::Networks;
pub use registry::{
    Config as RegistryConfig, Credentials, HostConfig as RegistryHost, Login, Proxies, Secret,
    Timeouts as RegistryTimeouts,
};
pub use volumes::Volumes;

/// Runs something that blocks where that does no harm.
pub(crate) async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> oci::Result<R> + Send + 'static,
) -> oci::Result<R> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|e| Err(oci::Error::internal("a blocking step broke off").with_source(e)))
}

/// Waits for the engine's shutdown.
pub(crate) async fn down(shutdown: &mut tokio::sync::watch::Receiver<bool>) {
    // An error means that the engine itself is gone.
    let _ = shutdown.wait_for(|down| *down).await;
}
