//! The daemon: configuration, sockets and the doors.
//!
//! - [`config`]: flags, the file, and the defaults below both
//! - [`daemon`]: start, serve, end
//! - [`api`]: the doors; each decodes a request, makes one engine call, and encodes the answer

pub mod api;
pub mod config;
pub mod daemon;
pub mod embedded;
pub mod notify;
pub mod socket;
