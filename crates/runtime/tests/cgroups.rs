//! Limits, as the kernel's files show them, and cgroups that are wrong.

mod common;

use std::fs;
use std::path::Path;
use std::process::Stdio;

use common::limits::{file, has, resources, update, words};
use common::{Bench, bench};
use oci::runtime::{
    BlockIo, CpuLimits, HugepageLimit, IdMapping, InterfacePriority, MemoryLimits, Mount, Namespace, NetworkLimits,
    PidsLimit, RdmaLimit, Resources, ThrottleDevice,
};

#[test]
fn memory_limits_are_in_their_files() {
    let Some(mut b) = bench() else { return };
    let v2 = b.v2();
    resources(&mut b).memory = Some(MemoryLimits {
        limit: Some(64 << 20),
        reservation: Some(32 << 20),
        swap: Some(96 << 20),
        swappiness: (!v2).then_some(7),
        disable_oom_killer: (!v2).then_some(true),
        use_hierarchy: Some(true),
        ..Default::default()
    });
    b.started("sleep 100");
    assert_eq!(file(&b, "memory", "memory.limit_in_bytes", "memory.max"), (64 << 20).to_string());
    assert_eq!(file(&b, "memory", "memory.soft_limit_in_bytes", "memory.low"), (32 << 20).to_string());
    if has(&b, "memory", "memory.memsw.limit_in_bytes", "memory.swap.max") {
        // v1 counts both together.
        let swap = if v2 { 32 << 20 } else { 96 << 20 };
        assert_eq!(file(&b, "memory", "memory.memsw.limit_in_bytes", "memory.swap.max"), swap.to_string());
    }
    if !v2 {
        assert_eq!(file(&b, "memory", "memory.swappiness", ""), "7");
        assert!(file(&b, "memory", "memory.oom_control", "").contains("oom_kill_disable 1"));
        assert_eq!(file(&b, "memory", "memory.use_hierarchy", ""), "1");
        assert!(update(&b, r#"{"memory":{"disableOOMKiller":false}}"#).status.success());
        assert!(file(&b, "memory", "memory.oom_control", "").contains("oom_kill_disable 0"));
    }
}

#[test]
fn memory_limits_that_make_no_sense_are_refused() {
    let Some(mut b) = bench() else { return };
    b.script("true");
    let v2 = b.v2();
    let low_swap = MemoryLimits { limit: Some(64 << 20), swap: Some(32 << 20), ..Default::default() };
    let mut cases = vec![(low_swap, "memory+swap limit should be >= memory limit")];
    if v2 {
        let swap_alone = MemoryLimits { swap: Some(32 << 20), ..Default::default() };
        let swappiness = MemoryLimits { swappiness: Some(10), ..Default::default() };
        let killer = MemoryLimits { disable_oom_killer: Some(true), ..Default::default() };
        cases.push((swap_alone, "unable to set swap limit without memory limit"));
        cases.push((swappiness, "linux.resources.memory.swappiness: exists only on cgroup v1"));
        cases.push((killer, "linux.resources.memory.disableOOMKiller: exists only on cgroup v1"));
    } else {
        let swappiness = MemoryLimits { swappiness: Some(101), ..Default::default() };
        cases.push((swappiness, "invalid memory swappiness value: 101 (valid range is 0-100)"));
    }
    for (memory, words) in cases {
        resources(&mut b).memory = Some(memory);
        let error = b.failure();
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[test]
fn cpu_limits_are_in_their_files() {
    let Some(mut b) = bench() else { return };
    resources(&mut b).cpu = Some(CpuLimits {
        shares: Some(100),
        quota: Some(50_000),
        period: Some(200_000),
        burst: Some(10_000),
        ..Default::default()
    });
    b.started("sleep 100");
    assert_eq!(file(&b, "cpu", "cpu.shares", "cpu.weight"), if b.v2() { "17" } else { "100" });
    if b.v2() {
        assert_eq!(file(&b, "cpu", "", "cpu.max"), "50000 200000");
    } else {
        assert_eq!(file(&b, "cpu", "cpu.cfs_quota_us", ""), "50000");
        assert_eq!(file(&b, "cpu", "cpu.cfs_period_us", ""), "200000");
    }
    assert_eq!(file(&b, "cpu", "cpu.cfs_burst_us", "cpu.max.burst"), "10000");
    if has(&b, "cpu", "cpu.idle", "cpu.idle") {
        for idle in ["1", "0", "1"] {
            b.ok(&["update", "--cpu-idle", idle, &b.id]);
            assert_eq!(file(&b, "cpu", "cpu.idle", "cpu.idle"), idle);
        }
        b.refused(&["update", "--cpu-idle", "3", &b.id]);
        b.ok(&["update", "--cpu-period", "100000", &b.id]);
        assert_eq!(file(&b, "cpu", "cpu.idle", "cpu.idle"), "1", "another limit does not touch it");
    }
}

#[test]
fn a_period_without_a_quota_and_a_wrong_one() {
    let Some(mut b) = bench() else { return };
    resources(&mut b).cpu = Some(CpuLimits { period: Some(1_000_000), ..Default::default() });
    b.started("sleep 100");
    let max = |b: &Bench| {
        if b.v2() {
            file(b, "cpu", "", "cpu.max")
        } else {
            let quota = file(b, "cpu", "cpu.cfs_quota_us", "").replace("-1", "max");
            format!("{quota} {}", file(b, "cpu", "cpu.cfs_period_us", ""))
        }
    };
    assert_eq!(max(&b), "max 1000000");
    b.ok(&["update", "--cpu-quota", "30000", &b.id]);
    assert_eq!(max(&b), "30000 1000000");
    b.ok(&["update", "--cpu-period", "50000", &b.id]);
    assert_eq!(max(&b), "30000 50000", "the quota stays");
    b.ok(&["update", "--cpu-quota", "-1", "--cpu-period", "100000", &b.id]);
    assert_eq!(max(&b), "max 100000");
    b.ok(&["delete", "--force", &b.id]);
    resources(&mut b).cpu = Some(CpuLimits { period: Some(100), ..Default::default() });
    let error = b.script("true").failure();
    assert!(error.contains("cpu"), "{error}");
}

#[test]
fn a_smaller_period_and_quota_fit_below_a_limited_parent() {
    let Some(mut b) = bench() else { return };
    if b.v2() {
        println!("skipped: a v2 parent does not bound the quota of its children");
        return;
    }
    b.started("sleep 100");
    let id = b.id.clone();
    let parent = Path::new("/sys/fs/cgroup/cpu").join(&id);
    fs::write(parent.join("cpu.cfs_quota_us"), "50000").expect("quota of the parent");
    b.refused(&["update", "--cpu-quota", "60000", &id]);
    b.ok(&["update", "--cpu-quota", "40000", &id]);
    // The old quota of the new period would be too much, so one must be tried again after the other.
    b.ok(&["update", "--cpu-period", "10000", "--cpu-quota", "3000", &id]);
    assert_eq!(file(&b, "cpu", "cpu.cfs_period_us", ""), "10000");
    assert_eq!(file(&b, "cpu", "cpu.cfs_quota_us", ""), "3000");
}

#[test]
fn realtime_is_for_v1() {
    let Some(mut b) = bench() else { return };
    let cpu = CpuLimits { realtime_period: Some(800_000), realtime_runtime: Some(1000), ..Default::default() };
    resources(&mut b).cpu = Some(cpu);
    if b.v2() {
        assert!(b.script("true").failure().contains("linux.resources.cpu.realtimeRuntime: exists only on cgroup v1"));
        return;
    }
    if !Path::new("/sys/fs/cgroup/cpu/cpu.rt_runtime_us").exists() {
        let error = b.script("true").failure();
        assert!(error.contains("cpu.rt_period_us"), "{error}");
        return;
    }
    // A new cgroup's parent has no realtime to give unless somebody gives it some.
    let parent = Path::new("/sys/fs/cgroup/cpu").join(&b.id);
    fs::create_dir(&parent).expect("mkdir");
    if fs::write(parent.join("cpu.rt_runtime_us"), "10000").is_err() {
        println!("skipped in part: this machine gives no realtime to cgroups");
        let error = b.script("true").run();
        assert!(!error.status.success());
        return;
    }
    b.started("sleep 100");
    assert_eq!(file(&b, "cpu", "cpu.rt_period_us", ""), "800000");
    assert_eq!(file(&b, "cpu", "cpu.rt_runtime_us", ""), "1000");
    b.ok(&["update", "--cpu-rt-period", "900001", "--cpu-rt-runtime", "2001", &b.id]);
    assert_eq!(file(&b, "cpu", "cpu.rt_period_us", ""), "900001");
    assert_eq!(file(&b, "cpu", "cpu.rt_runtime_us", ""), "2001");
}

#[test]
fn cpusets_are_set_and_empty_parents_filled() {
    let Some(mut b) = bench() else { return };
    if b.v2() && !fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").is_ok_and(|c| c.contains("cpuset")) {
        println!("skipped: no cpuset controller on this machine");
        return;
    }
    if !b.v2() {
        // As another program would have left it.
        fs::create_dir(Path::new("/sys/fs/cgroup/cpuset").join(&b.id)).expect("mkdir");
    }
    resources(&mut b).cpu = Some(CpuLimits { cpus: Some("0".into()), mems: Some("0".into()), ..Default::default() });
    b.started("grep -E 'Cpus_allowed_list|Mems_allowed_list' /proc/self/status; sleep 100");
    assert_eq!(file(&b, "cpuset", "cpuset.cpus", "cpuset.cpus"), "0");
    assert_eq!(file(&b, "cpuset", "cpuset.mems", "cpuset.mems"), "0");
    let out = b.directory.path().join("out");
    b.until("output", || fs::read_to_string(&out).is_ok_and(|t| t.contains("Mems")));
    assert!(fs::read_to_string(&out).expect("out").contains("Cpus_allowed_list:\t0\n"));
    if fs::read_to_string("/proc/cpuinfo").expect("cpuinfo").matches("processor\t").count() > 1 {
        b.ok(&["update", "--cpuset-cpus", "1", &b.id]);
        assert_eq!(file(&b, "cpuset", "cpuset.cpus", "cpuset.cpus"), "1");
    }
    b.refused(&["update", "--cpuset-cpus", "9999", &b.id]);
}

#[test]
fn block_limits_are_in_their_files() {
    let Some(mut b) = bench() else { return };
    let partitions = fs::read_to_string("/proc/partitions").unwrap_or_default();
    let disk = partitions.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let name = words.get(3).filter(|name| Path::new("/sys/block").join(name).exists())?;
        (!name.starts_with("ram")).then_some((words[0].parse().ok()?, words[1].parse().ok()?))
    });
    let Some((major, minor)) = disk else {
        println!("skipped: no block device on this machine");
        return;
    };
    let device = |rate| vec![ThrottleDevice { major, minor, rate }];
    resources(&mut b).block_io = Some(BlockIo {
        throttle_read_bps_device: device(1 << 20),
        throttle_write_bps_device: device(2 << 20),
        throttle_read_iops_device: device(100),
        throttle_write_iops_device: device(200),
        ..Default::default()
    });
    b.started("sleep 100");
    if b.v2() {
        assert_eq!(
            file(&b, "io", "", "io.max"),
            format!("{major}:{minor} rbps=1048576 wbps=2097152 riops=100 wiops=200")
        );
    } else {
        for (name, rate) in [("read_bps", 1 << 20), ("write_bps", 2 << 20), ("read_iops", 100), ("write_iops", 200)] {
            let file = file(&b, "blkio", &format!("blkio.throttle.{name}_device"), "");
            assert_eq!(file, format!("{major}:{minor} {rate}"), "{name}");
        }
    }
    // What fails later takes it back.
    let json = format!(
        r#"{{"blockIO":{{"throttleReadBpsDevice":[{{"major":{major},"minor":{minor},"rate":5000000}}],"throttleWriteBpsDevice":[{{"major":4095,"minor":77,"rate":5}}]}}}}"#
    );
    assert!(!update(&b, &json).status.success());
    assert!(file(&b, "blkio", "blkio.throttle.read_bps_device", "io.max").contains("1048576"));
}

#[test]
fn a_block_weight_is_set_or_refused() {
    let Some(mut b) = bench() else { return };
    b.started("sleep 100");
    let files = if b.v2() { ["io.bfq.weight", "io.weight"] } else { ["blkio.weight", "blkio.bfq.weight"] };
    let directory = b.cgroup("blkio");
    let Some(name) = files.into_iter().find(|f| directory.join(f).exists()) else {
        let error = b.refused(&["update", "--blkio-weight", "750", &b.id]);
        assert!(error.contains("weight"), "{error}");
        println!("skipped in part: no scheduler with weights on this machine");
        return;
    };
    b.ok(&["update", "--blkio-weight", "750", &b.id]);
    let expected = if name == "io.weight" { "7475" } else { "750" };
    assert!(fs::read_to_string(directory.join(name)).expect("weight").contains(expected));
    b.refused(&["update", "--blkio-weight", "70000", &b.id]);
}

#[test]
fn a_controller_that_is_missing_is_named() {
    let Some(mut b) = bench() else { return };
    b.script("true");
    let have = if b.v2() {
        fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").expect("controllers")
    } else {
        fs::read_to_string("/proc/self/cgroup").expect("cgroup")
    };
    let page = Resources {
        hugepage_limits: vec![HugepageLimit { page_size: "2MB".into(), limit: 2 << 20 }],
        ..Default::default()
    };
    let rdma = Resources {
        rdma: [("mlx5_1".to_owned(), RdmaLimit { hca_handles: Some(3), hca_objects: None })].into(),
        ..Default::default()
    };
    let class =
        Resources { network: Some(NetworkLimits { class_id: Some(5), ..Default::default() }), ..Default::default() };
    for (controller, wanted) in [("hugetlb", page), ("rdma", rdma), ("net_cls", class)] {
        if have.contains(controller) {
            println!("skipped in part: this machine has {controller}");
            continue;
        }
        b.linux().resources = Some(wanted);
        let error = b.failure();
        let words = if b.v2() && controller == "net_cls" { "network: exists only on cgroup v1" } else { controller };
        assert!(error.contains(words), "{controller}: {error}");
    }
    resources(&mut b).hugepage_limits = vec![HugepageLimit { page_size: "../2MB".into(), limit: 1 }];
    assert!(b.failure().contains("is not a page size"));
}

#[test]
fn network_classes_and_priorities_are_in_their_files() {
    let Some(mut b) = bench() else { return };
    let own = fs::read_to_string("/proc/self/cgroup").expect("cgroup");
    let has = |name: &str| own.lines().filter_map(|l| l.split(':').nth(1)).any(|c| c.split(',').any(|c| c == name));
    if !has("net_cls") || !has("net_prio") {
        println!("skipped: no net_cls and net_prio controllers on this machine");
        return;
    }
    let priority = InterfacePriority { name: "lo".into(), priority: 4 };
    resources(&mut b).network = Some(NetworkLimits { class_id: Some(0x10_0001), priorities: vec![priority] });
    b.started("sleep 100");
    let find = |name: &str| {
        ["net_cls,net_prio", "net_cls", "net_prio"].map(|d| b.cgroup(d).join(name)).into_iter().find(|p| p.exists())
    };
    let read = |name: &str| fs::read_to_string(find(name).expect(name)).expect(name);
    assert_eq!(read("net_cls.classid").trim(), 0x10_0001.to_string());
    assert!(read("net_prio.ifpriomap").lines().any(|line| line == "lo 4"));
}

#[test]
fn huge_pages_are_limited() {
    let Some(mut b) = bench() else { return };
    let have = if b.v2() { "/sys/fs/cgroup/cgroup.controllers" } else { "/proc/self/cgroup" };
    if !fs::read_to_string(have).expect("controllers").contains("hugetlb") {
        println!("skipped: no hugetlb controller on this machine");
        return;
    }
    if !Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB").exists() {
        println!("skipped: no pages of 2 MB on this machine");
        return;
    }
    resources(&mut b).hugepage_limits = vec![HugepageLimit { page_size: "2MB".into(), limit: 4 << 20 }];
    b.started("sleep 100");
    for kind in ["", ".rsvd"] {
        let (v1, v2) = (format!("hugetlb.2MB{kind}.limit_in_bytes"), format!("hugetlb.2MB{kind}.max"));
        if kind.is_empty() || has(&b, "hugetlb", &v1, &v2) {
            assert_eq!(file(&b, "hugetlb", &v1, &v2), (4 << 20).to_string());
        }
    }
    let told: serde_json::Value = serde_json::from_str(&b.ok(&["events", "--stats", &b.id])).expect("JSON");
    assert_eq!(told["data"]["hugetlb"]["2MB"], serde_json::json!({"failcnt": 0}));
    assert!(update(&b, r#"{"hugepageLimits":[{"pageSize":"2MB","limit":2097152}]}"#).status.success());
    assert_eq!(file(&b, "hugetlb", "hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max"), (2 << 20).to_string());
    b.ok(&["delete", "--force", &b.id]);
    resources(&mut b).hugepage_limits[0].page_size = "3MB".into();
    assert!(b.script("true").failure().contains("hugetlb.3MB"));
}

#[test]
fn unified_files_are_written_as_they_are() {
    let Some(mut b) = bench() else { return };
    let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    if !b.v2() {
        resources(&mut b).unified = map(&[("memory.min", "131072")]);
        let error = b.script("true").failure();
        assert!(error.contains("invalid configuration") && error.contains("linux.resources.unified"), "{error}");
        return;
    }
    resources(&mut b).memory = Some(MemoryLimits { limit: Some(32 << 20), ..Default::default() });
    resources(&mut b).cpu =
        Some(CpuLimits { shares: Some(3333), quota: Some(40_000), period: Some(100_000), ..Default::default() });
    resources(&mut b).unified = map(&[
        ("memory.min", "131072"),
        ("memory.max", "40484864"),
        ("memory.high", "39845888"),
        ("pids.max", "42"),
        ("cpu.max", "5000 50000"),
        ("cpu.weight", "42"),
    ]);
    b.started("sleep 100");
    for (name, value) in [
        ("memory.min", "131072"),
        ("memory.max", "40484864"),
        ("memory.high", "39845888"),
        ("pids.max", "42"),
        ("cpu.max", "5000 50000"),
        ("cpu.weight", "42"),
    ] {
        assert_eq!(file(&b, "", "", name), value, "{name} overrides");
    }
    assert!(update(&b, r#"{"unified":{"cpu.max":"max 100000","pids.max":"10"}}"#).status.success());
    assert_eq!(file(&b, "", "", "cpu.max"), "max 100000");
    for (name, expected) in [
        ("a/b.max", "must be a file name (no slashes)"),
        ("memory", "must be in the form CONTROLLER.PARAMETER"),
        ("nosuch.max", "can't be set: controller \"nosuch\" not available"),
        ("memory.nosuch", "unable to set unified resource \"memory.nosuch\""),
    ] {
        let output = update(&b, &format!(r#"{{"unified":{{"{name}":"1"}}}}"#));
        assert!(!output.status.success() && words(&output).contains(expected), "{name}: {output:?}");
    }
    // Whatever came before the wrong one is taken back.
    assert!(!update(&b, r#"{"pids":{"limit":7},"unified":{"cpu.weight":"77","memory.nosuch":"1"}}"#).status.success());
    assert_eq!(file(&b, "", "", "pids.max"), "10");
    assert_eq!(file(&b, "", "", "cpu.weight"), "42");
}

#[test]
fn the_place_is_the_one_that_was_asked_for() {
    let Some(mut b) = bench() else { return };
    // A name of the test's own, relative, so below or beside this process's own cgroup.
    b.linux().cgroups_path = Some(format!("{}/relative", b.id));
    b.started("sleep 100");
    let own = fs::read_to_string("/proc/self/cgroup").expect("cgroup");
    let theirs = fs::read_to_string(format!("/proc/{}/cgroup", b.pid())).expect("cgroup");
    for (own, theirs) in own.lines().zip(theirs.lines()) {
        let path = |line: &str| line.splitn(3, ':').nth(2).expect("path").to_owned();
        if theirs.starts_with("0::") && !b.v2() && !Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists() {
            continue;
        }
        let base =
            if b.v2() { Path::new(&path(own)).parent().unwrap_or(Path::new("/")).to_owned() } else { path(own).into() };
        assert_eq!(Path::new(&path(theirs)), base.join(&b.id).join("relative"), "{own}: {theirs}");
    }
    let added = b.ok(&["exec", &b.id, "cat", "/proc/self/cgroup"]);
    assert!(added.lines().all(|line| line.ends_with(":/")), "exec joins every hierarchy: {added}");
    b.ok(&["delete", "--force", &b.id]);
    b.assert_nothing_left();
    b.linux().cgroups_path = Some("/".into());
    assert!(b.script("true").failure().contains("root cgroup cannot be a container's"));
    // ".." cannot lead out.
    b.linux().cgroups_path = Some(format!("/../../{}/c", b.id));
    b.started("sleep 100");
    assert!(b.cgroup("pids").join("cgroup.procs").exists());
}

#[test]
fn a_create_that_is_killed_anywhere_leaves_nothing_after_delete() {
    let Some(mut b) = bench() else { return };
    // Without a parent that nobody would own.
    b.linux().cgroups_path = Some(format!("/{}", b.id));
    resources(&mut b).pids = Some(PidsLimit { limit: Some(20) });
    b.script("sleep 100");
    assert!(b.create().status.success());
    b.ok(&["delete", "--force", &b.id]);
    let bundle = b.bundle();
    for step in 0..40 {
        let mut child = b
            .command(&["create", "--bundle", bundle.to_str().expect("path"), &b.id])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("spawn");
        std::thread::sleep(std::time::Duration::from_micros(step * 300));
        child.kill().expect("kill");
        child.wait().expect("wait");
        b.ok(&["delete", "--force", &b.id]);
        b.assert_nothing_left();
    }
}

#[test]
fn a_cgroup_in_use_is_refused() {
    let Some(mut b) = bench() else { return };
    let Some(mut second) = bench() else { return };
    b.started("sleep 100");
    second.linux().cgroups_path = Some(format!("/{}/c", b.id));
    let created = second.script("true").create();
    assert!(!created.status.success());
    let error = String::from_utf8_lossy(&created.stderr).into_owned();
    assert!(error.contains("container's cgroup is not empty: 1 process(es) found"), "{error}");
    // The first one has lost nothing by it.
    assert_eq!(b.status(), "running");
    assert!(b.cgroup("pids").join("cgroup.procs").exists());
}

#[test]
fn a_frozen_cgroup_is_refused() {
    let Some(mut b) = bench() else { return };
    let directory = b.cgroup("freezer");
    fs::create_dir_all(&directory).expect("mkdir");
    let (file, frozen) = if b.v2() { ("cgroup.freeze", "1") } else { ("freezer.state", "FROZEN") };
    fs::write(directory.join(file), frozen).expect("freeze");
    let output = b.script("true").run();
    assert_eq!(output.status.code(), Some(1));
    assert!(words(&output).contains("container's cgroup unexpectedly frozen"), "{output:?}");
    assert!(directory.exists(), "what another program made stays");
    fs::remove_dir(&directory).expect("rmdir");
}

#[test]
fn an_empty_cgroup_of_somebody_else_is_used() {
    let Some(mut b) = bench() else { return };
    fs::create_dir_all(b.cgroup("pids")).expect("mkdir");
    resources(&mut b).pids = Some(PidsLimit { limit: Some(20) });
    b.started("sleep 100");
    assert_eq!(file(&b, "pids", "pids.max", "pids.max"), "20");
}

#[test]
fn a_parent_with_processes_is_told() {
    let Some(mut b) = bench() else { return };
    if !b.v2() {
        println!("skipped: only on cgroup v2 have processes and children to be apart");
        return;
    }
    let parent = Path::new("/sys/fs/cgroup").join(&b.id);
    fs::create_dir(&parent).expect("mkdir");
    let mut sleeper = std::process::Command::new("sleep").arg("100").spawn().expect("sleep");
    fs::write(parent.join("cgroup.procs"), sleeper.id().to_string()).expect("move");
    resources(&mut b).memory = Some(MemoryLimits { limit: Some(32 << 20), ..Default::default() });
    let output = b.script("true").run();
    let limited = words(&output);
    b.linux().resources = None;
    let unlimited = b.script("true").run();
    sleeper.kill().expect("kill");
    sleeper.wait().expect("wait");
    assert!(!output.status.success());
    assert!(limited.contains("memory") && limited.contains("has processes of its own"), "{limited}");
    assert!(unlimited.status.success(), "without limits it is no matter: {unlimited:?}");
    assert!(!b.cgroup("").exists());
    assert!(parent.exists());
}

#[test]
fn a_threaded_parent_takes_what_threads_can_have() {
    let Some(mut b) = bench() else { return };
    if !b.v2() {
        println!("skipped: only cgroup v2 has cgroups of threads");
        return;
    }
    let parent = Path::new("/sys/fs/cgroup").join(&b.id);
    fs::create_dir_all(parent.join("t")).expect("mkdir");
    fs::write(parent.join("t/cgroup.type"), "threaded").expect("threaded");
    b.linux().cgroups_path = Some(format!("/{}/t/c", b.id));
    resources(&mut b).memory = Some(MemoryLimits { limit: Some(32 << 20), ..Default::default() });
    let output = b.script("true").run();
    assert!(!output.status.success());
    assert!(words(&output).contains("with domain controllers -- it is in"), "{output:?}");
    resources(&mut b).memory = None;
    resources(&mut b).pids = Some(PidsLimit { limit: Some(30) });
    b.started("sleep 100");
    assert_eq!(fs::read_to_string(parent.join("t/c/pids.max")).expect("pids.max").trim(), "30");
    assert_eq!(b.ok(&["ps", "--format", "json", &b.id]).trim(), format!("[{}]", b.pid()));
    b.ok(&["delete", "--force", &b.id]);
    assert!(!parent.join("t/c").exists());
}

#[test]
fn a_container_that_may_manage_its_cgroup_owns_it() {
    let Some(mut b) = bench() else { return };
    if !b.v2() {
        println!("skipped: v1 cgroups are given to nobody");
        return;
    }
    let map = |host_id| vec![IdMapping { container_id: 0, host_id, size: 1000 }];
    for kind in ["user", "cgroup"] {
        b.linux().namespaces.retain(|n| n.kind != kind);
        b.linux().namespaces.push(Namespace { kind: kind.into(), path: None });
    }
    b.linux().uid_mappings = map(100_000);
    b.linux().gid_mappings = map(200_000);
    resources(&mut b).pids = Some(PidsLimit { limit: Some(20) });
    let owner = |path: &Path| std::os::unix::fs::MetadataExt::uid(&fs::metadata(path).expect("stat"));
    for (options, user) in [(&["nosuid", "ro"][..], 0), (&["nosuid"], 100_000)] {
        b.spec.mounts.retain(|m| m.destination != "/sys/fs/cgroup");
        b.spec.mounts.push(Mount {
            destination: "/sys/fs/cgroup".into(),
            kind: Some("cgroup".into()),
            source: Some("cgroup".into()),
            options: options.iter().map(|o| o.to_string()).collect(),
            ..Default::default()
        });
        b.started("sleep 100");
        let directory = b.cgroup("");
        assert_eq!(owner(&directory), user);
        assert_eq!(owner(&directory.join("cgroup.procs")), user);
        assert_eq!(owner(&directory.join("pids.max")), 0, "its limits stay the host's");
        let made = b.call(&["exec", &b.id, "mkdir", "/sys/fs/cgroup/below"]);
        assert_eq!(made.status.success(), user != 0, "{made:?}");
        b.ok(&["delete", "--force", &b.id]);
        b.assert_nothing_left();
    }
}

#[path = "cgroups/elsewhere.rs"]
mod elsewhere;
