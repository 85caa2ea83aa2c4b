//! The small fields of `linux`: execution domain, memory policy, kernel parameters, devices.

mod common;

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use common::{Bench, bench};
use oci::runtime::{Device, IdMapping, MemoryPolicy, Namespace, Personality, Seccomp, SyscallRule};

fn device(path: &str, kind: &str, major: i64, minor: i64) -> Device {
    Device { path: path.into(), kind: kind.into(), major, minor, ..Default::default() }
}

fn into_user_namespace(b: &mut Bench) {
    let map = vec![IdMapping { container_id: 0, host_id: 100_000, size: 2000 }];
    b.linux().namespaces.push(Namespace { kind: "user".into(), path: None });
    b.linux().uid_mappings = map.clone();
    b.linux().gid_mappings = map;
}

#[test]
fn personalities_are_every_process_own() {
    let Some(mut b) = bench() else { return };
    std::os::unix::fs::symlink("busybox", b.rootfs().join("bin/uname")).expect("applet");
    let personality = |domain: &str, flags: &[&str]| {
        Some(Personality { domain: domain.into(), flags: flags.iter().map(|f| f.to_string()).collect() })
    };
    let show = "uname -m; cat /proc/self/personality";
    let machine = rustix::system::uname().machine().to_string_lossy().into_owned();
    b.linux().personality = personality("LINUX", &[]);
    assert_eq!(b.output(show), format!("{machine}\n00000000\n"));
    b.linux().personality = personality("LINUX32", &["ADDR_NO_RANDOMIZE"]);
    // A filter that forbids the call comes after it.
    b.linux().seccomp = Some(Seccomp {
        default_action: "SCMP_ACT_ALLOW".into(),
        syscalls: vec![SyscallRule {
            names: vec!["personality".into(), "set_mempolicy".into()],
            action: "SCMP_ACT_ERRNO".into(),
            ..Default::default()
        }],
        ..Default::default()
    });
    let out = b.output(show);
    // User-Mode Linux keeps the personality, and its uname does not look at it.
    let shown = machine == "x86_64" && std::env::var("SAMPAN_MACHINE").as_deref() != Ok("uml");
    assert!(out.ends_with("\n00040008\n") && (!shown || out.starts_with("i686\n")), "{out}");
    b.started("exec sleep 100");
    let id = b.id.clone();
    assert_eq!(b.ok(&["exec", &id, "sh", "-c", show]), out);
    b.ok(&["delete", "--force", &id]);
    for (wrong, words) in [
        (personality("linux", &[]), "linux.personality.domain: invalid personality domain \"linux\""),
        (personality("LINUX", &["NONE"]), "linux.personality.flags[0]: unknown \"NONE\"; known are "),
    ] {
        b.linux().personality = wrong;
        let error = b.failure();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn memory_policies_are_every_process_own() {
    let Some(mut b) = bench() else { return };
    if !std::path::Path::new("/proc/self/numa_maps").exists() {
        println!("skipped: no memory policies in this kernel");
        return;
    }
    let policy = |mode: &str, nodes: Option<&str>, flags: &[&str]| {
        Some(MemoryPolicy {
            mode: mode.into(),
            nodes: nodes.map(String::from),
            flags: flags.iter().map(|f| f.to_string()).collect(),
        })
    };
    let show = "head -n 1 /proc/self/numa_maps | cut -d ' ' -f 2";
    for (given, expected) in [
        (policy("MPOL_DEFAULT", None, &[]), "default"),
        (policy("MPOL_LOCAL", None, &[]), "local"),
        (policy("MPOL_INTERLEAVE", Some("0"), &[]), "interleave:0"),
        (policy("MPOL_BIND", Some("0"), &["MPOL_F_STATIC_NODES"]), "bind=static:0"),
        (policy("MPOL_PREFERRED", Some("0"), &["MPOL_F_RELATIVE_NODES"]), "prefer=relative:0"),
    ] {
        b.linux().memory_policy = given;
        assert_eq!(b.output(show).trim(), expected);
    }
    b.started("exec sleep 100");
    let id = b.id.clone();
    assert_eq!(b.ok(&["exec", &id, "sh", "-c", show]).trim(), "prefer=relative:0");
    b.ok(&["delete", "--force", &id]);
    for (wrong, words) in [
        (policy("INTERLEAVE", Some("0"), &[]), "linux.memoryPolicy.mode: invalid memory policy mode \"INTERLEAVE\""),
        (Some(MemoryPolicy::default()), "linux.memoryPolicy.mode: invalid memory policy mode \"\""),
        (policy("", Some("0-7"), &[]), "linux.memoryPolicy.mode: invalid memory policy mode \"\""),
        (policy("MPOL_BIND", Some("0-9876543210"), &[]), "linux.memoryPolicy.nodes: invalid memory policy node"),
        (policy("MPOL_BIND", Some("0"), &["bad"]), "linux.memoryPolicy.flags[0]: invalid memory policy flag \"bad\""),
        (
            policy("MPOL_DEFAULT", Some("0-7"), &["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]),
            "set_mempolicy: invalid argument",
        ),
    ] {
        b.linux().memory_policy = wrong;
        let error = b.failure();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn kernel_parameters_are_the_containers() {
    for in_namespace in [false, true] {
        let Some(mut b) = bench() else { return };
        let mut wanted = vec![
            ("net.ipv4.ip_forward", "1"),
            ("net/ipv4/conf/lo/forwarding", "1"),
            ("kernel.msgmax", "4096"),
            ("kernel.shm_rmid_forced", "1"),
            ("fs.mqueue.msg_max", "33"),
            ("kernel.domainname", "example.org"),
        ];
        if in_namespace {
            into_user_namespace(&mut b);
            // Their files belong to the machine's root, whatever namespace they speak of.
            wanted.retain(|(key, _)| key.starts_with("net"));
        }
        b.linux().sysctl = wanted.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let path = |key: &str| format!("/proc/sys/{}", key.replace('.', "/"));
        let before: Vec<_> = wanted.iter().map(|(k, _)| std::fs::read_to_string(path(k)).expect("value")).collect();
        let files: Vec<String> = wanted.iter().map(|(k, _)| path(k)).collect();
        let out = b.output(&format!("cat {}", files.join(" ")));
        assert_eq!(out.lines().collect::<Vec<_>>(), wanted.iter().map(|(_, v)| *v).collect::<Vec<_>>());
        let after: Vec<_> = wanted.iter().map(|(k, _)| std::fs::read_to_string(path(k)).expect("value")).collect();
        assert_eq!(before, after, "the machine's stay");
    }
}

#[test]
fn the_hosts_parameters_are_refused() {
    let Some(mut b) = bench() else { return };
    b.script("true");
    let original = b.spec.clone();
    for (key, without, words) in [
        (
            "kernel.core_pattern",
            "",
            "linux.sysctl: sysctl \"kernel.core_pattern\" is not in a separate kernel namespace",
        ),
        ("net.ipv4.ip_forward", "network", "sysctl \"net.ipv4.ip_forward\" not allowed in host network namespace"),
        ("kernel.shmmax", "ipc", "sysctl \"kernel.shmmax\" is not allowed in the hosts ipc namespace"),
        ("kernel.domainname", "uts", "sysctl \"kernel.domainname\" is not in a separate kernel namespace"),
        (
            "kernel.hostname",
            "",
            "sysctl \"kernel.hostname\" is not allowed as it conflicts with the OCI \"hostname\" field",
        ),
        ("net.ipv4.no_such_thing", "", "net.ipv4.no_such_thing=1: no such file or directory"),
    ] {
        b.spec = original.clone();
        b.linux().sysctl = [(key.to_owned(), "1".to_owned())].into();
        b.linux().namespaces.retain(|n| n.kind != without);
        if without == "uts" {
            b.spec.hostname = None;
        }
        let error = b.failure();
        assert!(error.contains(words), "{error}");
    }
    // The host's own namespace, given by its path.
    b.spec = original.clone();
    b.linux().sysctl = [("net.ipv4.ip_forward".to_owned(), "1".to_owned())].into();
    b.linux().namespaces.iter_mut().find(|n| n.kind == "network").expect("network").path =
        Some("/proc/self/ns/net".into());
    let error = b.failure();
    assert!(error.contains("not allowed in host network namespace"), "{error}");
}

#[test]
fn devices_are_of_every_kind() {
    let Some(mut b) = bench() else { return };
    b.linux().devices = vec![
        Device { file_mode: Some(0o640), uid: Some(7), gid: Some(8), ..device("/dev/char", "c", 1, 3) },
        device("/dev/unbuffered", "u", 1, 5),
        Device { file_mode: Some(0o60600), ..device("/dev/block", "b", 7, 99) },
        Device { file_mode: Some(0o4711), ..device("/dev/fifo", "p", 0, 0) },
        device("/dev/a/b/../c/deep", "c", 1, 8),
        device("/outside", "c", 1, 9),
        // The one that the specification demands, described otherwise.
        Device { file_mode: Some(0o600), ..device("/dev/full", "c", 1, 7) },
    ];
    b.spec.root.as_mut().expect("root").readonly = false;
    let out = b.output(
        "stat -c '%n %F %a %u %g %t %T' /dev/char /dev/unbuffered /dev/block /dev/fifo /dev/a/c/deep /outside /dev/full",
    );
    let expected = [
        "/dev/char character special file 640 7 8 1 3",
        "/dev/unbuffered character special file 666 0 0 1 5",
        "/dev/block block special file 600 0 0 7 63",
        "/dev/fifo fifo 4711 0 0 0 0",
        "/dev/a/c/deep character special file 666 0 0 1 8",
        "/outside character special file 666 0 0 1 9",
        "/dev/full character special file 600 0 0 1 7",
    ];
    assert_eq!(out.lines().collect::<Vec<_>>(), expected);
    // A second time it exists: on a rootfs that stays.
    assert_eq!(b.output("stat -c %T /outside"), "9\n");
    assert!(std::fs::symlink_metadata(b.rootfs().join("outside")).expect("node").file_type().is_char_device());
}

#[test]
fn devices_of_a_user_namespace_are_the_hosts() {
    let Some(mut b) = bench() else { return };
    into_user_namespace(&mut b);
    b.linux().devices = vec![device("/dev/kmsg", "c", 1, 11), device("/dev/pipe", "p", 0, 0)];
    let out = b.output("stat -c '%F %t %T' /dev/null /dev/kmsg /dev/pipe; echo x > /dev/null && echo written");
    let character = "character special file";
    assert_eq!(out, format!("{character} 1 3\n{character} 1 b\nfifo 0 0\nwritten\n"));
    // The host's node of that name must be that device.
    b.linux().devices = vec![device("/dev/kmsg", "c", 1, 12)];
    let error = b.failure();
    assert!(error.contains("make device /dev/kmsg") && error.contains("another device"), "{error}");
    assert_eq!(std::fs::metadata("/dev/kmsg").expect("kmsg").rdev(), rustix::fs::makedev(1, 11));
}

#[test]
fn wrong_devices_are_refused() {
    let Some(mut b) = bench() else { return };
    b.script("true");
    for (wrong, words) in [
        (device("/dev/x", "q", 1, 1), "linux.devices[1].type: invalid device type \"q\"; known are c, b, u, p"),
        (device("dev/x", "c", 1, 1), "linux.devices[1].path: \"dev/x\" must be an absolute path"),
        (device("/dev/x", "c", -1, 1), "linux.devices[1].major: -1 is not between 0 and 4294967295"),
        (device("/dev/x", "b", 1, 1 << 40), "linux.devices[1].minor: 1099511627776 is not between 0 and 4294967295"),
        (device("/", "c", 1, 1), "linux.devices[1].path: \"/\" is no name for a device"),
    ] {
        b.linux().devices = vec![device("/dev/fine", "c", 1, 3), wrong];
        let error = b.failure();
        assert!(error.contains(words), "{error}");
    }
    // Something else of that name is not passed off as the device.
    b.linux().devices = vec![device("/etc/passwd", "c", 1, 3)];
    b.spec.root.as_mut().expect("root").readonly = false;
    let error = b.failure();
    assert!(
        error.contains("make device /etc/passwd: something else is there: /etc/passwd has incorrect ftype"),
        "{error}"
    );
    let node = b.rootfs().join("node");
    let number = rustix::fs::makedev(1, 5);
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &node, rustix::fs::FileType::CharacterDevice, mode, number).expect("mknod");
    b.linux().devices = vec![device("/node", "c", 1, 3)];
    let error = b.failure();
    assert!(error.contains("/node has incorrect major:minor: 1:5 doesn't match expected 1:3"), "{error}");
    // And a link leads nowhere else.
    let victim = b.directory.path().join("victim");
    std::fs::create_dir(&victim).expect("mkdir");
    std::os::unix::fs::symlink(&victim, b.rootfs().join("away")).expect("link");
    b.linux().devices = vec![device("/away/node", "p", 0, 0)];
    b.output("true");
    assert_eq!(std::fs::read_dir(&victim).expect("victim").count(), 0);
}
