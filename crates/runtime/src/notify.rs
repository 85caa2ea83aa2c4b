//! `NOTIFY_SOCKET`: a service manager waits for `READY=1` from the program in the container.
//!
//! ```text
//! program → /run/notify/notify.sock (bind mount of <state>/notify) → the runtime → the manager's socket
//!           READY=1                                                   READY=1, MAINPID=<pid>, BARRIER=1
//! ```
//! The runtime stands in between, because the manager's socket lies outside of the container and because only the
//! runtime knows the process's id on the host. Nothing but a line `READY=…` is passed on.

use std::fs;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use oci::runtime::{Mount, Spec};
use oci::{Context, Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType, bind, connect, recv, send, sendmsg, socket_with,
};

use crate::log;
use crate::state::Container;

const INSIDE: &str = "/run/notify";
const SOCKET: &str = "notify.sock";

/// The manager's socket, if there is one.
fn host() -> Option<String> {
    std::env::var("NOTIFY_SOCKET").ok().filter(|s| !s.is_empty())
}

fn io(error: Errno) -> Error {
    std::io::Error::from(error).into()
}

/// Gives the container a way to the socket.
pub(crate) fn add_mount(spec: &mut Spec, root: &Path, id: &str) {
    if host().is_none() {
        return;
    }
    spec.mounts.push(Mount {
        destination: INSIDE.into(),
        source: Some(root.join(id).join("notify").to_string_lossy().into_owned()),
        options: ["bind", "nosuid", "noexec", "nodev", "ro"].map(String::from).into(),
        ..Default::default()
    });
    if let Some(process) = spec.process.as_mut() {
        process.env.push(format!("NOTIFY_SOCKET={INSIDE}/{SOCKET}"));
    }
}

/// Makes the directory that the mount shows; the socket appears in it when somebody listens.
pub(crate) fn make_directory(container: &Container) -> Result<()> {
    if host().is_none() {
        return Ok(());
    }
    let directory = container.notify_directory();
    fs::DirBuilder::new().mode(0o755).create(&directory).context(|| format!("make {}", directory.display()))
}

/// The listening end and the way to the manager.
#[derive(Debug)]
pub(crate) struct Proxy {
    socket: OwnedFd,
    manager: OwnedFd,
}

impl AsFd for Proxy {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Proxy {
    /// Listens; `None` where nobody waits or can be reached, or where the container was made without a way to the socket.
    pub(crate) fn bind(container: &Container) -> Result<Option<Self>> {
        let Some(host) = host() else { return Ok(None) };
        let directory = container.notify_directory();
        if !directory.is_dir() {
            return Ok(None);
        }
        let make = || {
            socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
                .map_err(io)
                .context(|| "make a notify socket")
        };
        let (socket, manager) = (make()?, make()?);
        let path = directory.join(SOCKET);
        let bound = SocketAddrUnix::new(&path).and_then(|address| bind(&socket, &address));
        bound.map_err(io).context(|| format!("listen on {}", path.display()))?;
        // Whoever the program runs as.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).context(|| "open the notify socket to all")?;
        let address = match host.strip_prefix('@') {
            Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes()),
            None => SocketAddrUnix::new(&*host),
        };
        match address.and_then(|address| connect(&manager, &address)) {
            Ok(()) => Ok(Some(Self { socket, manager })),
            // The variable is inherited, also by what a service leaves behind when it ends: nobody waits there.
            Err(error) => {
                let error = io(error);
                log::warn(format_args!(
                    "connect to NOTIFY_SOCKET {host}: {error}; the container's readiness is not passed on"
                ));
                Ok(None)
            }
        }
    }

    /// Takes one datagram; true when it was the one waited for, which has then been passed on. `main` is the process
    /// that the manager shall watch from now on.
    pub(crate) fn take(&self, main: Option<i32>) -> Result<bool> {
        let mut buffer = [0u8; 4096];
        let length = match recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((length, _)) => length,
            Err(Errno::INTR | Errno::AGAIN) => return Ok(false),
            Err(error) => return Err(io(error)).context(|| "hear from the container's notify socket"),
        };
        let Some(ready) = buffer[..length].split(|b| *b == b'\n').find(|line| line.starts_with(b"READY=")) else {
            return Ok(false);
        };
        self.tell(&[ready, b"\n"].concat())?;
        if let Some(pid) = main {
            self.tell(format!("MAINPID={pid}\n").as_bytes())?;
            self.barrier()?;
        }
        Ok(true)
    }

    fn tell(&self, message: &[u8]) -> Result<()> {
        send(&self.manager, message, SendFlags::NOSIGNAL).map_err(io).context(|| "write to NOTIFY_SOCKET")?;
        Ok(())
    }

    /// Waits until the manager has read all of it, or it would take this process's end for the service's.
    fn barrier(&self) -> Result<()> {
        let (ours, theirs) = std::io::pipe().context(|| "make a pipe")?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds = [theirs.as_fd()];
        if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(Error::internal("no room for a descriptor"));
        }
        sendmsg(&self.manager, &[IoSlice::new(b"BARRIER=1")], &mut control, SendFlags::NOSIGNAL)
            .map_err(io)
            .context(|| "write to NOTIFY_SOCKET")?;
        drop(theirs);
        let mut fds = [PollFd::new(&ours, PollFlags::IN)];
        let longest = Timespec { tv_sec: 30, tv_nsec: 0 };
        if poll(&mut fds, Some(&longest)) == Ok(0) {
            log::warn(format_args!("the service manager does not answer BARRIER=1; going on"));
        }
        Ok(())
    }

    /// Waits until the program is ready, or over.
    pub(crate) fn wait(&self, pid: i32, process: &OwnedFd) -> Result<()> {
        loop {
            let mut fds = [PollFd::new(&self.socket, PollFlags::IN), PollFd::new(process, PollFlags::IN)];
            match poll(&mut fds, None) {
                Err(Errno::INTR) => continue,
                result => result.map_err(io).context(|| "wait for the container to be ready")?,
            };
            let (heard, over) = (!fds[0].revents().is_empty(), !fds[1].revents().is_empty());
            // What it said before its end counts.
            if (heard && self.take(Some(pid))?) || (!heard && over) {
                return Ok(());
            }
        }
    }
}
