//! `containerd-shim-sampan-v2` and the client end of what it speaks.
//!
//! - [`server`]: the shim itself, one thread around epoll
//! - [`logs`]: log formats, written by the shim and read by the engine
//! - [`exits`]: exits kept on disk, so that one is never lost while nobody listens
//! - [`attach`]: how a client takes part in a process's streams
//! - `client` (feature): typed calls for the engine, on tokio

pub mod attach;
#[cfg(feature = "client")]
pub mod client;
pub mod exits;
pub mod logs;
pub mod server;
