//! tar streams of a container's files, both ways, for cp, export, import and commit.
//!
//! A root filesystem is given by a handle: `/proc/<pid>/root` of a running container, or
//! [`open_rootfs`] of a snapshot, which appears in no mount table. Paths are resolved inside it, as
//! a process of the container would, so that no link leads out.

mod input;
mod out;
mod resolve;
mod rootfs;
mod stat;
mod writer;

pub use input::{TarIn, tar_in};
pub use out::{export, tar_out};
pub use rootfs::open_rootfs;
pub use stat::{PathStat, stat_in_root};

pub(crate) use writer::TarWriter;
