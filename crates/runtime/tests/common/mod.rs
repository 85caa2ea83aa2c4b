//! A small vocabulary for tests with real containers: a bundle with busybox, the runtime, what the kernel shows.

#![allow(dead_code, reason = "every test file uses a part of it")]

pub(crate) mod limits;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use oci::runtime::{Linux, Namespace, Process, Spec};

pub(crate) const RUNTIME: &str = env!("CARGO_BIN_EXE_sampan-runtime");

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A bundle, a state root and a cgroup parent of its own; all gone at the end.
pub(crate) struct Bench {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) id: String,
    pub(crate) runtime: PathBuf,
    pub(crate) spec: Spec,
}

/// `None`, with the reason printed, where containers cannot be made.
pub(crate) fn bench() -> Option<Bench> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root; run with sudo");
        return None;
    }
    let busybox = ["/usr/bin/busybox", "/bin/busybox"].into_iter().find(|p| Path::new(p).exists());
    let Some(busybox) = busybox else {
        println!("skipped: busybox is missing; install busybox-static");
        return None;
    };
    let directory = tempfile::Builder::new().prefix("sampan-test-").tempdir().expect("tempdir");
    let rootfs = directory.path().join("bundle/rootfs");
    for name in ["bin", "dev", "etc", "proc", "sys", "tmp"] {
        fs::create_dir_all(rootfs.join(name)).expect("mkdir");
    }
    fs::copy(busybox, rootfs.join("bin/busybox")).expect("copy busybox");
    let applets = "sh true false sleep cat echo ls mount id ps hostname stat mkdir touch env pwd kill grep sed head tail wc \
                   readlink test tty stty dd find date chmod rm cut sort ln trap mkfifo umask nc";
    for applet in applets.split_whitespace() {
        symlink("busybox", rootfs.join("bin").join(applet)).expect("symlink");
    }
    fs::write(rootfs.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
        .expect("passwd");
    let id = format!("sampan-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let bundle = directory.path().join("bundle");
    let made = Command::new(RUNTIME).args(["spec", "--bundle"]).arg(&bundle).status().expect("spec");
    assert!(made.success());
    let mut spec: Spec =
        serde_json::from_slice(&fs::read(bundle.join("config.json")).expect("config.json")).expect("config.json");
    spec.process.as_mut().expect("process").terminal = false;
    let linux = spec.linux.as_mut().expect("linux");
    if !linux.namespaces.iter().any(|n| n.kind == "cgroup") {
        // The generated configuration has one on cgroup v2 only.
        linux.namespaces.push(Namespace { kind: "cgroup".into(), path: None });
    }
    linux.cgroups_path = Some(format!("/{id}/c"));
    Some(Bench { directory, id, runtime: RUNTIME.into(), spec })
}

impl Bench {
    pub(crate) fn process(&mut self) -> &mut Process {
        self.spec.process.as_mut().expect("process")
    }

    pub(crate) fn linux(&mut self) -> &mut Linux {
        self.spec.linux.as_mut().expect("linux")
    }

    pub(crate) fn bundle(&self) -> PathBuf {
        self.directory.path().join("bundle")
    }

    pub(crate) fn rootfs(&self) -> PathBuf {
        self.bundle().join("rootfs")
    }

    pub(crate) fn state_root(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// The program of the container: a shell script.
    pub(crate) fn script(&mut self, script: &str) -> &mut Self {
        self.process().args = ["sh", "-c", script].map(String::from).into();
        self
    }

    pub(crate) fn write_config(&self) {
        fs::write(self.bundle().join("config.json"), serde_json::to_vec(&self.spec).expect("JSON"))
            .expect("config.json");
    }

    /// Runs a command of the runtime.
    pub(crate) fn call(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("runtime")
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.runtime);
        command.arg("--root").arg(self.state_root()).args(args).stdin(Stdio::null());
        command
    }

    /// Runs the container in the foreground.
    pub(crate) fn run(&mut self) -> Output {
        self.run_with(&[])
    }

    /// The same with global options.
    pub(crate) fn run_with(&mut self, global: &[&str]) -> Output {
        self.write_config();
        let bundle = self.bundle();
        self.call(&[global, &["run", "--bundle", bundle.to_str().expect("path"), &self.id]].concat())
    }

    /// Runs a script in the container; its standard output. Panics when it fails.
    pub(crate) fn output(&mut self, script: &str) -> String {
        let output = self.script(script).run();
        assert!(output.status.success(), "{script}: {output:?}");
        text(&output)
    }

    /// Runs what must fail; standard error.
    pub(crate) fn failure(&mut self) -> String {
        let output = self.run();
        assert!(!output.status.success(), "{output:?}");
        self.assert_nothing_left();
        // The text log quotes the message.
        unquoted(&output.stderr)
    }

    /// Creates the container, output into a file.
    pub(crate) fn create(&self) -> Output {
        self.write_config();
        let out = fs::File::create(self.directory.path().join("out")).expect("out");
        let bundle = self.bundle();
        self.command(&["create", "--bundle", bundle.to_str().expect("path"), &self.id])
            .stdout(out.try_clone().expect("clone"))
            .stderr(out)
            .status()
            .map(|status| Output {
                status,
                stdout: Vec::new(),
                stderr: unquoted(&fs::read(self.directory.path().join("out")).expect("out")).into_bytes(),
            })
            .expect("create")
    }

    /// A container that is running its script.
    pub(crate) fn started(&mut self, script: &str) -> &mut Self {
        self.script(script);
        let created = self.create();
        assert!(created.status.success(), "{created:?}");
        self.ok(&["start", &self.id.clone()]);
        self
    }

    /// A command that must succeed; its standard output.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.call(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        text(&output)
    }

    /// A command that must fail; its standard error.
    pub(crate) fn refused(&self, args: &[&str]) -> String {
        let output = self.call(args);
        assert!(!output.status.success(), "{args:?}: {output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    pub(crate) fn state(&self) -> serde_json::Value {
        serde_json::from_str(&self.ok(&["state", &self.id])).expect("state")
    }

    pub(crate) fn status(&self) -> String {
        self.state()["status"].as_str().expect("status").to_owned()
    }

    pub(crate) fn pid(&self) -> i32 {
        self.state()["pid"].as_i64().expect("pid") as i32
    }

    /// Waits, bounded, until a condition holds.
    pub(crate) fn until(&self, what: &str, condition: impl Fn() -> bool) {
        for _ in 0..500 {
            if condition() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("{what} does not happen");
    }

    /// Every cgroup directory of this bench that exists.
    pub(crate) fn cgroups(&self) -> Vec<PathBuf> {
        let root = Path::new("/sys/fs/cgroup");
        let hierarchies = fs::read_dir(root).into_iter().flatten().flatten().map(|e| e.path());
        hierarchies.chain([root.to_owned()]).map(|h| h.join(&self.id)).filter(|p| p.exists()).collect()
    }

    /// The container's own cgroup of a v1 controller, or the v2 one.
    pub(crate) fn cgroup(&self, controller: &str) -> PathBuf {
        let v1 = Path::new("/sys/fs/cgroup").join(controller);
        let base = if v1.is_dir() { v1 } else { "/sys/fs/cgroup".into() };
        base.join(&self.id).join("c")
    }

    pub(crate) fn v2(&self) -> bool {
        Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
    }

    /// No state, cgroup or mount is left of it.
    pub(crate) fn assert_nothing_left(&self) {
        assert!(!self.state_root().join(&self.id).exists(), "state is left");
        assert_eq!(self.cgroups(), Vec::<PathBuf>::new(), "cgroups are left");
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        let here = self.directory.path().to_str().expect("path");
        assert!(!mounts.contains(here), "mounts are left: {mounts}");
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = self.call(&["delete", "--force", &self.id]);
        // Another runtime, or an engine above ours, leaves the parents that it has made.
        for parent in self.cgroups() {
            remove_cgroups(&parent);
        }
        // What a test has mounted for itself would keep the directory from being removed.
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
        let points = mounts.lines().rev().filter_map(|line| line.split(' ').nth(4));
        for point in points.filter(|point| Path::new(point).starts_with(self.directory.path())) {
            let _ = rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

/// Removes a cgroup with those below it.
fn remove_cgroups(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroups(&entry.path());
        }
    }
    let _ = fs::remove_dir(path);
}

pub(crate) fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What the text log has quoted.
fn unquoted(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace("\\\"", "\"")
}

/// podman with roots in the test's directory, and with our runtime. Its configuration is `containers.conf` there.
pub(crate) fn podman(b: &Bench) -> Command {
    let here = b.directory.path();
    let mut command = Command::new("podman");
    command.env("CONTAINERS_CONF", here.join("containers.conf"));
    command.arg("--root").arg(here.join("podman")).arg("--runroot").arg(here.join("run"));
    command.arg("--runtime").arg(RUNTIME);
    command.args(["--cgroup-manager=cgroupfs", "--events-backend=none", "--storage-driver=vfs"]);
    command
}
