//! Checkpoint and restore with the real criu, ours and runc's side by side, on an emulated machine with Debian's kernel.

use std::process::Command;

use sampan_tests::{bin_dir, peer, workspace};

#[test]
fn containers_are_saved_and_restored_with_criu() {
    if ["qemu-system-x86_64", "criu", "runc", "jq", "podman"].into_iter().any(|name| peer(name).is_none()) {
        return;
    }
    let output = Command::new(workspace().join("scripts/test-criu.sh")).output().expect("scripts/test-criu.sh");
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    let results: Vec<&str> = text.lines().filter(|line| line.starts_with("test ")).collect();
    let count = |word: &str| results.iter().filter(|line| line.contains(word)).count();
    assert!(output.status.success() && count("FAILED") == 0, "see above");
    assert!(count("... ") >= 16, "only {} tests have run", count("... "));
    assert!(!text.contains("skipped: criu does not work"), "criu does not work in the machine either");
}

#[test]
fn containerd_saves_and_restores_through_both_shims() {
    if ["qemu-system-x86_64", "criu", "containerd", "umoci"].into_iter().any(|name| peer(name).is_none()) {
        return;
    }
    let output = Command::new(workspace().join("scripts/machine-tcg.sh"))
        .args(["--timeout", "900", "bash"])
        .arg(workspace().join("tests/machine/ctr-checkpoint.sh"))
        .arg(bin_dir())
        .output()
        .expect("scripts/machine-tcg.sh");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("restored through the shim") && text.contains("/containerd-shim-sampan-v2:"), "{text}");
    assert_eq!(text.matches("restored through the shim").count(), 2, "{text}");
}
