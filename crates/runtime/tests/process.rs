//! `process`: what the kernel shows of the program that a container runs, and of those that `exec` adds.

mod common;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use common::{Bench, bench, text};
use oci::runtime::{Capabilities, CpuAffinity, IdMapping, IoPriority, Namespace, Process, Rlimit, Scheduler};

/// Puts the container into a user namespace whose root is another user outside.
fn into_user_namespace(b: &mut Bench) {
    let map = vec![IdMapping { container_id: 0, host_id: 100_000, size: 2000 }];
    b.linux().namespaces.push(Namespace { kind: "user".into(), path: None });
    b.linux().uid_mappings = map.clone();
    b.linux().gid_mappings = map;
}

fn writable(b: &mut Bench) {
    b.spec.root.as_mut().expect("root").readonly = false;
}

/// Writes a file for `exec --process`.
fn process_file(b: &Bench, process: &Process) -> String {
    let path = b.directory.path().join("process.json");
    std::fs::write(&path, serde_json::to_vec(process).expect("JSON")).expect("process.json");
    path.to_str().expect("path").to_owned()
}

fn sh(script: &str) -> Process {
    Process {
        args: ["sh", "-c", script].map(String::from).into(),
        cwd: "/".into(),
        env: vec!["PATH=/bin".into()],
        ..Default::default()
    }
}

fn status(pid: i32, field: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let line = text.lines().find_map(|l| l.strip_prefix(&format!("{field}:"))).expect(field);
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn users_groups_and_masks() {
    for in_namespace in [false, true] {
        let Some(mut b) = bench() else { return };
        if in_namespace {
            into_user_namespace(&mut b);
        }
        let user = &mut b.process().user;
        (user.uid, user.gid, user.umask) = (1000, 1001, Some(0o137));
        user.additional_gids = vec![5, 1200, 3];
        writable(&mut b);
        b.started("touch /tmp/made; umask; exec sleep 100");
        let pid = b.pid();
        let base = if in_namespace { 100_000 } else { 0 };
        let four = |id: u32| format!("{0} {0} {0} {0}", id + base);
        b.until("the program", || status(pid, "Name") == "sleep");
        assert_eq!(status(pid, "Uid"), four(1000));
        assert_eq!(status(pid, "Gid"), four(1001));
        let mut groups: Vec<u32> = status(pid, "Groups").split(' ').map(|g| g.parse().expect("group")).collect();
        groups.sort();
        assert_eq!(groups, [3 + base, 5 + base, 1200 + base]);
        assert_eq!(status(pid, "Umask"), "0137");
        let id = b.id.clone();
        let args =
            ["exec", "--user", "7:8", "-g", "44", &id, "sh", "-c", "id -u; id -g; grep Groups /proc/self/status"];
        let out = b.ok(&args);
        let words: Vec<&str> = out.split_whitespace().collect();
        assert_eq!(words[..2], ["7", "8"]);
        assert!(words.contains(&"44"), "{out}");
    }
}

#[test]
fn a_user_that_is_not_mapped_is_named() {
    let Some(mut b) = bench() else { return };
    into_user_namespace(&mut b);
    b.process().user.uid = 5000;
    b.script("true");
    let error = b.failure();
    assert!(error.contains("setuid 5000: is it mapped in the user namespace?"), "{error}");
}

#[test]
fn the_last_value_of_a_variable_counts() {
    let Some(mut b) = bench() else { return };
    b.process().env =
        ["ONE=two", "PATH=/nowhere", "LINE=a\nb", "ONE=three=4", "PATH=/bin", "EMPTY="].map(String::from).into();
    b.process().args = vec!["env".into()];
    let out = text(&b.run());
    assert_eq!(out, "LINE=a\nb\nONE=three=4\nPATH=/bin\nEMPTY=\nHOME=/root\n");
    for (entry, words) in [
        ("A", "process.env[6]: invalid environment variable \"A\": missing '='"),
        ("=x", "process.env[6]: invalid environment variable \"=x\": name cannot be empty"),
        ("A=\0", "process.env[6]: invalid environment variable \"A\": contains nul byte (\\x00)"),
    ] {
        b.process().env.truncate(6);
        b.process().env.push(entry.into());
        let error = b.failure();
        assert!(error.replace("\\\\", "\\").contains(words), "{error}");
    }
}

#[test]
fn home_is_the_users() {
    let Some(mut b) = bench() else { return };
    let home = |b: &mut Bench, env: &[&str], uid: u32| {
        b.process().env = [&["PATH=/bin"], env].concat().iter().map(|e| e.to_string()).collect();
        b.process().user.uid = uid;
        b.process().args = vec!["env".into()];
        let out = text(&b.run());
        let lines: Vec<String> = out.lines().filter_map(|l| l.strip_prefix("HOME=").map(String::from)).collect();
        assert_eq!(lines.len(), 1, "once: {out}");
        lines[0].clone()
    };
    assert_eq!(home(&mut b, &[], 0), "/root");
    assert_eq!(home(&mut b, &[], 1000), "/home/user");
    assert_eq!(home(&mut b, &["HOME=/override"], 1000), "/override");
    assert_eq!(home(&mut b, &["HOME="], 0), "/root");
    assert_eq!(home(&mut b, &["HOME=/override", "HOME="], 0), "/root");
    assert_eq!(home(&mut b, &[], 4711), "/", "a user that nobody knows");
    // What an image may have there instead: nothing waits for a writer, nothing is read without end.
    let passwd = b.rootfs().join("etc/passwd");
    std::fs::remove_file(&passwd).expect("remove");
    assert_eq!(home(&mut b, &[], 0), "/");
    rustix::fs::mknodat(rustix::fs::CWD, &passwd, rustix::fs::FileType::Fifo, 0o644.into(), 0).expect("mkfifo");
    assert_eq!(home(&mut b, &[], 0), "/");
    std::fs::remove_file(&passwd).expect("remove");
    symlink("/dev/zero", &passwd).expect("link");
    assert_eq!(home(&mut b, &[], 0), "/");
}

#[test]
fn the_working_directory_is_made_and_entered() {
    let Some(mut b) = bench() else { return };
    b.process().cwd = "/made/deep".into();
    b.process().user.umask = Some(0o077);
    writable(&mut b);
    assert_eq!(b.output("pwd; stat -c %a /made /made/deep; umask"), "/made/deep\n755\n755\n0077\n");
    // Also where the root is read-only in the end.
    b.spec.root.as_mut().expect("root").readonly = true;
    b.process().cwd = "/other/deep".into();
    assert_eq!(
        b.output("pwd; stat -c %a /other/deep; touch x 2>/dev/null || echo readonly"),
        "/other/deep\n755\nreadonly\n"
    );
    // A link in the image leads nowhere else.
    writable(&mut b);
    let victim = b.directory.path().join("victim");
    symlink(&victim, b.rootfs().join("away")).expect("link");
    b.process().cwd = "/away/x".into();
    b.output("true");
    assert!(!victim.exists());
    for (cwd, words) in [
        ("/etc/passwd", "/etc/passwd"),
        ("relative", "process.cwd: \"relative\": Cwd must be an absolute path"),
        ("", "process.cwd: Cwd property must not be empty"),
    ] {
        b.process().cwd = cwd.into();
        let error = b.failure();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_working_directory_needs_one_who_may_enter_it() {
    let Some(mut b) = bench() else { return };
    std::fs::create_dir(b.rootfs().join("private")).expect("mkdir");
    std::fs::set_permissions(b.rootfs().join("private"), PermissionsExt::from_mode(0o700)).expect("chmod");
    // The runtime may go there for a user who may not.
    b.process().user.uid = 42;
    b.process().cwd = "/private".into();
    assert_eq!(b.output("pwd"), "/private\n");
    // The user may where the runtime could not.
    std::os::unix::fs::chown(b.rootfs().join("private"), Some(42), Some(42)).expect("chown");
    assert_eq!(b.output("pwd"), "/private\n");
    b.started("exec sleep 100");
    let id = b.id.clone();
    assert_eq!(b.ok(&["exec", "--user", "0", &id, "pwd"]), "/private\n");
    let error = b.refused(&["exec", "--cwd", "/missing", &id, "pwd"]);
    assert!(error.contains("set in config.json failed: no such file or directory"), "{error}");
}

#[test]
fn a_working_directory_outside_is_noticed() {
    // CVE-2024-21626: a descriptor that leads out of the container as the way to its working directory.
    let Some(mut b) = bench() else { return };
    let leak = std::fs::File::open("/").expect("open");
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).expect("setfd");
    let fd = std::os::fd::AsRawFd::as_raw_fd(&leak);
    b.script("true");
    b.process().cwd = format!("/proc/self/fd/{fd}");
    let error = b.failure();
    assert!(error.contains(&format!("cwd (\"/proc/self/fd/{fd}\")")), "{error}");
    // Through a link of the image, and with the descriptor handed over on purpose.
    symlink(format!("/proc/self/fd/{fd}"), b.rootfs().join("trap")).expect("link");
    b.process().cwd = "/trap".into();
    std::fs::write(b.bundle().join("config.json"), serde_json::to_vec(&b.spec).expect("JSON")).expect("config");
    let bundle = b.bundle();
    let keep = (fd - 2).to_string();
    let output = b.call(&["run", "--preserve-fds", &keep, "--bundle", bundle.to_str().expect("path"), &b.id]);
    assert!(!output.status.success(), "{output:?}");
    drop(leak);
    b.assert_nothing_left();
}

#[test]
fn limits_are_the_kernels() {
    let limits = [
        ("RLIMIT_CPU", "Max cpu time", 1000, 2000),
        ("RLIMIT_FSIZE", "Max file size", 1 << 30, 2 << 30),
        ("RLIMIT_DATA", "Max data size", 1 << 30, 2 << 30),
        ("RLIMIT_STACK", "Max stack size", 1 << 20, 2 << 20),
        ("RLIMIT_CORE", "Max core file size", 0, 0),
        ("RLIMIT_RSS", "Max resident set", 1 << 30, 2 << 30),
        ("RLIMIT_NPROC", "Max processes", 100, 200),
        ("RLIMIT_NOFILE", "Max open files", 64, 128),
        ("RLIMIT_MEMLOCK", "Max locked memory", 4096, 4096),
        ("RLIMIT_AS", "Max address space", 1 << 32, 2 << 32),
        ("RLIMIT_LOCKS", "Max file locks", 10, 20),
        ("RLIMIT_SIGPENDING", "Max pending signals", 10, 20),
        ("RLIMIT_MSGQUEUE", "Max msgqueue size", 1024, 2048),
        ("RLIMIT_NICE", "Max nice priority", 0, 0),
        ("RLIMIT_RTPRIO", "Max realtime priority", 0, 0),
        ("RLIMIT_RTTIME", "Max realtime timeout", 1000, 2000),
    ];
    for in_namespace in [false, true] {
        let Some(mut b) = bench() else { return };
        if in_namespace {
            into_user_namespace(&mut b);
        }
        b.process().rlimits = limits
            .iter()
            .map(|(kind, _, soft, hard)| Rlimit { kind: (*kind).into(), soft: *soft, hard: *hard })
            .collect();
        b.started("exec sleep 100");
        let id = b.id.clone();
        let first = std::fs::read_to_string(format!("/proc/{}/limits", b.pid())).expect("limits");
        let added = b.ok(&["exec", &id, "cat", "/proc/self/limits"]);
        let file = process_file(&b, &sh("cat /proc/self/limits"));
        let by_file = b.ok(&["exec", "--process", &file, &id]);
        for shown in [first, added, by_file] {
            for (kind, name, soft, hard) in &limits {
                let line = shown.lines().find(|l| l.starts_with(name)).expect(name);
                let numbers: Vec<&str> = line[name.len()..].split_whitespace().take(2).collect();
                assert_eq!(numbers, [soft.to_string(), hard.to_string()], "{kind}");
            }
        }
    }
}

#[test]
fn wrong_limits_are_refused() {
    let Some(mut b) = bench() else { return };
    b.script("true");
    let limit = |kind: &str, soft, hard| Rlimit { kind: kind.into(), soft, hard };
    let mut cases = vec![
        (
            vec![limit("RLIMIT_FOO", 1, 1)],
            "process.rlimits[0].type: wrong rlimit value: RLIMIT_FOO; known are RLIMIT_CPU",
        ),
        (
            vec![limit("RLIMIT_CPU", 2, 1)],
            "process.rlimits[0].soft: RLIMIT_CPU: the soft limit 2 exceeds the hard limit 1",
        ),
        (
            vec![limit("RLIMIT_CPU", 1, 1), limit("RLIMIT_CPU", 1, 1)],
            "process.rlimits[1].type: RLIMIT_CPU is given twice",
        ),
    ];
    let raised = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum.unwrap_or(u64::MAX - 1) + 1;
    let words = "error setting rlimit type 7: operation not permitted (process.rlimits: RLIMIT_NOFILE";
    if rustix::thread::capabilities(None).expect("caps").effective.contains(rustix::thread::CapabilitySet::SYS_RESOURCE)
    {
        println!("not tried: raising a limit is permitted here");
    } else {
        cases.push((vec![limit("RLIMIT_NOFILE", 10, raised)], words));
    }
    for (limits, words) in cases {
        b.process().rlimits = limits;
        let error = b.failure();
        assert!(error.contains(words), "{error}");
        if words.contains("not permitted") {
            assert!(error.contains("can only be raised with CAP_SYS_RESOURCE"), "{error}");
        }
    }
}

const SETS: &str = "grep -E '^Cap' /proc/self/status";

fn sets(inheritable: u64, permitted: u64, bounding: u64, ambient: u64) -> String {
    format!(
        "CapInh:\t{inheritable:016x}\nCapPrm:\t{permitted:016x}\nCapEff:\t{permitted:016x}\nCapBnd:\t{bounding:016x}\n\
         CapAmb:\t{ambient:016x}\n"
    )
}

#[test]
fn capabilities_are_given_and_never_left() {
    let Some(mut b) = bench() else { return };
    b.process().capabilities = None;
    assert_eq!(b.output(SETS), sets(0, 0, 0, 0), "absent is none");
    b.process().capabilities = Some(Capabilities::default());
    assert_eq!(b.output(SETS), sets(0, 0, 0, 0));
    let kill = || vec!["CAP_KILL".to_owned()];
    let two = || vec!["CAP_KILL".to_owned(), "CAP_CHOWN".to_owned()];
    // Root's program gets what the bounding set allows of the permitted.
    b.process().capabilities =
        Some(Capabilities { bounding: kill(), permitted: two(), effective: two(), ..Default::default() });
    assert_eq!(b.output(SETS), sets(0, 0x20, 0x20, 0));
    // What is called effective is permitted too.
    b.process().capabilities = Some(Capabilities { bounding: kill(), effective: two(), ..Default::default() });
    assert_eq!(b.output(SETS), sets(0, 0x20, 0x20, 0));
    // Another user's only what is ambient.
    b.process().capabilities =
        Some(Capabilities { bounding: two(), permitted: two(), effective: two(), inheritable: two(), ambient: kill() });
    b.process().user.uid = 1000;
    assert_eq!(b.output(SETS), sets(0x21, 0x20, 0x21, 0x20));
    b.started("exec sleep 100");
    let id = b.id.clone();
    assert_eq!(b.ok(&["exec", &id, "sh", "-c", SETS]), sets(0x21, 0x20, 0x21, 0x20));
    let mut process = sh(SETS);
    process.user.uid = 1000;
    let file = process_file(&b, &process);
    assert_eq!(b.ok(&["exec", "--process", &file, &id]), sets(0x21, 0x20, 0x21, 0x20), "those of the container");
    process.capabilities = Some(Capabilities::default());
    let file = process_file(&b, &process);
    assert_eq!(b.ok(&["exec", "--process", &file, &id]), sets(0, 0, 0, 0));
}

#[test]
fn capabilities_that_cannot_be_are_warned_of() {
    let Some(mut b) = bench() else { return };
    b.process().capabilities = Some(Capabilities {
        bounding: ["CAP_UNKNOWN", "CAP_KILL", "UNKNOWN_CAP"].map(String::from).into(),
        inheritable: vec!["CAP_UNKNOWN".into()],
        ambient: vec!["CAP_KILL".into()],
        ..Default::default()
    });
    let output = b.script(SETS).run();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output), sets(0, 0, 0x20, 0));
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let words = "ignoring unknown or unavailable capabilities: [CAP_UNKNOWN UNKNOWN_CAP]";
    assert_eq!(log.matches(words).count(), 1, "{log}");
    assert!(log.contains("can't raise ambient capability CAP_KILL: operation not permitted"), "{log}");
    b.process().capabilities = Some(Capabilities::default());
    b.started("exec sleep 100");
    let id = b.id.clone();
    let output = b.call(&["exec", "--cap", "CAP_NOPE", "--cap", "CAP_KILL", &id, "sh", "-c", SETS]);
    assert_eq!(text(&output), sets(0, 0x20, 0x20, 0));
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(log.contains("ignoring unknown or unavailable capabilities: [CAP_NOPE]"), "{log}");
}

#[test]
fn new_privileges_are_as_configured() {
    let Some(mut b) = bench() else { return };
    for no_new in [true, false] {
        b.process().no_new_privileges = no_new;
        assert_eq!(b.output("grep NoNewPrivs /proc/self/status"), format!("NoNewPrivs:\t{}\n", i32::from(no_new)));
    }
    b.started("exec sleep 100");
    let id = b.id.clone();
    let out = b.ok(&["exec", "--no-new-privs", &id, "grep", "NoNewPrivs", "/proc/self/status"]);
    assert_eq!(out, "NoNewPrivs:\t1\n");
}

#[test]
fn the_oom_score_is_set_or_stays() {
    for in_namespace in [false, true] {
        let Some(mut b) = bench() else { return };
        if in_namespace {
            into_user_namespace(&mut b);
        }
        b.process().oom_score_adj = Some(345);
        b.started("exec sleep 100");
        let id = b.id.clone();
        let outside = std::fs::read_to_string(format!("/proc/{}/oom_score_adj", b.pid())).expect("score");
        assert_eq!(outside.trim(), "345");
        assert_eq!(b.ok(&["exec", &id, "cat", "/proc/self/oom_score_adj"]).trim(), "345");
        let mut other = sh("cat /proc/self/oom_score_adj");
        other.oom_score_adj = Some(400);
        let file = process_file(&b, &other);
        assert_eq!(b.ok(&["exec", "--process", &file, &id]).trim(), "400");
        b.ok(&["delete", "--force", &id]);
        let own = std::fs::read_to_string("/proc/self/oom_score_adj").expect("score");
        b.process().oom_score_adj = Some(-900);
        let output = b.script("cat /proc/self/oom_score_adj").run();
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{output:?}");
        if text(&output).trim() != "-900" {
            assert_eq!(text(&output), own, "as it was");
            assert!(log.contains("process.oomScoreAdj: -900 needs CAP_SYS_RESOURCE; it stays"), "{log}");
        }
        b.process().oom_score_adj = Some(1001);
        let error = b.failure();
        assert!(error.contains("process.oomScoreAdj: 1001 is not between -1000 and 1000"), "{error}");
    }
}

/// Nice value, static priority and policy, as `/proc/<pid>/stat` has them.
fn scheduling(pid: i32) -> (i32, u32, u32) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
    let fields: Vec<&str> = text.rsplit_once(')').expect("stat").1.split_whitespace().collect();
    // Counted from the state, which is field 3.
    let field = |n: usize| fields[n - 3];
    (field(19).parse().expect("nice"), field(40).parse().expect("priority"), field(41).parse().expect("policy"))
}

#[test]
fn schedulers_are_the_kernels() {
    let Some(mut b) = bench() else { return };
    let of = |policy: &str, nice, priority| Scheduler {
        policy: policy.into(),
        nice: Some(nice),
        priority: Some(priority),
        ..Default::default()
    };
    for (scheduler, expected) in [
        (of("SCHED_OTHER", 7, 0), (7, 0, 0)),
        (of("SCHED_BATCH", 19, 0), (19, 0, 3)),
        (of("SCHED_IDLE", 0, 0), (0, 0, 5)),
        (of("SCHED_FIFO", 0, 3), (0, 3, 1)),
        (of("SCHED_RR", 0, 5), (0, 5, 2)),
    ] {
        b.process().scheduler = Some(scheduler.clone());
        let created = b.script("exec sleep 100").create();
        let realtime = matches!(expected.2, 1 | 2);
        if realtime
            && String::from_utf8_lossy(&created.stderr).contains("error setting scheduler: operation not permitted")
        {
            println!("not tried: {} is not permitted in this machine's cgroups", scheduler.policy);
            continue;
        }
        assert!(created.status.success(), "{scheduler:?}: {created:?}");
        let id = b.id.clone();
        b.ok(&["start", &id]);
        assert_eq!(scheduling(b.pid()), expected, "{}", scheduler.policy);
        let pid_file = b.directory.path().join("pid");
        let status = b
            .command(&["exec", "-d", "--pid-file", pid_file.to_str().expect("path"), &id, "sleep", "100"])
            .stdout(std::process::Stdio::null())
            .status();
        assert!(status.expect("exec").success());
        let added = std::fs::read_to_string(&pid_file).expect("pid").parse().expect("pid");
        assert_eq!(scheduling(added), expected, "exec: {}", scheduler.policy);
        b.ok(&["delete", "--force", &id]);
    }
}

#[test]
fn a_deadline_scheduler_has_its_parameters() {
    let Some(mut b) = bench() else { return };
    b.started("exec sleep 100");
    let id = b.id.clone();
    let mut process = sh("");
    process.args = ["sleep", "100"].map(String::from).into();
    process.scheduler = Some(Scheduler {
        policy: "SCHED_DEADLINE".into(),
        flags: vec!["SCHED_FLAG_RESET_ON_FORK".into()],
        runtime: Some(4_200_000),
        deadline: Some(10_000_000),
        period: Some(100_000_000),
        ..Default::default()
    });
    let file = process_file(&b, &process);
    let pid_file = b.directory.path().join("pid");
    let mut command =
        b.command(&["exec", "-d", "--pid-file", pid_file.to_str().expect("path"), "--process", &file, &id]);
    let out = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().expect("exec");
    let mut out = out;
    let status = out.wait().expect("exec");
    if !status.success() {
        let mut error = String::new();
        std::io::Read::read_to_string(&mut out.stderr.take().expect("stderr"), &mut error).expect("read");
        assert!(error.contains("error setting scheduler: "), "{error}");
        println!("not tried: this machine gives no deadline bandwidth: {error}");
        return;
    }
    let added: i32 = std::fs::read_to_string(&pid_file).expect("pid").parse().expect("pid");
    assert_eq!(scheduling(added).2, 6);
    match std::process::Command::new("chrt").args(["-p", &added.to_string()]).output() {
        Ok(shown) => {
            let shown = text(&shown);
            assert!(shown.contains("SCHED_DEADLINE|SCHED_RESET_ON_FORK"), "{shown}");
            assert!(shown.contains("4200000/10000000/100000000"), "{shown}");
        }
        Err(error) => println!("parameters not looked at: chrt: {error}"),
    }
    // Not together with processors of its own.
    let controllers = std::fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    if b.v2() && !controllers.contains("cpuset") {
        println!("skipped in part: this machine has no cpuset controller");
        return;
    }
    b.ok(&["delete", "--force", &id]);
    b.process().scheduler = process.scheduler;
    b.linux().resources.get_or_insert_default().cpu =
        Some(oci::runtime::CpuLimits { cpus: Some("0".into()), ..Default::default() });
    b.script("true");
    let error = b.failure();
    assert!(error.contains("process scheduler can't be used together with AllowedCPUs"), "{error}");
}

#[test]
fn wrong_schedulers_are_refused() {
    let Some(mut b) = bench() else { return };
    b.script("true");
    let other = || Scheduler { policy: "SCHED_OTHER".into(), ..Default::default() };
    let deadline = |runtime, deadline, period| Scheduler {
        policy: "SCHED_DEADLINE".into(),
        runtime,
        deadline,
        period,
        ..Default::default()
    };
    for (scheduler, words) in [
        (Scheduler::default(), "process.scheduler.policy: scheduler policy is required"),
        (
            Scheduler { policy: "X".into(), ..Default::default() },
            "process.scheduler.policy: invalid scheduler policy: \"X\"",
        ),
        (Scheduler { flags: vec!["X".into()], ..other() }, "process.scheduler.flags[0]: invalid scheduler flag: \"X\""),
        (Scheduler { nice: Some(20), ..other() }, "process.scheduler.nice: invalid scheduler.nice: 20"),
        (
            Scheduler { priority: Some(1), ..other() },
            "scheduler.priority can only be specified for SchedFIFO or SchedRR policy",
        ),
        (
            Scheduler { runtime: Some(1), ..other() },
            "scheduler runtime/deadline/period can only be specified for SchedDeadline policy",
        ),
        (deadline(None, Some(10_000_000), None), "sched_setattr: `SCHED_DEADLINE` requires `runtime`"),
        (deadline(Some(10_000_000), None, None), "sched_setattr: `SCHED_DEADLINE` requires `deadline`"),
        (deadline(Some(0), Some(1), None), "sched_setattr: `SCHED_DEADLINE` runtime must be greater than 0"),
        (deadline(Some(1023), Some(10_000_000), None), "runtime (1023) must be between 1024 and"),
        (deadline(Some(3_000_000), Some(2_000_000), None), "runtime (3000000) must be <= deadline (2000000)"),
        (deadline(Some(1_000_000), Some(3_000_000), Some(2_000_000)), "deadline (3000000) must be <= period (2000000)"),
    ] {
        b.process().scheduler = Some(scheduler);
        let error = b.failure();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn io_priorities_are_the_kernels() {
    let Some(mut b) = bench() else { return };
    symlink("busybox", b.rootfs().join("bin/ionice")).expect("applet");
    for (class, priority, expected) in [
        ("IOPRIO_CLASS_RT", 2, "realtime: prio 2\n"),
        ("IOPRIO_CLASS_BE", 6, "best-effort: prio 6\n"),
        ("IOPRIO_CLASS_IDLE", 0, "idle"),
    ] {
        b.process().io_priority = Some(IoPriority { class: class.into(), priority });
        let out = b.output("ionice -p 1");
        assert!(out.starts_with(expected), "{class}: {out}");
    }
    b.process().io_priority = Some(IoPriority { class: "IOPRIO_CLASS_BE".into(), priority: 5 });
    b.started("exec sleep 100");
    let id = b.id.clone();
    assert_eq!(b.ok(&["exec", &id, "ionice"]), "best-effort: prio 5\n");
    let mut idle = sh("ionice");
    idle.io_priority = Some(IoPriority { class: "IOPRIO_CLASS_IDLE".into(), priority: 0 });
    let file = process_file(&b, &idle);
    assert!(b.ok(&["exec", "--process", &file, &id]).starts_with("idle"));
    b.ok(&["delete", "--force", &id]);
    for (class, priority, words) in [
        ("X", 0, "process.ioPriority.class: invalid ioPriority.Class: \"X\""),
        ("IOPRIO_CLASS_BE", 8, "process.ioPriority.priority: invalid ioPriority.Priority: 8"),
        ("IOPRIO_CLASS_BE", -1, "process.ioPriority.priority: invalid ioPriority.Priority: -1"),
    ] {
        b.process().io_priority = Some(IoPriority { class: class.into(), priority });
        let error = b.failure();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn processors_are_the_cgroups_or_those_given() {
    let Some(mut b) = bench() else { return };
    let all = status(std::process::id() as i32, "Cpus_allowed_list");
    let before = rustix::thread::sched_getaffinity(None).expect("affinity");
    let numbers: Vec<usize> = (0..rustix::thread::CpuSet::MAX_CPU).filter(|n| before.is_set(*n)).collect();
    let [first, second, ..] = numbers[..] else {
        println!("skipped: needs two processors");
        return;
    };
    // The caller's confinement is not the container's.
    let mut only = rustix::thread::CpuSet::new();
    only.set(first);
    rustix::thread::sched_setaffinity(None, &only).expect("confine");
    let show = "grep Cpus_allowed_list /proc/self/status | cut -f2";
    assert_eq!(b.output(show).trim(), all);
    b.process().exec_cpu_affinity =
        Some(CpuAffinity { initial: Some(first.to_string()), last: Some(second.to_string()) });
    b.started("exec sleep 100");
    let id = b.id.clone();
    assert_eq!(status(b.pid(), "Cpus_allowed_list"), all, "for exec only");
    let output = b.call(&["--debug", "exec", &id, "sh", "-c", show]);
    assert_eq!(text(&output).trim(), second.to_string(), "{output:?}");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(log.contains(&format!("nsexec: affinity: {:#x}", 1 << first)), "{log}");
    let given = |b: &Bench, initial: Option<usize>, last: Option<usize>| {
        let mut process = sh(show);
        process.exec_cpu_affinity =
            Some(CpuAffinity { initial: initial.map(|n| n.to_string()), last: last.map(|n| n.to_string()) });
        let file = process_file(b, &process);
        b.ok(&["exec", "--process", &file, &id]).trim().to_owned()
    };
    assert_eq!(given(&b, None, Some(first)), first.to_string());
    // The kernel decides what becomes of it in the cgroup: before Linux 6.2 it forgets.
    let kept = given(&b, Some(second), None);
    assert!(kept == second.to_string() || kept == all, "{kept}");
    assert_eq!(given(&b, None, None), all);
    let wrong = |initial: &str| {
        let mut process = sh(show);
        process.exec_cpu_affinity = Some(CpuAffinity { initial: Some(initial.into()), last: None });
        let file = process_file(&b, &process);
        b.refused(&["exec", "--process", &file, &id])
    };
    assert!(wrong("1-0").contains("process.execCPUAffinity.initial: bad CPU affinity"));
    let error = wrong("8000");
    assert!(error.contains("error setting initial CPU affinity: invalid argument"), "{error}");
}

#[test]
fn security_labels_are_refused_where_there_are_none() {
    let Some(mut b) = bench() else { return };
    b.script("true");
    if !Path::new("/sys/module/apparmor/parameters/enabled").exists() {
        b.process().apparmor_profile = Some("sampan-not-loaded".into());
        let error = b.failure();
        assert!(
            error.contains("process.apparmorProfile: \"sampan-not-loaded\": unable to apply apparmor profile"),
            "{error}"
        );
        b.process().apparmor_profile = Some("unconfined".into());
        assert_eq!(b.output("echo runs"), "runs\n");
        let id = b.started("exec sleep 100").id.clone();
        let error = b.refused(&["exec", "--apparmor", "sampan-not-loaded", &id, "true"]);
        assert!(error.contains("apparmor"), "{error}");
        b.ok(&["delete", "--force", &id]);
    } else {
        b.process().apparmor_profile = Some("sampan-not-loaded".into());
        assert!(b.failure().contains("apparmor"));
    }
    b.process().apparmor_profile = None;
    if !Path::new("/sys/fs/selinux/enforce").exists() {
        b.process().selinux_label = Some("system_u:system_r:container_t:s0".into());
        let error = b.failure();
        let words = "selinux label is specified in config, but selinux is disabled or not supported";
        assert!(error.contains("process.selinuxLabel") && error.contains(words), "{error}");
    }
}

#[test]
fn an_apparmor_profile_confines() {
    let Some(mut b) = bench() else { return };
    if !std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|on| on.starts_with(b"Y")) {
        println!("skipped: no AppArmor in this kernel; Debian's has it (scripts/machine-tcg.sh)");
        return;
    }
    let parse = |option: &str, profile: &str| {
        use std::io::Write;
        let mut parser = std::process::Command::new("apparmor_parser")
            .args(["--skip-cache", option])
            .stdin(std::process::Stdio::piped())
            .spawn()?;
        parser.stdin.take().expect("stdin").write_all(profile.as_bytes())?;
        std::io::Result::Ok(parser.wait()?.success())
    };
    let name = format!("sampan-test-{}", std::process::id());
    let profile = format!(
        "profile {name} flags=(attach_disconnected) {{\n file,\n capability,\n network,\n signal,\n ptrace,\n umount,\n \
         deny /etc/passwd r,\n}}\n"
    );
    match parse("--replace", &profile) {
        Err(error) => return println!("skipped: apparmor_parser: {error}; install apparmor"),
        Ok(loaded) => assert!(loaded, "the profile is not loaded"),
    }
    let show = "cat /proc/self/attr/current; cat /etc/passwd 2>&1; true";
    let expected = format!("{name} (enforce)\ncat: can't open '/etc/passwd': Permission denied\n");
    for in_namespace in [false, true] {
        let mut confined = bench().expect("bench");
        if in_namespace {
            into_user_namespace(&mut confined);
        }
        confined.process().apparmor_profile = Some(name.clone());
        // Without new privileges too: the profile is the runtime's to give.
        for no_new in [false, true] {
            confined.process().no_new_privileges = no_new;
            assert_eq!(confined.output(show), expected, "{in_namespace} {no_new}");
        }
        confined.started("exec sleep 100");
        let id = confined.id.clone();
        assert_eq!(confined.ok(&["exec", &id, "sh", "-c", show]), expected);
        let current = std::fs::read_to_string(format!("/proc/{}/attr/current", confined.pid())).expect("current");
        assert_eq!(current.trim(), format!("{name} (enforce)"));
    }
    b.process().apparmor_profile = None;
    b.started("exec sleep 100");
    let id = b.id.clone();
    assert_eq!(b.ok(&["exec", "--apparmor", &name, &id, "sh", "-c", show]), expected);
    assert!(b.ok(&["exec", &id, "cat", "/proc/self/attr/current"]).starts_with("unconfined"));
    let error = b.refused(&["exec", "--apparmor", "sampan-not-loaded", &id, "true"]);
    assert!(error.contains("apply apparmor profile `sampan-not-loaded`: profile not loaded"), "{error}");
    assert!(parse("--remove", &profile).expect("parser"), "the profile is not removed");
}

#[test]
fn a_program_must_be_named() {
    let Some(mut b) = bench() else { return };
    b.process().args = Vec::new();
    let error = b.failure();
    assert!(error.contains("process.args: args must not be empty"), "{error}");
    b.process().args = vec![String::new()];
    let error = b.failure();
    assert!(error.contains("exec: \"\": executable file not found in $PATH"), "{error}");
    // Another platform's fields say nothing here.
    b.script("true");
    b.process().command_line = Some("cmd.exe /c dir".into());
    b.process().user.username = Some("Administrator".into());
    assert_eq!(b.output("id -u"), "0\n");
}
