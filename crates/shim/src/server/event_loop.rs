//! The loop: wait, hand out, reap, mind the deadlines.

use super::args::Args;
use super::publish::Publisher;
use super::shim::{Poll, Shim, Source};
use oci::{Context, Error, Result};
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventFlags};
use rustix::process::{WaitOptions, WaitStatus, wait, waitpid};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};
use sys::frugal::Code;
use sys::signalfd::{Signal, SignalFd};

const SCRATCH: usize = 32 * 1024;
/// How long a shim stays that has neither a container nor a client: its daemon died between two steps.
const IDLE: Duration = Duration::from_secs(10);
/// A pause of this length is taken for the end of a burst of work.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) fn serve(args: &Args) -> Result<()> {
    let socket = std::env::var_os("SAMPAN_SHIM_SOCKET")
        .ok_or_else(|| Error::invalid("no action: give start or delete (the server is started by start)"))?;
    // A session of its own: the daemon's terminal and its process group's signals are not for us.
    let _ = rustix::process::setsid();
    let listening = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)
        .map_err(std::io::Error::from)
        .context(|| "take over the socket")?;
    let null = std::fs::File::open("/dev/null").context(|| "open /dev/null")?;
    rustix::stdio::dup2_stdin(&null).map_err(std::io::Error::from).context(|| "replace standard input")?;
    let listener = UnixListener::from(listening);
    listener.set_nonblocking(true).context(|| "set the socket non-blocking")?;
    // Orphans of the containers become our children, so that their exits are seen.
    let own = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(own)).map_err(std::io::Error::from).context(|| "become subreaper")?;
    let signals = SignalFd::new(&[Signal::Child, Signal::Terminate, Signal::Interrupt, Signal::Pipe, Signal::HangUp])
        .context(|| "signalfd")?;

    let mut poll = Poll::new()?;
    poll.add(&listener, Source::Listener, EventFlags::IN)?;
    poll.add(&signals, Source::Signals, EventFlags::IN)?;
    let mut shim = Shim {
        poll,
        args: args.clone(),
        socket: socket.into(),
        connections: Default::default(),
        containers: Default::default(),
        jobs: Vec::new(),
        publisher: Publisher::from_environment(&args.namespace),
        ending: false,
        code: Code::find().context(|| "find the own code")?,
        warm: true,
        idle_since: Some(Instant::now()),
        scratch: vec![0; SCRATCH].into_boxed_slice(),
    };
    let outcome = shim.run_loop(&listener, &signals);
    let _ = std::fs::remove_file(&shim.socket);
    outcome
}

impl Shim {
    fn run_loop(&mut self, listener: &UnixListener, signals: &SignalFd) -> Result<()> {
        let mut events = Vec::with_capacity(32);
        loop {
            if self.ending && self.jobs.is_empty() && self.connections.values().all(|c| c.waiting() == 0) {
                return Ok(());
            }
            // With nothing to do for a while, the memory of the work is given back; that is no work itself.
            let pause = self.warm.then(|| Instant::now() + PAUSE);
            let next = self.next_deadline().into_iter().chain(pause).min();
            let timeout = next.map(|at| at.saturating_duration_since(Instant::now())).map(|left| {
                // Rounded up, so that the deadline has passed when the wait ends.
                let left = left + Duration::from_millis(1);
                Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) }
            });
            events.clear();
            match epoll::wait(&self.poll.epoll, rustix::buffer::spare_capacity(&mut events), timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(std::io::Error::from(error)).context(|| "epoll: wait"),
            }
            let quiet = events.is_empty() && pause.is_some_and(|at| at <= Instant::now());
            self.warm = !quiet && (self.warm || !events.is_empty());
            for event in events.drain(..) {
                let token = event.data.u64();
                // Copied, because handling an event may end its source.
                let Some(source) = self.poll.sources.get(&token).cloned() else { continue };
                match source {
                    Source::Listener => self.accept(listener),
                    Source::Connection => self.connection_ready(token, event.flags),
                    Source::Publisher => self.publisher_ready(event.flags),
                    Source::Stream(key, port) => self.stream_ready(&key, port),
                    Source::Memory(id) => self.memory_ran_out(&id),
                    Source::Signals => {
                        // Only SIGCHLD means work. The others must not end the owner of the containers' streams.
                        let _ = signals.read();
                        self.reap();
                    }
                }
            }
            let now = Instant::now();
            self.kill_overdue(now);
            self.cut_stalled(now);
            self.finish_drained(now);
            self.mind_idleness(now);
            if quiet {
                self.code.release();
            }
        }
    }

    fn next_deadline(&self) -> Option<Instant> {
        let jobs = self.jobs.iter().map(|j| j.deadline);
        let connections = self.connections.values().filter_map(|c| c.deadline());
        let drains = self.drain_deadlines();
        let idle = self.idle_since.map(|since| since + IDLE);
        jobs.chain(connections).chain(drains).chain(idle).min()
    }

    fn mind_idleness(&mut self, now: Instant) {
        if !self.containers.is_empty() || !self.connections.is_empty() || !self.jobs.is_empty() {
            self.idle_since = None;
        } else if now.duration_since(*self.idle_since.get_or_insert(now)) >= IDLE {
            self.ending = true;
        }
    }

    fn memory_ran_out(&mut self, id: &str) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let Some((fd, token)) = &container.oom else { return };
        // What was read is no longer ready: the counts from their beginning, or an eventfd, which has none.
        let counts = rustix::io::pread(fd, &mut [0; 256], 0).is_ok();
        let mut kills = container.cgroups.oom_kills();
        let over = container.init.ended.is_some();
        if !counts && rustix::io::read(fd, &mut [0; 8]).is_ok() && !over {
            // cgroup v1 tells just before it counts.
            kills = kills.max(container.oom_kills + 1);
        }
        if kills == 0 && over {
            // The cgroup is gone, which makes the descriptor ready for ever.
            self.poll.remove(fd, *token);
            container.oom = None;
        }
        self.tell_memory(id, kills);
    }

    /// Tells of kills that were not told of.
    pub(super) fn tell_memory(&mut self, id: &str, kills: u64) {
        let Some(container) = self.containers.get_mut(id) else { return };
        if kills > container.oom_kills {
            container.oom_kills = kills;
            self.publish_oom(id);
        }
    }

    /// Collects ended children: runs of the runtime, tracked processes, orphans.
    pub(super) fn reap(&mut self) {
        loop {
            while self.complete_jobs() {}
            let tracked: Vec<_> = self.tracked().collect();
            for (key, pid) in tracked {
                let Some(raw) = rustix::process::Pid::from_raw(pid as i32) else { continue };
                if let Ok(Some((_, status))) = waitpid(Some(raw), WaitOptions::NOHANG) {
                    self.process_ended(&key, code(status));
                }
            }
            // While a run is under way, an unknown child may be the process that it is about to tell us of.
            if !self.jobs.is_empty() {
                return;
            }
            let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) else { return };
            let found = self.tracked().find(|(_, p)| *p == pid.as_raw_nonzero().get() as u32);
            // Others are orphans that nobody knows.
            if let Some((key, _)) = found {
                self.process_ended(&key, code(status));
            }
        }
    }
}

/// The exit code that people know: 128+n for signal n.
fn code(status: WaitStatus) -> u32 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code as u32,
        (None, Some(signal)) => 128 + signal as u32,
        (None, None) => 255,
    }
}
