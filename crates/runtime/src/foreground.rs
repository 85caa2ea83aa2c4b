//! Waiting for a process in the foreground: signals go on to it, a terminal is copied both ways.

use std::io::IsTerminal;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use oci::runtime::{ConsoleSize, Process};
use oci::{Context, Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read, write};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{WaitOptions, wait as wait_for_any};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

use crate::notify::Proxy;

const SIGURG: i32 = 23;
const SIGCHLD: i32 = 17;
const SIGWINCH: i32 = 28;

/// A terminal that the runtime itself serves.
#[derive(Debug)]
pub(crate) struct Terminal {
    ours: UnixStream,
}

/// Lets a process begin with the size of the caller's terminal, if it has one: set later, it could be too late for the
/// program's first look.
pub(crate) fn take_size(process: &mut Process) {
    // A terminal without a size says nothing, and the process may have been given one.
    if let Ok(size) = tcgetwinsize(std::io::stdin())
        && (size.ws_row, size.ws_col) != (0, 0)
    {
        process.console_size = Some(ConsoleSize { height: size.ws_row.into(), width: size.ws_col.into() });
    }
}

/// A socket for the process's half, and the terminal to be served.
pub(crate) fn terminal() -> Result<(OwnedFd, Terminal)> {
    let (ours, theirs) = UnixStream::pair().context(|| "make a console socket")?;
    Ok((theirs.into(), Terminal { ours }))
}

/// Puts the caller's terminal back into its mode at the end.
struct Raw<'a>(BorrowedFd<'a>, Termios);

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        // The terminal may be gone by now; then there is nothing to put back.
        let _ = tcsetattr(self.0, OptionalActions::Now, &self.1);
    }
}

fn io(error: Errno) -> Error {
    std::io::Error::from(error).into()
}

impl Terminal {
    /// Receives the master that the process has sent.
    fn master(&self) -> Result<OwnedFd> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut name = [0; 64];
        let mut name = [std::io::IoSliceMut::new(&mut name)];
        recvmsg(&self.ours, &mut name, &mut control, RecvFlags::CMSG_CLOEXEC)
            .map_err(io)
            .context(|| "receive the terminal")?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(mut fds) = message
                && let Some(fd) = fds.next()
            {
                return Ok(fd);
            }
        }
        Err(Error::internal("the process sent no terminal"))
    }
}

/// Waits until the process ends; returns its exit status as a shell shows it. All signals must be blocked.
pub(crate) fn wait(pid: i32, terminal: Option<&Terminal>, notify: Option<&Proxy>) -> Result<i32> {
    if let Some(proxy) = notify
        && let Some(status) = wait_for_ready(pid, proxy)?
    {
        return Ok(status);
    }
    let Some(terminal) = terminal else {
        loop {
            if let Some(signal) = sys::signal::wait(None).context(|| "wait for signals")?
                && let Some(status) = handle(signal, pid, None)?
            {
                return Ok(status);
            }
        }
    };
    let master = terminal.master()?;
    let stdin = std::io::stdin();
    let stdout = std::io::stdout();
    let raw = if stdin.is_terminal() {
        let saved = tcgetattr(&stdin).map_err(io).context(|| "read the terminal's mode")?;
        let mut mode = saved.clone();
        mode.make_raw();
        tcsetattr(&stdin, OptionalActions::Now, &mode).map_err(io).context(|| "set the terminal to raw mode")?;
        Some(Raw(stdin.as_fd(), saved))
    } else {
        None
    };
    resize(&master);
    let status = serve(pid, &master, stdin.as_fd(), stdout.as_fd());
    drop(raw);
    status
}

/// Until the program has said that it is ready, its notify socket is watched beside the signals. The status, if it
/// ends without.
fn wait_for_ready(pid: i32, proxy: &Proxy) -> Result<Option<i32>> {
    let signals = sys::signal::descriptor().context(|| "watch signals")?;
    loop {
        let mut fds = [PollFd::new(proxy, PollFlags::IN), PollFd::new(&signals, PollFlags::IN)];
        match poll(&mut fds, None) {
            Err(Errno::INTR) => continue,
            result => result.map_err(io).context(|| "wait for the container to be ready")?,
        };
        // The manager already watches the runtime, which lives as long as the container: no other main process.
        if !fds[0].revents().is_empty() && proxy.take(None)? {
            return Ok(None);
        }
        for signal in pending(&signals) {
            if let Some(status) = handle(signal, pid, None)? {
                return Ok(Some(status));
            }
        }
    }
}

/// The signals that have arrived.
fn pending(signals: &OwnedFd) -> impl Iterator<Item = i32> {
    std::iter::from_fn(move || {
        let mut info = [0u8; 128];
        match read(signals, &mut info) {
            Ok(128) => Some(i32::from_ne_bytes([info[0], info[1], info[2], info[3]])),
            _ => None,
        }
    })
}

fn resize(master: &OwnedFd) {
    // Whoever has no terminal has no size either.
    if let Ok(size) = tcgetwinsize(std::io::stdin()) {
        let _ = tcsetwinsize(master, size);
    }
}

/// Deals with one signal; the status when it was the end of the process.
fn handle(signal: i32, pid: i32, master: Option<&OwnedFd>) -> Result<Option<i32>> {
    match signal {
        SIGCHLD => reap(pid),
        // Without a terminal of its own its size is nothing to the process, and some programs take the signal for another
        // request: to httpd and nginx it means to stop.
        SIGWINCH => {
            master.map(resize);
            Ok(None)
        }
        SIGURG => Ok(None),
        // It may have ended a moment ago.
        signal => {
            let _ = sys::process::kill(pid, signal);
            Ok(None)
        }
    }
}

/// The status, once the process has ended. Orphans that this process has been given end here too.
fn reap(pid: i32) -> Result<Option<i32>> {
    loop {
        match wait_for_any(WaitOptions::NOHANG) {
            Ok(Some((ended, status))) if ended.as_raw_pid() == pid => {
                return Ok(Some(match status.terminating_signal() {
                    Some(signal) => 128 + signal,
                    None => status.exit_status().unwrap_or(1),
                }));
            }
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return Ok(None),
            Err(error) => return Err(io(error)).context(|| "wait for the process"),
        }
    }
}

/// Copies both ways until the process has ended and its output is through.
fn serve(pid: i32, master: &OwnedFd, stdin: BorrowedFd<'_>, stdout: BorrowedFd<'_>) -> Result<i32> {
    let signals = sys::signal::descriptor().context(|| "watch signals")?;
    let mut ended = None;
    let mut input_open = true;
    let mut buffer = [0u8; 8192];
    loop {
        let mut fds = vec![PollFd::new(master, PollFlags::IN), PollFd::new(&signals, PollFlags::IN)];
        if input_open {
            fds.push(PollFd::from_borrowed_fd(stdin, PollFlags::IN));
        }
        // After the end, what is still buffered is read; other processes may hold the terminal open.
        let time = ended.map(|_| Timespec { tv_sec: 0, tv_nsec: 100_000_000 });
        let count = match poll(&mut fds, time.as_ref()) {
            Err(Errno::INTR) => continue,
            result => result.map_err(io).context(|| "watch the terminal")?,
        };
        let ready: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        if let (0, Some(status)) = (count, ended) {
            return Ok(status);
        }
        if !ready[0].is_empty() {
            match read(master, &mut buffer) {
                Ok(length @ 1..) => write_all(stdout, &buffer[..length])?,
                // EIO: nobody has the other end open any more.
                Ok(0) | Err(_) => match ended {
                    Some(status) => return Ok(status),
                    None => {
                        std::thread::sleep(Duration::from_millis(1));
                        ended = reap(pid)?;
                    }
                },
            }
        }
        if !ready[1].is_empty() {
            for signal in pending(&signals) {
                if ended.is_none() {
                    ended = handle(signal, pid, Some(master))?;
                }
            }
        }
        if ready.get(2).is_some_and(|r| !r.is_empty()) {
            match read(stdin, &mut buffer) {
                Ok(length @ 1..) => write_all(master.as_fd(), &buffer[..length])?,
                _ => {
                    input_open = false;
                    // End of input, in the terminal's language.
                    let _ = write(master, &[4]);
                }
            }
        }
    }
}

fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match write(to, bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(io(error)).context(|| format!("write to descriptor {}", to.as_raw_fd())),
        }
    }
    Ok(())
}
