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
        let here = self.b.directory.path();
        let output = Command::new("podman")
            .env("CONTAINERS_CONF", here.join("containers.conf"))
            .arg("--root")
            .arg(here.join("podman"))
            .arg("--runroot")
            .arg(here.join("run"))
            .arg("--runtime")
            .arg(common::RUNTIME)
            .args(["--cgroup-manager=cgroupfs", "--events-backend=none", "--storage-driver=vfs"])
            .args(args)
            .stdin(Stdio::null())
            .output()
            .expect("podman");
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

    /// What the container has counted to.
    fn count(&self, name: &str) -> u64 {
        self.ok(&["exec", name, "cat", "/tmp/count"]).parse().expect("a number")
    }

    fn status(&self, name: &str) -> String {
        self.ok(&["inspect", "-f", "{{.State.Status}}", name])
    }
}

impl Drop for Podman<'_> {
    fn drop(&mut self) {
        for name in self.containers.take() {
            self.call(&["rm", "--force", "--ignore", "--time", "0", &name]);
        }
        self.call(&["rmi", "--force", "box"]);
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
    b.until("counting", || podman.call(&["exec", &first, "cat", "/tmp/count"]).0 == Some(0));

    // What is left running is in the archive all the same.
    let saved = path("saved.tar.gz");
    podman.ok(&["container", "checkpoint", "--leave-running", "--export", &saved, &first]);
    assert_eq!(podman.status(&first), "running");
    let at = podman.count(&first);

    podman.ok(&["container", "checkpoint", &first]);
    assert_eq!(podman.status(&first), "exited");
    assert_eq!(podman.ok(&["inspect", "-f", "{{.State.Checkpointed}}", &first]), "true");
    podman.ok(&["container", "restore", &first]);
    assert_eq!(podman.status(&first), "running");
    let later = podman.count(&first);
    assert!(later > at, "{later} after {at}");

    // The other one goes on from where it was saved, beside the first; the memory is the archive's, the files are too.
    let other_id = podman.ok(&["container", "restore", "--import", &saved, "--name", &second]);
    assert!(Path::new("/run/sampan-runtime").join(&id).exists());
    let other = podman.count(&second);
    assert!(other > 0 && podman.status(&second) == "running");
    assert_eq!(podman.ok(&["exec", &second, "cat", "/proc/1/comm"]), "sh");
    for name in [&second, &first] {
        podman.ok(&["rm", "--force", "--time", "0", name]);
    }
    // podman names no root of the runtime's.
    for id in [id, other_id] {
        assert!(!Path::new("/run/sampan-runtime").join(&id).exists(), "{id} is left");
    }
}
