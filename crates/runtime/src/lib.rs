//! `sampan-runtime`: the OCI runtime with runc's command line. Synchronous, one thread, static, small.
//!
//! Everything is decided before the clone: [`plan`] turns `config.json` into an `InitPlan`, [`launch`] makes what must
//! exist before the process does, and [`init`] carries the plan out in the new process.
//!
//! | module | its job |
//! |---|---|
//! | [`cli`], [`commands`] | the command line; one verb, one file |
//! | [`plan`] | configuration to plans; nothing is made |
//! | [`launch`] | the parent's half of `create` and `run`, with rollback |
//! | [`init`] | the child's half |
//! | [`channel`] | the line between the two |
//! | [`state`] | containers on disk |
//! | [`cgroups`] | v1 and v2, device rules, systemd's units |
//! | [`dbus`] | as much of D-Bus as systemd needs |
//! | [`criu`] | checkpoint and restore |
//! | [`resctrl`] | cache and memory bandwidth |
//! | [`seccomp`] | policies to BPF |
//! | [`net_devices`], [`netlink`] | network devices into the container and back |
//! | [`user_namespace`], [`selinux`] | id mappings and labels of mounts |
//! | [`host_mounts`], [`mountinfo`] | a container that has no mount namespace; the mounts that there are |
//! | [`hooks`] | programs called along the way |
//! | [`labels`], [`procfs`] | AppArmor and SELinux; writes that cannot be led astray |
//! | [`foreground`] | waiting for a process: signals, terminal |
//! | [`descriptors`] | what the caller has left open |
//! | [`handover`], [`notify`] | what the caller gets over its sockets: descriptors, readiness |
//! | [`mappings`], [`rootless`] | user namespaces, and users who are not root |
//! | [`guard`] | the program's own file, out of a container's reach |

/// Prints a line. Unlike `println!` it does not panic where nobody reads any more (`... | head -1`).
macro_rules! say {
    ($($line:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($line)*);
    }};
}

mod capabilities;
mod cgroups;
mod channel;
mod cli;
mod commands;
mod criu;
mod dbus;
mod descriptors;
mod foreground;
#[doc(hidden)]
pub mod fuzzing;
mod guard;
mod handover;
mod hooks;
mod host_mounts;
mod init;
mod labels;
mod launch;
mod log;
mod mappings;
mod mountinfo;
mod net_devices;
mod netlink;
mod notify;
mod plan;
mod procfs;
mod resctrl;
mod rootless;
mod seccomp;
mod selinux;
mod signals;
mod state;
mod user_namespace;

pub use cli::main;
