//! `events`: what a container uses, now and then, and when it was short of memory.

use std::io::Write;
use std::time::{Duration, Instant};

use oci::{Context, Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use super::Command;
use crate::cgroups::{OomWatch, Stats};
use crate::cli::{Args, Count, Failure, Flag, Global, switch, value};
use crate::log;
use crate::state::{Container, Status};

static FLAGS: [Flag; 2] = [
    value(&["interval"], "set the stats collection interval (default: 5s)"),
    switch(&["stats"], "display the container's stats then exit"),
];

pub(super) static COMMAND: Command = Command {
    name: "events",
    about: "display container events such as OOM notifications, cpu, memory, and IO usage statistics",
    usage: "<container-id>",
    flags: &FLAGS,
    arguments: Count::Exactly(1),
    command_after: None,
    makes: false,
    run,
};

/// One line of output.
#[derive(Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Stats>,
}

fn run(global: &Global, args: &Args) -> Result<i32, Failure> {
    let container = Container::open(&global.root, args.id("events")?)?;
    let interval = match args.get("interval") {
        None => Duration::from_secs(5),
        Some(text) => parse_duration(text)
            .ok_or_else(|| Error::invalid(format!("invalid value {text:?} for flag -interval: parse error")))?,
    };
    if interval.is_zero() {
        return Err(Error::invalid("duration interval must be greater than 0").into());
    }
    let stopped = || Error::conflict(format!("container with id {} is not running", container.id));
    if container.status() == Status::Stopped {
        return Err(stopped().into());
    }
    if args.on("stats") {
        print(&stats(&container)?)?;
        return Ok(0);
    }
    follow(&container, interval, stopped)?;
    Ok(0)
}

fn stats(container: &Container) -> Result<Event<'_>> {
    Ok(Event { kind: "stats", id: &container.id, data: Some(container.record()?.cgroup.stats()?) })
}

/// Prints until the first process has ended.
fn follow(container: &Container, interval: Duration, stopped: impl Fn() -> Error) -> Result<()> {
    let (_, process) = container.init().ok_or_else(stopped)?;
    let mut watch = container.record()?.cgroup.watch_oom()?;
    let mut next = Instant::now() + interval;
    loop {
        let wait = next.saturating_duration_since(Instant::now());
        let time = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        let mut fds = vec![PollFd::new(&process, PollFlags::IN)];
        if let Some(watch) = &watch {
            let (fd, flags) = watch.readiness();
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        }
        match poll(&mut fds, Some(&time)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(std::io::Error::from(error)).context(|| "wait for events"),
        }
        let ended = !fds[0].revents().is_empty();
        let signalled = ended || fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
        if signalled && watch.as_mut().is_some_and(OomWatch::happened) {
            print(&Event { kind: "oom", id: &container.id, data: None })?;
        }
        if ended {
            return Ok(());
        }
        if Instant::now() >= next {
            match stats(container) {
                Ok(event) => print(&event)?,
                // It can have been deleted a moment ago; the next round sees that.
                Err(error) => log::error(&error.to_string()),
            }
            next = Instant::now() + interval;
        }
    }
}

fn print(event: &Event<'_>) -> Result<()> {
    let mut line = serde_json::to_vec(event).map_err(|e| Error::internal(e.to_string()))?;
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line).and_then(|()| out.flush()).context(|| "write an event")
}

/// Go's form of a duration: `5s`, `100ms`, `1m30s`, `1.5h`.
fn parse_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut sum = 0f64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|n| *n > 0)?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let seconds = match &tail[..end] {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        sum += number.parse::<f64>().ok()? * seconds;
        rest = &tail[end..];
    }
    if text.is_empty() { None } else { Duration::try_from_secs_f64(sum).ok().filter(|d| d.as_secs() < 1 << 32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, milliseconds) in [("5s", 5000), ("100ms", 100), ("1m30s", 90_000), ("1.5h", 5_400_000), ("0", 0)] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for bad in ["", "5", "s", "-1s", "5x", "1.2.3s", "9999999999999h", "5s "] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}
