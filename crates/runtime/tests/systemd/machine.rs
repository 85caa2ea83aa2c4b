//! What runs where systemd is pid 1. Everything is looked up in systemd's own words and in the kernel's files.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use oci::runtime::{CpuLimits, Hook, HugepageLimit, MemoryLimits, PidsLimit, Resources};

use super::common::{Bench, bench, text};
use super::{by_systemd, said};

/// Properties of a unit.
fn show(unit: &str, properties: &str) -> BTreeMap<String, String> {
    let output = Command::new("systemctl").args(["show", "-p", properties, "--", unit]).output().expect("systemctl");
    let lines = text(&output);
    lines.lines().filter_map(|l| l.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

pub(super) fn property(unit: &str, name: &str) -> String {
    show(unit, name).remove(name).unwrap_or_default()
}

pub(super) fn unit(b: &Bench) -> String {
    format!("runc-{}.scope", b.id)
}

pub(super) fn fresh() -> Bench {
    assert!(Path::new("/run/systemd/system").is_dir(), "to be run by under_systemd, in a machine with systemd");
    let mut b = bench().expect("root and busybox");
    b.linux().cgroups_path = None;
    b
}

fn scope(b: &Bench) -> PathBuf {
    Path::new("/sys/fs/cgroup/system.slice").join(unit(b))
}

fn file(directory: &Path, name: &str) -> String {
    let path = directory.join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim().to_owned()
}

fn started(b: &mut Bench, script: &str) {
    b.script(script);
    let output = by_systemd(b, &["create"]);
    assert!(output.status.success(), "{}", said(&output));
    b.ok(&["start", &b.id.clone()]);
}

/// A command whose process lives on, and would keep a pipe open.
pub(super) fn detached(b: &Bench, words: &[&str]) {
    let status = b.command(words).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("runtime");
    assert!(status.success(), "{words:?}");
}

pub(super) fn ended(b: &Bench) {
    b.ok(&["delete", "--force", &b.id]);
    gone(b, &unit(b));
}

pub(super) fn gone(b: &Bench, unit: &str) {
    assert_eq!(property(unit, "LoadState"), "not-found", "{unit} is left");
    let found = Command::new("find").args(["/sys/fs/cgroup", "-name", unit]).output().expect("find");
    assert_eq!(text(&found), "", "cgroups are left");
    b.assert_nothing_left();
}

pub(super) fn limits(b: &mut Bench) -> &mut Resources {
    b.linux().resources.get_or_insert_default()
}

/// Limits of which all but the processors have a property on v1 and v2.
fn give_limits(b: &mut Bench) {
    let limits = limits(b);
    limits.memory = Some(MemoryLimits { limit: Some(64 << 20), reservation: Some(32 << 20), ..Default::default() });
    limits.cpu = Some(CpuLimits {
        quota: Some(12_345),
        period: Some(50_000),
        shares: Some(512),
        cpus: Some("0".into()),
        mems: Some("0".into()),
        ..Default::default()
    });
    limits.pids = Some(PidsLimit { limit: Some(77) });
}

mod on_v2 {
    use super::*;

    #[test]
    #[ignore = "run by under_systemd_with_v2"]
    fn limits_are_set_and_updated_by_systemd() {
        let mut b = fresh();
        give_limits(&mut b);
        limits(&mut b).memory.as_mut().expect("memory").swap = Some(96 << 20);
        started(&mut b, "sleep 1000");
        let (unit, scope, id) = (unit(&b), scope(&b), b.id.clone());
        let seen = show(
            &unit,
            "Description,Slice,Delegate,MemoryMax,MemoryLow,MemorySwapMax,CPUQuotaPerSecUSec,CPUQuotaPeriodUSec,\
             TasksMax,AllowedCPUs,AllowedMemoryNodes,CPUAccounting,MemoryAccounting,IOAccounting,TasksAccounting,\
             DefaultDependencies,ActiveState,DevicePolicy",
        );
        let expected = [
            ("Description", format!("libcontainer container {id}")),
            ("Slice", "system.slice".into()),
            ("Delegate", "yes".into()),
            ("MemoryMax", (64u64 << 20).to_string()),
            ("MemoryLow", (32u64 << 20).to_string()),
            ("MemorySwapMax", (32u64 << 20).to_string()),
            // Rounded up to whole hundredths of a processor.
            ("CPUQuotaPerSecUSec", "250ms".into()),
            ("CPUQuotaPeriodUSec", "50ms".into()),
            ("TasksMax", "77".into()),
            ("AllowedCPUs", "0".into()),
            ("AllowedMemoryNodes", "0".into()),
            ("CPUAccounting", "yes".into()),
            ("MemoryAccounting", "yes".into()),
            ("IOAccounting", "yes".into()),
            ("TasksAccounting", "yes".into()),
            ("DefaultDependencies", "no".into()),
            ("ActiveState", "active".into()),
            ("DevicePolicy", "strict".into()),
        ];
        assert_eq!(seen, expected.map(|(k, v)| (k.to_owned(), v)).into());
        assert_eq!(file(&scope, "memory.max"), (64 << 20).to_string());
        assert_eq!(file(&scope, "cpu.max"), "12500 50000");
        assert_eq!(file(&scope, "pids.max"), "77");
        assert_eq!(file(&scope, "cpuset.cpus"), "0");
        let own = fs::read_to_string(format!("/proc/{}/cgroup", b.pid())).expect("cgroup");
        assert_eq!(own.trim(), format!("0::/system.slice/{unit}"));

        b.ok(&["update", "--memory", "128m", "--memory-swap", "-1", "--cpu-quota", "20000", "--pids-limit", "-1", &id]);
        let seen = show(&unit, "MemoryMax,MemorySwapMax,CPUQuotaPerSecUSec,CPUQuotaPeriodUSec,TasksMax");
        let expected = [
            ("MemoryMax", (128u64 << 20).to_string()),
            ("MemorySwapMax", "infinity".into()),
            // Of the period that the container has.
            ("CPUQuotaPerSecUSec", "400ms".into()),
            ("CPUQuotaPeriodUSec", "50ms".into()),
            ("TasksMax", "infinity".into()),
        ];
        assert_eq!(seen, expected.map(|(k, v)| (k.to_owned(), v)).into());
        // Nor does systemd change anything when it writes its own values again.
        let daemon = Command::new("systemctl").arg("daemon-reload").status().expect("systemctl");
        assert!(daemon.success());
        assert_eq!(file(&scope, "memory.max"), (128 << 20).to_string());
        assert_eq!(file(&scope, "cpu.max"), "20000 50000");
        assert_eq!(file(&scope, "pids.max"), "max");
        ended(&b);
    }

    #[test]
    #[ignore = "run by under_systemd_with_v2"]
    fn properties_are_those_of_runc() {
        let mut b = fresh();
        give_limits(&mut b);
        // Debian's runc is older than the curve for weights.
        limits(&mut b).cpu.as_mut().expect("cpu").shares = Some(2);
        limits(&mut b).cpu.as_mut().expect("cpu").quota = Some(25_000);
        limits(&mut b).unified = [("memory.high".to_owned(), "60000000".to_owned())].into();
        b.spec.annotations = [("org.systemd.property.TimeoutStopSec".to_owned(), "uint32 7".to_owned())].into();
        let unit = unit(&b);
        let everything = |b: &Bench| {
            let pid = b.pid().to_string();
            let output = Command::new("systemctl").args(["show", &unit]).output().expect("systemctl");
            let changing = [
                "ControlGroupId",
                "MemoryCurrent",
                "MemoryAvailable",
                "CPUUsageNSec",
                "InvocationID",
                "DropInPaths",
                "TasksCurrent",
                "NeedDaemonReload",
                "IOReadBytes",
                "IOReadOperations",
                "IOWriteBytes",
                "IOWriteOperations",
            ];
            let mut lines: Vec<String> = text(&output)
                .lines()
                .filter(|l| !changing.iter().any(|c| l.starts_with(&format!("{c}="))) && !l.contains("Timestamp"))
                // runc 1.1 leaves out devices that nobody drives here, as systemd before 240 wants it.
                .filter(|l| {
                    !l.starts_with("DeviceAllow=/dev/char/10:200 ") || Path::new("/sys/dev/char/10:200").exists()
                })
                // By the name of its driver there, by its number here; the same devices.
                .map(|l| l.replace("char-pts", "char-136").replace(&pid, "PID"))
                .collect();
            lines.sort();
            lines
        };
        started(&mut b, "sleep 1000");
        let ours = everything(&b);
        let cpu = file(&scope(&b), "cpu.max");
        ended(&b);
        assert!(ours.contains(&"TimeoutStopUSec=7s".to_owned()), "{ours:?}");
        b.runtime = "runc".into();
        started(&mut b, "sleep 1000");
        let theirs = everything(&b);
        assert_eq!(cpu, file(&scope(&b), "cpu.max"));
        b.ok(&["kill", &b.id.clone(), "KILL"]);
        b.until("the end", || b.status() == "stopped");
        ended(&b);
        assert_eq!(ours, theirs);
    }

    #[test]
    #[ignore = "run by under_systemd_with_v2"]
    fn the_scope_is_where_the_path_says() {
        let mut b = fresh();
        b.linux().cgroups_path = Some("sampan-test-deep.slice:pre:name.x".into());
        started(&mut b, "cat /proc/self/cgroup; exec sleep 1000");
        let own = fs::read_to_string(format!("/proc/{}/cgroup", b.pid())).expect("cgroup");
        assert_eq!(own.trim(), "0::/sampan.slice/sampan-test.slice/sampan-test-deep.slice/pre-name.x.scope");
        assert_eq!(property("pre-name.x.scope", "Slice"), "sampan-test-deep.slice");
        // The process was there before it made its cgroup namespace, and sees it as the root.
        b.until("output", || !file(b.directory.path(), "out").is_empty());
        assert_eq!(file(b.directory.path(), "out"), "0::/");
        // In no slice, and without a prefix.
        let mut second = fresh();
        second.linux().cgroups_path = Some("-.slice::x".into());
        started(&mut second, "sleep 1000");
        let own = fs::read_to_string(format!("/proc/{}/cgroup", second.pid())).expect("cgroup");
        assert_eq!(own.trim(), "0::/-x.scope");
        assert_eq!(second.ok(&["exec", &second.id, "cat", "/proc/self/cgroup"]).trim(), "0::/");
        for (b, unit) in [(&b, "pre-name.x.scope"), (&second, "-x.scope")] {
            b.ok(&["delete", "--force", &b.id]);
            gone(b, unit);
        }
    }

    #[test]
    #[ignore = "run by under_systemd_with_v2"]
    fn a_slice_is_no_containers_unit() {
        let mut b = fresh();
        b.script("true");
        b.linux().cgroups_path = Some("system.slice:x:sampan-test.slice".into());
        // runc tries, and systemd does not put processes into slices.
        for (runtime, words) in
            [(b.runtime.clone(), "can only be in a scope"), ("runc".into(), "Cannot set property PIDs")]
        {
            b.runtime = runtime;
            let output = by_systemd(&b, &["run"]);
            assert!(!output.status.success() && said(&output).contains(words), "{}", said(&output));
            assert_eq!(property("sampan-test.slice", "ActiveState"), "inactive");
            let found = Command::new("find").args(["/sys/fs/cgroup", "-name", "sampan-test.slice"]).output();
            assert_eq!(text(&found.expect("find")), "", "cgroups are left");
            b.assert_nothing_left();
        }
    }

    #[test]
    #[ignore = "run by under_systemd_with_v2"]
    fn annotations_are_properties() {
        let mut b = fresh();
        b.spec.annotations = [
            ("org.systemd.property.TimeoutStopUSec", "uint64 123456789"),
            ("org.systemd.property.CollectMode", "'inactive-or-failed'"),
            ("org.systemd.property.Documentation", "['man:runc(8)', 'man:crun(1)']"),
            ("com.example", "of no interest"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into();
        started(&mut b, "sleep 1000");
        assert_eq!(property(&unit(&b), "TimeoutStopUSec"), "2min 3.456789s");
        assert_eq!(property(&unit(&b), "CollectMode"), "inactive-or-failed");
        assert_eq!(property(&unit(&b), "Documentation"), "\"man:runc(8)\" \"man:crun(1)\"");
        ended(&b);
        // What systemd refuses is an error that names the unit, and leaves none.
        b.spec.annotations = [("org.systemd.property.CollectMode".to_owned(), "'never'".to_owned())].into();
        let output = by_systemd(&b, &["run"]);
        assert!(!output.status.success());
        assert!(said(&output).contains(&format!("unable to start unit \"{}\"", unit(&b))), "{}", said(&output));
        gone(&b, &unit(&b));
    }

    #[test]
    #[ignore = "run by under_systemd_with_v2"]
    fn a_unit_is_taken_once() {
        let mut first = fresh();
        first.linux().cgroups_path = Some(format!("system.slice:once:{}", first.id));
        started(&mut first, "sleep 1000");
        let pid = first.pid();
        let mut second = fresh();
        second.linux().cgroups_path.clone_from(&first.spec.linux.as_ref().expect("linux").cgroups_path);
        second.script("true");
        let output = by_systemd(&second, &["run"]);
        assert!(!output.status.success());
        assert!(said(&output).contains("container's cgroup is not empty"), "{}", said(&output));
        assert!(!second.state_root().join(&second.id).exists());
        // The owner of the unit has not suffered.
        assert_eq!((first.pid(), first.status()), (pid, "running".to_owned()));
        let unit = format!("once-{}.scope", first.id);
        assert_eq!(property(&unit, "ActiveState"), "active");
        first.ok(&["delete", "--force", &first.id]);
        gone(&first, &unit);
    }

    #[test]
    #[ignore = "run by under_systemd_with_v2"]
    fn a_failed_unit_of_that_name_is_forgotten() {
        let mut b = fresh();
        let unit = unit(&b);
        let mut failing = Command::new("systemd-run")
            .args(["--scope", "--quiet", "-p", "RuntimeMaxSec=1", "--unit", &unit, "sleep", "1000"])
            .stdin(Stdio::null())
            .spawn()
            .expect("systemd-run");
        b.until("a failed unit", || property(&unit, "ActiveState") == "failed");
        let _ = failing.wait();
        started(&mut b, "sleep 1000");
        assert_eq!(property(&unit, "ActiveState"), "active");
        ended(&b);
    }

    #[test]
    #[ignore = "run by under_systemd_with_v2"]
    fn a_container_that_was_out_of_memory_leaves_no_unit() {
        let mut b = fresh();
        limits(&mut b).memory = Some(MemoryLimits { limit: Some(8 << 20), ..Default::default() });
        b.script("x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done");
        let output = by_systemd(&b, &["run"]);
        assert_eq!(output.status.code(), Some(137), "{}", said(&output));
        gone(&b, &unit(&b));
    }

    #[test]
    #[ignore = "run by under_systemd_with_v2"]
    fn it_is_frozen_joined_and_killed_like_any_other() {
        let mut b = fresh();
        b.linux().namespaces.retain(|n| n.kind != "pid");
        started(&mut b, "sleep 1000 & exec sleep 1000");
        let id = b.id.clone();
        b.until("two processes", || file(&scope(&b), "cgroup.procs").lines().count() == 2);
        b.ok(&["pause", &id]);
        assert_eq!(file(&scope(&b), "cgroup.freeze"), "1");
        assert_eq!(b.status(), "paused");
        b.ok(&["resume", &id]);
        detached(&b, &["exec", "-d", &id, "sleep", "1000"]);
        assert_eq!(file(&scope(&b), "cgroup.procs").lines().count(), 3);
        assert_eq!(b.ok(&["ps", "--format", "json", &id]).matches(',').count(), 2);
        b.ok(&["kill", "--all", &id, "KILL"]);
        b.until("the end", || b.status() == "stopped");
        b.ok(&["delete", &id]);
        gone(&b, &unit(&b));
    }

    #[test]
    #[ignore = "run by under_systemd_with_v2"]
    fn failures_leave_no_unit() {
        let mut b = fresh();
        b.process().args = vec!["/no/such/program".into()];
        let output = by_systemd(&b, &["run"]);
        assert!(!output.status.success());
        gone(&b, &unit(&b));
        // Limits that only the files know, and that the kernel refuses after the unit is there.
        b.script("true");
        limits(&mut b).unified = [("memory.nonsense".to_owned(), "1".to_owned())].into();
        let output = by_systemd(&b, &["run"]);
        assert!(!output.status.success() && said(&output).contains("memory.nonsense"), "{}", said(&output));
        gone(&b, &unit(&b));
        limits(&mut b).unified.clear();
        let hook = Hook { path: "/bin/false".into(), ..Default::default() };
        b.spec.hooks = Some(oci::runtime::Hooks { create_runtime: vec![hook], ..Default::default() });
        let output = by_systemd(&b, &["create"]);
        assert!(!output.status.success());
        gone(&b, &unit(&b));
    }

    #[test]
    #[ignore = "run by under_systemd_with_v2"]
    fn a_create_that_was_killed_can_be_deleted() {
        let mut b = fresh();
        b.script("sleep 1000");
        let hook = Hook { path: "/bin/sleep".into(), args: vec!["sleep".into(), "1000".into()], ..Default::default() };
        b.spec.hooks = Some(oci::runtime::Hooks { create_runtime: vec![hook], ..Default::default() });
        fs::write(b.bundle().join("config.json"), serde_json::to_vec(&b.spec).expect("JSON")).expect("config.json");
        let bundle = b.bundle();
        let words = ["--systemd-cgroup", "create", "--bundle", bundle.to_str().expect("path"), &b.id];
        let mut create = b.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("create");
        b.until("the unit", || property(&unit(&b), "ActiveState") == "active");
        create.kill().expect("kill");
        create.wait().expect("wait");
        ended(&b);
    }

    #[test]
    #[ignore = "run by under_systemd_with_v2"]
    fn what_systemd_does_not_know_is_in_the_files() {
        let mut b = fresh();
        let limits = limits(&mut b);
        limits.hugepage_limits = vec![HugepageLimit { page_size: "2MB".into(), limit: 4 << 20 }];
        limits.cpu = Some(CpuLimits { idle: Some(1), ..Default::default() });
        limits.unified = [
            ("memory.oom.group", "1"),
            ("memory.high", "50000000"),
            ("memory.min", "1048576"),
            ("pids.max", "55"),
            ("cpu.max", "30000 100000"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into();
        started(&mut b, "sleep 1000");
        let scope = scope(&b);
        assert_eq!(file(&scope, "hugetlb.2MB.max"), (4 << 20).to_string());
        assert_eq!(file(&scope, "cpu.idle"), "1");
        assert_eq!(file(&scope, "memory.oom.group"), "1");
        let seen = show(&unit(&b), "MemoryHigh,MemoryMin,TasksMax,CPUQuotaPerSecUSec,CPUWeight,OOMPolicy");
        let expected = [
            ("CPUQuotaPerSecUSec", "300ms"),
            ("CPUWeight", "idle"),
            ("MemoryHigh", "50000000"),
            ("MemoryMin", "1048576"),
            ("OOMPolicy", "kill"),
            ("TasksMax", "55"),
        ];
        let shown: Vec<(&str, &str)> = seen.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(shown, expected);
        ended(&b);
    }

    #[test]
    #[ignore = "run by under_systemd_with_v2"]
    fn devices_are_guarded_by_both() {
        let mut b = fresh();
        b.script("cat /dev/zero | head -c 1 | wc -c; mknod /dev/k c 4 64; : </dev/k");
        let made = "ln -s busybox bin/mknod";
        assert!(Command::new("sh").args(["-c", made]).current_dir(b.rootfs()).status().expect("sh").success());
        if let Some(c) = &mut b.process().capabilities {
            for set in [&mut c.bounding, &mut c.effective, &mut c.permitted] {
                set.push("CAP_MKNOD".into());
            }
        }
        let output = by_systemd(&b, &["run"]);
        assert!(said(&output).starts_with("1\n") && said(&output).contains("not permitted"), "{}", said(&output));
        gone(&b, &unit(&b));
        // Everything allowed: systemd must not stand in the way.
        limits(&mut b).devices = vec![oci::runtime::DeviceRule { allow: true, ..Default::default() }];
        b.script("mknod /dev/k c 4 64; : </dev/k && echo open");
        let output = by_systemd(&b, &["run"]);
        assert!(said(&output).contains("open"), "{}", said(&output));
        gone(&b, &unit(&b));
    }

    #[test]
    #[ignore = "run by under_systemd_with_v2"]
    fn without_a_bus_root_asks_systemd_itself() {
        let mut b = fresh();
        b.script("cat /proc/self/cgroup");
        fs::write(b.bundle().join("config.json"), serde_json::to_vec(&b.spec).expect("JSON")).expect("config.json");
        let bundle = b.bundle();
        let words = ["--systemd-cgroup", "run", "--bundle", bundle.to_str().expect("path"), &b.id];
        let output = b.command(&words).env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere").output().expect("run");
        assert!(output.status.success() && text(&output) == "0::/\n", "{output:?}");
        gone(&b, &unit(&b));
    }

    #[test]
    #[ignore = "run by under_systemd_with_v2"]
    fn a_checkpoint_comes_back_in_a_new_unit() {
        crate::restored::a_checkpoint_comes_back_in_a_new_unit("MemoryMax");
    }

    /// Runs a script as an ordinary user with a systemd of his own.
    fn as_user(script: &str, variables: &[(&str, &str)]) -> std::process::Output {
        Command::new("setpriv")
            .args(["--reuid", "1000", "--regid", "1000", "--clear-groups", "sh", "-c", script])
            .env_clear()
            .env("PATH", std::env::var("PATH").expect("PATH"))
            .env("XDG_RUNTIME_DIR", "/run/user/1000")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .output()
            .expect("setpriv")
    }

    #[test]
    #[ignore = "run by under_systemd_with_v2"]
    fn a_user_has_containers_of_the_users_systemd() {
        if !fs::read_to_string("/etc/passwd").expect("passwd").contains(":1000:1000:") {
            let add = |file: &str, line: &str| {
                let old = fs::read_to_string(file).expect(file);
                fs::write(file, old + line).expect(file);
            };
            add("/etc/passwd", "sampan:x:1000:1000::/tmp:/bin/sh\n");
            add("/etc/group", "sampan:x:1000:\n");
            add("/etc/shadow", "sampan:*:19000:0:99999:7:::\n");
        }
        let start = Command::new("systemctl").args(["start", "user@1000.service"]).output().expect("systemctl");
        assert!(start.status.success(), "{start:?}");
        // After that, because a machine that starts cleans its /tmp.
        let mut b = fresh();
        b.until("the user's bus", || Path::new("/run/user/1000/bus").exists());
        fs::set_permissions(b.directory.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        let mapping = |host_id| oci::runtime::IdMapping { container_id: 0, host_id, size: 1 };
        b.linux().uid_mappings = vec![mapping(1000)];
        b.linux().gid_mappings = vec![mapping(1000)];
        b.linux().namespaces.push(oci::runtime::Namespace { kind: "user".into(), path: None });
        b.linux().namespaces.retain(|n| n.kind != "network");
        b.spec.mounts.retain(|m| !matches!(m.kind.as_deref(), Some("sysfs" | "cgroup")));
        for mount in &mut b.spec.mounts {
            mount.options.retain(|o| !o.starts_with("gid="));
        }
        limits(&mut b).devices.clear();
        limits(&mut b).memory = Some(MemoryLimits { limit: Some(64 << 20), ..Default::default() });
        limits(&mut b).pids = Some(PidsLimit { limit: Some(66) });
        b.script("sleep 1000");
        fs::write(b.bundle().join("config.json"), serde_json::to_vec(&b.spec).expect("JSON")).expect("config.json");
        let (runtime, bundle, id) = (b.runtime.display(), b.bundle(), b.id.clone());
        let base = format!("{runtime} --root /tmp/of-user-{id}");
        let out = b.directory.path().join("out");
        fs::write(&out, "").expect("out");
        fs::set_permissions(&out, fs::Permissions::from_mode(0o666)).expect("chmod");
        let script = format!(
            "{base} --systemd-cgroup run -d --bundle {} {id} >{out} 2>&1 </dev/null || {{ cat {out}; exit 1; }}",
            bundle.display(),
            out = out.display()
        );
        // A session that is not the user's systemd's: processes can be moved only by systemd.
        let run = as_user(&script, &[]);
        assert!(run.status.success(), "{run:?}");
        let state = as_user(&format!("{base} state {id}"), &[]);
        let state: serde_json::Value = serde_json::from_slice(&state.stdout).expect("state");
        let pid = state["pid"].as_i64().expect("pid");
        let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("cgroup");
        let place = format!("/user.slice/user-1000.slice/user@1000.service/user.slice/runc-{id}.scope");
        assert_eq!(own.trim(), format!("0::{place}"));
        let scope = Path::new("/sys/fs/cgroup").join(place.trim_start_matches('/'));
        assert_eq!(file(&scope, "memory.max"), (64 << 20).to_string());
        assert_eq!(file(&scope, "pids.max"), "66");
        let exec = as_user(&format!("{base} exec {id} cat /proc/self/cgroup"), &[]);
        assert_eq!(text(&exec).trim(), "0::/", "{exec:?}");
        let update = as_user(&format!("{base} update --memory 32m {id}"), &[]);
        assert!(update.status.success(), "{update:?}");
        assert_eq!(file(&scope, "memory.max"), (32 << 20).to_string());
        let delete = as_user(&format!("{base} delete --force {id}"), &[]);
        assert!(delete.status.success(), "{delete:?}");
        assert!(!scope.exists());
        // Without a bus, the user is told what is missing.
        let script = format!("{base} --systemd-cgroup run --bundle {} {id}", bundle.display());
        let run = as_user(&script, &[("XDG_RUNTIME_DIR", "/nowhere")]);
        let words = "could not detect DBUS_SESSION_BUS_ADDRESS";
        assert!(!run.status.success() && String::from_utf8_lossy(&run.stderr).contains(words), "{run:?}");
        let run = as_user(&script, &[("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")]);
        let error = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(!run.status.success() && error.contains("failed to connect to dbus"), "{run:?}");
        assert!(error.contains("no such file or directory"), "{run:?}");
    }
}

mod on_v1 {
    use super::*;

    /// The container's cgroup of a v1 controller.
    fn of(b: &Bench, controller: &str) -> PathBuf {
        Path::new("/sys/fs/cgroup").join(controller).join("system.slice").join(unit(b))
    }

    #[test]
    #[ignore = "run by under_systemd_with_hybrid"]
    fn limits_are_set_and_updated_by_systemd() {
        let mut b = fresh();
        give_limits(&mut b);
        limits(&mut b).hugepage_limits = vec![HugepageLimit { page_size: "2MB".into(), limit: 4 << 20 }];
        started(&mut b, "sleep 1000");
        let (unit, id) = (unit(&b), b.id.clone());
        let seen = show(&unit, "MemoryLimit,CPUShares,CPUQuotaPerSecUSec,CPUQuotaPeriodUSec,TasksMax,Slice,Delegate");
        let expected = [
            ("CPUQuotaPerSecUSec", "250ms".to_owned()),
            ("CPUQuotaPeriodUSec", "50ms".to_owned()),
            ("CPUShares", "512".to_owned()),
            ("Delegate", "yes".to_owned()),
            ("MemoryLimit", (64u64 << 20).to_string()),
            ("Slice", "system.slice".to_owned()),
            ("TasksMax", "77".to_owned()),
        ];
        assert_eq!(seen, expected.map(|(k, v)| (k.to_owned(), v)).into());
        assert_eq!(file(&of(&b, "memory"), "memory.limit_in_bytes"), (64 << 20).to_string());
        assert_eq!(file(&of(&b, "memory"), "memory.soft_limit_in_bytes"), (32 << 20).to_string());
        assert_eq!(file(&of(&b, "cpu"), "cpu.cfs_quota_us"), "12500");
        assert_eq!(file(&of(&b, "cpu"), "cpu.shares"), "512");
        assert_eq!(file(&of(&b, "cpuset"), "cpuset.cpus"), "0");
        assert_eq!(file(&of(&b, "pids"), "pids.max"), "77");
        assert_eq!(file(&of(&b, "hugetlb"), "hugetlb.2MB.limit_in_bytes"), (4 << 20).to_string());
        // In every hierarchy, and an added process too.
        let own = fs::read_to_string(format!("/proc/{}/cgroup", b.pid())).expect("cgroup");
        for line in own.lines() {
            assert!(line.ends_with(&format!(":/system.slice/{unit}")), "{own}");
        }
        detached(&b, &["exec", "-d", "--pid-file", "/tmp/added", &id, "sleep", "1000"]);
        let added = fs::read_to_string(format!("/proc/{}/cgroup", file(Path::new("/tmp"), "added"))).expect("cgroup");
        assert_eq!(added, own);
        b.ok(&["update", "--memory", "128m", "--cpu-quota", "20000", "--pids-limit", "-1", &id]);
        assert_eq!(property(&unit, "MemoryLimit"), (128u64 << 20).to_string());
        assert_eq!(property(&unit, "CPUQuotaPerSecUSec"), "400ms");
        assert_eq!(file(&of(&b, "memory"), "memory.limit_in_bytes"), (128 << 20).to_string());
        assert_eq!(file(&of(&b, "cpu"), "cpu.cfs_quota_us"), "20000");
        b.ok(&["pause", &id]);
        assert_eq!(file(&of(&b, "freezer"), "freezer.state"), "FROZEN");
        b.ok(&["resume", &id]);
        ended(&b);
    }

    #[test]
    #[ignore = "run by under_systemd_with_hybrid"]
    fn a_checkpoint_comes_back_in_a_new_unit() {
        crate::restored::a_checkpoint_comes_back_in_a_new_unit("MemoryLimit");
    }

    #[test]
    #[ignore = "run by under_systemd_with_hybrid"]
    fn failures_leave_nothing() {
        let mut b = fresh();
        b.process().args = vec!["/no/such/program".into()];
        assert!(!by_systemd(&b, &["run"]).status.success());
        gone(&b, &unit(&b));
        b.script("exit 3");
        assert_eq!(by_systemd(&b, &["run"]).status.code(), Some(3));
        gone(&b, &unit(&b));
        limits(&mut b).unified = [("memory.high".to_owned(), "1".to_owned())].into();
        assert!(!by_systemd(&b, &["run"]).status.success());
        gone(&b, &unit(&b));
    }

    #[test]
    #[ignore = "run by under_systemd_with_hybrid"]
    fn a_user_is_told_that_it_takes_v2() {
        let b = fresh();
        let bundle = b.bundle();
        fs::write(bundle.join("config.json"), serde_json::to_vec(&b.spec).expect("JSON")).expect("config.json");
        let words =
            ["--systemd-cgroup", "--rootless", "true", "run", "--bundle", bundle.to_str().expect("path"), &b.id];
        let words = words.map(String::from);
        let output = b.call(&words.each_ref().map(String::as_str));
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains("cannot use rootless systemd cgroups manager on cgroup v1"), "{error}");
        b.assert_nothing_left();
    }
}
