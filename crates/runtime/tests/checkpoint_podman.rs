//! podman saves and restores its containers through our runtime, with the real criu: in place, left running, and by an
//! archive under another name.
//!
//! Where criu does not work, the reason is printed; `scripts/test-criu.sh` makes a machine where it does.

mod common;

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Bench, bench, text};

/// podman with roots of its own. What it has made is removed at the end.
struct Podman<'a> {
    b: &'a Bench,
    containers: RefCell<Vec<String>>,
}

impl Podman<'_> {
    fn call(&self, args: &[&str]) -> (Option<i32>, String) {
        let output = common::podman(self.b).args(args).stdin(Stdio::null()).output().expect("podman");
        let said = text(&output).trim().to_owned();
        let code = output.status.code();
        (code, if code == Some(0) { said } else { String::from_utf8_lossy(&output.stderr).into_owned() })
    }

    fn ok(&self, args: &[&str]) -> String {
        let (code, said) = self.call(args);
        assert_eq!(code, Some(0), "podman {args:?}: {said}");
        said
    }

    /// Notes a container's name, for the end.
    fn named(&self, name: &str) -> String {
        let name = format!("{}-{name}", self.b.id);
        self.containers.borrow_mut().push(name.clone());
        name
    }

    /// Its status, whether it was saved, and what it has counted to.
    fn state(&self, name: &str) -> (String, bool, u64) {
        let shown = self.ok(&["inspect", "-f", "{{.State.Status}} {{.State.Checkpointed}} {{.State.Pid}}", name]);
        let [status, saved, pid] = shown.split(' ').collect::<Vec<_>>()[..] else { panic!("{shown}") };
        // Each command of podman's takes seconds in an emulated machine.
        let count = fs::read_to_string(format!("/proc/{pid}/root/tmp/count")).unwrap_or_default();
        (status.to_owned(), saved == "true", count.trim().parse().unwrap_or(0))
    }

    /// Removes what it has made.
    fn clear(&self) {
        let names = self.containers.take();
        if !names.is_empty() {
            let words =
                ["rm", "--force", "--ignore", "--time", "0"].into_iter().chain(names.iter().map(String::as_str));
            self.ok(&words.collect::<Vec<_>>());
        }
    }
}

impl Drop for Podman<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in self.containers.take() {
                self.call(&["rm", "--force", "--ignore", "--time", "0", &name]);
            }
        }
    }
}

fn missing() -> Option<String> {
    for program in ["podman", "conmon"] {
        if Command::new(program).arg("--version").output().is_err() {
            return Some(format!("{program} is missing; run scripts/peers.sh"));
        }
    }
    match Command::new("criu").arg("check").output() {
        Err(error) => Some(format!("criu: {error}")),
        Ok(output) if !output.status.success() => {
            Some(format!("criu does not work here: {}", String::from_utf8_lossy(&output.stderr)))
        }
        Ok(_) => None,
    }
}

#[test]
fn podman_saves_and_restores_its_containers() {
    let Some(b) = bench() else { return };
    if let Some(reason) = missing() {
        println!("skipped: {reason}");
        return;
    }
    let path = |name: &str| b.directory.path().join(name).to_str().expect("path").to_owned();
    fs::write(path("containers.conf"), "").expect("conf");
    let archive = path("rootfs.tar");
    let packed = Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(b.rootfs()).arg(".").status();
    assert!(packed.expect("tar").success());
    let podman = Podman { b: &b, containers: RefCell::default() };
    podman.ok(&["import", "-q", &archive, "box"]);
    // podman's own parent would stay behind.
    let parent = format!("--cgroup-parent=/{}", b.id);
    let (first, second) = (podman.named("first"), podman.named("second"));
    let counter = "i=0; while :; do i=$((i+1)); echo $i >/tmp/new; mv /tmp/new /tmp/count; sleep 0.1; done";
    let run = ["run", "-d", "--network=none", "--log-driver=none", "--pids-limit=50", &parent, "--name", &first];
    let id = podman.ok(&[&run[..], &["box", "sh", "-c", counter]].concat());
    b.until("counting", || podman.state(&first).2 > 0);

    // What is left running is in the archive all the same.
    let saved = path("saved.tar.gz");
    podman.ok(&["container", "checkpoint", "--leave-running", "--export", &saved, &first]);
    let (status, _, at) = podman.state(&first);
    assert_eq!(status, "running");

    podman.ok(&["container", "checkpoint", &first]);
    let (status, checkpointed, _) = podman.state(&first);
    assert_eq!((status.as_str(), checkpointed), ("exited", true));
    podman.ok(&["container", "restore", &first]);
    let (status, _, later) = podman.state(&first);
    assert!(status == "running" && later > at, "{status}: {later} after {at}");

    // The other one goes on from where it was saved, beside the first, with the archive's memory and files.
    let other_id = podman.ok(&["container", "restore", "--import", &saved, "--name", &second]);
    assert!(Path::new("/run/sampan-runtime").join(&id).exists());
    let (status, _, other) = podman.state(&second);
    assert!(status == "running" && other > 0, "{status}: {other}");
    assert_eq!(podman.ok(&["exec", &second, "cat", "/proc/1/comm"]), "sh");
    podman.clear();
    // podman names no root of the runtime's.
    for id in [id, other_id] {
        assert!(!Path::new("/run/sampan-runtime").join(&id).exists(), "{id} is left");
    }
}
