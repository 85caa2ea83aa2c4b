//! The streams of a process: what it writes goes to a log, a FIFO or a file, and to attached clients; what clients and
//! FIFOs send goes to its input.
//!
//! ```text
//!                       ┌─► json-file (a failed write loses lines, never ends the pump)
//! process ──pipe/pty──► pump ─► FIFO     (full: the pump waits, as the foreign reader wants)
//!                       └─► clients      (full: the pump waits until the client moves or is cut off)
//! clients, FIFO ──► waiting input ──► pipe/pty ──► process
//! ```

use super::connection::CLIENT_BUFFER;
use super::process::{Ended, Key, Status};
use super::shim::{Port, Shim, Source};
use crate::exits::{self, Exit};
use crate::logs::Target;
use crate::logs::json_file::{Stream, Writer};
use oci::{Context, Error, Result, Timestamp};
use rustix::event::epoll::EventFlags;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::Winsize;
use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// After its exit, a process's streams may stay open (someone else holds them) this long without a byte.
const QUIET: Duration = Duration::from_millis(250);
/// And this long with bytes flowing.
const DRAIN: Duration = Duration::from_secs(10);
/// The word in place of a URI for an input that only attached clients feed.
pub(super) const ATTACH: &str = "attach://";

/// Where an output goes besides attached clients.
#[derive(Default)]
enum Sink {
    #[default]
    Null,
    Log,
    File(File),
    Fifo(Fifo),
}

struct Fifo {
    fd: OwnedFd,
    pending: Vec<u8>,
    token: Option<u64>,
}

struct Out {
    fd: OwnedFd,
    token: u64,
    paused: bool,
    last: Instant,
}

#[derive(Default)]
struct Input {
    fd: Option<(OwnedFd, u64)>,
    waiting: VecDeque<u8>,
    /// Close when `waiting` is empty.
    ending: bool,
    /// Nobody reads it any more.
    closed: bool,
    feed: Option<(OwnedFd, u64)>,
    /// Keeps the FIFO from ending while its client is away (a daemon that is restarted), until CloseIO.
    feed_open: Option<OwnedFd>,
}

/// See the [module](self).
#[derive(Default)]
pub(super) struct Streams {
    input: Input,
    outs: [Option<Out>; 2],
    sinks: [Sink; 2],
    log: Option<Writer>,
    /// The process is there. Until then what comes is the runtime's own complaint, which its log has, too.
    flowing: bool,
    size: Option<(u16, u16)>,
    console: Option<OwnedFd>,
    /// Connections of attached clients.
    pub(super) clients: Vec<u64>,
    /// The process's ends, until it is started.
    pub(super) child: Child,
}

/// The process's ends of its streams; `None` is `/dev/null`.
#[derive(Default)]
pub(super) struct Child {
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
}

impl Streams {
    /// Input that waits for the process.
    pub(super) fn stdin_waiting(&self) -> usize {
        self.input.waiting.len()
    }

    /// Columns and rows of the terminal, as far as they were told.
    pub(super) fn size(&self) -> Option<(u16, u16)> {
        self.size
    }

    fn drained(&self) -> bool {
        self.outs.iter().all(Option::is_none)
    }
}

fn nonblocking(fd: &OwnedFd) -> Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd).map_err(std::io::Error::from)?;
    rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK).map_err(std::io::Error::from)?;
    Ok(())
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    pipe_with(PipeFlags::CLOEXEC).map_err(std::io::Error::from).context(|| "make a pipe")
}

fn sink(target: Target, log: &mut Option<Writer>) -> Result<Sink> {
    Ok(match target {
        Target::Null => Sink::Null,
        Target::File(path) => {
            let file = File::options().append(true).create(true).open(&path);
            Sink::File(file.context(|| format!("open {}", path.display()))?)
        }
        Target::JsonFile(options) => {
            // Both streams share one file, and so one writer.
            if log.is_none() {
                *log = Some(Writer::open(options)?);
            }
            Sink::Log
        }
        Target::Fifo(path) => {
            // For reading too: then it neither blocks nor breaks while the client is away.
            let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let fd = rustix::fs::open(&path, flags, Mode::empty()).map_err(std::io::Error::from);
            Sink::Fifo(Fifo {
                fd: fd.context(|| format!("open FIFO {}", path.display()))?,
                pending: Vec::new(),
                token: None,
            })
        }
    })
}

impl Shim {
    /// Opens what the URIs name, and pipes unless there is to be a terminal.
    pub(super) fn open_streams(&mut self, key: &Key, uris: &[String; 3], terminal: bool) -> Result<Streams> {
        let mut streams = Streams::default();
        let mut log = None;
        streams.sinks[0] = sink(Target::parse(&uris[1])?, &mut log)?;
        if !terminal {
            streams.sinks[1] = sink(Target::parse(&uris[2])?, &mut log)?;
        }
        streams.log = log;
        if !uris[0].is_empty() && uris[0] != ATTACH {
            let Target::Fifo(path) = Target::parse(&uris[0])? else {
                return Err(Error::unsupported(format!("stdin URI {:?}: only FIFOs are supported", uris[0])));
            };
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let fd = rustix::fs::open(&path, flags, Mode::empty()).map_err(std::io::Error::from);
            let fd = fd.context(|| format!("open FIFO {}", path.display()))?;
            let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let open = rustix::fs::open(&path, flags, Mode::empty()).map_err(std::io::Error::from);
            streams.input.feed_open = Some(open.context(|| format!("open FIFO {}", path.display()))?);
            let token = self.poll.add(&fd, Source::Stream(key.clone(), Port::Feed), EventFlags::IN)?;
            streams.input.feed = Some((fd, token));
        }
        if terminal {
            return Ok(streams);
        }
        if uris[0].is_empty() {
            streams.input.closed = true;
        } else {
            let (read, write) = pipe()?;
            nonblocking(&write)?;
            let token = self.poll.add(&write, Source::Stream(key.clone(), Port::Stdin), EventFlags::empty())?;
            streams.input.fd = Some((write, token));
            streams.child.stdin = Some(read);
        }
        for out in 0..2 {
            let (read, write) = pipe()?;
            nonblocking(&read)?;
            let token = self.poll.add(&read, Source::Stream(key.clone(), Port::Out(out)), EventFlags::IN)?;
            self.poll.pause(&read);
            streams.outs[out] = Some(Out { fd: read, token, paused: true, last: Instant::now() });
            *(if out == 0 { &mut streams.child.stdout } else { &mut streams.child.stderr }) = Some(write);
        }
        Ok(streams)
    }

    /// Takes over the terminal that the runtime made.
    pub(super) fn adopt_console(&mut self, key: &Key, master: OwnedFd) -> Result<()> {
        nonblocking(&master)?;
        let duplicate =
            |what| rustix::io::fcntl_dupfd_cloexec(&master, 3).map_err(std::io::Error::from).context(|| what);
        let (read, write) = (duplicate("copy the terminal")?, duplicate("copy the terminal")?);
        let out_token = self.poll.add(&read, Source::Stream(key.clone(), Port::Out(0)), EventFlags::IN)?;
        let in_token = self.poll.add(&write, Source::Stream(key.clone(), Port::Stdin), EventFlags::empty())?;
        let process = self.process(key)?;
        let streams = &mut process.streams;
        streams.outs[0] = Some(Out { fd: read, token: out_token, paused: false, last: Instant::now() });
        streams.input.fd = Some((write, in_token));
        let size = streams.size;
        streams.console = Some(master);
        if let Some((columns, rows)) = size {
            self.resize(key, columns, rows)?;
        }
        self.write_stdin(key);
        Ok(())
    }

    /// The process is there now: its output is read.
    pub(super) fn let_flow(&mut self, key: &Key) {
        if let Ok(process) = self.process(key) {
            process.streams.flowing = true;
        }
        self.release_output(key);
    }

    /// Sets the terminal's size, now or when there is one.
    pub(super) fn resize(&mut self, key: &Key, columns: u16, rows: u16) -> Result<()> {
        let process = self.process(key)?;
        if !process.terminal {
            return Err(Error::conflict(format!("process of {} has no terminal", key.id)));
        }
        process.streams.size = Some((columns, rows));
        let Some(console) = &process.streams.console else { return Ok(()) };
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(console, size).map_err(std::io::Error::from).context(|| "resize the terminal")
    }

    pub(super) fn stream_ready(&mut self, key: &Key, port: Port) {
        match port {
            Port::Out(out) => self.pump(key, out),
            Port::Stdin => self.write_stdin(key),
            Port::Feed => self.read_feed(key),
            Port::Sink(out) => self.write_fifo(key, out),
        }
    }

    // ---- input

    /// Input for a process from an attached client.
    pub(super) fn feed_stdin(&mut self, key: &Key, bytes: &[u8]) {
        let Ok(process) = self.process(key) else { return };
        let input = &mut process.streams.input;
        if !input.closed && !input.ending {
            input.waiting.extend(bytes);
            self.write_stdin(key);
        }
    }

    /// No more input will come. What a FIFO's client has written is still read.
    pub(super) fn end_stdin(&mut self, key: &Key) {
        let Ok(process) = self.process(key) else { return };
        process.streams.input.feed_open = None;
        if process.streams.input.feed.is_some() {
            return;
        }
        // A terminal's input has no end; hanging up would end the session.
        if !process.terminal {
            process.streams.input.ending = true;
            self.write_stdin(key);
        }
    }

    fn write_stdin(&mut self, key: &Key) {
        let Ok(process) = self.process(key) else { return };
        let input = &mut process.streams.input;
        let Some((fd, token)) = &input.fd else { return };
        let token = *token;
        let mut broken = false;
        while !input.waiting.is_empty() {
            match rustix::io::write(fd, input.waiting.as_slices().0) {
                Ok(count) => drop(input.waiting.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => {
                    broken = true;
                    break;
                }
            }
        }
        let empty = input.waiting.is_empty();
        if broken || (empty && input.ending) {
            self.close_stdin(key);
        } else {
            // Watched only while something waits: a writable pipe would wake the loop for ever.
            let flags = if empty { EventFlags::empty() } else { EventFlags::OUT };
            self.arm_stdin(key, token, flags);
        }
        self.release_input(key);
    }

    fn arm_stdin(&mut self, key: &Key, token: u64, flags: EventFlags) {
        let Some(container) = self.containers.get(&key.id) else { return };
        if let Some((fd, _)) = container.process(&key.exec_id).and_then(|p| p.streams.input.fd.as_ref()) {
            self.poll.modify(fd, token, flags);
        }
    }

    fn close_stdin(&mut self, key: &Key) {
        let Ok(process) = self.process(key) else { return };
        let input = std::mem::take(&mut process.streams.input);
        process.streams.input.closed = true;
        for (fd, token) in input.fd.into_iter().chain(input.feed) {
            self.poll.remove(&fd, token);
        }
    }

    fn read_feed(&mut self, key: &Key) {
        let mut scratch = std::mem::take(&mut self.scratch);
        if let Ok(process) = self.process(key)
            && let Some((fd, _)) = &process.streams.input.feed
        {
            // A little at a time, so that a process that doesn't read holds the FIFO's writer up.
            match rustix::io::read(fd, &mut scratch[..4096]) {
                Ok(0) => {
                    self.drop_feed(key);
                    self.end_stdin(key);
                }
                Ok(count) => {
                    self.feed_stdin(key, &scratch[..count]);
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => self.drop_feed(key),
            }
        }
        self.scratch = scratch;
    }

    fn drop_feed(&mut self, key: &Key) {
        let feed = self.process(key).ok().and_then(|p| p.streams.input.feed.take());
        if let Some((fd, token)) = feed {
            self.poll.remove(&fd, token);
        }
    }

    // ---- output

    fn pump(&mut self, key: &Key, out: usize) {
        let mut scratch = std::mem::take(&mut self.scratch);
        let count = match self.process(key).ok().and_then(|p| p.streams.outs[out].as_mut()) {
            Some(source) => {
                source.last = Instant::now();
                match rustix::io::read(&source.fd, &mut scratch[..]) {
                    Ok(count) => Some(count),
                    Err(Errno::AGAIN | Errno::INTR) => None,
                    // A terminal whose other side is closed says EIO.
                    Err(_) => Some(0),
                }
            }
            None => None,
        };
        match count {
            None => {}
            Some(0) => self.close_out(key, out),
            Some(count) => self.spread(key, out, &scratch[..count]),
        }
        self.scratch = scratch;
    }

    fn spread(&mut self, key: &Key, out: usize, bytes: &[u8]) {
        let Ok(process) = self.process(key) else { return };
        let (terminal, clients) = (process.terminal, process.streams.clients.clone());
        let streams = &mut process.streams;
        let stream = if out == 0 { Stream::Stdout } else { Stream::Stderr };
        match &mut streams.sinks[out] {
            Sink::Null => {}
            Sink::Log => {
                if let Some(log) = &mut streams.log {
                    log.write(stream, bytes);
                }
            }
            // A full disk loses output; it must not stop the process.
            Sink::File(file) => drop(file.write_all(bytes)),
            Sink::Fifo(fifo) => {
                fifo.pending.extend_from_slice(bytes);
                self.write_fifo(key, out);
            }
        }
        for client in clients {
            self.offer(client, out, terminal, bytes);
        }
        self.hold_output(key);
    }

    fn write_fifo(&mut self, key: &Key, out: usize) {
        let Ok(process) = self.process(key) else { return };
        let Sink::Fifo(fifo) = &mut process.streams.sinks[out] else { return };
        while !fifo.pending.is_empty() {
            match rustix::io::write(&fifo.fd, &fifo.pending) {
                Ok(count) => drop(fifo.pending.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => fifo.pending.clear(),
            }
        }
        let (empty, token) = (fifo.pending.is_empty(), fifo.token);
        match (empty, token) {
            (false, None) => {
                let Ok(copy) = rustix::io::fcntl_dupfd_cloexec(&fifo.fd, 3) else { return };
                // The FIFO is watched through a copy that lives as long as something waits.
                let Ok(token) = self.poll.add(&copy, Source::Stream(key.clone(), Port::Sink(out)), EventFlags::OUT)
                else {
                    return;
                };
                if let Ok(process) = self.process(key)
                    && let Sink::Fifo(fifo) = &mut process.streams.sinks[out]
                {
                    fifo.token = Some(token);
                    fifo.fd = copy;
                }
            }
            (true, Some(token)) => {
                if let Some(container) = self.containers.get_mut(&key.id)
                    && let Some(process) = container.process_mut(&key.exec_id)
                    && let Sink::Fifo(fifo) = &mut process.streams.sinks[out]
                {
                    fifo.token = None;
                    self.poll.remove(&fifo.fd, token);
                }
                self.release_output(key);
            }
            _ => {}
        }
    }

    /// Whether an output has to wait for a reader.
    fn congested(&self, key: &Key) -> bool {
        let Some(process) = self.containers.get(&key.id).and_then(|c| c.process(&key.exec_id)) else { return false };
        let fifos = process.streams.sinks.iter().any(|s| matches!(s, Sink::Fifo(f) if !f.pending.is_empty()));
        let mut clients = process.streams.clients.iter().filter_map(|c| self.connections.get(c));
        !process.streams.flowing || fifos || clients.any(|c| c.waiting() > CLIENT_BUFFER)
    }

    fn hold_output(&mut self, key: &Key) {
        if !self.congested(key) {
            return;
        }
        if let Some(process) = self.containers.get_mut(&key.id).and_then(|c| c.process_mut(&key.exec_id)) {
            for out in process.streams.outs.iter_mut().flatten().filter(|o| !o.paused) {
                out.paused = true;
                self.poll.pause(&out.fd);
            }
        }
    }

    /// A reader took something: goes on if nothing else holds the output up.
    pub(super) fn release_output(&mut self, key: &Key) {
        if self.congested(key) {
            return;
        }
        if let Some(process) = self.containers.get_mut(&key.id).and_then(|c| c.process_mut(&key.exec_id)) {
            for out in process.streams.outs.iter_mut().flatten().filter(|o| o.paused) {
                out.paused = false;
                out.last = Instant::now();
                self.poll.resume(&out.fd, out.token, EventFlags::IN);
            }
        }
    }

    fn close_out(&mut self, key: &Key, out: usize) {
        let Some(process) = self.containers.get_mut(&key.id).and_then(|c| c.process_mut(&key.exec_id)) else { return };
        if let Some(closed) = process.streams.outs[out].take() {
            self.poll.remove(&closed.fd, closed.token);
        }
        if let Some(log) = &mut process.streams.log {
            log.finish(if out == 0 { Stream::Stdout } else { Stream::Stderr });
        }
        if process.streams.drained() && process.ended.is_some() {
            self.finish(key);
        }
    }

    // ---- the end

    /// Pids of the processes whose exit is to be noticed.
    pub(super) fn tracked(&self) -> impl Iterator<Item = (Key, u32)> + '_ {
        self.containers.iter().flat_map(|(id, container)| {
            let execs = container.execs.iter().map(|(exec_id, process)| (exec_id.as_str(), process));
            std::iter::once(("", &container.init))
                .chain(execs)
                // The end of one that is being started waits, so that clients hear of the start first.
                .filter(|(_, p)| p.pid != 0 && !p.starting && p.ended.is_none() && p.exit.is_none())
                .map(|(exec_id, process)| (Key::new(id, exec_id), process.pid))
        })
    }

    /// A process has ended: its output is read to the end, within bounds.
    pub(super) fn process_ended(&mut self, key: &Key, status: u32) {
        let Ok(process) = self.process(key) else { return };
        process.ended = Some(Ended { status, at: Timestamp::now(), seen: Instant::now() });
        let drained = process.streams.drained();
        if key.exec_id.is_empty()
            && let Some(container) = self.containers.get(&key.id)
            && container.kill_rest
        {
            container.cgroups.kill_all();
        }
        if drained {
            self.finish(key);
        }
    }

    /// When the streams of ended processes count as drained.
    pub(super) fn drain_deadlines(&self) -> impl Iterator<Item = Instant> + '_ {
        self.draining().map(|(_, deadline)| deadline)
    }

    fn draining(&self) -> impl Iterator<Item = (Key, Instant)> + '_ {
        self.containers.iter().flat_map(|(id, container)| {
            let execs = container.execs.iter().map(|(exec_id, process)| (exec_id.as_str(), process));
            std::iter::once(("", &container.init)).chain(execs).filter_map(|(exec_id, process)| {
                let ended = process.ended.filter(|_| process.exit.is_none())?;
                let outs = process.streams.outs.iter().flatten();
                let last = outs.clone().map(|o| o.last).max().unwrap_or(ended.seen).max(ended.seen);
                let held = outs.clone().any(|o| o.paused);
                let deadline = if held { ended.seen + DRAIN } else { (last + QUIET).min(ended.seen + DRAIN) };
                Some((Key::new(id, exec_id), deadline.max(Instant::now() - DRAIN)))
            })
        })
    }

    /// Ends the waiting for streams that somebody else holds open.
    pub(super) fn finish_drained(&mut self, now: Instant) {
        let due: Vec<Key> = self.draining().filter(|(_, at)| *at <= now).map(|(key, _)| key).collect();
        for key in due {
            self.finish(&key);
        }
    }

    /// Keeps the exit, then tells everyone; nothing if the process has not ended.
    pub(super) fn finish(&mut self, key: &Key) {
        let Some(container) = self.containers.get_mut(&key.id) else { return };
        let (bundle, kills) = (container.bundle.clone(), container.cgroups.oom_kills());
        let Some(process) = container.process_mut(&key.exec_id) else { return };
        let Some(ended) = process.ended.filter(|_| process.exit.is_none()) else { return };
        let exit = Exit {
            pid: process.pid,
            status: ended.status,
            exited_at: ended.at,
            oom_killed: kills > process.oom_kills_before,
        };
        process.exit = Some(exit);
        process.status = Status::Stopped;
        let waiters = std::mem::take(&mut process.waiters);
        let streams = std::mem::take(&mut process.streams);
        self.close_streams(streams);
        if let Err(error) = exits::write(&bundle, &key.exec_id, &exit) {
            self.note(&error.to_string());
        }
        for reply in waiters {
            let at = Some(super::shim::stamp(exit.exited_at));
            self.answer(reply, Ok(wire::task::WaitResponse { exit_status: exit.status, exited_at: at }));
        }
        // The kernel's own notice may still be on its way.
        self.tell_memory(&key.id, kills);
        self.publish_exit(key, &exit);
    }

    /// Closes everything; clients are closed when what waits for them was sent.
    pub(super) fn close_streams(&mut self, mut streams: Streams) {
        for out in streams.outs.iter_mut().filter_map(Option::take) {
            self.poll.remove(&out.fd, out.token);
        }
        for (fd, token) in streams.input.fd.take().into_iter().chain(streams.input.feed.take()) {
            self.poll.remove(&fd, token);
        }
        if let Some(log) = &mut streams.log {
            log.finish(Stream::Stdout);
            log.finish(Stream::Stderr);
        }
        for sink in &mut streams.sinks {
            if let Sink::Fifo(Fifo { fd, token: Some(token), .. }) = sink {
                self.poll.remove(fd, *token);
            }
        }
        for client in std::mem::take(&mut streams.clients) {
            self.close_when_sent(client);
        }
    }
}

/// The spot where a runtime connects to hand over a terminal: a socket in the bundle, named through a descriptor so
/// that no bundle's path is too long.
pub(super) struct ConsoleSocket {
    listener: std::os::unix::net::UnixListener,
    file: std::path::PathBuf,
    /// What the runtime is told.
    pub(super) path: std::path::PathBuf,
    _dir: OwnedFd,
}

impl ConsoleSocket {
    pub(super) fn new(bundle: &Path, name: &str) -> Result<Self> {
        use std::os::fd::AsRawFd;
        let what = || format!("make a console socket in {}", bundle.display());
        let dir = File::open(bundle).context(what)?;
        let file = bundle.join(name);
        let _ = std::fs::remove_file(&file);
        let path = format!("/proc/{}/fd/{}/{name}", std::process::id(), dir.as_raw_fd());
        let listener = std::os::unix::net::UnixListener::bind(&path).context(what)?;
        listener.set_nonblocking(true).context(what)?;
        Ok(Self { listener, file, path: path.into(), _dir: dir.into() })
    }

    /// The terminal, after the runtime has ended well.
    pub(super) fn receive(&self) -> Result<OwnedFd> {
        use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
        let what = || "receive the terminal from the runtime";
        let (stream, _) = self.listener.accept().context(what)?;
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut name = [0; 4096];
        let mut buffers = [std::io::IoSliceMut::new(&mut name)];
        recvmsg(&stream, &mut buffers, &mut control, RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT)
            .map_err(std::io::Error::from)
            .context(what)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(mut fds) = message
                && let Some(fd) = fds.next()
            {
                return Ok(fd);
            }
        }
        Err(Error::internal("the runtime sent no terminal"))
    }
}

impl Drop for ConsoleSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}
