//! The OCI specifications as plain types, with validation and no I/O.
//!
//! - [`runtime`]: runtime-spec `config.json` and `state.json`
//! - [`image`]: image-spec descriptors, manifests, indexes, configurations
//! - [`json`]: reading them, with errors that name the path of a wrong value
//! - [`Digest`], [`ImageRef`], [`Platform`], [`Timestamp`]: the small values everything else passes around
//! - [`Error`] and its [`Kind`]: the one error type that crosses crate borders

mod digest;
mod error;
pub mod image;
pub mod json;
mod platform;
mod reference;
pub mod runtime;
mod time;

pub use digest::Digest;
pub use error::{Context, Error, Kind, Result};
pub use platform::Platform;
pub use reference::ImageRef;
pub use time::Timestamp;
