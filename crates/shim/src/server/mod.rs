//! The shim: one thread around epoll. It starts the OCI runtime for each verb, owns the streams, notices exits, and
//! answers the task service.
//!
//! ```text
//!  start action ──spawns──► server ── listens on <address's dir>/s/<hash>
//!                             │
//!      poll ──┬─ connection ──┼─► service/*      one file a call; a call that runs the runtime is answered by a job
//!             ├─ SIGCHLD ─────┼─► jobs, exits
//!             ├─ stream ──────┼─► stdio          log, FIFO, attached clients
//!             └─ deadline ────┘
//! ```

mod args;
mod cgroup;
mod connection;
mod delete;
mod event_loop;
mod jobs;
mod process;
mod publish;
mod rootfs;
mod runtime;
mod service;
mod shim;
mod start;
mod stdio;

use args::{Action, Args};
use oci::Result;
use std::ffi::OsString;

/// Runs the program with `args` (without its name).
///
/// # Errors
/// What went wrong, for people.
pub fn main(args: impl Iterator<Item = OsString>) -> Result<()> {
    let args = Args::parse(args)?;
    match args.action {
        Action::Start => start::start(&args),
        Action::Delete => delete::delete(&args),
        Action::Serve => event_loop::serve(&args),
        Action::Version => {
            println!("containerd-shim-sampan-v2 version {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    }
}
