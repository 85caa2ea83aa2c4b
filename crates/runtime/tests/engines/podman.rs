//! Podman, of root and, where systemd gives a user cgroups, of a user.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::common::{Bench, bench};
use super::{archive, assert_no_cgroup, call, cgroup_of, emulated, file, installed, runtime, systemd};

const UID: &str = "1000";
const RUN: &str = "/run/user/1000";

/// A podman with everything below a directory of the test.
struct Podman<'a> {
    b: &'a Bench,
    /// Whether it is the user's.
    of_user: bool,
}

impl<'a> Podman<'a> {
    fn new(b: &'a Bench, of_user: bool) -> Self {
        let podman = Self { b, of_user };
        let archive = archive(b);
        assert_eq!(podman.call(&["import", "-q", archive.to_str().expect("path"), "box"]).0, Some(0));
        podman
    }

    fn call(&self, words: &[&str]) -> (Option<i32>, String) {
        let here = self.b.directory.path().join("p");
        let path = |name: &str| here.join(name).to_string_lossy().into_owned();
        let mut command = if self.of_user { as_user("podman") } else { Command::new("podman") };
        command.env("HOME", path("home")).args(["--root", &path("root"), "--runroot", &path("run")]);
        command.args(["--tmpdir", &path("tmp"), "--network-config-dir", &path("net"), "--storage-driver=vfs"]);
        let manager = if systemd() { "systemd" } else { "cgroupfs" };
        command.args(["--events-backend=file", "--cgroup-manager", manager, "--runtime"]).arg(self.runtime());
        call(command.args(words))
    }

    /// Not where it was built: a user may not get there.
    fn runtime(&self) -> std::path::PathBuf {
        let copy = self.b.directory.path().join("sampan-runtime");
        if !copy.exists() {
            fs::copy(runtime(), &copy).expect("copy");
        }
        copy
    }

    fn run(&self, options: &[&str], words: &[&str]) -> (Option<i32>, String) {
        let parent = format!("/{}", self.b.id);
        let place = if systemd() { Vec::new() } else { vec!["--cgroup-parent", &parent] };
        // Raising hard limits needs CAP_SYS_RESOURCE, which podman takes for granted.
        let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"];
        self.call(&[&["run", "--network=none"], &limits[..], &place, options, &["box"], words].concat())
    }

    fn inspect(&self, name: &str, field: &str) -> String {
        self.call(&["inspect", "-f", &format!("{{{{{field}}}}}"), name]).1
    }

    /// Output, status, limits, added processes and the freezer. The container's id.
    fn lives(&self) -> String {
        assert_eq!(self.run(&["--rm"], &["sh", "-c", "echo out; exit 7"]), (Some(7), "out".into()));
        let script = "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done";
        let limits = ["-d", "--name", "c1", "-m", "64m", "--pids-limit", "50"];
        let started = self.run(&limits, &["sh", "-c", script]);
        assert_eq!(started.0, Some(0), "{started:?}");
        let id = self.inspect("c1", ".Id");
        if self.b.v2() {
            let cgroup = cgroup_of(&self.inspect("c1", ".State.Pid"));
            let name = format!("libpod-{id}{}", if systemd() { ".scope" } else { "" });
            assert_eq!(cgroup.file_name().and_then(|n| n.to_str()), Some(&*name), "{cgroup:?}");
            assert_eq!((file(&cgroup, "memory.max"), file(&cgroup, "pids.max")), ("67108864".into(), "50".into()));
            assert_eq!(self.call(&["update", "-m", "128m", "c1"]).0, Some(0));
            assert_eq!(file(&cgroup, "memory.max"), "134217728");
        }
        assert_eq!(self.call(&["exec", "c1", "sh", "-c", "echo in; exit 5"]), (Some(5), "in".into()));
        assert_eq!(self.call(&["pause", "c1"]).0, Some(0));
        assert_eq!(self.inspect("c1", ".State.Status"), "paused");
        assert_eq!(self.call(&["unpause", "c1"]).0, Some(0));
        id
    }

    fn ends(&self, id: &str) {
        assert_eq!(self.call(&["stop", "-t", "100", "c1"]).0, Some(0));
        assert_eq!(self.inspect("c1", ".State.ExitCode"), "3");
        assert_eq!(self.call(&["start", "c1"]).0, Some(0));
        assert_eq!(self.call(&["rm", "-f", "-t", "0", "c1"]).0, Some(0));
        // podman does not hand its `--runtime-flag root=` on to the clean-up after a container's end, so it is the default.
        let root = if self.of_user { Path::new(RUN) } else { Path::new("/run") };
        assert!(!root.join("sampan-runtime").join(id).exists(), "state is left");
        assert_no_cgroup(&format!("libpod-{id}"));
    }
}

impl Drop for Podman<'_> {
    fn drop(&mut self) {
        // There is no daemon that would end with the test.
        if std::thread::panicking() {
            self.call(&["rm", "--all", "-f", "-t", "0"]);
        }
    }
}

#[test]
fn podman_runs_it() {
    if !installed(&["podman", "conmon"]) {
        return;
    }
    let Some(b) = bench() else { return };
    let podman = Podman::new(&b, false);
    let id = podman.lives();
    assert_eq!(podman.call(&["logs", "c1"]).1, "up");
    assert!(podman.call(&["top", "c1"]).1.contains("sleep 0.1"));
    let stats = podman.call(&["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "c1"]);
    assert!(stats.0 == Some(0) && stats.1.contains("c1 "), "{stats:?}");
    podman.ends(&id);
    let missing = podman.run(&["--rm"], &["nosuch"]);
    assert!(missing.0 == Some(127) && missing.1.contains("executable file not found"), "{missing:?}");
    // podman's monitors end a little later than their containers, and what they are in cannot be removed before.
    let empty = |parent: &std::path::PathBuf| {
        fs::read_to_string(parent.join("conmon/cgroup.procs")).map_or(true, |pids| pids.is_empty())
    };
    b.until("the monitors' end", || b.cgroups().iter().all(empty));
}

/// A program as a user with a systemd of his own.
fn as_user(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", UID, "--regid", UID, "--clear-groups", program]).env_clear();
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("XDG_RUNTIME_DIR", RUN).current_dir("/");
    command
}

/// Gives a user ids and a systemd. Only in a machine of the test's own.
fn make_user() {
    assert!(emulated(), "/etc is to be changed");
    let add = |file: &str, line: &str| {
        let old = fs::read_to_string(file).unwrap_or_default();
        fs::write(file, old + line).expect(file);
    };
    let passwd = fs::read_to_string("/etc/passwd").expect("passwd");
    let known = passwd.lines().find(|line| line.contains(":1000:1000:")).and_then(|line| line.split(':').next());
    if known.is_none() {
        add("/etc/passwd", "sampan:x:1000:1000::/tmp:/bin/sh\n");
        add("/etc/group", "sampan:x:1000:\n");
        add("/etc/shadow", "sampan:*:19000:0:99999:7:::\n");
    }
    for file in ["/etc/subuid", "/etc/subgid"] {
        add(file, &format!("{}:200000:65536\n", known.unwrap_or("sampan")));
    }
    let start = Command::new("systemctl").args(["start", "user@1000.service"]).output().expect("systemctl");
    assert!(start.status.success(), "{start:?}");
}

#[test]
fn podman_runs_it_for_a_user_with_systemd() {
    if !installed(&["podman", "conmon", "newuidmap"]) {
        return;
    }
    if !systemd() || !emulated() {
        println!("skipped: needs a machine with systemd; run scripts/test-engines.sh");
        return;
    }
    make_user();
    let Some(b) = bench() else { return };
    b.until("the user's bus", || Path::new(RUN).join("bus").exists());
    let here = b.directory.path().join("p");
    for path in [here.clone(), here.join("home")] {
        fs::create_dir(&path).expect("mkdir");
        std::os::unix::fs::chown(&path, Some(1000), Some(1000)).expect("chown");
    }
    fs::set_permissions(b.directory.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    let podman = Podman::new(&b, true);
    let id = podman.lives();
    let cgroup = cgroup_of(&podman.inspect("c1", ".State.Pid"));
    assert!(cgroup.starts_with("/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service"), "{cgroup:?}");
    podman.ends(&id);
}
