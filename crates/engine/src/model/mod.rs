//! What doors and engine say to each other: plain values without behaviour beyond look-ups.
//!
//! - [`ContainerSpec`] and its parts: what a door asks for, after the door's own parsing
//! - [`ContainerRecord`]: what is stored, and what a door reads to answer `inspect` and `list`
//! - options and results of single calls

mod calls;
mod record;
mod spec;
mod volume;

pub use calls::*;
pub use record::*;
pub use spec::*;
pub use volume::*;
