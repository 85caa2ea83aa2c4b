//! The Docker door: Engine API 1.24 to 1.51 on a Unix socket.
//!
//! - [`routes`]: the table of endpoints; [`router`] looks requests up in it; [`version`]: API versions
//! - [`call`]: a request with its bounds; [`reply`]: answers, streams, errors; [`hijack`]: connections that leave HTTP
//! - [`containers`], [`images`], [`execs`], [`volumes`], [`networks`], [`system`]: the endpoints
//! - [`spec`]: a create body as the engine's `ContainerSpec`; [`show`]: the engine's records as Docker shows them

pub mod call;
pub mod containers;
pub mod detach;
pub mod execs;
pub mod filter;
pub mod frames;
pub mod hijack;
pub mod images;
pub mod networks;
pub mod query;
pub mod reply;
pub mod router;
pub mod routes;
pub mod serve;
pub mod show;
pub mod spec;
pub mod stream;
pub mod system;
pub mod unsupported;
pub mod version;
pub mod volumes;

pub use serve::serve;

use oci::Result;

/// The namespace of Docker's containers, as dockerd uses it in containerd.
pub const NAMESPACE: &str = "moby";

/// The door: one engine namespace and the table of endpoints.
pub struct Door {
    engine: engine::Namespace,
    routes: Vec<router::Route>,
    machine: system::Machine,
}

impl Door {
    /// A door to `engine`.
    ///
    /// # Errors
    /// If the machine's own description can't be read.
    pub fn new(engine: engine::Namespace) -> Result<Self> {
        Ok(Self { engine, routes: routes::table(), machine: system::Machine::read()? })
    }
}
