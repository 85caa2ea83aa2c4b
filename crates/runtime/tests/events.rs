//! `events` and `ps`: what is told of a container, beside the kernel's files and beside runc.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use common::{Bench, bench};
use oci::runtime::{MemoryLimits, PidsLimit};
use serde_json::Value;

fn stats(b: &Bench) -> Value {
    let text = b.ok(&["events", "--stats", &b.id]);
    assert_eq!(text.lines().count(), 1, "one line: {text}");
    assert!(text.starts_with(&format!("{{\"type\":\"stats\",\"id\":\"{}\",\"data\":{{", b.id)), "{text}");
    serde_json::from_str(&text).expect("JSON")
}

/// `events` in the background; its lines come one by one.
fn follow(b: &Bench, interval: &str) -> (Child, impl Iterator<Item = Value>) {
    let mut child =
        b.command(&["events", "--interval", interval, &b.id]).stdout(Stdio::piped()).spawn().expect("events");
    let lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    (child, lines.map(|line| serde_json::from_str(&line.expect("line")).expect("JSON")))
}

/// Names of objects' members, one within the other.
fn keys(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let path = format!("{path}.{name}");
                keys(value, &path, found);
                found.insert(path);
            }
        }
        Value::Array(list) => {
            for value in list {
                keys(value, &format!("{path}[]"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn statistics_are_the_kernels() {
    let Some(mut b) = bench() else { return };
    let r = b.linux().resources.get_or_insert_default();
    r.memory = Some(MemoryLimits { limit: Some(64 << 20), ..Default::default() });
    r.pids = Some(PidsLimit { limit: Some(20) });
    b.started("i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done; exec sleep 100");
    let id = b.id.clone();
    b.until("sleep", || b.ok(&["ps", &id]).contains("sleep 100"));
    let read = |controller: &str, v1: &str, v2: &str| {
        let path = b.cgroup(controller).join(if b.v2() { v2 } else { v1 });
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    // Nothing moves between the two readings.
    b.ok(&["pause", &id]);
    let event = stats(&b);
    let data = &event["data"];
    assert_eq!(data["pids"]["current"], 1);
    assert_eq!(data["pids"]["limit"], 20);
    assert_eq!(data["memory"]["usage"]["limit"], 64 << 20);
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{value} in {event}"));
    let used: u64 = read("memory", "memory.usage_in_bytes", "memory.current").trim().parse().expect("number");
    assert!(number(&data["memory"]["usage"]["usage"]).abs_diff(used) < 1 << 20, "{used}: {event}");
    let raw = read("memory", "memory.stat", "memory.stat");
    let names: BTreeSet<&str> = raw.lines().filter_map(|l| l.split(' ').next()).collect();
    let told: BTreeSet<&str> = data["memory"]["raw"].as_object().expect("raw").keys().map(String::as_str).collect();
    assert_eq!(names, told);
    let total = number(&data["cpu"]["usage"]["total"]);
    if b.v2() {
        let stat = read("", "", "cpu.stat");
        let usage =
            stat.lines().find_map(|l| l.strip_prefix("usage_usec ")).expect("usage").parse::<u64>().expect("number");
        assert_eq!(total, usage * 1000);
    } else {
        assert_eq!(total, read("cpuacct", "cpuacct.usage", "").trim().parse::<u64>().expect("number"));
        let each = data["cpu"]["usage"]["percpu"].as_array().expect("percpu");
        assert_eq!(each.iter().map(&number).sum::<u64>(), total);
        assert!(!data["cpuset"]["cpus"].as_array().expect("cpus").is_empty());
    }
    b.ok(&["resume", &id]);
}

#[test]
fn statistics_have_the_names_of_runcs() {
    if !Command::new("runc").arg("--version").output().is_ok_and(|o| o.status.success()) {
        println!("skipped: runc is not installed");
        return;
    }
    let Some(mut ours) = bench() else { return };
    let Some(mut theirs) = bench() else { return };
    theirs.runtime = "runc".into();
    let [ours, theirs] = [&mut ours, &mut theirs].map(|b| {
        b.spec.oci_version = "1.0.2".into();
        b.linux().resources.get_or_insert_default().pids = Some(PidsLimit { limit: Some(20) });
        b.started("exec sleep 100");
        // What is zero is left out, and files that others have read before are theirs.
        b.ok(&["exec", &b.id.clone(), "dd", "if=/dev/zero", "of=/dev/shm/x", "bs=1M", "count=4"]);
        let mut found = BTreeSet::new();
        keys(&stats(b), "", &mut found);
        found
    });
    let missing: Vec<_> = theirs.difference(&ours).collect();
    assert!(missing.is_empty(), "runc tells, we do not: {missing:?}");
    // Members that are newer than Debian's runc, and such as are left out when they happen to be zero.
    let more: Vec<_> = ours
        .difference(&theirs)
        .filter(|k| {
            !k.contains(".psi")
                && !k.contains("ecursive")
                && !matches!(k.rsplit('.').next(), Some("max" | "usage" | "cache"))
        })
        .collect();
    assert!(more.is_empty(), "we tell, runc does not: {more:?}");
}

#[test]
fn statistics_come_until_the_end() {
    let Some(mut b) = bench() else { return };
    b.started("exec sleep 100");
    let id = b.id.clone();
    let (mut child, mut events) = follow(&b, "50ms");
    for _ in 0..3 {
        let event = events.next().expect("an event");
        assert_eq!((&event["type"], &event["id"]), (&"stats".into(), &Value::from(id.as_str())));
    }
    b.ok(&["kill", &id, "KILL"]);
    assert!(events.all(|event| event["type"] == "stats"));
    assert!(child.wait().expect("events").success(), "it ends with the container");
    assert!(b.refused(&["events", "--stats", &id]).contains("is not running"));
    b.ok(&["delete", &id]);
    assert!(b.refused(&["events", &id]).contains("does not exist"));
}

#[test]
fn a_want_of_memory_is_told() {
    let Some(mut b) = bench() else { return };
    let limit = Some(32 << 20);
    let swaps =
        if b.v2() { "/sys/fs/cgroup/cgroup.procs" } else { "/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes" };
    let swap = limit.filter(|_| std::path::Path::new(swaps).exists());
    b.linux().resources.get_or_insert_default().memory = Some(MemoryLimits { limit, swap, ..Default::default() });
    b.started("exec sleep 100");
    let id = b.id.clone();
    let (mut child, mut events) = follow(&b, "100ms");
    assert_eq!(events.next().expect("an event")["type"], "stats", "it listens by now");
    let glutton = b.call(&["exec", &id, "dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"]);
    assert_eq!(glutton.status.code(), Some(137), "{glutton:?}");
    let oom = events.by_ref().take(100).find(|event| event["type"] == "oom").expect("an oom event");
    assert_eq!(oom, serde_json::json!({"type": "oom", "id": id}));
    assert_eq!(b.status(), "running");
    b.ok(&["kill", &id, "KILL"]);
    assert!(!events.any(|event| event["type"] == "oom"), "the end is no want of memory");
    assert!(child.wait().expect("events").success());
}

#[test]
fn intervals_are_checked() {
    let Some(mut b) = bench() else { return };
    b.started("exec sleep 100");
    for (interval, words) in
        [("0s", "duration interval must be greater than 0"), ("x", "-interval"), ("-1s", "interval")]
    {
        let error = b.refused(&["events", "--interval", interval, &b.id]);
        assert!(error.contains(words), "{interval}: {error}");
    }
}

#[test]
fn processes_are_listed_as_ps_lists_them() {
    let Some(mut b) = bench() else { return };
    b.started("sleep 50 & exec sleep 100");
    let id = b.id.clone();
    b.until("both", || b.ok(&["ps", "--format", "json", &id]).matches(',').count() == 1);
    let pids: Vec<i32> = serde_json::from_str(&b.ok(&["ps", "-f", "json", &id])).expect("JSON");
    assert!(pids.contains(&b.pid()) && pids.len() == 2, "{pids:?}");
    let table = b.ok(&["ps", &id]);
    let rows: Vec<Vec<&str>> = table.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
    assert_eq!(rows.len(), 3);
    let first = rows.iter().find(|r| r[1] == b.pid().to_string()).expect("the first process");
    assert_eq!((first[0], first[5], first[6], &first[7..]), ("root", "?", "00:00:00", &["sleep", "100"][..]));
    let short = b.ok(&["ps", &id, "-e", "-x"]);
    let rows: Vec<Vec<&str>> = short.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["PID", "TTY", "STAT", "TIME", "COMMAND"]);
    assert!(rows[1][2].starts_with('S') && rows[1][3] == "0:00", "{short}");
    let own = b.ok(&["ps", &id, "-o", "pid,ppid,comm"]);
    assert_eq!(own.lines().next().expect("header").split_whitespace().collect::<Vec<_>>(), ["PID", "PPID", "COMMAND"]);
    assert!(b.refused(&["ps", &id, "--forest"]).contains("--forest"));
    assert!(b.refused(&["ps", "--format", "xml", &id]).contains("invalid format option"));
    b.ok(&["kill", &id, "KILL"]);
    b.until("the end", || b.status() == "stopped");
    assert_eq!(b.ok(&["ps", &id]).lines().count(), 1, "only the header");
}
