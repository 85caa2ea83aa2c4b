//! The runtime's own tests once more, on machines with cgroup v2: User-Mode Linux, and for those with other people's
//! engines, which take too long on it, an emulated one with Debian's kernel.

use std::process::Command;

use sampan_tests::{peer, workspace};

#[test]
fn the_runtimes_tests_pass_on_cgroup_v2() {
    if peer("linux.uml").is_none() || peer("jq").is_none() {
        return;
    }
    let output = Command::new(workspace().join("scripts/test-v2.sh")).output().expect("scripts/test-v2.sh");
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    let results: Vec<&str> = text.lines().filter(|line| line.starts_with("test ")).collect();
    let count = |word: &str| results.iter().filter(|line| line.ends_with(word)).count();
    assert!(output.status.success() && count("FAILED") == 0, "see above");
    assert!(count("... ok") >= 60, "only {} tests have run", count("... ok"));
}

/// Some tests of `crates/runtime/tests/engines.rs` in a machine whose pid 1 is of this kind.
fn engines(kind: &str, names: &[&str]) {
    if ["qemu-system-x86_64", "containerd", "dockerd", "podman", "jq"].into_iter().any(|name| peer(name).is_none()) {
        return;
    }
    let script = workspace().join("scripts/test-engines.sh");
    let output = Command::new(script).args([kind, "--exact"]).args(names).output().expect("scripts/test-engines.sh");
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "see above");
    let passed = text.lines().filter(|line| line.starts_with("test ") && line.ends_with("... ok")).count();
    assert_eq!(passed, names.len(), "not all have run");
}

// Each engine once, and each way to make cgroups; the script without names runs all of them in both machines.

#[test]
fn engines_run_the_runtime_on_cgroup_v2() {
    engines("plain", &["containerd_runs_it", "dockerd_runs_it"]);
}

#[test]
fn engines_run_the_runtime_with_systemds_cgroups() {
    engines("systemd", &["containerd_runs_it", "podman::podman_runs_it_for_a_user_with_systemd"]);
}
