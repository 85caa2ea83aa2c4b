//! The engine's records as Docker shows them: pure functions.

pub mod config;
pub mod container;
pub mod network;
pub mod stats;
pub mod status;
pub mod top;

pub use container::{endpoints, inspect, summary};
pub use network::{network, volume};
pub use stats::stats;
pub use top::top;
