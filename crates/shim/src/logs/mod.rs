//! Log formats: each file writes one (in the shim) and reads it (in the engine).
//!
//! Where a stream goes is said by a URI in the create or exec request:
//! - empty: nowhere (attached clients still see it)
//! - a path, or `fifo:///path`: a FIFO that a foreign client reads
//! - `file:///path`: appended to, as it is
//! - `attach://` (standard input only): a pipe that attached clients feed; empty is `/dev/null`
//! - `json-file:///path?max-size=10485760&max-file=3&attrs=...`: Docker's json-file format, with rotation; `attrs` is a
//!   percent-encoded JSON object that every line carries

pub mod json_file;
mod uri;

pub use uri::{Target, json_file_uri};
