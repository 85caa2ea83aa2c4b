//! Containers: one file per endpoint or small group.

mod archive;
mod attach;
mod create;
mod inspect;
mod lifecycle;
mod list;
mod logs;
mod prune;
mod stats;
mod update;
mod wait;

pub use archive::{archive_get, archive_put, archive_stat, changes, export, tar};
pub use attach::{attach, resize, size};
pub use create::create;
pub use inspect::{inspect, top};
pub use lifecycle::{kill, pause, remove, rename, restart, start, stop, unpause};
pub use list::{every, list};
pub use logs::logs;
pub use prune::{prune, until};
pub use stats::stats;
pub use update::update;
pub use wait::wait;
