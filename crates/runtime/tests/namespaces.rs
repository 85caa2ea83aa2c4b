//! Namespaces: which ones the kernel says a container is in, and what becomes of a container without some of them.

mod common;

use std::os::fd::AsFd;

use common::{Bench, bench, text};
use oci::runtime::{IdMapping, Mount, Namespace, TimeOffset};
use rustix::mount::MountPropagationFlags;

const FILES: [(&str, &str); 8] = [
    ("pid", "pid"),
    ("network", "net"),
    ("mount", "mnt"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("user", "user"),
    ("cgroup", "cgroup"),
    ("time", "time"),
];

/// A test that mounts on the host does it in a mount namespace of its own.
fn own_mounts() {
    sys::unshare::new_network_and_mount_namespace().expect("unshare");
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).expect("private");
}

fn map(host_id: u32) -> Vec<IdMapping> {
    vec![IdMapping { container_id: 0, host_id, size: 65536 }]
}

fn namespace(kind: &str, path: Option<String>) -> Namespace {
    Namespace { kind: kind.into(), path: path.map(Into::into) }
}

fn with_user_namespace(b: &mut Bench) {
    b.linux().namespaces.push(namespace("user", None));
    b.linux().uid_mappings = map(100_000);
    b.linux().gid_mappings = map(200_000);
    std::fs::set_permissions(b.directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
}

/// Kernels without time namespaces have seven kinds.
fn kinds() -> impl Iterator<Item = (&'static str, &'static str)> + Clone {
    let time = std::path::Path::new("/proc/self/ns/time").exists();
    if !time {
        println!("no time namespaces in this kernel");
    }
    FILES.into_iter().filter(move |(kind, _)| time || *kind != "time")
}

fn link(pid: i32, file: &str) -> String {
    std::fs::read_link(format!("/proc/{pid}/ns/{file}")).expect("ns").to_string_lossy().into_owned()
}

/// The mounts that the test itself sees.
fn host_mounts() -> String {
    std::fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo")
}

#[test]
fn all_eight_are_made() {
    let Some(mut b) = bench() else { return };
    with_user_namespace(&mut b);
    b.linux().namespaces.extend(kinds().filter(|k| k.0 == "time").map(|(kind, _)| namespace(kind, None)));
    b.started("exec sleep 100");
    let (pid, own) = (b.pid(), std::process::id() as i32);
    for (kind, file) in kinds() {
        assert_ne!(link(pid, file), link(own, file), "{kind}");
    }
    let id = b.id.clone();
    let inside = b.ok(&[
        "exec",
        &id,
        "sh",
        "-c",
        "for n in pid net mnt ipc uts user cgroup time; do test -e /proc/self/ns/$n && readlink /proc/self/ns/$n; done; true",
    ]);
    let expected: Vec<String> = kinds().map(|(_, file)| link(pid, file)).collect();
    assert_eq!(inside.lines().collect::<Vec<_>>(), expected, "an added process is in the same ones");
}

#[test]
fn all_eight_are_joined_by_path() {
    let Some(mut first) = bench() else { return };
    let Some(mut second) = bench() else { return };
    with_user_namespace(&mut first);
    first.linux().namespaces.extend(kinds().filter(|k| k.0 == "time").map(|(kind, _)| namespace(kind, None)));
    first.started("exec sleep 100");
    let pid = first.pid();
    second.spec.hostname = None;
    second.linux().namespaces =
        kinds().map(|(kind, file)| namespace(kind, Some(format!("/proc/{pid}/ns/{file}")))).collect();
    // In that mount namespace the rootfs of the first one is /, and that of the second is nowhere.
    second.linux().namespaces.retain(|n| n.kind != "mount");
    second.linux().namespaces.push(namespace("mount", None));
    let script = "for n in pid net ipc uts user cgroup time; do test -e /proc/self/ns/$n && readlink /proc/self/ns/$n; done; true";
    let expected: Vec<String> = kinds().filter(|f| f.0 != "mount").map(|(_, file)| link(pid, file)).collect();
    assert_eq!(second.output(script).lines().collect::<Vec<_>>(), expected);
    second.assert_nothing_left();
}

#[test]
fn the_loopback_device_of_a_new_network_namespace_is_up() {
    let Some(mut b) = bench() else { return };
    let script = "read f < /sys/class/net/lo/flags; echo $f";
    assert_eq!(b.output(script), "0x9\n");
    with_user_namespace(&mut b);
    assert_eq!(b.output(script), "0x9\n");
    // One that is joined is as its maker has it.
    own_mounts();
    b.linux().namespaces.retain(|n| n.kind != "user" && n.kind != "network");
    b.linux().uid_mappings.clear();
    b.linux().gid_mappings.clear();
    let file = std::fs::File::open("/proc/thread-self/ns/net").expect("ns");
    let path = format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&file));
    b.linux().namespaces.push(namespace("network", Some(path)));
    assert_eq!(b.output(script), "0x8\n");
}

#[test]
fn a_mount_namespace_is_joined_by_path() {
    let Some(mut b) = bench() else { return };
    // One that shows what the host shows, and something else.
    let place = b.directory.path().join("place");
    std::fs::create_dir(&place).expect("mkdir");
    let other = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                own_mounts();
                rustix::mount::mount(c"t", &place, c"tmpfs", rustix::mount::MountFlags::empty(), c"").expect("mount");
                std::fs::write(place.join("f"), "only there\n").expect("write");
                std::fs::File::open("/proc/thread-self/ns/mnt").expect("ns")
            })
            .join()
            .expect("thread")
    });
    let fd = std::os::fd::AsRawFd::as_raw_fd(&other.as_fd());
    let path = format!("/proc/{}/fd/{fd}", std::process::id());
    b.linux().namespaces.retain(|n| n.kind != "mount");
    b.linux().namespaces.push(namespace("mount", Some(path)));
    b.spec.mounts.push(Mount {
        destination: "/tmp".into(),
        kind: Some("bind".into()),
        source: Some(place.to_str().expect("path").into()),
        options: vec!["bind".into()],
        ..Default::default()
    });
    assert_eq!(b.output("cat /tmp/f"), "only there\n");
}

#[test]
fn paths_must_be_namespaces_of_their_type() {
    let Some(mut b) = bench() else { return };
    b.script("true");
    let original = b.spec.clone();
    let own = std::process::id();
    let file = b.directory.path().join("file");
    std::fs::write(&file, "").expect("write");
    let cases = [
        (namespace("network", Some(format!("/proc/{own}/ns/ipc"))), "is a namespace of type \"ipc\", not \"network\""),
        (namespace("network", Some(file.to_str().expect("path").into())), "is no namespace"),
        (namespace("network", Some("/none".into())), "no such file"),
        (namespace("network", Some("proc/self/ns/net".into())), "must be absolute"),
        (namespace("space", None), "namespace \"space\" does not exist; known are pid"),
    ];
    for (wrong, words) in cases {
        b.spec = original.clone();
        b.linux().namespaces.retain(|n| n.kind != "network");
        b.linux().namespaces.push(wrong);
        let error = b.failure();
        assert!(error.contains("linux.namespaces") || words == "no such file", "{error}");
        assert!(error.contains(words), "{words}: {error}");
    }
    b.spec = original;
    b.linux().namespaces.push(namespace("pid", None));
    assert!(b.failure().contains("malformed spec file: duplicated ns \"pid\""));
}

#[test]
fn mappings_belong_to_a_user_namespace() {
    let Some(mut b) = bench() else { return };
    b.script("true");
    let original = b.spec.clone();
    b.linux().uid_mappings = map(100_000);
    assert!(b.failure().contains("user namespace mappings specified, but user namespace isn't enabled in the config"));
    b.spec = original.clone();
    b.linux().namespaces.push(namespace("user", None));
    assert!(
        b.failure().contains("user namespaces enabled, but no namespace path to join nor mappings to apply specified")
    );
    b.linux().uid_mappings = map(100_000);
    assert!(b.failure().contains("both are needed"));
    // By path: what is there may be repeated, nothing else said.
    b.spec = original.clone();
    with_user_namespace(&mut b);
    b.started("exec sleep 100");
    let Some(mut second) = bench() else { return };
    with_user_namespace(&mut second);
    let path = format!("/proc/{}/ns/user", b.pid());
    second.linux().namespaces.retain(|n| n.kind != "user");
    second.linux().namespaces.push(namespace("user", Some(path)));
    assert_eq!(
        second.output("cat /proc/self/uid_map").split_whitespace().collect::<Vec<_>>(),
        ["0", "100000", "65536"]
    );
    second.linux().uid_mappings = map(100_001);
    second.script("true");
    assert!(second.failure().contains("both namespace path and non-matching mapping specified"));
}

#[test]
fn clocks_have_their_offsets() {
    let Some(mut b) = bench() else { return };
    if !std::path::Path::new("/proc/self/timens_offsets").exists() {
        println!("skipped: no time namespaces in this kernel");
        return;
    }
    b.linux().namespaces.push(namespace("time", None));
    let offset = |secs, nanosecs| TimeOffset { secs, nanosecs };
    b.linux().time_offsets =
        [("boottime".to_owned(), offset(1_000_000, 5)), ("monotonic".to_owned(), offset(-1, 7))].into();
    let out = b.output("cat /proc/self/timens_offsets; cut -d. -f1 /proc/uptime");
    let words: Vec<&str> = out.split_whitespace().collect();
    assert_eq!(words[..6], ["monotonic", "-1", "7", "boottime", "1000000", "5"], "{out}");
    assert!(words[6].parse::<u64>().expect("seconds") > 1_000_000, "{out}");
    let own = std::fs::read_to_string("/proc/self/timens_offsets").expect("offsets");
    assert!(!own.contains("1000000"), "the host's clocks are as they were");
    b.script("true");
    b.linux().time_offsets = [("realtime".to_owned(), offset(1, 0))].into();
    assert!(b.failure().contains("linux.timeOffsets: unknown clock \"realtime\"; known are monotonic, boottime"));
    b.linux().time_offsets = [("boottime".to_owned(), offset(1, 1_000_000_000))].into();
    assert!(b.failure().contains("linux.timeOffsets.boottime.nanosecs"));
    b.linux().time_offsets = [("boottime".to_owned(), offset(i64::MAX, 0))].into();
    assert!(b.failure().contains("linux.timeOffsets: set boottime"), "the kernel's own limit");
    b.linux().time_offsets = [("boottime".to_owned(), offset(1, 0))].into();
    let path = "/proc/self/ns/time".to_owned();
    b.linux().namespaces.retain(|n| n.kind != "time");
    b.linux().namespaces.push(namespace("time", Some(path)));
    assert!(b.failure().contains("both namespace path and time offsets specified"));
    b.linux().namespaces.pop();
    assert!(b.failure().contains("time namespace offsets specified, but time namespace isn't enabled in the config"));
}

#[test]
fn host_and_domain_names_need_a_namespace() {
    let Some(mut b) = bench() else { return };
    b.spec.hostname = Some("inside".into());
    b.spec.domainname = Some("example.org".into());
    assert_eq!(b.output("hostname; cat /proc/sys/kernel/domainname"), "inside\nexample.org\n");
    assert_ne!(std::fs::read_to_string("/proc/sys/kernel/hostname").expect("hostname").trim(), "inside");
    b.linux().namespaces.retain(|n| n.kind != "uts");
    assert!(b.failure().contains("unable to set hostname without a private UTS namespace"));
    b.spec.hostname = None;
    assert!(b.failure().contains("unable to set domainname without a private UTS namespace"));
}

#[test]
fn without_a_pivot_nothing_whole_of_the_host_stays_in_reach() {
    let Some(mut b) = bench() else { return };
    b.script("cat /proc/self/mountinfo; ls /; test -d /proc/1 && echo there");
    b.write_config();
    let bundle = b.bundle();
    let out = b.call(&["run", "--no-pivot", "--bundle", bundle.to_str().expect("path"), &b.id.clone()]);
    assert!(out.status.success(), "{out:?}");
    let out = text(&out);
    let whole = |kind: &str| {
        let line = format!(" - {kind} ");
        out.lines().filter(|l| l.contains(&line) && l.split(' ').nth(3) == Some("/")).count()
    };
    assert_eq!((whole("proc"), whole("sysfs")), (1, 1), "{out}");
    assert!(out.ends_with("there\n") && out.contains("\nbin\n"), "{out}");
    b.assert_nothing_left();
    assert!(std::path::Path::new("/proc/self").exists() && std::path::Path::new("/sys/kernel").exists());
}

fn without_mount_namespace(b: &mut Bench) {
    b.linux().namespaces.retain(|n| n.kind != "mount");
    b.linux().masked_paths.clear();
    b.linux().readonly_paths.clear();
}

#[test]
fn without_a_mount_namespace_the_mounts_are_the_hosts_and_go_with_the_container() {
    let Some(mut b) = bench() else { return };
    own_mounts();
    let before = host_mounts();
    without_mount_namespace(&mut b);
    let out = b.output("readlink /proc/self/ns/mnt; ls /; touch /x 2>/dev/null || echo readonly");
    let own = std::fs::read_link("/proc/thread-self/ns/mnt").expect("ns").to_string_lossy().into_owned();
    assert!(out.starts_with(&own) && out.contains("\nbin\n") && out.ends_with("readonly\n"), "{out}");
    assert_eq!(host_mounts(), before, "nothing is left, and propagation is as it was");
    b.started("exec sleep 100");
    let proc = b.rootfs().join("proc");
    assert!(host_mounts().contains(proc.to_str().expect("path")), "they can be seen");
    // What is added is in the container's root too.
    let id = b.id.clone();
    assert_eq!(
        b.ok(&["exec", &id, "sh", "-c", "cat /etc/passwd | head -n 1; ls /usr 2>&1 | wc -l"]).lines().next(),
        Some("root:x:0:0:root:/root:/bin/sh")
    );
    assert!(b.ok(&["exec", &id, "ls", "/"]).contains("bin\ndev\netc\nproc\nsys\ntmp"));
    b.ok(&["delete", "--force", &id]);
    assert_eq!(host_mounts(), before);
    // Half-way.
    b.process().args = vec!["/no/such/program".into()];
    assert!(!b.run().status.success());
    assert_eq!(host_mounts(), before);
    b.spec.mounts.push(Mount { destination: "/tmp".into(), kind: Some("none-such".into()), ..Default::default() });
    assert!(!b.run().status.success());
    assert_eq!(host_mounts(), before);
}

/// What is mounted on a mount that is a peer of the one below appears beneath it too, and would take it along.
#[test]
fn a_rootfs_that_is_a_mount_of_the_hosts_stays_one() {
    let Some(mut b) = bench() else { return };
    own_mounts();
    let (directory, rootfs) = (b.directory.path().to_owned(), b.rootfs());
    rustix::mount::mount_bind(&directory, &directory).expect("bind");
    rustix::mount::mount_change(&directory, MountPropagationFlags::SHARED).expect("shared");
    rustix::mount::mount_bind(&rootfs, &rootfs).expect("bind");
    without_mount_namespace(&mut b);
    let before = host_mounts();
    b.started("exec sleep 100");
    assert!(host_mounts().contains(rootfs.join("proc").to_str().expect("path")), "they can be seen");
    b.ok(&["delete", "--force", &b.id.clone()]);
    assert_eq!(host_mounts(), before);
    b.process().args = vec!["/no/such/program".into()];
    assert!(!b.run().status.success());
    assert_eq!(host_mounts(), before);
    // Nothing that was mounted on it is left below it.
    rustix::mount::unmount(&rootfs, rustix::mount::UnmountFlags::empty()).expect("unmount");
    assert!(!host_mounts().contains(rootfs.to_str().expect("path")), "{}", host_mounts());
    rustix::mount::unmount(&directory, rustix::mount::UnmountFlags::DETACH).expect("unmount");
}

#[test]
fn a_kill_half_way_leaves_mounts_that_delete_finds() {
    let Some(mut b) = bench() else { return };
    own_mounts();
    let before = host_mounts();
    without_mount_namespace(&mut b);
    // The hook runs when everything is mounted, and kills the runtime above it.
    b.spec.hooks = Some(oci::runtime::Hooks {
        create_runtime: vec![oci::runtime::Hook {
            path: "/bin/sh".into(),
            args: ["sh", "-c", "kill -9 $PPID"].map(String::from).into(),
            env: Some(vec!["PATH=/usr/bin:/bin".into()]),
            timeout: None,
        }],
        ..Default::default()
    });
    b.script("true");
    assert!(!b.create().status.success());
    assert_ne!(host_mounts(), before, "they are there");
    b.ok(&["delete", "--force", &b.id.clone()]);
    assert_eq!(host_mounts(), before);
    b.assert_nothing_left();
}

#[test]
fn masks_and_user_namespaces_need_a_mount_namespace() {
    let Some(mut b) = bench() else { return };
    b.script("true");
    b.linux().namespaces.retain(|n| n.kind != "mount");
    let error = b.failure();
    assert!(
        error.contains("linux.maskedPaths: unable to restrict sys entries without a private MNT namespace"),
        "{error}"
    );
    without_mount_namespace(&mut b);
    with_user_namespace(&mut b);
    assert!(b.failure().contains("nothing can be mounted without a mount namespace"));
}

/// Some images are only for one user, who is nobody else's.
#[test]
fn a_user_namespace_may_be_without_root() {
    let Some(mut b) = bench() else { return };
    with_user_namespace(&mut b);
    b.linux().uid_mappings = vec![IdMapping { container_id: 1000, host_id: 100_000, size: 1 }];
    b.linux().gid_mappings = vec![IdMapping { container_id: 1000, host_id: 200_000, size: 1 }];
    for mount in &mut b.spec.mounts {
        mount.options.retain(|option| option != "gid=5");
    }
    b.process().terminal = false;
    (b.process().user.uid, b.process().user.gid) = (1000, 1000);
    b.started("id -u; id -g; grep Cap /proc/self/status; exec sleep 100");
    let out = || std::fs::read_to_string(b.directory.path().join("out")).unwrap_or_default();
    b.until("its words", || out().contains("CapAmb"));
    let out = out();
    assert!(out.starts_with("1000\n1000\n"), "{out}");
    assert!(out.contains("CapEff:\t0000000000000000"), "{out}");
    let status = std::fs::read_to_string(format!("/proc/{}/status", b.pid())).expect("status");
    assert!(
        status.contains("Uid:\t100000\t100000\t100000\t100000\nGid:\t200000\t200000\t200000\t200000\n"),
        "{status}"
    );
    let id = b.id.clone();
    assert_eq!(b.ok(&["exec", &id, "sh", "-c", "id -u; id -g"]), "1000\n1000\n");
    // Nobody else is there.
    let output = b.call(&["exec", "--user", "0", &id, "true"]);
    assert!(!output.status.success(), "{output:?}");
}

/// A pod's network belongs to the host's user namespace, also where its containers have another one; and a time
/// namespace with offsets is made before the container's user namespace.
#[test]
fn namespaces_of_other_owners_are_joined() {
    let Some(mut first) = bench() else { return };
    with_user_namespace(&mut first);
    if kinds().any(|(kind, _)| kind == "time") {
        first.linux().namespaces.push(namespace("time", None));
        first.linux().time_offsets = [("monotonic".to_owned(), TimeOffset { secs: 7_881, nanosecs: 0 })].into();
    }
    first.started("exec sleep 100");
    let of = |kind: &str, file: &str, pid: i32| namespace(kind, Some(format!("/proc/{pid}/ns/{file}")));
    let Some(mut second) = bench() else { return };
    std::fs::set_permissions(second.directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("chmod");
    second.linux().namespaces = kinds()
        .map(|(kind, file)| if kind == "mount" { namespace(kind, None) } else { of(kind, file, first.pid()) })
        .collect();
    second.started("exec sleep 100");
    for (kind, file) in kinds().filter(|(kind, _)| *kind != "mount") {
        assert_eq!(link(second.pid(), file), link(first.pid(), file), "{kind}");
    }
    // A network namespace of the host's.
    let Some(mut pod) = bench() else { return };
    pod.started("exec sleep 100");
    let Some(mut third) = bench() else { return };
    std::fs::set_permissions(third.directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("chmod");
    third.linux().namespaces.retain(|n| n.kind != "network");
    third.linux().namespaces.extend([of("user", "user", first.pid()), of("network", "net", pod.pid())]);
    third.spec.mounts.retain(|m| !m.destination.starts_with("/sys"));
    third.started("exec sleep 100");
    assert_eq!(link(third.pid(), "net"), link(pod.pid(), "net"));
    assert_eq!(link(third.pid(), "user"), link(first.pid(), "user"));
}
