//! Other people's engines with our runtime in runc's place: Debian's containerd, dockerd and podman, each private to its
//! test.
//!
//! The runtime is the static one of `SAMPAN_BIN` where that is given, else the one just built. Where systemd is pid 1 it
//! makes the cgroups; `scripts/test-engines.sh` runs this on cgroup v2 with and without it, on an emulated machine, where
//! what has nothing to do with cgroups is left out.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{Bench, RUNTIME, bench, text};

fn runtime() -> PathBuf {
    std::env::var_os("SAMPAN_BIN").map_or_else(|| RUNTIME.into(), |bin| Path::new(&bin).join("sampan-runtime"))
}

fn systemd() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Whether every step takes seconds.
fn emulated() -> bool {
    std::env::var_os("SAMPAN_MACHINE").is_some()
}

/// The v2 cgroup of a process.
fn cgroup_of(pid: &str) -> PathBuf {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("cgroup");
    let path = text.lines().find_map(|line| line.strip_prefix("0::/")).expect("v2").to_owned();
    Path::new("/sys/fs/cgroup").join(path)
}

fn file(directory: &Path, name: &str) -> String {
    fs::read_to_string(directory.join(name)).expect(name).trim().to_owned()
}

/// Neither a unit nor a cgroup with this in its name is there.
fn assert_no_cgroup(part: &str) {
    let scopes = format!("*{part}*.scope");
    let found = Command::new("find").args(["/sys/fs/cgroup", "-name", &scopes]).output();
    assert_eq!(text(&found.expect("find")), "", "cgroups are left");
    if systemd() {
        let units = Command::new("systemctl").args(["list-units", "--all", "--no-legend", &scopes]).output();
        assert_eq!(text(&units.expect("systemctl")), "", "units are left");
    }
}

/// The test's root filesystem in an archive, for engines that want an image.
fn archive(b: &Bench) -> PathBuf {
    let archive = b.directory.path().join("rootfs.tar");
    let packed = Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(b.rootfs()).arg(".").status();
    assert!(packed.expect("tar").success());
    archive
}

fn installed(programs: &[&str]) -> bool {
    let on_path = |program: &&str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|d| d.join(program).is_file())
    };
    let missing = programs.iter().find(|p| !on_path(p));
    if let Some(program) = missing {
        println!("skipped: {program} is not installed");
    }
    missing.is_none()
}

/// A daemon; ended with what it started.
struct Daemon(Child);

impl Daemon {
    /// Starts it, with what it says in a file, and waits until it answers.
    fn start(command: &mut Command, says: &Path, answers: impl Fn() -> bool) -> Self {
        let said = || fs::read_to_string(says).unwrap_or_default();
        let file = fs::File::create(says).expect("a log");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn().expect("daemon");
        let mut daemon = Self(child);
        let end = Instant::now() + Duration::from_secs(if emulated() { 300 } else { 60 });
        while !answers() {
            let ended = daemon.0.try_wait().expect("wait for the daemon");
            assert!(ended.is_none(), "the daemon has ended, {ended:?}: {}", said());
            assert!(Instant::now() < end, "the daemon does not answer: {}", said());
            std::thread::sleep(Duration::from_millis(50));
        }
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let end = Instant::now() + Duration::from_secs(20);
        while self.0.try_wait().is_ok_and(|status| status.is_none()) {
            if Instant::now() > end {
                let _ = self.0.kill();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A command's status and standard output.
fn call(command: &mut Command) -> (Option<i32>, String) {
    let output = command.stdin(Stdio::null()).output().expect("command");
    shown(&output)
}

fn shown(output: &Output) -> (Option<i32>, String) {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let out = text(output).trim().to_owned();
    (output.status.code(), if output.status.success() || !out.is_empty() { out } else { error })
}

/// The runtime's containers below a directory that an engine has given it.
fn left(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![directory.to_owned()];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => todo.push(entry.path()),
                _ if entry.file_name() == "state.json" => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found
}

/// Debian's containerd, in a new directory of its own, listening at `s` in it.
fn start_containerd(here: &Path) -> Daemon {
    fs::create_dir(here).expect("mkdir");
    let config = format!(
        "version = 2\nroot = \"{0}/root\"\nstate = \"{0}/state\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
         [grpc]\naddress = \"{0}/s\"\n[ttrpc]\naddress = \"{0}/t\"\n",
        here.display()
    );
    fs::write(here.join("config.toml"), config).expect("config");
    let answers = || call(Command::new("ctr").arg("--address").arg(here.join("s")).arg("version")).0 == Some(0);
    let mut command = Command::new("containerd");
    Daemon::start(command.arg("--config").arg(here.join("config.toml")), &here.join("said"), answers)
}

#[test]
fn containerd_runs_it() {
    if !installed(&["containerd", "ctr", "containerd-shim-runc-v2", "script"]) {
        return;
    }
    let Some(b) = bench() else { return };
    let here = b.directory.path().join("c");
    let ctr = |args: &[&str]| call(Command::new("ctr").arg("--address").arg(here.join("s")).args(args));
    let daemon = start_containerd(&here);
    let (runtime, rootfs) = (runtime(), b.rootfs());
    let roots = here.join("roots");
    let base = ["run", "--runc-binary", runtime.to_str().expect("path"), "--runc-root", roots.to_str().expect("path")];
    let path = ["--env", "PATH=/bin"];
    let number = std::cell::Cell::new(0);
    let run = |options: &[&str], words: &[&str]| {
        number.set(number.get() + 1);
        let id = format!("{}-{}", b.id, number.get());
        let place = if systemd() {
            format!("system.slice:{}:{}", b.id, number.get())
        } else {
            format!("/{}/{}", b.id, number.get())
        };
        let cgroup = [&["--runc-systemd-cgroup"][..usize::from(systemd())], &["--cgroup", &place]].concat();
        let rest = ["--rootfs", rootfs.to_str().expect("path"), &id];
        (id.clone(), ctr(&[&base[..], &cgroup, &path, options, &rest, words].concat()))
    };
    assert_eq!(run(&["--rm"], &["sh", "-c", "echo out; exit 42"]).1, (Some(42), "out".into()));
    let missing = run(&["--rm"], &["nosuch"]).1;
    assert!(missing.0 != Some(0) && missing.1.contains("executable file not found in $PATH"), "{missing:?}");
    let (id, started) = run(&["-d", "--memory-limit", "33554432"], &["sleep", "1000"]);
    assert_eq!(started.0, Some(0), "{started:?}");
    if b.v2() {
        let tasks = ctr(&["t", "ls"]).1;
        let pid = tasks.lines().find_map(|l| l.strip_prefix(&id)?.split_whitespace().next()).expect("pid");
        let cgroup = cgroup_of(pid);
        let scope = format!("system.slice/{}-{}.scope", b.id, number.get());
        let place = if systemd() { scope } else { format!("{}/{}", b.id, number.get()) };
        assert_eq!(cgroup, Path::new("/sys/fs/cgroup").join(place));
        assert_eq!(file(&cgroup, "memory.max"), "33554432");
    } else {
        let limit = format!("/sys/fs/cgroup/memory/{}/{}/memory.limit_in_bytes", b.id, number.get());
        assert_eq!(fs::read_to_string(limit).expect("limit").trim(), "33554432");
    }
    let exec = |words: &[&str]| ctr(&[&["t", "exec", "--exec-id", "e", &id], words].concat());
    assert_eq!(exec(&["sh", "-c", "echo in; exit 7"]), (Some(7), "in".into()));
    let tty = format!("ctr --address {}/s t exec -t --exec-id t {id} sh -c 'test -t 0 && echo tty'", here.display());
    let tty = call(Command::new("script").args(["-qec", &tty, "/dev/null"]));
    assert!(tty.0 == Some(0) && tty.1.contains("tty"), "{tty:?}");
    let status = || ctr(&["t", "ls"]).1.lines().find(|l| l.starts_with(&id)).map(|l| l.contains("PAUSED"));
    assert_eq!(ctr(&["t", "pause", &id]).0, Some(0));
    assert_eq!(status(), Some(true));
    assert_eq!(ctr(&["t", "resume", &id]).0, Some(0));
    assert_eq!(status(), Some(false));
    assert!(ctr(&["t", "ps", &id]).1.lines().count() >= 2);
    assert_eq!(ctr(&["t", "metrics", &id]).0, Some(0));
    assert_eq!(ctr(&["t", "kill", "-s", "KILL", &id]).0, Some(0));
    b.until("the end", || ctr(&["t", "ls"]).1.contains("STOPPED"));
    assert_eq!(ctr(&["t", "rm", &id]).0, Some(0));
    assert_eq!(ctr(&["c", "rm", &id]).0, Some(0));
    assert_eq!(left(&roots), Vec::<PathBuf>::new());
    drop(daemon);
    assert_no_cgroup(&b.id);
}

#[test]
fn dockerd_runs_it() {
    if !installed(&["dockerd", "docker", "containerd", "script"]) {
        return;
    }
    let Some(b) = bench() else { return };
    let here = b.directory.path().join("d");
    fs::create_dir(&here).expect("mkdir");
    let socket = format!("unix://{}/s", here.display());
    let docker = |args: &[&str]| call(Command::new("docker").env("DOCKER_HOST", &socket).args(args));
    let daemon = start_dockerd(&b, &here, &socket, || docker(&["version"]).0 == Some(0));
    assert_eq!(docker(&["import", archive(&b).to_str().expect("path"), "box"]).0, Some(0));
    let run =
        |options: &[&str], words: &[&str]| docker(&[&["run", "--network=none"], options, &["box"], words].concat());
    assert_eq!(docker(&["info", "-f", "{{.DefaultRuntime}}"]).1, "ours");
    assert_eq!(run(&["--rm"], &["sh", "-c", "echo out; exit 42"]), (Some(42), "out".into()));
    assert_eq!(run(&["--rm"], &["nosuch"]).0, Some(127));
    if !emulated() {
        assert_eq!(run(&["--rm"], &["/etc"]).0, Some(126));
        assert_eq!(run(&["--rm", "-u", "5:6", "-w", "/tmp"], &["sh", "-c", "id -u; pwd"]).1, "5\n/tmp");
        assert_eq!(run(&["--rm", "-h", "name", "-e", "A=b"], &["sh", "-c", "hostname; echo $A"]).1, "name\nb");
        let tmpfs = ["--rm", "--read-only", "--tmpfs", "/tmp"];
        assert_eq!(run(&tmpfs, &["sh", "-c", "touch /x || touch /tmp/x"]).0, Some(0));
    }
    let limits = ["-d", "--name", "c1", "-m", "32m", "--pids-limit", "30", "--cpu-shares", "512"];
    let started = run(&limits, &["sh", "-c", "echo logged; exec sleep 1000"]);
    assert_eq!(started.0, Some(0), "{started:?}");
    let (files, values) = if b.v2() {
        ("memory.max pids.max cpu.weight", "33554432\n30\n59")
    } else {
        ("memory/memory.limit_in_bytes pids/pids.max cpu/cpu.shares", "33554432\n30\n512")
    };
    let files = format!("cd /sys/fs/cgroup; cat {files}");
    assert_eq!(docker(&["exec", "c1", "sh", "-c", &files]), (Some(0), values.into()));
    b.until("the log", || docker(&["logs", "c1"]).1 == "logged");
    assert_eq!(docker(&["exec", "c1", "sh", "-c", "echo in; exit 7"]), (Some(7), "in".into()));
    // What dockerd makes of it is another number in each version.
    if !emulated() && installed(&["runc"]) {
        assert_eq!(run(&["-d", "--name", "c2", "--runtime=runc"], &["sleep", "1000"]).0, Some(0));
        assert_eq!(docker(&["exec", "c1", "nosuch"]), docker(&["exec", "c2", "nosuch"]));
        assert_eq!(docker(&["rm", "-f", "c2"]).0, Some(0));
    }
    let tty = format!("DOCKER_HOST={socket} docker exec -it c1 sh -c 'test -t 0 && stty size'");
    let tty = call(Command::new("script").args(["-qec", &tty, "/dev/null"]));
    assert!(tty.0 == Some(0), "{tty:?}");
    assert_eq!(docker(&["pause", "c1"]).0, Some(0));
    assert_eq!(docker(&["inspect", "-f", "{{.State.Status}}", "c1"]).1, "paused");
    assert_eq!(docker(&["unpause", "c1"]).0, Some(0));
    assert_eq!(docker(&["update", "-m", "64m", "--memory-swap", "-1", "c1"]).0, Some(0));
    assert!(docker(&["top", "c1"]).1.contains("sleep 1000"));
    assert_eq!(docker(&["stop", "-t", "0", "c1"]).0, Some(0));
    assert_eq!(docker(&["inspect", "-f", "{{.State.ExitCode}}", "c1"]).1, "137");
    assert_eq!(docker(&["start", "c1"]).0, Some(0));
    assert_eq!(docker(&["kill", "-s", "TERM", "c1"]).0, Some(0));
    assert_eq!(docker(&["rm", "-f", "c1"]).0, Some(0));
    if emulated() {
        drop(daemon);
        assert_no_cgroup("docker-");
        return;
    }
    let restarted = run(&["-d", "--name", "r1", "--init"], &["sleep", "1000"]);
    // Debian's docker-init is in a package of its own; without it dockerd refuses the option itself.
    if restarted.0 == Some(0) {
        assert_eq!(docker(&["restart", "-t", "0", "r1"]).0, Some(0));
    }
    docker(&["rm", "-f", "r1"]);
    drop(daemon);
}

/// Debian's dockerd with a containerd of its own, both below `here`; in the order in which they are to end. A dockerd
/// that starts its containerd itself gives up after 15 seconds, which are few in an emulated machine.
fn start_dockerd(b: &Bench, here: &Path, socket: &str, answers: impl Fn() -> bool) -> (Daemon, Daemon) {
    let containerd = start_containerd(&here.join("c"));
    let path = |name: &str| here.join(name).to_string_lossy().into_owned();
    let mut command = Command::new("dockerd");
    command
        .args(["--data-root", &path("data"), "--exec-root", &path("exec"), "--pidfile", &path("pid"), "-H", socket])
        .args(["--bridge=none", "--iptables=false", "--ip6tables=false"])
        .args(["--add-runtime", &format!("ours={}", runtime().display()), "--default-runtime=ours"])
        .args(["--storage-driver=vfs", "--containerd", &path("c/s")]);
    if systemd() {
        command.args(["--exec-opt", "native.cgroupdriver=systemd"]);
    } else {
        command.args(["--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", &format!("/{}", b.id)]);
    }
    (Daemon::start(&mut command, &here.join("said"), answers), containerd)
}

#[path = "engines/podman.rs"]
mod podman;
