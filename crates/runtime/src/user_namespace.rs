//! Mappings of user namespaces: made for a mount, in a namespace that nobody lives in, or read from one that exists.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use oci::runtime::IdMapping;
use oci::{Context, Error, Result};
use sys::clone::{Fork, Forked};

use crate::channel::{Channel, Report};
use crate::plan::mounts::Mappings;
use crate::plan::namespaces;

/// Makes a namespace that carries a mapping. The handle keeps it.
pub(crate) fn carrier(uids: &[IdMapping], gids: &[IdMapping]) -> Result<OwnedFd> {
    with_child(
        namespaces::USER,
        || Ok(()),
        |pid| {
            crate::mappings::write(pid, uids, gids)?;
            let path = format!("/proc/{pid}/ns/user");
            Ok(File::open(&path).context(|| format!("open {path}"))?.into())
        },
    )
}

/// What is mapped in a namespace that exists; the kernel shows it only through a process inside.
pub(crate) fn mappings(namespace: &OwnedFd) -> Result<Mappings> {
    let enter = || sys::process::setns(namespace.as_fd(), namespaces::USER).context(|| "enter the user namespace");
    with_child(0, enter, |pid| {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            std::fs::read_to_string(&path).context(|| format!("read {path}")).and_then(|text| parse(&text))
        };
        Ok((read("uid_map")?, read("gid_map")?))
    })
}

fn parse(text: &str) -> Result<Vec<IdMapping>> {
    let line = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(container_id)), Some(Ok(host_id)), Some(Ok(size))) => {
                Ok(IdMapping { container_id, host_id, size })
            }
            _ => Err(Error::internal(format!("a garbled id mapping: {line:?}"))),
        }
    };
    text.lines().map(line).collect()
}

/// Looks at a process that only waits, and ends it.
fn with_child<T>(flags: u64, child: impl FnOnce() -> Result<()>, look: impl FnOnce(i32) -> Result<T>) -> Result<T> {
    let (ours, theirs) = Channel::pair()?;
    match (Fork { flags, cgroup: None }).fork().context(|| "clone for a user namespace")? {
        Forked::Child => {
            drop(ours);
            match child().and_then(|()| theirs.report(&Report::Ready)) {
                // Until the other end is closed, be it by the parent's death.
                Ok(()) => drop(theirs.next()),
                Err(error) => theirs.fail(&error),
            }
            sys::process::exit_now(0)
        }
        Forked::Parent { pid, pidfd } => {
            drop(theirs);
            let result = ours.next().and_then(|report| match report {
                Some(Report::Ready) => look(pid),
                _ => Err(Error::internal("the process for a user namespace died")),
            });
            drop(ours);
            let _ = rustix::process::waitid(
                rustix::process::WaitId::PidFd(pidfd.as_fd()),
                rustix::process::WaitIdOptions::EXITED,
            );
            result
        }
    }
}
