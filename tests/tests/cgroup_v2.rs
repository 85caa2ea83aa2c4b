//! The runtime's own tests once more, on a machine with cgroup v2: User-Mode Linux.

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
