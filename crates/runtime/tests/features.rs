//! `features` tells the truth: what it names is accepted, and other runtimes know no more.

mod common;

use std::process::Command;

use common::{bench, text};
use oci::runtime::{Hook, Hooks, MemoryPolicy};
use serde_json::{Value, json};

fn features(runtime: &str) -> Value {
    let output = Command::new(runtime).arg("features").output().expect("features");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_str(&text(&output)).expect("JSON")
}

fn words(list: &Value) -> Vec<String> {
    list.as_array().expect("list").iter().map(|w| w.as_str().expect("word").to_owned()).collect()
}

#[test]
fn features_have_the_specifications_form() {
    let shown = features(common::RUNTIME);
    assert_eq!(shown["ociVersionMin"], "1.0.0");
    assert_eq!(shown["ociVersionMax"], oci::runtime::VERSION);
    let linux = &shown["linux"];
    for (name, expected) in [
        ("apparmor", json!({"enabled": true})),
        ("selinux", json!({"enabled": true})),
        ("intelRdt", json!({"enabled": true, "schemata": true, "monitoring": true})),
        ("netDevices", json!({"enabled": true})),
        ("mountExtensions", json!({"idmap": {"enabled": true}})),
    ] {
        assert_eq!(linux[name], expected, "{name}");
    }
    assert_eq!(words(&linux["namespaces"]), ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"]);
    assert_eq!(words(&linux["capabilities"]).len(), 41);
    for name in ["v1", "v2", "systemd", "systemdUser", "rdma"] {
        assert!(linux["cgroup"][name].is_boolean(), "{name}");
    }
    assert_eq!(linux["seccomp"]["enabled"], true);
    let unsafe_ones = words(&shown["potentiallyUnsafeConfigAnnotations"]);
    assert_eq!(unsafe_ones, ["org.systemd.property.", "org.criu.config"]);
    assert!(shown["annotations"].as_object().is_some_and(|a| a.values().all(Value::is_string)));
}

#[test]
fn what_features_name_is_accepted() {
    let Some(mut b) = bench() else { return };
    let shown = features(common::RUNTIME);
    let linux = &shown["linux"];
    // All capabilities at once: not one unknown.
    let all = words(&linux["capabilities"]);
    b.process().capabilities = Some(oci::runtime::Capabilities { bounding: all, ..Default::default() });
    let output = b.script("true").run();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    // Every kind of hook is called.
    let log = b.directory.path().join("called");
    let mut hooks = json!({});
    for kind in words(&shown["hooks"]) {
        let path = if kind == "startContainer" { "/dev/null".into() } else { log.display().to_string() };
        let hook = Hook {
            path: "/bin/sh".into(),
            args: ["sh", "-c", &format!("echo {kind} >> {path}")].map(String::from).into(),
            env: Some(vec!["PATH=/bin:/usr/bin".into()]),
            timeout: Some(10),
        };
        hooks[&kind] = json!([hook]);
    }
    b.spec.hooks = Some(serde_json::from_value::<Hooks>(hooks).expect("hooks"));
    b.output("true");
    assert_eq!(std::fs::read_to_string(&log).expect("called").lines().count(), 5);
    b.spec.hooks = None;
    // Every mode is the kernel's, or refused by the kernel and not by us.
    for mode in words(&linux["memoryPolicy"]["modes"]) {
        let nodes = (!matches!(mode.as_str(), "MPOL_DEFAULT" | "MPOL_LOCAL")).then(|| "0".to_owned());
        b.linux().memory_policy = Some(MemoryPolicy { mode: mode.clone(), nodes, flags: Vec::new() });
        let output = b.run();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() || error.contains("set_mempolicy: "), "{mode}: {error}");
    }
    for flag in words(&linux["memoryPolicy"]["flags"]) {
        b.linux().memory_policy =
            Some(MemoryPolicy { mode: "MPOL_BIND".into(), nodes: Some("0".into()), flags: vec![flag.clone()] });
        let output = b.run();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() || error.contains("set_mempolicy: "), "{flag}: {error}");
    }
    b.linux().memory_policy = None;
    // Every namespace exists, with what it needs.
    for kind in words(&linux["namespaces"]) {
        if kind == "time" && !std::path::Path::new("/proc/self/ns/time").exists() {
            println!("skipped: this kernel has no time namespaces");
            continue;
        }
        let mut again = b.spec.clone();
        let namespaces = &mut again.linux.as_mut().expect("linux").namespaces;
        if !namespaces.iter().any(|n| n.kind == kind) && kind != "user" {
            namespaces.push(oci::runtime::Namespace { kind: kind.clone(), path: None });
        }
        b.spec = again;
    }
    b.output("true");
}

#[test]
fn other_runtimes_know_no_more() {
    let installed = Command::new("runc").arg("features").output().is_ok_and(|o| o.status.success());
    if !installed {
        println!("skipped: runc with features is not installed");
        return;
    }
    let (ours, theirs) = (features(common::RUNTIME), features("runc"));
    for pointer in [
        "/hooks",
        "/mountOptions",
        "/linux/namespaces",
        "/linux/capabilities",
        "/linux/seccomp/actions",
        "/linux/seccomp/operators",
        "/linux/seccomp/knownFlags",
    ] {
        let Some(list) = theirs.pointer(pointer) else { continue };
        let mine = words(ours.pointer(pointer).expect(pointer));
        let missing: Vec<String> = words(list).into_iter().filter(|w| !mine.contains(w)).collect();
        assert!(missing.is_empty(), "{pointer}: {missing:?}");
    }
}
