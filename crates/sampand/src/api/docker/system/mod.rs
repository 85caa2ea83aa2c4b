//! The engine itself: ping, version, info, events, disk use, credentials.

mod auth;
mod df;
mod events;
mod info;
mod machine;
mod ping;

pub use auth::auth;
pub use df::df;
pub use events::events;
pub use info::{info, version};
pub use machine::Machine;
pub use ping::ping;
