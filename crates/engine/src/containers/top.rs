//! A container's processes, from `/proc`.

use super::Containers;
use crate::model::ProcessInfo;
use oci::{Error, Result, Timestamp};
use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// Clock ticks a second in `/proc/<pid>/stat`: a constant of Linux's ABI on every architecture we run on.
const TICKS: u64 = 100;
const PAGE: u64 = 4096;

/// What the machine says once for all processes.
struct Machine {
    boot: i64,
    memory: u64,
    now: Timestamp,
    users: HashMap<u32, String>,
}

impl Machine {
    fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let number = |text: &str, name: &str| -> u64 {
            let line = text.lines().find_map(|l| l.strip_prefix(name));
            line.and_then(|l| l.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        let users = text("/etc/passwd")
            .lines()
            .filter_map(|line| {
                let mut parts = line.split(':');
                let (name, uid) = (parts.next()?, parts.nth(1)?);
                Some((uid.parse().ok()?, name.to_owned()))
            })
            .collect();
        Self {
            boot: number(&text("/proc/stat"), "btime ") as i64,
            memory: number(&text("/proc/meminfo"), "MemTotal:") * 1024,
            now: Timestamp::now(),
            users,
        }
    }
}

/// Reads `/proc/<pid>/stat` and what belongs to it.
fn parse(pid: u32, stat: &str, status: &str, cmdline: &[u8], machine: &Machine) -> Option<ProcessInfo> {
    // The name is in parentheses and may hold anything, parentheses too.
    let (open, close) = (stat.find('(')?, stat.rfind(')')?);
    let comm = stat.get(open + 1..close)?.to_owned();
    let fields: Vec<&str> = stat.get(close + 2..)?.split_ascii_whitespace().collect();
    // Field 3 of proc(5) is the first here.
    let field = |number: usize| fields.get(number - 3).copied();
    let number = |n: usize| field(n).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    let id = |name: &str| -> u32 {
        let line = status.lines().find_map(|l| l.strip_prefix(name));
        line.and_then(|l| l.split_ascii_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
    };
    let uid = id("Uid:");
    let started = Duration::from_millis(number(22) * 1000 / TICKS);
    let start = Timestamp::from_unix(machine.boot + started.as_secs() as i64, started.subsec_nanos());
    let cpu = Duration::from_millis((number(14) + number(15)) * 1000 / TICKS);
    let age = machine.now.since(start).as_secs_f64();
    let rss = number(24) * PAGE;
    let command = String::from_utf8_lossy(cmdline).trim_end_matches('\0').replace('\0', " ");
    Some(ProcessInfo {
        pid,
        ppid: number(4) as u32,
        uid,
        gid: id("Gid:"),
        user: machine.users.get(&uid).cloned().unwrap_or_else(|| uid.to_string()),
        state: field(3)?.chars().next()?,
        tty: tty(number(7)),
        start,
        cpu,
        cpu_percent: if age > 0.0 { cpu.as_secs_f64() / age * 100.0 } else { 0.0 },
        memory_percent: if machine.memory > 0 { rss as f64 / machine.memory as f64 * 100.0 } else { 0.0 },
        vsize: number(23),
        rss,
        nice: field(19).and_then(|f| f.parse().ok()).unwrap_or(0),
        threads: number(20),
        command: if command.is_empty() { format!("[{comm}]") } else { command },
        comm,
    })
}

/// Name of a terminal by its device number.
fn tty(number: u64) -> String {
    let (major, minor) = (number >> 8 & 0xfff, (number & 0xff) | (number >> 12 & 0xf_ff00));
    match major {
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        4 if minor < 64 => format!("tty{minor}"),
        5 if minor == 1 => "console".into(),
        _ => "?".into(),
    }
}

impl Containers {
    /// Its processes.
    ///
    /// # Errors
    /// `Conflict` if it doesn't run.
    pub async fn top(&self, id: &str) -> Result<Vec<ProcessInfo>> {
        let handle = self.find(id)?;
        let record = handle.record();
        let task = handle.task().map_err(|_| Error::conflict(format!("container {} is not running", record.id)))?;
        let mut pids = task.pids().await?;
        pids.sort_unstable();
        let processes = crate::blocking(move || {
            let machine = Machine::read();
            let read = |pid: &u32| {
                // A process may end while we look: then it isn't there.
                let file = |name: &str| fs::read(format!("/proc/{pid}/{name}")).ok();
                let stat = String::from_utf8_lossy(&file("stat")?).into_owned();
                let status = String::from_utf8_lossy(&file("status")?).into_owned();
                parse(*pid, &stat, &status, &file("cmdline")?, &machine)
            };
            Ok(pids.iter().filter_map(read).collect())
        })
        .await?;
        self.ns.core().container_event(&record, "top", &[]);
        Ok(processes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_a_strange_name() {
        let machine =
            Machine { boot: 1000, memory: 4096 * 100, now: Timestamp::from_unix(1110, 0), users: HashMap::new() };
        let stat = "7 (a) b (c) S 1 7 7 34817 7 4194560 1 2 3 4 500 500 0 0 20 0 3 0 1000 8192 10 18446744073709551615";
        let info = parse(7, stat, "Uid:\t0\t5\t5\t5\nGid:\t0\t6\t6\t6\n", b"x\0-y\0", &machine).unwrap();
        assert_eq!((info.comm.as_str(), info.state, info.ppid), ("a) b (c", 'S', 1));
        assert_eq!((info.uid, info.gid, info.user.as_str()), (5, 6, "5"));
        assert_eq!(info.tty, "pts/1");
        assert_eq!(info.start, Timestamp::from_unix(1010, 0));
        assert_eq!(info.cpu, Duration::from_secs(10));
        assert!((info.cpu_percent - 10.0).abs() < 0.01);
        assert!((info.memory_percent - 10.0).abs() < 0.01);
        assert_eq!(info.command, "x -y");
        assert_eq!(info.threads, 3);
    }

    #[test]
    fn garbage_is_no_process() {
        let machine = Machine { boot: 0, memory: 0, now: Timestamp::ZERO, users: HashMap::new() };
        for text in ["", "7", "7 (x", "7 x) S", "7 (x)"] {
            assert!(parse(7, text, "", b"", &machine).is_none(), "{text:?}");
        }
    }
}
