//! Attaching to a process's streams.
//!
//! An attach connection goes to the shim's one socket. ttrpc frames begin with a zero byte, because they are shorter
//! than 16 MiB; an attach connection begins with `A`:
//!
//! ```text
//! client                                     shim
//!   A{"id":..,"stdin":true,..}\n      ──►
//!                                     ◄──    {"tty":false}\n            or {"error":"..","kind":".."}\n and the end
//!   bytes of standard input           ──►
//!                                     ◄──    frames of output (Docker's, see below), raw bytes of a terminal
//!   half-close: no more input         ──►
//!                                     ◄──    end: the process has ended and all was delivered
//! ```
//!
//! A frame is a stream number (1 stdout, 2 stderr), three zero bytes, a length (u32, network order), and the data.
//! Output from before the attachment is in the log, not here. A client that takes nothing for [`STALL`] loses its
//! connection, so that it cannot stop the container; one that is merely slow slows its container's output down, as a
//! pipe would, and loses nothing.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The first byte of an attach connection.
pub const MAGIC: u8 = b'A';
/// The longest first line.
pub const HELLO_LIMIT: usize = 4096;
/// How long a client may take nothing while output waits for it.
pub const STALL: Duration = Duration::from_secs(5);

/// What a client asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hello {
    /// The container.
    pub id: String,
    /// The exec; empty for the container's own process.
    pub exec_id: String,
    /// Wants to write standard input.
    pub stdin: bool,
    /// Wants standard output.
    pub stdout: bool,
    /// Wants standard error.
    pub stderr: bool,
    /// The process's input ends with this client's (Docker's StdinOnce; always so for an exec).
    pub close_stdin: bool,
}

/// The shim's answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// The streams are a terminal's: one stream, without frames.
    pub tty: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// `not_found` or `conflict`, with `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// The header of a frame with `length` bytes of stream `number`.
pub fn frame_header(number: u8, length: u32) -> [u8; 8] {
    let [a, b, c, d] = length.to_be_bytes();
    [number, 0, 0, 0, a, b, c, d]
}
