//! Checkpoint and restore with the real criu, each scenario with our runtime and with runc beside it.
//!
//! Where criu does not work (it follows the kernel closely), the reason is printed; `scripts/machine-tcg.sh` makes a
//! machine where it does.

mod common;
#[path = "common/filters.rs"]
mod filters;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Read, Write, pipe};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Bench, bench};
use oci::runtime::{Hook, Hooks, IdMapping, Mount, Namespace};

/// A bench for each runtime; none where criu does not work.
fn benches() -> Vec<Bench> {
    let check = Command::new("criu").arg("check").output();
    let reason = match &check {
        Err(error) => Some(format!("criu: {error}")),
        Ok(output) if !output.status.success() => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
        Ok(_) => None,
    };
    if let Some(reason) = reason {
        println!("skipped: criu does not work here; scripts/machine-tcg.sh makes a machine: {reason}");
        return Vec::new();
    }
    let ours = bench();
    let mut runc = bench().filter(|_| Command::new("runc").arg("--version").output().is_ok());
    match &mut runc {
        Some(b) => b.runtime = "runc".into(),
        None => println!("runc is missing: only our runtime is tried"),
    }
    ours.into_iter().chain(runc).collect()
}

/// The standard descriptors of a container: pipes, as engines have them.
struct Pipes {
    input: PipeWriter,
    output: BufReader<PipeReader>,
    theirs: (PipeReader, PipeWriter),
}

impl Pipes {
    fn new() -> Self {
        let (input_end, input) = pipe().expect("pipe");
        let (output, output_end) = pipe().expect("pipe");
        Self { input, output: BufReader::new(output), theirs: (input_end, output_end) }
    }

    fn give(&self, command: &mut Command) {
        let (input, output) = &self.theirs;
        command
            .stdin(input.try_clone().expect("clone"))
            .stdout(output.try_clone().expect("clone"))
            .stderr(output.try_clone().expect("clone"));
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("read");
        line
    }
}

trait Steps {
    fn path(&self, name: &str) -> String;
    fn run_detached(&mut self, script: &str, pipes: &Pipes);
    fn with_pipes(&self, pipes: &Pipes, args: &[&str]);
    fn checkpoint(&self, more: &[&str]);
    fn restore(&self, pipes: &Pipes, more: &[&str]);
    fn log(&self, name: &str) -> String;
    fn gone(&self);
    fn count(&self) -> u64;
    fn counts_on(&self, from: u64);
}

const COUNTER: &str = "i=0; while :; do i=$((i+1)); echo $i >/tmp/new; mv /tmp/new /tmp/count; sleep 0.05; done";

impl Steps for Bench {
    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().expect("path").to_owned()
    }

    fn run_detached(&mut self, script: &str, pipes: &Pipes) {
        self.spec.root.as_mut().expect("root").readonly = false;
        self.script(script).write_config();
        self.with_pipes(pipes, &["run", "--detach", "--bundle", &self.path("bundle"), &self.id]);
    }

    fn with_pipes(&self, pipes: &Pipes, args: &[&str]) {
        let said = self.path("said");
        let mut command = self.command(&[]);
        // Standard error is the container's.
        command.arg("--log").arg(&said).args(args);
        pipes.give(&mut command);
        let status = command.status().expect("runtime");
        let said = fs::read_to_string(&said).unwrap_or_default();
        assert!(status.success(), "{:?} {args:?}: {said}\n{}", self.runtime, self.log("restore.log"));
    }

    fn checkpoint(&self, more: &[&str]) {
        let (images, work) = (self.path("images"), self.path("work"));
        let args = [&["checkpoint", "--image-path", &images, "--work-path", &work], more, &[self.id.as_str()]].concat();
        let output = self.call(&args);
        assert!(output.status.success(), "{:?} {output:?}\n{}", self.runtime, self.log("dump.log"));
    }

    fn restore(&self, pipes: &Pipes, more: &[&str]) {
        let (images, work, bundle) = (self.path("images"), self.path("work"), self.path("bundle"));
        let args = [
            &["restore", "--detach", "--bundle", &bundle, "--image-path", &images, "--work-path", &work],
            more,
            &[self.id.as_str()],
        ]
        .concat();
        self.with_pipes(pipes, &args);
    }

    /// The errors in criu's log.
    fn log(&self, name: &str) -> String {
        let text = fs::read(self.directory.path().join("work").join(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().filter(|l| l.contains("Error") || l.contains("Warn")).collect();
        lines.join("\n")
    }

    fn gone(&self) {
        let state = self.call(&["state", &self.id]);
        assert_eq!(state.status.code(), Some(1), "{:?}: {state:?}", self.runtime);
        assert!(String::from_utf8_lossy(&state.stderr).contains("does not exist"));
        assert!(!self.cgroup("pids").exists(), "the cgroup is left");
        assert!(!self.state_root().join(&self.id).exists());
    }

    fn count(&self) -> u64 {
        let text = fs::read_to_string(self.rootfs().join("tmp/count")).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    fn counts_on(&self, from: u64) {
        for _ in 0..1000 {
            if self.count() > from + 3 {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("{:?} does not count on from {from}: {}", self.runtime, self.count());
    }
}

fn end(b: &Bench) {
    b.ok(&["delete", "--force", &b.id]);
    b.gone();
}

#[test]
fn a_counter_goes_on_where_it_was() {
    for mut b in benches() {
        let id = b.id.clone();
        b.linux().resources.get_or_insert_default().pids = Some(oci::runtime::PidsLimit { limit: Some(77) });
        let pipes = Pipes::new();
        b.run_detached(COUNTER, &pipes);
        b.counts_on(0);
        let mut last = 0;
        // Strict: its cgroup must have gone with it.
        for more in [&[] as &[&str], &["--manage-cgroups-mode", "strict"]] {
            let before = (b.pid(), b.state()["created"].clone());
            b.checkpoint(more);
            b.gone();
            let at = b.count();
            assert!(at > last);
            last = at;
            std::thread::sleep(std::time::Duration::from_millis(300));
            assert_eq!(b.count(), at, "nothing counts any more");
            let pid_file = b.path("pid");
            b.restore(&pipes, &[&["--pid-file", &pid_file], more].concat());
            assert_eq!(b.status(), "running");
            assert_eq!(fs::read_to_string(&pid_file).expect("pid file"), b.pid().to_string());
            assert_ne!((b.pid(), b.state()["created"].clone()), before);
            b.until("counting", || b.count() > at);
            assert!(b.count() < at + 1000 && b.count() > at, "from where it was");
            assert_eq!(b.ok(&["exec", &id, "echo", "inside"]), "inside\n");
            let limit = fs::read_to_string(b.cgroup("pids").join("pids.max")).expect("pids.max");
            assert_eq!(limit.trim(), "77");
            let processes = fs::read_to_string(b.cgroup("pids").join("cgroup.procs")).expect("cgroup.procs");
            assert!(processes.lines().any(|p| p == b.pid().to_string()), "{processes}");
            let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
            assert!(!mounts.contains("criu-root"));
        }
        b.ok(&["pause", &id]);
        assert_eq!(b.status(), "paused");
        b.ok(&["resume", &id]);
        b.counts_on(b.count());
        b.ok(&["kill", &id, "KILL"]);
        b.until("the end", || b.status() == "stopped");
        b.ok(&["delete", &id]);
        b.gone();
    }
}

#[test]
fn what_is_left_running_runs_on() {
    for mut b in benches() {
        let pipes = Pipes::new();
        b.run_detached(COUNTER, &pipes);
        b.counts_on(0);
        let pid = b.pid();
        b.checkpoint(&["--leave-running"]);
        assert_eq!((b.status().as_str(), b.pid()), ("running", pid));
        b.counts_on(b.count());
        end(&b);
        fs::remove_file(b.rootfs().join("tmp/count")).expect("remove");
        b.restore(&pipes, &[]);
        b.counts_on(1);
        end(&b);
    }
}

#[test]
fn a_paused_container_can_be_saved() {
    for mut b in benches() {
        let pipes = Pipes::new();
        b.run_detached(COUNTER, &pipes);
        b.counts_on(0);
        b.ok(&["pause", &b.id.clone()]);
        let at = b.count();
        b.checkpoint(&[]);
        b.gone();
        b.restore(&pipes, &[]);
        b.counts_on(at);
        end(&b);
    }
}

#[test]
fn memory_comes_from_an_earlier_dump_and_pipes_are_new() {
    for mut b in benches() {
        let id = b.id.clone();
        let mut pipes = Pipes::new();
        b.run_detached("while read x; do echo pong $x; done", &pipes);
        pipes.input.write_all(b"1\n").expect("write");
        assert_eq!(pipes.line(), "pong 1\n");
        let (parent, work) = (b.path("parent"), b.path("parent-work"));
        b.ok(&["checkpoint", "--pre-dump", "--image-path", &parent, "--work-path", &work, &id]);
        assert_eq!(b.status(), "running");
        pipes.input.write_all(b"2\n").expect("write");
        assert_eq!(pipes.line(), "pong 2\n");
        fs::create_dir(b.path("images")).expect("mkdir");
        // Pages that are saved again are taken out of the earlier images.
        let blocks = |directory: &str| {
            let pages = Path::new(&b.path(directory)).join("pages-1.img");
            std::os::unix::fs::MetadataExt::blocks(&fs::metadata(pages).expect("pages"))
        };
        let before = blocks("parent");
        b.checkpoint(&["--parent-path", "../parent", "--auto-dedup"]);
        assert!(Path::new(&b.path("images")).join("parent").exists());
        assert!(blocks("parent") < before, "{} of {before}", blocks("parent"));
        b.gone();
        drop(pipes);
        let mut pipes = Pipes::new();
        let before = blocks("images");
        b.restore(&pipes, &["--auto-dedup"]);
        assert!(blocks("images") < before, "what is restored is taken out: {} of {before}", blocks("images"));
        pipes.input.write_all(b"3\n").expect("write");
        assert_eq!(pipes.line(), "pong 3\n");
        end(&b);
    }
}

#[test]
fn a_terminal_is_given_to_the_console_socket() {
    for mut b in benches() {
        b.spec.root.as_mut().expect("root").readonly = false;
        b.process().terminal = true;
        b.script("echo ready; while read x; do echo pong $x; done").write_config();
        let socket = b.path("console");
        let listener = UnixListener::bind(&socket).expect("bind");
        let (bundle, images, work) = (b.path("bundle"), b.path("images"), b.path("work"));
        let talk = |args: &[&str], said: &str, words: &str| {
            let mut child = b.command(args).spawn().expect("spawn");
            let (stream, _) = listener.accept().expect("accept");
            let mut terminal = File::from(receive(&stream));
            let status = child.wait().expect("wait");
            assert!(status.success(), "{:?} {args:?}: {}", b.runtime, b.log("restore.log"));
            terminal.write_all(words.as_bytes()).expect("write");
            let mut seen = String::new();
            let mut buffer = [0; 256];
            while !seen.contains(said) {
                let length = terminal.read(&mut buffer).expect("read");
                seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
            }
            terminal
        };
        let first =
            talk(&["run", "--detach", "--bundle", &bundle, "--console-socket", &socket, &b.id], "pong one", "one\n");
        b.checkpoint(&["--shell-job"]);
        b.gone();
        drop(first);
        let args = [
            "restore",
            "--detach",
            "--bundle",
            &bundle,
            "--image-path",
            &images,
            "--work-path",
            &work,
            "--console-socket",
            &socket,
            "--shell-job",
            &b.id,
        ];
        let _second = talk(&args, "pong two", "two\n");
        let tty = b.ok(&["exec", &b.id, "readlink", "/proc/1/fd/0"]);
        assert!(tty.starts_with("/dev/pts/"), "{tty}");
        end(&b);
    }
}

fn receive(stream: &std::os::unix::net::UnixStream) -> OwnedFd {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = rustix::net::RecvAncillaryBuffer::new(&mut space);
    let mut name = [0; 64];
    let mut parts = [std::io::IoSliceMut::new(&mut name)];
    rustix::net::recvmsg(stream, &mut parts, &mut control, rustix::net::RecvFlags::CMSG_CLOEXEC).expect("receive");
    let found = control.drain().find_map(|m| match m {
        rustix::net::RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    found.expect("a descriptor")
}

fn bind(b: &mut Bench, source: &str, destination: &str) {
    b.spec.mounts.push(Mount {
        destination: destination.into(),
        kind: Some("bind".into()),
        source: Some(b.path(source)),
        options: vec!["rbind".into(), "rw".into()],
        ..Default::default()
    });
}

#[test]
fn bind_mounts_are_outside() {
    for mut b in benches() {
        for name in ["one", "two", "three"] {
            fs::create_dir(b.path(name)).expect("mkdir");
        }
        fs::write(b.path("file"), "a").expect("write");
        fs::create_dir_all(b.rootfs().join("real/conf")).expect("mkdir");
        std::os::unix::fs::symlink("/real/conf", b.rootfs().join("conf")).expect("link");
        bind(&mut b, "one", "/test");
        bind(&mut b, "two", "/test/for/nested");
        bind(&mut b, "three", "/conf");
        bind(&mut b, "file", "/etc/one-file");
        // Then the hierarchies of v1 are bind mounts too.
        b.linux().namespaces.retain(|n| n.kind != "cgroup");
        let pipes = Pipes::new();
        b.run_detached(COUNTER, &pipes);
        b.counts_on(0);
        b.checkpoint(&[]);
        b.gone();
        // Mount points that were made for the container go with it; a restore makes them again.
        fs::remove_dir_all(Path::new(&b.path("one")).join("for")).expect("remove");
        fs::write(b.path("two/hello"), "nested").expect("write");
        fs::write(b.path("file"), "b").expect("write");
        b.restore(&pipes, &[]);
        let id = b.id.clone();
        assert_eq!(b.ok(&["exec", &id, "cat", "/test/for/nested/hello", "/etc/one-file"]), "nestedb");
        b.ok(&["exec", &id, "sh", "-c", "echo x >/real/conf/x"]);
        assert_eq!(fs::read_to_string(b.path("three/x")).expect("x"), "x\n");
        end(&b);
    }
}

/// Whether the runtime of this bench has an option; Debian's runc is older than some.
fn knows(b: &Bench, command: &str, option: &str) -> bool {
    let known = String::from_utf8_lossy(&b.call(&[command, "--help"]).stdout).contains(option);
    if !known {
        println!("{:?} is too old for {option}", b.runtime);
        assert_ne!(b.runtime, Path::new(common::RUNTIME));
    }
    known
}

/// What is saved and restored with an option, and refused by criu without it: the option, what the program is to do,
/// criu's words.
const ALLOWED: [(&str, &str, &str); 3] = [
    ("--file-locks", "lock", "You can try --file-locks"),
    ("--link-remap", "unlinked", "Can't create link remap"),
    ("--ext-unix-sk", "socket", "Consider using --ext-unix-sk option"),
];

#[test]
fn locks_lost_names_and_sockets_to_the_outside_take_an_option() {
    for mut b in benches() {
        let Some(holder) = filters::build(&b, "holder", include_str!("common/holder.c"), &["-static"]) else { return };
        fs::copy(holder, b.rootfs().join("bin/holder")).expect("copy");
        std::os::unix::fs::symlink("busybox", b.rootfs().join("bin/flock")).expect("link");
        fs::create_dir(b.path("outside")).expect("mkdir");
        // criu connects again by the name that the socket was bound to.
        let outside = b.path("outside");
        bind(&mut b, "outside", &outside);
        let path = format!("{outside}/socket");
        // criu sees only the sockets of the container's network.
        b.linux().namespaces.retain(|n| n.kind != "network");
        let socket = UnixDatagram::bind(&path).expect("bind");
        socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).expect("timeout");
        let number = |text: &[u8]| String::from_utf8_lossy(text).trim().parse::<u64>().unwrap_or(0);
        let heard = |beyond: u64| loop {
            let mut packet = [0; 16];
            let length = socket.recv(&mut packet).expect("a datagram");
            if number(&packet[..length]) > beyond {
                return number(&packet[..length]);
            }
        };
        let written = |b: &Bench| number(&fs::read(b.rootfs().join("tmp/second")).unwrap_or_default());
        let allowed: Vec<_> = ALLOWED.into_iter().filter(|(option, ..)| knows(&b, "checkpoint", option)).collect();
        let words: Vec<&str> = allowed.iter().map(|a| if a.1 == "socket" { &path } else { a.1 }).collect();
        let pipes = Pipes::new();
        b.run_detached(&format!("exec holder {}", words.join(" ")), &pipes);
        let id = b.id.clone();
        let free = |b: &Bench| b.call(&["exec", &id, "flock", "-n", "/tmp/lock", "true"]).status.success();
        heard(0);
        let (images, work) = (b.path("images"), b.path("work"));
        for (missing, _, words) in &allowed {
            let options = allowed.iter().map(|a| a.0).filter(|option| option != missing);
            let base = ["checkpoint", "--image-path", &images, "--work-path", &work];
            b.refused(&base.into_iter().chain(options).chain([id.as_str()]).collect::<Vec<_>>());
            let log = fs::read(Path::new(&work).join("dump.log")).expect("log");
            assert!(String::from_utf8_lossy(&log).contains(words), "{missing}: {}", b.log("dump.log"));
            assert_eq!(b.status(), "running");
        }
        b.checkpoint(&allowed.iter().map(|a| a.0).collect::<Vec<_>>());
        b.gone();
        while socket.set_nonblocking(true).is_ok() && socket.recv(&mut [0; 16]).is_ok() {}
        socket.set_nonblocking(false).expect("blocking");
        let at = written(&b);
        // A link is mapped back without being asked to.
        let options = allowed.iter().map(|a| a.0).filter(|option| *option != "--link-remap");
        b.restore(&pipes, &options.collect::<Vec<_>>());
        assert!(heard(0) > at);
        assert!(!free(&b), "the lock is held again");
        if words.contains(&"unlinked") {
            b.until("writing", || written(&b) > at + 1);
            assert!(!b.rootfs().join("tmp/first").exists());
        }
        end(&b);
    }
}

/// Two AppArmor profiles that allow everything, gone at the end.
struct Profiles([String; 2]);

impl Profiles {
    /// `None`, with the reason printed, where there is no AppArmor.
    fn new() -> Option<Self> {
        if !Path::new("/sys/kernel/security/apparmor").exists() {
            println!("skipped: no AppArmor in this kernel, or securityfs is not mounted");
            return None;
        }
        let profiles = Self(["a", "b"].map(|name| format!("sampan-test-{}-{name}", std::process::id())));
        profiles.parse("--replace").then_some(profiles)
    }

    fn parse(&self, option: &str) -> bool {
        let rules = "file,\n capability,\n network,\n unix,\n signal,\n ptrace,\n mount,\n umount,\n";
        let profile = |name: &String| format!("profile {name} flags=(attach_disconnected) {{\n {rules}}}\n");
        let mut parser = Command::new("apparmor_parser");
        parser.args(["--skip-cache", option]).stdin(std::process::Stdio::piped());
        let Ok(mut parser) = parser.spawn() else {
            println!("skipped: apparmor_parser is missing; install apparmor");
            return false;
        };
        let text: String = self.0.iter().map(profile).collect();
        parser.stdin.take().expect("stdin").write_all(text.as_bytes()).expect("write");
        assert!(parser.wait().expect("wait").success());
        true
    }
}

impl Drop for Profiles {
    fn drop(&mut self) {
        self.parse("--remove");
    }
}

#[test]
fn another_apparmor_profile_can_take_the_place() {
    let benches = benches();
    let Some(profiles) = (if benches.is_empty() { None } else { Profiles::new() }) else { return };
    for mut b in benches {
        let confined_by = |b: &Bench| {
            let text = fs::read_to_string(format!("/proc/{}/attr/current", b.pid())).expect("current");
            text.trim().trim_end_matches(" (enforce)").to_owned()
        };
        let [one, other] = &profiles.0;
        b.process().apparmor_profile = Some(one.clone());
        let pipes = Pipes::new();
        b.run_detached(COUNTER, &pipes);
        b.counts_on(0);
        assert_eq!(&confined_by(&b), one);
        b.checkpoint(&[]);
        b.gone();
        let (images, work, bundle) = (b.path("images"), b.path("work"), b.path("bundle"));
        let base = ["restore", "-d", "-b", &bundle, "--image-path", &images, "--work-path", &work];
        b.refused(&[&base[..], &["--lsm-profile", "selinux:a:b:c", &b.id]].concat());
        let log = b.log("restore.log");
        assert!(log.contains("selinux LSM specified but selinux not supported by kernel"), "{log}");
        b.gone();
        let at = b.count();
        // No mount has a context without SELinux, so there is none to be replaced.
        let context = ["--lsm-mount-context", "system_u:object_r:container_file_t:s0"];
        b.restore(&pipes, &[&["--lsm-profile", &format!("apparmor:{other}")], &context[..]].concat());
        assert_eq!(&confined_by(&b), other);
        b.counts_on(at);
        end(&b);
    }
}

/// A network namespace by name, gone at the end.
struct Network(String);

impl Network {
    fn new(name: &str) -> Self {
        for args in [["netns", "add", name].as_slice(), &["-n", name, "link", "set", "lo", "up"]] {
            assert!(Command::new("ip").args(args).status().expect("ip").success());
        }
        Self(name.to_owned())
    }

    fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.0)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

fn inode(path: impl AsRef<Path>) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).expect("stat"))
}

/// A PID namespace with a first process that leaves no dead ones behind; gone at the end.
struct Processes(std::process::Child);

impl Processes {
    fn new() -> Self {
        let mut first = Command::new("unshare");
        // A shell cannot ignore the end of its children.
        first.args(["--pid", "--fork", "--kill-child", "perl", "-e", "$SIG{CHLD} = 'IGNORE'; sleep 1000"]);
        Self(first.spawn().expect("unshare"))
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/pid_for_children", self.0.id()))
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn network_and_processes_by_path_are_joined_again() {
    for mut b in benches() {
        let network = Network::new(&format!("ckpt{}", std::process::id()));
        let processes = Processes::new();
        b.until("its first process", || fs::read_link(processes.path()).is_ok());
        for (kind, path) in [("network", network.path()), ("pid", processes.path())] {
            let namespace = |n: &&mut Namespace| n.kind == kind;
            b.linux().namespaces.iter_mut().find(namespace).expect(kind).path = Some(path);
        }
        let pipes = Pipes::new();
        b.run_detached(COUNTER, &pipes);
        b.counts_on(0);
        let saved = format!("/proc/{}", b.pid());
        b.checkpoint(&[]);
        b.gone();
        // criu needs its number again, which is free when the machine's first process has seen the end.
        b.until("the number is free", || !Path::new(&saved).exists());
        let at = b.count();
        b.restore(&pipes, &[]);
        assert_eq!(inode(format!("/proc/{}/ns/net", b.pid())), inode(network.path()));
        assert_eq!(inode(format!("/proc/{}/ns/pid", b.pid())), inode(processes.path()));
        b.counts_on(at);
        end(&b);
        // Without the network there is nothing to restore into.
        drop(network);
        let (images, bundle) = (b.path("images"), b.path("bundle"));
        b.refused(&["restore", "-d", "--bundle", &bundle, "--image-path", &images, &b.id.clone()]);
        b.gone();
    }
}

const TALKERS: &str = "nc -l -p 1234 -e sh -c 'while read x; do echo $x; done' & sleep 1; \
                       (i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done) | nc 127.0.0.1 1234 | \
                       while read i; do echo $i >/tmp/new; mv /tmp/new /tmp/count; done";

#[test]
fn hooks_make_the_network_before_connections_come_back() {
    for mut b in benches() {
        let up = "pid=$(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/'); nsenter -t $pid -n ip link set lo up; echo >>$0";
        let marks = b.path("marks");
        b.spec.hooks = Some(Hooks {
            create_runtime: vec![Hook {
                path: "/bin/sh".into(),
                args: vec!["sh".into(), "-c".into(), up.into(), marks.clone()],
                env: Some(vec!["PATH=/usr/sbin:/usr/bin:/sbin:/bin".into()]),
                ..Default::default()
            }],
            ..Default::default()
        });
        let pipes = Pipes::new();
        b.run_detached(TALKERS, &pipes);
        b.counts_on(0);
        b.checkpoint(&["--tcp-established"]);
        b.gone();
        let at = b.count();
        b.restore(&pipes, &["--tcp-established"]);
        b.counts_on(at);
        assert_eq!(fs::read_to_string(&marks).expect("marks"), "\n\n");
        end(&b);
    }
}

#[test]
fn another_cgroup_can_take_the_place() {
    for mut b in benches() {
        if !knows(&b, "checkpoint", "ignore") {
            continue;
        }
        let pipes = Pipes::new();
        b.run_detached(COUNTER, &pipes);
        b.counts_on(0);
        b.checkpoint(&["--manage-cgroups-mode", "ignore"]);
        b.gone();
        let path = format!("/{}/elsewhere", b.id);
        b.linux().cgroups_path = Some(path.clone());
        b.write_config();
        let at = b.count();
        b.restore(&pipes, &["--manage-cgroups-mode", "ignore"]);
        b.counts_on(at);
        let own = fs::read_to_string(format!("/proc/{}/cgroup", b.pid())).expect("cgroup");
        assert!(own.lines().all(|l| l.ends_with(&path)), "{own}");
        assert!(!b.cgroup("pids").exists());
        end(&b);
    }
}

#[test]
fn an_annotation_names_criu_s_configuration() {
    for mut b in benches() {
        let config = b.path("criu.conf");
        fs::write(&config, "log-file=mine.log\n").expect("write");
        b.spec.annotations.insert("org.criu.config".into(), config);
        let pipes = Pipes::new();
        b.run_detached(COUNTER, &pipes);
        b.counts_on(0);
        let mine = Path::new(&b.path("work")).join("mine.log");
        b.checkpoint(&[]);
        fs::remove_file(&mine).expect("criu's log of the dump");
        b.restore(&pipes, &[]);
        fs::remove_file(&mine).expect("criu's log of the restore");
        assert!(!Path::new(&b.path("work")).join("dump.log").exists());
        end(&b);
    }
}

#[test]
fn one_runtime_restores_what_the_other_has_saved() {
    let mut both = benches();
    if both.len() < 2 {
        return;
    }
    let names: Vec<PathBuf> = both.iter().map(|b| b.runtime.clone()).collect();
    for (b, other) in both.iter_mut().zip(names.into_iter().rev()) {
        let state = b.directory.path().join("outside");
        fs::create_dir(&state).expect("mkdir");
        bind(b, "outside", "/outside");
        let pipes = Pipes::new();
        b.run_detached(COUNTER, &pipes);
        b.counts_on(0);
        b.checkpoint(&[]);
        b.gone();
        let at = b.count();
        b.runtime = other;
        b.restore(&pipes, &[]);
        b.counts_on(at);
        end(b);
    }
}

/// A page server on a port of its own gives the pages to criu's lazy-pages daemon, which gives them to the container.
#[test]
fn pages_can_come_later() {
    if !Command::new("criu").args(["check", "--feature", "uffd-noncoop"]).output().is_ok_and(|o| o.status.success()) {
        println!("skipped: criu or the kernel does not know lazy pages");
        return;
    }
    for mut b in benches() {
        let mut pipes = Pipes::new();
        b.run_detached("while read x; do echo pong $x; done", &pipes);
        pipes.input.write_all(b"1\n").expect("write");
        assert_eq!(pipes.line(), "pong 1\n");
        let (images, work, status) = (b.path("images"), b.path("work"), b.path("status"));
        fs::create_dir(&images).expect("mkdir");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &status,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .expect("mkfifo");
        let mut dump = Command::new("/bin/sh");
        dump.args(["-c", "exec \"$@\" 9>status", "sh"]).arg(&b.runtime).arg("--root").arg(b.state_root());
        dump.args(["checkpoint", "--lazy-pages", "--page-server", "127.0.0.1:27277", "--status-fd", "9"]);
        dump.args(["--manage-cgroups-mode=soft", "--work-path", &work, "--image-path", &images, &b.id]);
        let mut dump = dump.current_dir(b.directory.path()).spawn().expect("spawn");
        let mut byte = [1];
        File::open(&status).expect("open").read_exact(&mut byte).expect("the server's readiness");
        assert_eq!(byte, [0]);
        let mut pages = Command::new("criu")
            .args(["lazy-pages", "--page-server", "--address", "127.0.0.1", "--port", "27277", "-D", &images])
            .spawn()
            .expect("spawn");
        let socket = Path::new(&images).join("lazy-pages.socket");
        b.until("the daemon", || socket.exists());
        let saved = b.id.clone();
        let bundle = b.path("bundle");
        b.id = format!("{saved}-new");
        let path = format!("/{}/c", b.id);
        b.linux().cgroups_path = Some(path);
        b.write_config();
        let args = ["restore", "--detach", "--lazy-pages", "--bundle", &bundle, "--image-path", &images, "--work-path"];
        b.with_pipes(&pipes, &[args.as_slice(), &[&images, &b.id]].concat());
        assert!(dump.wait().expect("wait").success(), "{:?}: {}", b.runtime, b.log("dump.log"));
        assert!(pages.wait().expect("wait").success());
        pipes.input.write_all(b"2\n").expect("write");
        assert_eq!(pipes.line(), "pong 2\n");
        assert!(b.refused(&["state", &saved]).contains("does not exist"));
        end(&b);
    }
}

#[test]
fn a_user_namespace_comes_back() {
    for mut b in benches() {
        let map = vec![IdMapping { container_id: 0, host_id: 100_000, size: 65_536 }];
        b.linux().namespaces.push(Namespace { kind: "user".into(), path: None });
        b.linux().uid_mappings = map.clone();
        b.linux().gid_mappings = map;
        for (path, mode) in [(b.directory.path(), 0o755), (&b.rootfs().join("tmp"), 0o1777)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
        }
        if b.runtime != Path::new(common::RUNTIME) {
            // One that runc makes could not be entered by the container's root.
            fs::create_dir(b.path("images")).expect("mkdir");
        }
        let pipes = Pipes::new();
        b.run_detached(COUNTER, &pipes);
        b.counts_on(0);
        b.checkpoint(&[]);
        b.gone();
        let at = b.count();
        b.restore(&pipes, &[]);
        let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(format!("/proc/{}", b.pid())).expect("stat"));
        assert_eq!(owner, 100_000);
        assert_eq!(b.ok(&["exec", &b.id.clone(), "id", "-u"]), "0\n");
        b.counts_on(at);
        end(&b);
    }
}

#[test]
fn filters_limits_and_users_come_back() {
    for mut b in benches() {
        b.process().user.uid = 1000;
        b.process().no_new_privileges = true;
        b.linux().seccomp = Some(oci::runtime::Seccomp {
            default_action: "SCMP_ACT_ALLOW".into(),
            architectures: vec!["SCMP_ARCH_X86_64".into()],
            syscalls: vec![oci::runtime::SyscallRule {
                names: vec!["chroot".into()],
                action: "SCMP_ACT_ERRNO".into(),
                ..Default::default()
            }],
            ..Default::default()
        });
        let tmp = b.rootfs().join("tmp");
        std::os::unix::fs::chown(&tmp, Some(1000), None).expect("chown");
        let pipes = Pipes::new();
        b.run_detached(COUNTER, &pipes);
        b.counts_on(0);
        let facts = |b: &Bench| {
            let status = fs::read_to_string(format!("/proc/{}/status", b.pid())).expect("status");
            let wanted = ["Uid:", "Gid:", "Groups:", "Seccomp:", "Cap", "NStgid:"];
            let lines = status.lines().filter(|l| wanted.iter().any(|w| l.starts_with(w)));
            let own = lines.map(|l| l.replace(&b.pid().to_string(), "pid")).collect::<Vec<_>>().join("\n");
            let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", b.pid())).expect("mountinfo");
            let mut mounts: Vec<String> = mounts
                .lines()
                .map(|l| {
                    let fields: Vec<&str> = l.split(' ').collect();
                    // Masked files are the host's null device now, with the flags of the host's mount.
                    format!("{} {}", fields[4], &fields[5][..2])
                })
                .collect();
            mounts.sort();
            (own, mounts)
        };
        let before = facts(&b);
        b.checkpoint(&[]);
        b.gone();
        b.restore(&pipes, &[]);
        assert_eq!(facts(&b), before, "{:?}", b.runtime);
        // Not every criu gives it back; ours says so.
        let status = fs::read_to_string(format!("/proc/{}/status", b.pid())).expect("status");
        if b.runtime == Path::new(common::RUNTIME) && status.contains("NoNewPrivs:\t0") {
            let said = fs::read_to_string(b.path("said")).expect("log");
            assert!(said.contains("process.noNewPrivileges: is not restored by criu"), "{said}");
        }
        let filtered = b.ok(&["exec", &b.id.clone(), "grep", "Seccomp:", "/proc/self/status"]);
        assert!(filtered.ends_with("2\n"), "{filtered}");
        end(&b);
    }
}
