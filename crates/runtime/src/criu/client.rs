//! The line to a criu of our own: `criu swrk FD`, one request, notifications on the way, one answer.
//!
//! ```text
//! runtime                     criu (a child; FD is one end of a sequenced-packet socket pair)
//!   request        ─────────►
//!                  ◄─────────  NOTIFY script [descriptor]   any number of times; criu waits
//!   NOTIFY success ─────────►
//!                  ◄─────────  answer; then it ends
//! ```
//! criu opens descriptors named in a request through `/proc/<runtime>/fd`; those it is to inherit it has by the same
//! number as the runtime. If the line breaks, criu undoes what it has begun: so a failure closes the line first, and
//! only a criu that does not go then is killed.
//!
//! A dump can be as long as the memory is large, and a restore may wait for pages from elsewhere: there is no limit of
//! time that would be right. What ends the waiting is the line's end, criu's own end (a child of criu's may hold the
//! line open), and a signal to the runtime, which is a failure like any other.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::time::Duration;

use oci::{Context, Error, Kind, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendFlags, SocketFlags,
    SocketType, recvmsg, send, socketpair,
};
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus, waitid};
use sys::clone::{Fork, Forked};
use sys::exec::Vector;
use sys::signal::Held;

use super::proto::{self, Feature, Message, Notify, Response, notified, request, request_feature};
use crate::cgroups::Entrance;
use crate::channel::Channel;
use crate::init::transform;
use crate::log;

/// How long criu may take to say what it is and what it can.
const ASK_TIMEOUT: Duration = Duration::from_secs(20);

/// How long criu may take to end, after its answer or when the line is cut.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest answer.
const MAX_PACKET: usize = 40 << 10;

fn io(error: Errno) -> Error {
    std::io::Error::from(error).into()
}

/// The criu of this machine.
#[derive(Debug)]
pub(crate) struct Program {
    path: CString,
    /// 3.17.1 is 31701.
    pub(crate) version: u32,
}

impl Program {
    /// Looks it up in `PATH` and asks for its version.
    pub(crate) fn find() -> Result<Self> {
        let found = (|| {
            let program = Self { path: look_up()?, version: 0 };
            let answer = program.ask(&request(proto::Kind::VERSION))?;
            let version = answer.version.ok_or_else(|| Error::corrupt("criu's answer has no version"))?;
            Ok(Self { version: version.number(), ..program })
        })();
        let program = found.map_err(|e: Error| e.prefixed("CRIU version check failed"))?;
        log::debug(format_args!("using criu {} ({})", program.version, program.path.to_string_lossy()));
        program.require(30_000)?;
        Ok(program)
    }

    /// Fails where criu is older.
    pub(crate) fn require(&self, version: u32) -> Result<()> {
        if self.version < version {
            return Err(Error::unsupported(format!("CRIU version {} must be {version} or higher", self.version)));
        }
        Ok(())
    }

    /// Fails where criu or the kernel lacks a feature. A criu that does not know the question passes.
    pub(crate) fn require_feature(&self, feature: Feature) -> Result<()> {
        let answer = self.ask(&request_feature(feature)).map_err(|e| e.prefixed("CRIU feature check failed"))?;
        if answer.feature(feature) == Some(false) {
            return Err(Error::unsupported(format!("criu is missing features: [{feature:?}]")));
        }
        Ok(())
    }

    /// A question that a criu answers at once.
    fn ask(&self, question: &Message) -> Result<Response> {
        let mut session = self.start(Setup { own_group: true, ..Default::default() })?;
        session.patience = Some(ASK_TIMEOUT);
        let answer = session.converse(question, None, |_, _| Err(Error::corrupt("criu notifies without a reason")))?;
        session.end()?;
        Ok(answer)
    }

    /// Starts a criu that waits for a request.
    pub(crate) fn start(&self, setup: Setup<'_>) -> Result<Session> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(io)
            .context(|| "make a socket pair")?;
        let (line, their_line) = Channel::pair()?;
        let fork = Fork { flags: setup.namespaces, cgroup: setup.entrance.born_in.as_ref().map(AsFd::as_fd) };
        let (pid, pidfd) = match fork.fork().context(|| "clone")? {
            Forked::Parent { pid, pidfd } => (pid, pidfd),
            Forked::Child => {
                drop((ours, line));
                let error = self.become_criu(setup, &theirs);
                their_line.fail(&error);
                sys::process::exit_now(1)
            }
        };
        drop((theirs, their_line));
        let session = Session { line: Some(ours), pidfd: Some(pidfd), pid, patience: None };
        // The end of this line is criu's beginning.
        match line.next()? {
            None => Ok(session),
            Some(_) => Err(Error::internal("an unexpected report from the child")),
        }
    }

    /// In the child. Returns only on failure.
    fn become_criu(&self, setup: Setup<'_>, line: &OwnedFd) -> Error {
        let prepare = || -> Result<(Vector, Vector)> {
            transform::enter_cgroups(setup.entrance.files)?;
            if setup.own_group {
                rustix::process::setpgid(None, None).map_err(io).context(|| "make a process group")?;
            }
            if let Some(prepare) = setup.prepare {
                prepare()?;
            }
            if !setup.keep_standard {
                let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(io)?;
                rustix::stdio::dup2_stdin(&null).map_err(io)?;
                rustix::stdio::dup2_stdout(&null).map_err(io)?;
                rustix::stdio::dup2_stderr(&null).map_err(io)?;
            }
            transform::seal_descriptors(0)?;
            for fd in setup.inherit.iter().map(AsRawFd::as_raw_fd).chain([line.as_raw_fd()]) {
                sys::process::set_close_on_exec(fd, false)?;
            }
            let number = line.as_raw_fd().to_string();
            let args = [c"criu".to_owned(), c"swrk".to_owned(), CString::new(number).unwrap_or_default()];
            let env = std::env::vars_os()
                .filter_map(|(name, value)| CString::new([name.into_vec(), value.into_vec()].join(&b'=')).ok());
            Ok((Vector::new(args.into()), Vector::new(env.collect())))
        };
        match prepare() {
            Err(error) => error,
            Ok((args, env)) => {
                sys::signal::reset();
                let error = sys::exec::execve(&self.path, &args, &env);
                Error::from(error).prefixed(format!("exec {}", self.path.to_string_lossy()))
            }
        }
    }
}

/// The `criu` in `PATH`.
fn look_up() -> Result<CString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    for directory in path.as_bytes().split(|b| *b == b':').filter(|d| d.first() == Some(&b'/')) {
        let Ok(full) = CString::new([directory, b"/criu"].concat()) else { continue };
        let is_file = rustix::fs::stat(&full)
            .is_ok_and(|s| rustix::fs::FileType::from_raw_mode(s.st_mode) == rustix::fs::FileType::RegularFile);
        if is_file && executable(&full) {
            return Ok(full);
        }
    }
    Err(Error::not_found("exec: \"criu\": executable file not found in $PATH"))
}

fn executable(path: &CStr) -> bool {
    rustix::fs::accessat(CWD, path, rustix::fs::Access::EXEC_OK, rustix::fs::AtFlags::EACCESS).is_ok()
}

/// Where and with what a criu starts.
#[derive(Default)]
pub(crate) struct Setup<'a> {
    /// `CLONE_NEW*` bits of namespaces of its own.
    pub(crate) namespaces: u64,
    /// The cgroup to be in.
    pub(crate) entrance: Entrance,
    /// Descriptors that criu has by the same number.
    pub(crate) inherit: &'a [BorrowedFd<'a>],
    /// Whether the standard descriptors are the runtime's; otherwise they are the null device.
    pub(crate) keep_standard: bool,
    /// Whether it is in a process group of its own: then a terminal's keys reach the runtime alone, which lets criu undo
    /// what it has begun. A criu that dies half-way can leave the processes that it works on unable to go on.
    pub(crate) own_group: bool,
    /// Done in the new process before criu.
    pub(crate) prepare: Option<&'a dyn Fn() -> Result<()>>,
}

/// A criu that runs.
#[derive(Debug)]
pub(crate) struct Session {
    line: Option<OwnedFd>,
    /// Until it is reaped.
    pidfd: Option<OwnedFd>,
    pub(crate) pid: i32,
    /// The longest silence, where there is a limit.
    patience: Option<Duration>,
}

impl Session {
    /// Sends the request and serves notifications until the answer, or until one of the signals held back comes.
    pub(crate) fn converse(
        &mut self,
        request: &Message,
        held: Option<&Held>,
        mut notice: impl FnMut(&Notify, Option<OwnedFd>) -> Result<()>,
    ) -> Result<Response> {
        self.send(request)?;
        loop {
            let (answer, fd) = self.receive(held)?;
            if !answer.success {
                let detail = answer
                    .message
                    .as_deref()
                    .and_then(|m| m.lines().next())
                    .map(|m| format!(": {m}"))
                    .unwrap_or_default();
                return Err(Error::internal(format!(
                    "criu failed: type {} errno {}{detail}",
                    answer.kind(),
                    answer.errno
                )));
            }
            if answer.kind() != proto::Kind::NOTIFY {
                return Ok(answer);
            }
            let notify =
                answer.notify.as_ref().ok_or_else(|| Error::corrupt("criu notifies without saying of what"))?;
            log::debug(format_args!("criu notifies: {} (process {})", notify.script, notify.pid));
            notice(notify, fd)?;
            self.send(&notified())?;
        }
    }

    fn send(&self, message: &Message) -> Result<()> {
        let Some(line) = &self.line else { return Err(Error::internal("the line to criu is closed")) };
        match send(line, message.as_bytes(), SendFlags::NOSIGNAL) {
            Ok(_) => Ok(()),
            Err(Errno::PIPE | Errno::CONNRESET) => Err(self.gone()),
            Err(error) => Err(io(error)).context(|| "write to criu"),
        }
    }

    fn receive(&self, held: Option<&Held>) -> Result<(Response, Option<OwnedFd>)> {
        let (Some(line), Some(pidfd)) = (&self.line, &self.pidfd) else {
            return Err(Error::internal("the line to criu is closed"));
        };
        let mut watched = vec![line.as_fd(), pidfd.as_fd()];
        watched.extend(held.map(AsFd::as_fd));
        match wait_for_any(&watched, self.patience)? {
            // What criu has said before its end is still on the line.
            Some(0) => {}
            Some(1) => return Err(self.gone()),
            Some(_) => {
                let signal = held.and_then(Held::take).map_or("a signal".to_owned(), |s| format!("signal {s}"));
                return Err(Error::new(Kind::Cancelled, format!("given up: {signal} came while criu was at work")));
            }
            None => {
                let seconds = self.patience.unwrap_or_default().as_secs();
                return Err(Error::deadline(format!("criu has not answered for {seconds} seconds")));
            }
        }
        let mut packet = vec![0; MAX_PACKET];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut parts = [std::io::IoSliceMut::new(&mut packet)];
            match recvmsg(line, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => {}
                Err(Errno::CONNRESET) => return Err(self.gone()),
                result => break result.map_err(io).context(|| "read from criu")?,
            }
        };
        let mut fd = None;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                // What is more than one is closed.
                fds.for_each(|new| fd = Some(new));
            }
        }
        if received.bytes == 0 {
            return Err(self.gone());
        }
        if received.flags.contains(ReturnFlags::TRUNC) {
            return Err(Error::corrupt(format!("criu's answer is longer than {} KiB", MAX_PACKET >> 10)));
        }
        packet.truncate(received.bytes);
        Ok((Response::parse(&packet)?, fd))
    }

    /// The line is dead: criu has ended, and how is worth knowing.
    fn gone(&self) -> Error {
        let status = self.pidfd.as_ref().and_then(|pidfd| {
            wait_for(pidfd.as_fd(), Duration::from_secs(2)).ok().filter(|ended| *ended)?;
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            waitid(WaitId::PidFd(pidfd.as_fd()), options).ok().flatten()
        });
        let how = status.map_or_else(|| "it has closed the line".to_owned(), |s| describe(&s));
        Error::unavailable(format!("criu failed: unexpected EOF ({how})"))
    }

    /// Closes the line and waits for criu's end. After a pre-dump criu waits for more and does not like to be let down,
    /// so its status is for the caller to judge.
    pub(crate) fn end(mut self) -> Result<WaitIdStatus> {
        self.line = None;
        let Some(pidfd) = self.pidfd.take() else { return Err(Error::internal("criu is gone")) };
        if !wait_for(pidfd.as_fd(), END_TIMEOUT)? {
            reap(&pidfd, true);
            return Err(Error::deadline(format!(
                "criu has answered and has not ended for {} seconds",
                END_TIMEOUT.as_secs()
            )));
        }
        reap(&pidfd, false).ok_or_else(|| Error::internal("criu has ended, and nobody knows how"))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.line = None;
        let Some(pidfd) = self.pidfd.take() else { return };
        // One that has not even answered a question will not be waited for either.
        let time = if self.patience.is_some() { Duration::from_millis(200) } else { END_TIMEOUT };
        let ended = wait_for(pidfd.as_fd(), time).unwrap_or(false);
        reap(&pidfd, !ended);
    }
}

fn reap(pidfd: &OwnedFd, kill: bool) -> Option<WaitIdStatus> {
    if kill {
        let _ = sys::process::pidfd_kill(pidfd.as_fd(), 9);
    }
    waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED).ok().flatten()
}

/// In the words of other runtimes.
pub(crate) fn describe(status: &WaitIdStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "unknown end".to_owned(),
    }
}

/// Waits until a descriptor can be read; false when the time is over.
fn wait_for(fd: BorrowedFd<'_>, time: Duration) -> Result<bool> {
    Ok(wait_for_any(&[fd], Some(time))?.is_some())
}

/// Waits until one of the descriptors can be read, and returns the first that can; none when the time is over.
fn wait_for_any(watched: &[BorrowedFd<'_>], time: Option<Duration>) -> Result<Option<usize>> {
    let end = time.map(|time| std::time::Instant::now() + time);
    loop {
        let left = end.map(|end| end.saturating_duration_since(std::time::Instant::now()));
        let left = left.map(|left| Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos() as _ });
        let mut fds: Vec<PollFd<'_>> = watched.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN)).collect();
        match poll(&mut fds, left.as_ref()) {
            Err(Errno::INTR) => {}
            result => {
                result.map_err(io).context(|| "wait for criu")?;
                return Ok(fds.iter().position(|fd| !fd.revents().is_empty()));
            }
        }
    }
}
