//! What tests of limits share: the container's control files, and `update`.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use oci::runtime::Resources;

use super::Bench;

/// A control file of the container: by its v1 controller, v1 and v2 names.
pub(crate) fn file(b: &Bench, controller: &str, v1: &str, v2: &str) -> String {
    let path = b.cgroup(controller).join(if b.v2() { v2 } else { v1 });
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim().to_owned()
}

/// Whether this machine has such a file in a container's cgroup.
pub(crate) fn has(b: &Bench, controller: &str, v1: &str, v2: &str) -> bool {
    let found = b.cgroup(controller).join(if b.v2() { v2 } else { v1 }).exists();
    if !found {
        println!("skipped in part: this machine has no {v1} or {v2}");
    }
    found
}

pub(crate) fn resources(b: &mut Bench) -> &mut Resources {
    b.linux().resources.get_or_insert_default()
}

/// `update` with resources on standard input.
pub(crate) fn update(b: &Bench, json: &str) -> std::process::Output {
    let mut child = b
        .command(&["update", "-r", "-", &b.id])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("update");
    child.stdin.take().expect("stdin").write_all(json.as_bytes()).expect("stdin");
    child.wait_with_output().expect("update")
}

pub(crate) fn words(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).replace("\\\"", "\"")
}
