//! Every `unsafe` and raw system call of the workspace, as safe typed wrappers. No policy lives
//! here; one topic is one file.

pub mod batch;
pub mod bpf;
pub mod clone;
pub mod entry;
pub mod exec;
#[cfg(target_arch = "x86_64")]
pub mod first;
pub mod frugal;
pub mod kill;
pub mod mount_attr;
pub mod netlink;
pub mod pid1;
pub mod process;
pub mod seccomp;
pub mod signal;
pub mod signalfd;
pub mod socket;
pub mod unshare;
