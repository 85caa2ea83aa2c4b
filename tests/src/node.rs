//! A `sampand` of one test's own, and the clients that talk to it.

use crate::proc::{Ran, run, wait_until};
use crate::world::directories;
use crate::{World, program};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// What differs from the embedded defaults.
#[derive(Debug, Clone, Default)]
pub struct NodeOptions {
    /// More arguments for `sampand`.
    pub args: Vec<String>,
}

/// See the [module](self).
pub struct Node<'w> {
    world: &'w World,
    dir: PathBuf,
    args: Vec<String>,
    daemon: Option<Child>,
}

impl<'w> Node<'w> {
    /// Starts a node with embedded defaults.
    pub fn new(world: &'w World) -> Self {
        Self::with(world, NodeOptions::default())
    }

    /// Starts a node with more arguments.
    ///
    /// # Panics
    /// If it does not serve within a minute.
    pub fn with(world: &'w World, options: NodeOptions) -> Self {
        let dir = world.dir().join("n");
        std::fs::create_dir_all(dir.join("client")).expect("the node's directory");
        let mut node = Self { world, dir, args: options.args, daemon: None };
        node.start();
        node
    }

    /// Starts the daemon (again) and waits until it answers.
    pub fn start(&mut self) {
        self.spawn();
        self.wait_ready();
    }

    /// Starts the daemon without waiting for it.
    pub fn spawn(&mut self) {
        assert!(self.daemon.is_none(), "the daemon runs already");
        let log = File::options().create(true).append(true).open(self.dir.join("sampand.log")).expect("a log file");
        let mut command = Command::new(program("sampand"));
        command
            .arg("--root")
            .arg(self.dir.join("root"))
            .arg("--state")
            .arg(self.dir.join("state"))
            .arg("--docker-socket")
            .arg(self.socket())
            .arg("--cgroup-parent")
            .arg(format!("/{}", self.world.name()))
            .args(&self.args)
            .stdin(std::process::Stdio::null())
            .stdout(log.try_clone().expect("dup"))
            .stderr(log);
        self.daemon = Some(command.spawn().expect("start sampand"));
    }

    /// Waits until the daemon answers a ping.
    pub fn wait_ready(&mut self) {
        let start = std::time::Instant::now();
        loop {
            if self.get("/_ping").is_some_and(|answer| answer.contains("200 OK")) {
                return;
            }
            let ended = self.daemon.as_mut().and_then(|d| d.try_wait().ok().flatten());
            assert!(
                ended.is_none() && start.elapsed().as_secs() < 60,
                "sampand does not serve ({ended:?}):\n{}",
                self.log()
            );
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// One GET request on the Docker door; the raw answer.
    pub fn get(&self, path: &str) -> Option<String> {
        self.raw(&format!("GET {path} HTTP/1.0\r\nHost: d\r\n\r\n"))
    }

    /// Raw bytes on the Docker door, and what comes back until it closes.
    pub fn raw(&self, request: &str) -> Option<String> {
        use std::io::{Read, Write};
        let mut stream = std::os::unix::net::UnixStream::connect(self.socket()).ok()?;
        stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        Some(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Kills the daemon the hard way and reaps it.
    pub fn kill9(&mut self) {
        let mut daemon = self.daemon.take().expect("a running daemon");
        daemon.kill().expect("kill a child of ours");
        daemon.wait().expect("reap a child of ours");
    }

    /// Asks the daemon to end, and waits for it.
    pub fn stop(&mut self) {
        let mut daemon = self.daemon.take().expect("a running daemon");
        let pid = rustix::process::Pid::from_child(&daemon);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("signal a child of ours");
        wait_until("sampand ends after SIGTERM", || daemon.try_wait().expect("wait").is_some());
    }

    /// The daemon's pid.
    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("a running daemon").id()
    }

    /// What the daemon wrote to its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("sampand.log")).unwrap_or_default()
    }

    /// The node's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The Docker door's socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("docker.sock")
    }

    /// The real `docker` command, pointed at this node.
    pub fn docker_command(&self) -> Command {
        let mut command = Command::new("docker");
        command
            .env("DOCKER_HOST", format!("unix://{}", self.socket().display()))
            .env("DOCKER_CONFIG", self.dir.join("client"))
            .env("HOME", self.dir.join("client"));
        command
    }

    /// Runs the real `docker` command to its end.
    pub fn docker(&self, args: &[&str]) -> Ran {
        run(self.docker_command().args(args), b"")
    }

    /// Our own command, pointed at this node.
    pub fn sampan_command(&self) -> Command {
        let mut command = Command::new(program("sampan"));
        command
            .env("SAMPAN_HOST", format!("unix://{}", self.socket().display()))
            .env("DOCKER_CONFIG", self.dir.join("client"))
            .env("HOME", self.dir.join("client"));
        command
    }

    /// Runs our own command to its end.
    pub fn sampan(&self, args: &[&str]) -> Ran {
        run(self.sampan_command().args(args), b"")
    }

    /// One field of `docker inspect`.
    #[track_caller]
    pub fn inspect(&self, name: &str, template: &str) -> String {
        self.docker(&["inspect", "--format", template, name]).ok()
    }

    /// Mount points below the node's directory, in this mount namespace.
    pub fn mounts(&self) -> Vec<String> {
        let below = self.dir.to_string_lossy().into_owned();
        std::fs::read_to_string("/proc/self/mountinfo")
            .unwrap_or_default()
            .lines()
            .filter_map(|line| line.split(' ').nth(4))
            .filter(|point| point.starts_with(&below))
            .map(Into::into)
            .collect()
    }

    /// Command lines of living processes, other than the daemon, that name the node's directory
    /// or run in its cgroups.
    pub fn processes(&self) -> Vec<String> {
        let daemon = self.daemon.as_ref().map(Child::id);
        let needle = format!("{}/", self.dir.display());
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
            let read = |file: &str| std::fs::read(entry.path().join(file)).unwrap_or_default();
            let line = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
            let cgroup = String::from_utf8_lossy(&read("cgroup")).into_owned();
            if Some(pid) != daemon
                && pid != std::process::id()
                && !line.is_empty()
                && (line.contains(&needle) || cgroup.contains(&format!("/{}/", self.world.name())))
            {
                found.push(format!("{pid} {line}"));
            }
        }
        found
    }

    /// What a node without containers must not have: mounts, processes, cgroups, interfaces,
    /// firewall rules for containers. Empty when clean.
    pub fn leftovers(&self) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        found.extend(self.mounts().into_iter().map(|m| format!("mount {m}")));
        found.extend(self.processes().into_iter().map(|p| format!("process {p}")));
        for root in self.world.cgroups() {
            let below = directories(&root).into_iter().filter(|d| *d != root);
            found.extend(below.map(|d| format!("cgroup {}", d.display())));
        }
        let links = run(Command::new("ip").args(["-o", "link", "show", "type", "veth"]), b"").stdout;
        found.extend(links.lines().map(|l| format!("interface {l}")));
        let rules = run(Command::new("nft").args(["list", "ruleset"]), b"").stdout;
        found.extend(rules.lines().filter(|l| l.contains("dnat to")).map(|l| format!("rule {}", l.trim())));
        found
    }

    /// Asserts that [`leftovers`](Self::leftovers) becomes empty. A shim whose daemon was killed before it could be given
    /// a task ends by itself after a while, so this waits.
    #[track_caller]
    pub fn assert_clean(&self) {
        let start = std::time::Instant::now();
        loop {
            let left = self.leftovers();
            if left.is_empty() {
                return;
            }
            assert!(start.elapsed().as_secs() < 40, "left behind:\n{}\n--- log\n{}", left.join("\n"), self.log());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

impl Drop for Node<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("--- the last of sampand's log");
            for line in tail.into_iter().rev() {
                eprintln!("{line}");
            }
        }
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        // Shims outlive the daemon on purpose; a test that failed half-way leaves some.
        for process in self.processes() {
            let pid = process.split(' ').next().and_then(|p| p.parse().ok()).and_then(rustix::process::Pid::from_raw);
            if let Some(pid) = pid {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}
