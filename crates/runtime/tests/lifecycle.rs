//! States, commands and their refusals.

mod common;

use common::bench;

#[test]
fn create_start_kill_delete() {
    let Some(mut b) = bench() else { return };
    b.script("echo started; exec sleep 100");
    assert!(b.create().status.success());
    let id = b.id.clone();
    assert_eq!(b.status(), "created");
    let out = b.directory.path().join("out");
    assert_eq!(std::fs::read_to_string(&out).expect("out"), "", "nothing runs before start");
    assert!(b.create().status.code() == Some(1), "an id is taken once");
    b.ok(&["start", &id]);
    b.until("output", || std::fs::read_to_string(&out).is_ok_and(|t| t.contains("started")));
    assert_eq!(b.status(), "running");
    assert!(b.refused(&["start", &id]).contains("cannot start an already running container"));
    assert!(b.refused(&["delete", &id]).contains("that is not stopped: running"));
    let pid = b.pid();
    assert!(b.ok(&["ps", "--format", "json", &id]).contains(&pid.to_string()));
    assert!(b.ok(&["list"]).contains(&id));
    b.ok(&["kill", &id, "KILL"]);
    b.until("the end", || b.status() == "stopped");
    assert!(b.refused(&["kill", &id]).contains("container not running"));
    assert!(b.refused(&["start", &id]).contains("cannot start a container that has stopped"));
    b.ok(&["delete", &id]);
    b.assert_nothing_left();
    assert!(b.refused(&["state", &id]).contains("does not exist"));
    assert!(b.refused(&["delete", &id]).contains("does not exist"));
    b.ok(&["delete", "--force", &id]);
}

#[test]
fn a_created_container_can_be_deleted() {
    let Some(mut b) = bench() else { return };
    b.script("true");
    assert!(b.create().status.success());
    let pid = b.pid();
    b.ok(&["delete", &b.id.clone()]);
    b.assert_nothing_left();
    b.until("the end of the process", || !std::path::Path::new(&format!("/proc/{pid}/ns")).exists() || zombie(pid));
}

fn zombie(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |s| s.contains(") Z"))
}

#[test]
fn run_returns_the_status_and_leaves_nothing() {
    let Some(mut b) = bench() else { return };
    assert_eq!(b.script("exit 42").run().status.code(), Some(42));
    b.assert_nothing_left();
    assert_eq!(b.script("kill -9 $$; sleep 1").run().status.code(), Some(0), "pid 1 does not kill itself");
    b.linux().namespaces.retain(|n| n.kind != "pid");
    assert_eq!(b.script("kill -9 $$; sleep 1").run().status.code(), Some(137));
    b.assert_nothing_left();
}

#[test]
fn what_cannot_be_executed_is_named() {
    let Some(mut b) = bench() else { return };
    for (program, words) in [
        ("nosuch", "exec: \"nosuch\": executable file not found in $PATH"),
        ("/bin/nosuch", "exec: \"/bin/nosuch\": stat /bin/nosuch: no such file or directory"),
        ("/etc", "exec: \"/etc\": is a directory"),
        ("/etc/passwd", "exec: \"/etc/passwd\": permission denied"),
    ] {
        b.process().args = vec![program.into()];
        let error = b.failure();
        assert!(error.contains(words), "{error}");
        let created = b.create();
        assert_eq!(created.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&created.stderr).contains(words));
        b.assert_nothing_left();
    }
    std::fs::write(b.rootfs().join("bin/garbage"), "\0\0").expect("write");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(b.rootfs().join("bin/garbage"), mode).expect("chmod");
    b.process().args = vec!["/bin/garbage".into()];
    assert!(b.failure().contains("exec format error"));
}

#[test]
fn exec_adds_a_process() {
    let Some(mut b) = bench() else { return };
    b.started("exec sleep 100");
    let id = b.id.clone();
    let pid = b.pid();
    let inside =
        b.ok(&["exec", &id, "sh", "-c", "for n in pid net ipc uts mnt cgroup; do readlink /proc/self/ns/$n; done"]);
    let outside: String = ["pid", "net", "ipc", "uts", "mnt", "cgroup"]
        .iter()
        .map(|n| std::fs::read_link(format!("/proc/{pid}/ns/{n}")).expect("ns").to_string_lossy().into_owned() + "\n")
        .collect();
    assert_eq!(inside, outside);
    let v1 = b.ok(&["exec", &id, "cat", "/proc/self/cgroup"]);
    assert!(v1.lines().all(|l| l.ends_with(":/") || l.starts_with("0::")), "in the container's cgroup: {v1}");
    assert_eq!(b.call(&["exec", &id, "sh", "-c", "exit 7"]).status.code(), Some(7));
    assert_eq!(b.call(&["exec", &id, "nosuch"]).status.code(), Some(255));
    let out = b.ok(&[
        "exec",
        "-e",
        "A=b",
        "--cwd",
        "/tmp",
        "--user",
        "1000:1001",
        &id,
        "sh",
        "-c",
        "echo $A $PWD $(id -u) $(id -g) $HOME",
    ]);
    assert_eq!(out, "b /tmp 1000 1001 /home/user\n");
    let pid_file = b.directory.path().join("pid");
    let path = pid_file.to_str().expect("path");
    // Without the pipes: the process keeps them open.
    let detached = b
        .command(&["exec", "--detach", "--pid-file", path, &id, "sleep", "50"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status();
    assert!(detached.expect("exec").success());
    let added: i32 = std::fs::read_to_string(&pid_file).expect("pid file").parse().expect("number");
    assert!(b.ok(&["ps", "-f", "json", &id]).contains(&added.to_string()));
    b.ok(&["delete", "--force", &id]);
    b.until("the end of the added process", || zombie(added));
    b.assert_nothing_left();
}

#[test]
fn pause_holds_everything() {
    let Some(mut b) = bench() else { return };
    b.started("while :; do echo x; sleep 0.02; done");
    let id = b.id.clone();
    b.ok(&["pause", &id]);
    assert_eq!(b.status(), "paused");
    let out = b.directory.path().join("out");
    let length = || std::fs::metadata(&out).expect("out").len();
    let before = length();
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(length(), before);
    assert!(b.refused(&["exec", &id, "true"]).contains("paused"));
    assert!(b.refused(&["pause", &id]).contains("container not running"));
    b.ok(&["resume", &id]);
    b.until("output again", || length() > before);
    assert!(b.refused(&["resume", &id]).contains("not paused"));
    b.ok(&["pause", &id]);
    b.ok(&["delete", "--force", &id]);
    b.assert_nothing_left();
}

#[test]
fn limits_are_set_and_changed() {
    let Some(mut b) = bench() else { return };
    let r = b.linux().resources.get_or_insert_default();
    r.memory = Some(oci::runtime::MemoryLimits { limit: Some(32 << 20), ..Default::default() });
    r.pids = Some(oci::runtime::PidsLimit { limit: Some(20) });
    r.cpu = Some(oci::runtime::CpuLimits {
        quota: Some(50_000),
        period: Some(100_000),
        shares: Some(512),
        ..Default::default()
    });
    b.started("exec sleep 100");
    let read = |c: &str, f: &str| std::fs::read_to_string(b.cgroup(c).join(f)).expect(f).trim().to_owned();
    let id = b.id.clone();
    let (memory, cpu) = if b.v2() { ("memory.max", "cpu.max") } else { ("memory.limit_in_bytes", "cpu.cfs_quota_us") };
    assert_eq!(read("memory", memory), (32 << 20).to_string());
    assert_eq!(read("pids", "pids.max"), "20");
    assert!(read("cpu", cpu).starts_with("50000"));
    assert!(read("pids", "cgroup.procs").contains(&b.pid().to_string()));
    b.ok(&["update", "--memory", "64m", "--pids-limit", "30", "--cpu-quota", "20000", &id]);
    assert_eq!(read("memory", memory), (64 << 20).to_string());
    assert_eq!(read("pids", "pids.max"), "30");
    assert!(read("cpu", cpu).starts_with("20000"));
    b.ok(&["kill", &id, "9"]);
}

#[test]
fn the_fork_bomb_and_the_glutton_are_stopped() {
    let Some(mut b) = bench() else { return };
    let r = b.linux().resources.get_or_insert_default();
    r.pids = Some(oci::runtime::PidsLimit { limit: Some(5) });
    r.memory = Some(oci::runtime::MemoryLimits { limit: Some(16 << 20), ..Default::default() });
    let output = b.script("for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; wait").run();
    assert!(String::from_utf8_lossy(&output.stderr).contains("fork"), "{output:?}");
    let output = b.script("exec dd if=/dev/zero of=/dev/null bs=64M count=1").run();
    assert_eq!(output.status.code(), Some(137), "killed for want of memory: {output:?}");
    b.assert_nothing_left();
}

#[test]
fn a_create_that_was_killed_can_be_deleted() {
    let Some(mut b) = bench() else { return };
    b.script("sleep 100");
    b.process();
    // A hook that never ends, so that the command is in the middle of its work.
    b.spec.hooks = Some(oci::runtime::Hooks {
        create_runtime: vec![oci::runtime::Hook {
            path: "/bin/sleep".into(),
            args: vec!["sleep".into(), "20".into()],
            ..Default::default()
        }],
        ..Default::default()
    });
    std::fs::write(b.bundle().join("config.json"), serde_json::to_vec(&b.spec).expect("JSON")).expect("config");
    let bundle = b.bundle();
    let mut child = b.command(&["create", "--bundle", bundle.to_str().expect("path"), &b.id]).spawn().expect("spawn");
    let init = b.state_root().join(&b.id).join("init");
    b.until("the process", || init.exists());
    child.kill().expect("kill");
    child.wait().expect("wait");
    let id = b.id.clone();
    b.ok(&["delete", "--force", &id]);
    b.assert_nothing_left();
}

#[test]
fn concurrent_creates_of_one_id_leave_one_container() {
    let Some(mut b) = bench() else { return };
    b.script("sleep 100");
    assert!(b.create().status.success());
    b.ok(&["delete", &b.id.clone()]);
    let bundle = b.bundle();
    let children: Vec<_> = (0..8)
        .map(|_| {
            b.command(&["create", "--bundle", bundle.to_str().expect("path"), &b.id])
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .expect("spawn")
        })
        .collect();
    let made = children.into_iter().map(|mut c| c.wait().expect("wait").success()).filter(|s| *s).count();
    assert_eq!(made, 1);
    assert_eq!(b.status(), "created");
    b.ok(&["delete", &b.id.clone()]);
    b.assert_nothing_left();
}

#[test]
fn of_concurrent_starts_one_succeeds() {
    let Some(mut b) = bench() else { return };
    b.script("sleep 100");
    assert!(b.create().status.success());
    let starts: Vec<_> = (0..6)
        .map(|_| {
            b.command(&["start", &b.id])
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .expect("spawn")
        })
        .collect();
    let started = starts.into_iter().map(|mut c| c.wait().expect("wait").success()).filter(|s| *s).count();
    assert_eq!(started, 1);
    assert_eq!(b.status(), "running");
    b.ok(&["delete", "--force", &b.id.clone()]);
    b.assert_nothing_left();
}
