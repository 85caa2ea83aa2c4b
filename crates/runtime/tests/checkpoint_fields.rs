//! What a restore gives back of a configuration beside the processes, and what is refused because criu cannot; against
//! the criu of `fake_criu`.

mod common;
mod fake_criu;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use common::{Bench, bench};
use fake_criu::{Stage, number, pairs};
use oci::runtime::{IdMapping, Mount, Namespace, NetDevice, Seccomp, SyscallRule};

/// The other side: run by the script that stands in criu's place.
#[test]
fn fake_criu() {
    fake_criu::serve_if_asked();
}

fn mapping() -> Vec<IdMapping> {
    vec![IdMapping { container_id: 0, host_id: 100_000, size: 2000 }]
}

/// Image files beside the bundle, and the words of a restore from them.
fn restore(b: &Bench, more: &[&str]) -> Vec<String> {
    let images = b.directory.path().join("images");
    fs::create_dir_all(&images).expect("mkdir");
    fs::write(images.join("descriptors.json"), r#"["","",""]"#).expect("descriptors");
    b.write_config();
    let bundle = b.bundle();
    let words = ["restore", "-d", "-b", bundle.to_str().expect("path"), "--image-path", images.to_str().expect("path")];
    words.iter().chain(more).chain(&[b.id.as_str()]).map(|word| word.to_string()).collect()
}

fn refused(b: &Bench, stage: &Stage, mode: &str, more: &[&str]) -> String {
    let words = restore(b, more);
    let error = stage.refused(b, mode, &words.iter().map(String::as_str).collect::<Vec<_>>());
    b.assert_nothing_left();
    error
}

fn restored(b: &Bench, stage: &Stage, mode: &str, more: &[&str]) {
    let words = restore(b, more);
    stage.ok(b, mode, &words.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn what_criu_cannot_bring_back_is_refused_by_name() {
    let Some(mut b) = bench() else { return };
    let stage = Stage::new(&b);
    let plain = b.spec.clone();
    b.spec.mounts.push(Mount {
        destination: "/mapped".into(),
        kind: Some("bind".into()),
        source: Some("/tmp".into()),
        options: vec!["bind".into()],
        uid_mappings: mapping(),
        gid_mappings: mapping(),
    });
    let error = refused(&b, &stage, "ok", &[]);
    assert!(error.contains("mounts (/mapped): criu cannot restore the id mappings of a mount"), "{error}");
    b.spec = plain.clone();
    let rule = SyscallRule { names: vec!["mkdir".into()], action: "SCMP_ACT_NOTIFY".into(), ..Default::default() };
    b.linux().seccomp = Some(Seccomp {
        default_action: "SCMP_ACT_ALLOW".into(),
        listener_path: Some("/run/agent".into()),
        syscalls: vec![rule],
        ..Default::default()
    });
    let error = refused(&b, &stage, "ok", &[]);
    assert!(error.contains("linux.seccomp.listenerPath: criu cannot restore a listener's descriptor"), "{error}");
    b.spec = plain;
    b.linux().namespaces.retain(|n| n.kind != "mount");
    b.linux().masked_paths.clear();
    b.linux().readonly_paths.clear();
    b.spec.mounts.retain(|m| m.destination == "/proc");
    let words = "linux.namespaces: criu cannot restore a container without a mount namespace";
    let error = refused(&b, &stage, "ok", &[]);
    assert!(error.contains(words), "{error}");
    // Nobody loses a container that cannot come back.
    b.started("exec sleep 100");
    let id = b.id.clone();
    let error = stage.refused(&b, "ok", &["checkpoint", &id]);
    assert!(error.contains(words), "{error}");
    assert_eq!(b.status(), "running");
    assert!(!stage.notes.join("options").exists(), "criu was not asked");
    b.ok(&["delete", "--force", &id]);
    b.assert_nothing_left();
}

#[test]
fn the_root_of_a_user_namespace_is_let_to_the_images() {
    let Some(mut b) = bench() else { return };
    let stage = Stage::new(&b);
    b.linux().namespaces.push(Namespace { kind: "user".into(), path: None });
    b.linux().uid_mappings = mapping();
    b.linux().gid_mappings = mapping();
    b.started("exec sleep 100");
    let id = b.id.clone();
    fs::create_dir(b.directory.path().join("callers")).expect("mkdir");
    fs::set_permissions(b.directory.path().join("callers"), fs::Permissions::from_mode(0o700)).expect("chmod");
    for (name, expected) in [("new", (100_000, 0o710)), ("callers", (0, 0o700))] {
        stage.ok(&b, "ok", &["checkpoint", "--leave-running", "--image-path", name, &id]);
        let found = fs::metadata(b.directory.path().join(name)).expect("stat");
        assert_eq!((found.gid(), found.mode() & 0o777), expected, "{name}");
    }
    b.ok(&["delete", "--force", &id]);
    b.assert_nothing_left();
    let images = b.directory.path().join("images");
    let advice = format!("chgrp 100000 {0} and chmod g+x {0}", images.display());
    restore(&b, &[]);
    for (mode, keeps_out) in [(0o700, true), (0o711, false)] {
        fs::set_permissions(&images, fs::Permissions::from_mode(mode)).expect("chmod");
        let error = refused(&b, &stage, "errno-2", &[]);
        assert!(error.contains("criu failed: type RESTORE errno 13"), "{error}");
        assert_eq!(error.contains(&advice), keeps_out, "{error}");
    }
}

#[test]
fn strict_means_that_the_cgroup_must_not_exist() {
    let Some(b) = bench() else { return };
    let stage = Stage::new(&b);
    let strict = ["--manage-cgroups-mode", "strict"];
    let path = b.cgroup("pids");
    fs::create_dir_all(&path).expect("mkdir");
    let words = restore(&b, &strict);
    let error = stage.refused(&b, "ok", &words.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(error.contains(&format!("--manage-cgroups-mode strict: {} exists already", path.display())), "{error}");
    assert!(path.exists() && !b.state_root().join(&b.id).exists());
    fs::remove_dir(&path).expect("rmdir");
    fs::remove_dir(path.parent().expect("parent")).expect("rmdir");
    restored(&b, &stage, "ok", &strict);
    assert_eq!(number(&stage.options(), 34), Some(4), "criu is asked for all limits");
    b.ok(&["delete", "--force", &b.id]);
    b.assert_nothing_left();
}

#[test]
fn network_devices_move_again() {
    let Some(mut b) = bench() else { return };
    let stage = Stage::new(&b);
    sys::unshare::new_network_and_mount_namespace().expect("unshare");
    let private = rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).expect("private");
    let ip = |args: &str| Command::new("ip").args(args.split(' ')).output();
    if !ip("link add out0 type veth peer name out1").is_ok_and(|made| made.status.success()) {
        println!("skipped: ip or veth devices are missing");
        return;
    }
    let on_host = || String::from_utf8_lossy(&ip("link show").expect("ip").stdout).contains("out0");
    b.linux().net_devices.insert("out0".into(), NetDevice { name: Some("in0".into()) });
    // What fails gives them back.
    refused(&b, &stage, "network-late-errno", &[]);
    b.until("the device is back", on_host);
    restored(&b, &stage, "network", &[]);
    let pid = stage.pid().to_string();
    let inside = Command::new("nsenter").args(["-t", &pid, "-n", "ip", "link", "show", "in0"]).output();
    let inside = inside.expect("nsenter");
    assert!(inside.status.success() && !on_host(), "{inside:?}");
    b.ok(&["delete", "--force", &b.id]);
    b.assert_nothing_left();
}

#[test]
fn hierarchies_of_v1_are_outside() {
    let Some(mut b) = bench() else { return };
    if b.v2() {
        println!("skipped: there is cgroup v2 alone");
        return;
    }
    let stage = Stage::new(&b);
    b.linux().namespaces.retain(|n| n.kind != "cgroup");
    b.started("exec sleep 100");
    let id = b.id.clone();
    stage.ok(&b, "ok", &["checkpoint", "--leave-running", &id]);
    let inside = fs::read_to_string(format!("/proc/{}/mountinfo", b.pid())).expect("mountinfo");
    let mut mounted: Vec<&str> = inside.lines().filter_map(|l| l.split(' ').nth(4)).collect();
    mounted.retain(|place| place.starts_with("/sys/fs/cgroup/"));
    mounted.sort_unstable();
    let named = || {
        let mut named = pairs(&stage.options(), 23);
        named.retain(|(place, _)| place.starts_with("/sys/fs/cgroup"));
        named.sort();
        named
    };
    // By the place of each, and never the directory that they are in.
    let places: Vec<(String, String)> = mounted.iter().map(|place| (place.to_string(), place.to_string())).collect();
    assert_eq!(named(), places);
    b.ok(&["delete", "--force", &id]);
    restored(&b, &stage, "ok", &[]);
    let directories = mounted.iter().map(|place| (place.to_string(), format!("{place}/{id}/c")));
    assert_eq!(named(), directories.collect::<Vec<_>>());
}
