//! The line between the runtime and the process it has cloned, while that one prepares itself.
//!
//! A sequenced-packet socket pair; each packet is one message.
//! ```text
//! child → parent   C              put me into my cgroup (only systemd can), then answer
//!                  M              give me my id mappings, then answer
//!                  L              set my limits (a user namespace takes the right away), then answer
//!                  N              move network devices into my network namespace, then answer
//!                  H              everything is mounted: run prestart and createRuntime hooks, then answer
//!                  I index number map the ids of the tree of this mount, which the descriptor holds, then answer
//!                  S number       the filter is on; take its notification descriptor to the listener, then answer
//!                  P pid          (in-between process) the container's process has this id
//!                  R              ready: the program is next, or the wait for `start`
//!                  E kind text    failed
//! parent → child   g              go on
//!                  f              (after I and S) send the descriptor itself; this process may not take it
//! child → parent   f, descriptor  here it is
//! end of file after R             the program runs
//! ```

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use oci::{Context, Error, Kind, Result};
use rustix::io::{read, write};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// What the child says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Report {
    EnterCgroup,
    MapIds,
    SetLimits,
    MoveDevices,
    RunHooks,
    /// The mount's place in the plan, the tree's descriptor.
    MapMount(usize, i32),
    Listener(i32),
    Pid(i32),
    Ready,
}

/// One end.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

const KINDS: [Kind; 13] = [
    Kind::Internal,
    Kind::InvalidArgument,
    Kind::NotFound,
    Kind::AlreadyExists,
    Kind::Conflict,
    Kind::PermissionDenied,
    Kind::Unauthorized,
    Kind::Unavailable,
    Kind::DeadlineExceeded,
    Kind::ResourceExhausted,
    Kind::Unsupported,
    Kind::Corrupt,
    Kind::Cancelled,
];

impl Channel {
    /// Both ends: the parent's, the child's.
    pub(crate) fn pair() -> Result<(Self, Self)> {
        let (a, b) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(std::io::Error::from)
            .context(|| "make a socket pair")?;
        Ok((Self(a), Self(b)))
    }

    fn send(&self, packet: &[u8]) -> Result<()> {
        // MSG_NOSIGNAL is not needed: SIGPIPE is ignored until the program is executed.
        write(&self.0, packet).map_err(std::io::Error::from).context(|| "report to the runtime")?;
        Ok(())
    }

    fn receive(&self) -> Result<Vec<u8>> {
        let mut packet = vec![0; 8192];
        let length = loop {
            match read(&self.0, &mut packet) {
                Ok(length) => break length,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::CONNRESET) => break 0,
                Err(error) => return Err(std::io::Error::from(error)).context(|| "hear from the other process"),
            }
        };
        packet.truncate(length);
        Ok(packet)
    }

    /// The child: says something that needs no answer.
    pub(crate) fn report(&self, report: &Report) -> Result<()> {
        match report {
            Report::EnterCgroup => self.send(b"C"),
            Report::MapIds => self.send(b"M"),
            Report::SetLimits => self.send(b"L"),
            Report::MoveDevices => self.send(b"N"),
            Report::RunHooks => self.send(b"H"),
            Report::Ready => self.send(b"R"),
            Report::MapMount(index, number) => self.send(format!("I{index} {number}").as_bytes()),
            Report::Listener(number) => self.send(format!("S{number}").as_bytes()),
            Report::Pid(pid) => self.send(format!("P{pid}").as_bytes()),
        }
    }

    /// The child: says something and waits until the parent has done it.
    pub(crate) fn ask(&self, report: &Report) -> Result<()> {
        self.report(report)?;
        if self.receive()?.first() == Some(&b'g') {
            return Ok(());
        }
        // The parent has gone, or refuses; it knows why.
        Err(Error::cancelled("the runtime has given up"))
    }

    /// The child: has the runtime take a copy of its filter's listener.
    pub(crate) fn hand_over(&self, descriptor: BorrowedFd<'_>) -> Result<()> {
        self.hand(&Report::Listener(descriptor.as_raw_fd()), descriptor)
    }

    /// The child: has the runtime map the ids of a mount's tree, for which a user namespace gives no right.
    pub(crate) fn map_mount(&self, index: usize, tree: BorrowedFd<'_>) -> Result<()> {
        self.hand(&Report::MapMount(index, tree.as_raw_fd()), tree)
    }

    /// Has the runtime take a copy of a descriptor, which it sends itself only if it is asked to.
    fn hand(&self, report: &Report, descriptor: BorrowedFd<'_>) -> Result<()> {
        self.report(report)?;
        let mut answer = self.receive()?;
        if answer == b"f" {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let descriptors = [descriptor];
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
            sendmsg(&self.0, &[IoSlice::new(b"f")], &mut control, SendFlags::NOSIGNAL)
                .map_err(std::io::Error::from)
                .context(|| "send a descriptor to the runtime")?;
            answer = self.receive()?;
        }
        if answer == b"g" { Ok(()) } else { Err(Error::cancelled("the runtime has given up")) }
    }

    /// The parent: a copy of the descriptor that the child has announced by its number.
    pub(crate) fn take(&self, process: BorrowedFd<'_>, number: i32, what: &str) -> Result<OwnedFd> {
        match rustix::process::pidfd_getfd(process, number, rustix::process::PidfdGetfdFlags::empty()) {
            // An unprivileged user may not reach into a process that hides from the container's.
            Err(rustix::io::Errno::PERM) => self.fetch(),
            result => result.map_err(std::io::Error::from).context(|| format!("get the {what}")),
        }
    }

    /// The parent: asks for the descriptor itself instead of its number.
    fn fetch(&self) -> Result<OwnedFd> {
        self.send(b"f")?;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        recvmsg(&self.0, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)
            .map_err(std::io::Error::from)
            .context(|| "get a descriptor of the other process")?;
        let descriptor = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        descriptor.ok_or_else(|| Error::internal("the other process has sent no descriptor"))
    }

    /// The child: says that it failed. Without anybody left to hear it, on standard error.
    pub(crate) fn fail(&self, error: &Error) {
        let kind = KINDS.iter().position(|k| *k == error.kind()).unwrap_or(0) as u8;
        let mut packet = vec![b'E', kind];
        packet.extend_from_slice(error.to_string().as_bytes());
        packet.truncate(8000);
        // A runtime that has given up has told why.
        if self.send(&packet).is_err() && error.kind() != Kind::Cancelled {
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "{error}");
        }
    }

    /// The parent: lets the child go on.
    pub(crate) fn answer(&self) -> Result<()> {
        self.send(b"g")
    }

    /// The parent: waits for the child. `None` is the end: the program runs, or the process is dead.
    pub(crate) fn next(&self) -> Result<Option<Report>> {
        let packet = self.receive()?;
        match packet.split_first() {
            None => Ok(None),
            Some((b'C', _)) => Ok(Some(Report::EnterCgroup)),
            Some((b'M', _)) => Ok(Some(Report::MapIds)),
            Some((b'L', _)) => Ok(Some(Report::SetLimits)),
            Some((b'N', _)) => Ok(Some(Report::MoveDevices)),
            Some((b'H', _)) => Ok(Some(Report::RunHooks)),
            Some((b'R', _)) => Ok(Some(Report::Ready)),
            Some((b'S', fd)) => Ok(Some(Report::Listener(number(fd)?))),
            Some((b'I', rest)) => {
                let space = rest.iter().position(|b| *b == b' ').unwrap_or(rest.len());
                let index = usize::try_from(number(&rest[..space])?).unwrap_or(usize::MAX);
                Ok(Some(Report::MapMount(index, number(rest.get(space + 1..).unwrap_or_default())?)))
            }
            Some((b'P', pid)) => Ok(Some(Report::Pid(number(pid)?))),
            Some((b'E', rest)) => {
                let (kind, text) = rest.split_first().unwrap_or((&0, &[]));
                let kind = KINDS.get(usize::from(*kind)).copied().unwrap_or(Kind::Internal);
                Err(Error::new(kind, String::from_utf8_lossy(text)))
            }
            Some((other, _)) => Err(Error::internal(format!("an unknown report {other:#x}"))),
        }
    }
}

fn number(digits: &[u8]) -> Result<i32> {
    let number = std::str::from_utf8(digits).ok().and_then(|p| p.parse().ok());
    number.ok_or_else(|| Error::internal("a garbled number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_arrive_as_they_were_sent() {
        let (parent, child) = Channel::pair().expect("pair");
        let reports = [
            Report::EnterCgroup,
            Report::MapIds,
            Report::SetLimits,
            Report::MoveDevices,
            Report::RunHooks,
            Report::Listener(7),
            Report::Pid(4711),
            Report::Ready,
        ];
        for report in reports {
            child.report(&report).expect("send");
            assert_eq!(parent.next().expect("receive"), Some(report));
        }
        child.fail(&Error::not_found("exec: \"x\""));
        let error = parent.next().expect_err("failure");
        assert_eq!((error.kind(), error.to_string().as_str()), (Kind::NotFound, "exec: \"x\""));
        // By number, and by itself.
        let sender = std::thread::spawn(move || {
            let file = std::fs::File::open("/dev/null").expect("open");
            (child.hand_over(file.as_fd()).is_ok(), child.hand_over(file.as_fd()).is_ok(), child)
        });
        assert!(matches!(parent.next().expect("report"), Some(Report::Listener(n)) if n > 2));
        parent.answer().expect("answer");
        assert!(matches!(parent.next().expect("report"), Some(Report::Listener(_))));
        let file = parent.fetch().expect("a descriptor");
        assert_eq!(std::fs::File::from(file).metadata().expect("stat").len(), 0);
        parent.answer().expect("answer");
        let (first, second, child) = sender.join().expect("thread");
        assert!(first && second);
        drop(child);
        assert_eq!(parent.next().expect("end"), None);
    }
}
