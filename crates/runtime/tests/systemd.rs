//! The systemd driver. Most tests need systemd as pid 1: those in `machine` are run by `under_systemd` in a machine of
//! its own, once for each layout of cgroups.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::{Bench, bench, text};

/// Runs the container, or creates it, by systemd.
fn by_systemd(b: &Bench, command: &[&str]) -> Output {
    fs::write(b.bundle().join("config.json"), serde_json::to_vec(&b.spec).expect("JSON")).expect("config.json");
    let bundle = b.bundle();
    let (verb, rest) = command.split_first().expect("a command");
    let mut words = vec!["--systemd-cgroup", verb, "--bundle", bundle.to_str().expect("path")];
    words.extend(rest);
    words.push(&b.id);
    let out = fs::File::create(b.directory.path().join("out")).expect("out");
    let status = b
        .command(&words)
        .stdin(Stdio::null())
        .stdout(out.try_clone().expect("clone"))
        .stderr(out)
        .status()
        .expect("runtime");
    let bytes = fs::read(b.directory.path().join("out")).expect("out");
    Output { status, stdout: bytes.clone(), stderr: bytes }
}

fn said(output: &Output) -> String {
    text(output).replace("\\\"", "\"")
}

#[test]
fn without_systemd_it_says_so() {
    let Some(mut b) = bench() else { return };
    if Path::new("/run/systemd/system").is_dir() {
        println!("skipped: systemd runs here");
        return;
    }
    b.script("true");
    b.linux().cgroups_path = None;
    let output = by_systemd(&b, &["run"]);
    assert!(!output.status.success());
    let words = "systemd not running on this host, cannot use systemd cgroups manager";
    assert!(said(&output).contains(words), "{}", said(&output));
    b.assert_nothing_left();
}

#[test]
fn other_forms_of_the_path_are_refused() {
    let Some(mut b) = bench() else { return };
    b.script("true");
    for (path, words) in [
        (
            "/a/b",
            "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got \"/a/b\" instead",
        ),
        ("a:b", "expected cgroupsPath to be of format"),
        ("a/b.slice:c:d", "invalid slice name: a/b.slice"),
        ("a--b.slice:c:d", "invalid slice name: a--b.slice"),
        ("a.slice:c:../d", "is not a valid name of a unit"),
        ("a.slice:c:d.slice", "can only be in a scope"),
    ] {
        b.linux().cgroups_path = Some(path.into());
        let output = by_systemd(&b, &["run"]);
        assert!(!output.status.success() && said(&output).contains(words), "{path}: {}", said(&output));
        assert!(said(&output).contains("linux.cgroupsPath"), "{path}: {}", said(&output));
    }
    b.linux().cgroups_path = None;
    for (key, value, words) in [
        ("org.systemd.property.a-b", "true", "name incorrect: contains non-alphabetic character"),
        ("org.systemd.property.After", "['x'", "org.systemd.property.After=['x' value parse error"),
    ] {
        b.spec.annotations = [(key.to_owned(), value.to_owned())].into();
        let output = by_systemd(&b, &["run"]);
        assert!(!output.status.success() && said(&output).contains(words), "{}", said(&output));
    }
    b.assert_nothing_left();
}

#[test]
fn features_tell_of_systemd() {
    let Some(b) = bench() else { return };
    let features: serde_json::Value = serde_json::from_str(&b.ok(&["features"])).expect("JSON");
    assert_eq!(features["linux"]["cgroup"]["systemd"], true);
    assert_eq!(features["linux"]["cgroup"]["systemdUser"], true);
}

/// Runs the ignored tests of this program whose names begin with `prefix` in a machine with systemd.
fn in_machine(layout: &str, prefix: &str, at_least: usize) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/machine-tcg.sh");
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root; run with sudo");
        return;
    }
    let present = |name: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).chain(["/usr/sbin".into()]).any(|d| d.join(name).exists())
    };
    for program in ["qemu-system-x86_64", "cpio", "dbus-daemon"] {
        if !present(program) || !Path::new("/lib/systemd/systemd").exists() {
            println!("skipped: {program} or systemd is missing; run scripts/peers.sh");
            return;
        }
    }
    let output = Command::new(script)
        .args(["--init", "systemd", "--cgroup", layout])
        .arg(std::env::current_exe().expect("this program"))
        .args(["--ignored", "--test-threads=1", prefix])
        .output()
        .expect("scripts/machine-tcg.sh");
    let shown = text(&output);
    println!("{shown}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "see above");
    let passed = shown.lines().filter(|l| l.starts_with("test ") && l.ends_with("... ok")).count();
    assert!(passed >= at_least, "only {passed} tests have run");
}

#[test]
fn under_systemd_with_v2() {
    in_machine("v2", "machine::on_v2", 12);
}

#[test]
fn under_systemd_with_hybrid() {
    in_machine("hybrid", "machine::on_v1", 2);
}

#[path = "systemd/machine.rs"]
mod machine;

#[path = "systemd/restored.rs"]
mod restored;
