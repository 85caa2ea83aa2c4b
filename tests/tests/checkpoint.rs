//! Checkpoint and restore with the real criu, ours and runc's side by side, on an emulated machine with Debian's kernel.

use std::process::Command;

use sampan_tests::{peer, workspace};

#[test]
fn containers_are_saved_and_restored_with_criu() {
    if ["qemu-system-x86_64", "criu", "runc", "jq"].into_iter().any(|name| peer(name).is_none()) {
        return;
    }
    let output = Command::new(workspace().join("scripts/test-criu.sh")).output().expect("scripts/test-criu.sh");
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    let results: Vec<&str> = text.lines().filter(|line| line.starts_with("test ")).collect();
    let count = |word: &str| results.iter().filter(|line| line.contains(word)).count();
    assert!(output.status.success() && count("FAILED") == 0, "see above");
    assert!(count("... ") >= 12, "only {} tests have run", count("... "));
    assert!(!text.contains("skipped: criu does not work"), "criu does not work in the machine either");
}
