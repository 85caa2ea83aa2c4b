//! Identities and capabilities.

use std::fs;

use crate::common::bench;

const SETS: &str = "grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status";

fn sets(out: &str) -> [u64; 4] {
    let values: Vec<u64> =
        out.lines().filter_map(|line| u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok()).collect();
    values.try_into().unwrap_or_else(|_| panic!("{out}"))
}

/// CVE-2016-3697, CVE-2026-30892: a number is looked up as a name, or cut off.
#[test]
fn a_number_is_a_user_and_no_name() {
    let Some(mut b) = bench() else { return };
    let passwd = "root:x:0:0::/root:/bin/sh\n1000:x:0:0::/root:/bin/sh\n1:x:0:0::/:/bin/sh\n12:x:0:0::/:/bin/sh\n";
    fs::write(b.rootfs().join("etc/passwd"), passwd).expect("passwd");
    b.process().user.uid = 1000;
    b.process().user.gid = 5;
    assert_eq!(b.output("id -u; id -g"), "1000\n5\n");
    b.started("exec sleep 100");
    let id = b.id.clone();
    for (user, expected) in [("1", "1 5"), ("12", "12 5"), ("1:12", "1 12"), ("1000:0", "1000 0"), ("0:7", "0 7")] {
        let out = b.ok(&["exec", "--user", user, &id, "sh", "-c", "echo $(id -u) $(id -g)"]);
        assert_eq!(out.trim(), expected, "{user}");
        let out = b.ok(&["exec", "-u", user, &id, "sh", "-c", "echo $(id -u) $(id -g)"]);
        assert_eq!(out.trim(), expected, "{user}");
    }
    for name in ["root", "1x", "1:x", ":", "1:", "-1", "4294967296"] {
        assert!(!b.refused(&["exec", &format!("--user={name}"), &id, "true"]).is_empty(), "{name}");
    }
}

/// CVE-2016-8867: ambient capabilities that nobody asked for pass a user by every check of the files' owners.
#[test]
fn users_have_no_capabilities_unless_asked_for() {
    let Some(mut b) = bench() else { return };
    b.process().user.uid = 1000;
    assert_eq!(sets(&b.output(SETS)), [0; 4]);
    b.started("exec sleep 100");
    let id = b.id.clone();
    assert_eq!(sets(&b.ok(&["exec", &id, "sh", "-c", SETS])), [0; 4]);
    assert_eq!(sets(&b.ok(&["exec", "--cap", "CAP_SYS_ADMIN", &id, "sh", "-c", SETS])), [0; 4]);
}

/// CVE-2022-24769, CVE-2022-27650, CVE-2022-29162, CVE-2025-27612: inheritable capabilities that nobody asked for.
#[test]
fn no_capability_is_inheritable_unless_asked_for() {
    const SYS_TIME: u64 = 1 << 25;
    let Some(mut b) = bench() else { return };
    assert_eq!(sets(&b.output(SETS))[0], 0, "spec gives none");
    b.started("exec sleep 100");
    let id = b.id.clone();
    assert_eq!(sets(&b.ok(&["exec", &id, "sh", "-c", SETS]))[0], 0);
    let [inheritable, permitted, effective, ambient] =
        sets(&b.ok(&["exec", "--cap", "CAP_SYS_TIME", &id, "sh", "-c", SETS]));
    assert_eq!((inheritable, ambient), (0, 0));
    assert_eq!((permitted & SYS_TIME, effective & SYS_TIME), (SYS_TIME, SYS_TIME), "it is given all the same");
    // A process of its own has exactly what it says.
    let process = b.directory.path().join("process.json");
    let mut wanted = b.process().clone();
    wanted.args = ["sh", "-c", SETS].map(String::from).into();
    fs::write(&process, serde_json::to_vec(&wanted).expect("JSON")).expect("process.json");
    let out = b.ok(&["exec", "--process", process.to_str().expect("path"), &id]);
    assert_eq!(sets(&out)[0], 0);
}

/// The container's user is in no group of the runtime's caller.
#[test]
fn groups_of_the_caller_stay_outside() {
    let Some(mut b) = bench() else { return };
    b.script("grep Groups /proc/self/status").write_config();
    let bundle = b.bundle();
    let mut command = std::process::Command::new("setpriv");
    command.args(["--groups", "4,5,6"]).arg(&b.runtime).arg("--root").arg(b.state_root());
    let output = command.args(["run", "--bundle", bundle.to_str().expect("path"), &b.id]).output().expect("setpriv");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "Groups:");
}
