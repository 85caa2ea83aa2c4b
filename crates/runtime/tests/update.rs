//! `update`, what it leaves when it fails, and device rules before and after it.

mod common;

use std::fs;

use common::limits::{file, has, resources, update, words};
use common::{Bench, bench};
use oci::runtime::{CpuLimits, DeviceRule, MemoryLimits, PidsLimit, Resources};

#[test]
fn update_changes_what_is_named_and_nothing_else() {
    let Some(mut b) = bench() else { return };
    let r = resources(&mut b);
    r.memory = Some(MemoryLimits { limit: Some(32 << 20), reservation: Some(24 << 20), ..Default::default() });
    r.cpu = Some(CpuLimits { shares: Some(100), quota: Some(500_000), period: Some(1_000_000), ..Default::default() });
    r.pids = Some(PidsLimit { limit: Some(20) });
    b.started("sleep 100");
    let id = b.id.clone();
    let memory = |b: &Bench| file(b, "memory", "memory.limit_in_bytes", "memory.max");
    let swap = |b: &Bench| file(b, "memory", "memory.memsw.limit_in_bytes", "memory.swap.max");
    let swaps = has(&b, "memory", "memory.memsw.limit_in_bytes", "memory.swap.max");
    let unlimited = if b.v2() {
        "max".to_owned()
    } else {
        fs::read_to_string("/sys/fs/cgroup/memory/memory.limit_in_bytes").expect("limit").trim().to_owned()
    };
    b.ok(&["update", &id, "--memory", "50M"]);
    assert_eq!(memory(&b), (50 << 20).to_string());
    b.ok(&["update", &id, "--memory-reservation", "33554432"]);
    assert_eq!(file(&b, "memory", "memory.soft_limit_in_bytes", "memory.low"), "33554432");
    if swaps {
        b.ok(&["update", &id, "--memory-swap", "-1"]);
        assert_eq!(swap(&b), unlimited);
        b.ok(&["update", &id, "--memory-swap", "96468992"]);
        assert_eq!(swap(&b), if b.v2() { 96_468_992 - (50 << 20) } else { 96_468_992 }.to_string());
        b.ok(&["update", &id, "--memory", "30M", "--memory-swap", "50M"]);
        b.ok(&["update", &id, "--memory", "60M", "--memory-swap", "80M"]);
        assert_eq!(memory(&b), (60 << 20).to_string());
        assert_eq!(swap(&b), if b.v2() { 20 << 20 } else { 80 << 20 }.to_string());
    }
    b.ok(&["update", &id, "--memory", "-1"]);
    assert_eq!(memory(&b), unlimited);
    if swaps {
        assert_eq!(swap(&b), unlimited);
    }
    b.ok(&["update", &id, "--pids-limit", "-1"]);
    assert_eq!(file(&b, "pids", "pids.max", "pids.max"), "max");
    b.ok(&["update", "--cpu-share", "200", "--cpu-burst", "1000", &id]);
    assert_eq!(file(&b, "cpu", "cpu.shares", "cpu.weight"), if b.v2() { "29" } else { "200" });
    assert_eq!(file(&b, "cpu", "cpu.cfs_burst_us", "cpu.max.burst"), "1000");
    assert!(file(&b, "cpu", "cpu.cfs_quota_us", "cpu.max").starts_with("500000"));
    let json =
        r#"{"memory":{"limit":33554432},"cpu":{"shares":100,"quota":600000,"period":900000},"pids":{"limit":20}}"#;
    let path = b.directory.path().join("resources.json");
    fs::write(&path, json).expect("resources");
    b.ok(&["update", "--resources", path.to_str().expect("path"), &id]);
    assert_eq!(memory(&b), "33554432");
    assert_eq!(file(&b, "pids", "pids.max", "pids.max"), "20");
    assert!(file(&b, "cpu", "cpu.cfs_quota_us", "cpu.max").starts_with("600000"));
    b.ok(&["update", &id]);
    b.ok(&["kill", &id, "9"]);
    b.until("the end", || b.status() == "stopped");
    assert!(b.refused(&["update", "--pids-limit", "5", &id]).contains("container not running"));
}

#[test]
fn update_refuses_what_it_cannot_read() {
    let Some(mut b) = bench() else { return };
    b.started("sleep 100");
    let id = b.id.clone();
    for (arguments, words) in [
        (["--memory", "x"], "invalid value for memory: invalid size: 'x'"),
        (["--cpu-quota", "x"], "invalid value for cpu-quota"),
        (["--cpu-share", "-1"], "invalid value for cpu-share"),
        (["--l3-cache-schema", "L3:0=f"], "Intel RDT/CAT: l3 cache schema is not enabled"),
        (["--mem-bw-schema", "MB:0=20"], "Intel RDT/MBA: memory bandwidth schema is not enabled"),
        (["--resources", "/nosuch"], "/nosuch"),
    ] {
        let error = b.refused(&["update", arguments[0], arguments[1], &id]);
        assert!(error.contains(words), "{arguments:?}: {error}");
    }
    assert!(words(&update(&b, "{\"pids\":{\"limit\":\"x\"}}")).contains("--resources -"));
    let ignored = b.call(&["update", "--kernel-memory", "5m", &id]);
    assert!(ignored.status.success());
    assert!(words(&ignored).contains("Setting --kernel-memory is ignored and will be removed"));
    b.refused(&["update", "--pids-limit", "5", "nosuch"]);
}

#[test]
fn an_update_that_fails_changes_nothing() {
    let Some(mut b) = bench() else { return };
    resources(&mut b).pids = Some(PidsLimit { limit: Some(20) });
    b.started("sleep 100");
    let quota = |b: &Bench| file(b, "cpu", "cpu.cfs_quota_us", "cpu.max");
    let shares = |b: &Bench| file(b, "cpu", "cpu.shares", "cpu.weight");
    let before = (quota(&b), shares(&b));
    // The period is out of the kernel's range; on v1 the shares and on v2 the pids are written before.
    let output = update(&b, r#"{"pids":{"limit":30},"cpu":{"shares":77,"quota":5000,"period":10}}"#);
    assert!(!output.status.success());
    assert_eq!((quota(&b), shares(&b)), before);
    assert_eq!(file(&b, "pids", "pids.max", "pids.max"), "20");
    assert_eq!(b.status(), "running");
}

#[test]
fn memory_in_use_can_be_protected_from_an_update() {
    let Some(mut b) = bench() else { return };
    resources(&mut b).memory = Some(MemoryLimits { limit: Some(64 << 20), ..Default::default() });
    b.started("sleep 100");
    if !b.v2() {
        // v1's kernel refuses by itself.
        let output = update(&b, r#"{"memory":{"limit":1}}"#);
        assert!(words(&output).contains("unable to set memory limit to 1 (current usage: "), "{output:?}");
        assert_eq!(b.status(), "running");
        return;
    }
    for (json, expected) in [
        (r#"{"memory":{"limit":1024,"checkBeforeUpdate":true}}"#, "rejecting memory limit 1024 <= usage"),
        (
            r#"{"memory":{"limit":1024,"swap":2048,"checkBeforeUpdate":true}}"#,
            "rejecting memory+swap limit 2048 <= usage",
        ),
    ] {
        let output = update(&b, json);
        assert!(!output.status.success() && words(&output).contains(expected), "{output:?}");
        assert_eq!(b.status(), "running");
    }
    b.call(&["update", "--memory", "1024", &b.id]);
    b.until("the kill", || b.status() == "stopped");
}

#[test]
fn a_paused_container_stays_paused_through_an_update() {
    let Some(mut b) = bench() else { return };
    b.started("sleep 100");
    let id = b.id.clone();
    assert!(b.refused(&["resume", &id]).contains("container not paused"));
    b.ok(&["pause", &id]);
    b.ok(&["update", "--pids-limit", "30", &id]);
    assert_eq!(file(&b, "pids", "pids.max", "pids.max"), "30");
    assert_eq!(b.status(), "paused");
    assert!(b.refused(&["pause", &id]).contains("container not running"));
    b.ok(&["resume", &id]);
    assert_eq!(b.status(), "running");
}

#[test]
fn device_rules_change_without_a_gap() {
    let Some(mut b) = bench() else { return };
    b.linux().devices.push(oci::runtime::Device {
        path: "/dev/kmsg".into(),
        kind: "c".into(),
        major: 1,
        minor: 11,
        ..Default::default()
    });
    let rule = |allow, access: &str| DeviceRule {
        allow,
        kind: Some("c".into()),
        major: Some(1),
        minor: Some(11),
        access: Some(access.into()),
    };
    // A letter that is none is passed over, as by runc.
    resources(&mut b).devices.push(rule(false, "rwa"));
    b.started(
        "while :; do (: < /dev/null) || echo lost; if (: > /dev/kmsg) 2>/dev/null; then echo yes; else echo no; fi; done",
    );
    let out = b.directory.path().join("out");
    let tail = |word: &str| {
        b.until(word, || {
            let text = fs::read_to_string(&out).expect("out");
            assert!(!text.contains("lost"), "a device that was always allowed was not: {text}");
            text.lines().last() == Some(word)
        });
    };
    tail("no");
    for _ in 0..3 {
        let output = update(
            &b,
            r#"{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":11,"access":"w"}]}"#,
        );
        assert!(output.status.success(), "{output:?}");
        tail("yes");
        let output = update(&b, r#"{"devices":[{"allow":false,"access":"rwm"}]}"#);
        assert!(output.status.success(), "{output:?}");
        tail("no");
    }
}

#[test]
fn device_rules_are_what_the_kernel_has() {
    let Some(mut b) = bench() else { return };
    let rule = |allow, kind: &str, major, minor, access: &str| DeviceRule {
        allow,
        kind: Some(kind.into()),
        major,
        minor,
        access: Some(access.into()),
    };
    b.linux().resources = Some(Resources {
        devices: vec![
            rule(false, "a", None, None, "rwm"),
            rule(true, "c", Some(10), Some(229), "rwm"),
            rule(true, "b", Some(7), None, "r"),
            rule(false, "c", Some(10), Some(229), "w"),
        ],
        ..Default::default()
    });
    b.started("sleep 100");
    if b.v2() {
        println!(
            "skipped in part: the kernel does not show a program's rules; see the_program_says_what_the_rules_say"
        );
    } else {
        let list = file(&b, "devices", "devices.list", "");
        for line in ["c 10:229 rm", "b 7:* r", "c 1:3 rwm", "c *:* m", "b *:* m"] {
            assert!(list.lines().any(|l| l == line), "{line:?} in {list}");
        }
        assert!(!list.contains("a *:* rwm"));
    }
    b.ok(&["delete", "--force", &b.id]);
    resources(&mut b).devices =
        vec![rule(true, "c", Some(10), None, "rw"), rule(false, "c", Some(10), Some(229), "rw")];
    let error = b.script("true").failure();
    assert!(error.contains("linux.resources.devices[1]"), "{error}");
}
