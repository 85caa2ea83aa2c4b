//! Id mappings of a new user namespace.
//!
//! Who has the right writes them. A user has it for the own ids only; ranges that an administrator has given to the user
//! (`/etc/subuid`, `/etc/subgid`) are written by `newuidmap` and `newgidmap`, set-user-id programs that check them.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use oci::runtime::IdMapping;
use oci::{Context, Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::init::transform;
use crate::procfs::Procfs;

/// Gives the process's user namespace its ids.
pub(crate) fn write(pid: i32, uids: &[IdMapping], gids: &[IdMapping]) -> Result<()> {
    let proc = Procfs::open()?;
    let file = |name: &str, text: &str| proc.write(&format!("{pid}/{name}"), text.as_bytes());
    let unprivileged = !rustix::process::geteuid().is_root();
    if unprivileged && is_own_group(gids) {
        // The kernel's condition: a group could be what keeps the user out of something.
        file("setgroups", "deny").context(|| "deny setgroups in the user namespace")?;
    }
    for (name, tool, mappings) in [("uid_map", "newuidmap", uids), ("gid_map", "newgidmap", gids)] {
        let lines: String = mappings.iter().map(|m| format!("{} {} {}\n", m.container_id, m.host_id, m.size)).collect();
        match file(name, &lines) {
            Err(error) if unprivileged && error.kind() == std::io::ErrorKind::PermissionDenied => {
                call(tool, pid, mappings)?;
            }
            result => result.context(|| format!("write {name} ({})", lines.trim_end().replace('\n', ", ")))?,
        }
    }
    Ok(())
}

/// Whether the mapping is of the user's own group alone.
pub(crate) fn is_own_group(gids: &[IdMapping]) -> bool {
    matches!(gids, [one] if one.size == 1 && one.host_id == rustix::process::getegid().as_raw())
}

/// Finds a program as the shell would.
fn find(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(tool))
        .find(|candidate| fs::metadata(candidate).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0))
}

fn call(tool: &str, pid: i32, mappings: &[IdMapping]) -> Result<()> {
    let Some(path) = find(tool) else {
        return Err(Error::permission_denied(format!(
            "{tool} is not in PATH, and without it a user can map only the own id: install it (Debian: uidmap)"
        )));
    };
    let mut words = vec![pid.to_string()];
    for m in mappings {
        words.extend([m.container_id, m.host_id, m.size].map(|n| n.to_string()));
    }
    // It has root's rights: nothing that is open here is its business.
    transform::seal_descriptors(0)?;
    let mut child = Command::new(&path)
        .args(&words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context(|| format!("start {}", path.display()))?;
    let ended = (|| {
        let id = rustix::process::Pid::from_raw(child.id() as i32).ok_or(rustix::io::Errno::SRCH)?;
        let handle = rustix::process::pidfd_open(id, rustix::process::PidfdFlags::empty())?;
        let longest = Timespec { tv_sec: 30, tv_nsec: 0 };
        poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&longest))
    })();
    if ended != Ok(1) {
        let _ = child.kill();
    }
    let status = child.wait().context(|| format!("wait for {tool}"))?;
    if status.success() {
        return Ok(());
    }
    let mut said = String::new();
    if let Some(stderr) = child.stderr.take() {
        // What it says is for people; half of it is better than nothing.
        let _ = stderr.take(1024).read_to_string(&mut said);
    }
    Err(Error::permission_denied(format!("{tool} {} failed ({status}): {}", words.join(" "), said.trim())))
}
