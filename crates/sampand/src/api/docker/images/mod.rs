//! Images: one file per endpoint or small group.

pub mod archive;
pub mod credentials;
pub mod inspect;
pub mod list;
pub mod names;
pub mod progress;
pub mod pull;
pub mod push;
pub mod remove;

pub use archive::{load, save};
pub use credentials::from_docker as credentials;
pub use inspect::{history, inspect};
pub use list::{list, summary};
pub use names::tag;
pub use pull::create;
pub use push::push;
pub use remove::{prune, remove};
