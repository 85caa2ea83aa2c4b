//! What the kernel shows of a container, from inside and outside.

mod common;

use common::{bench, text};
use oci::runtime::{Device, DeviceRule, IdMapping, Mount, Namespace, Rlimit, Seccomp, SyscallRule, TimeOffset};

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Mount {
    Mount {
        destination: destination.into(),
        kind: Some(kind.into()),
        source: Some(source.into()),
        options: options.iter().map(|s| s.to_string()).collect(),
        ..Default::default()
    }
}

#[test]
fn namespaces_are_new_or_the_hosts() {
    let Some(mut b) = bench() else { return };
    let own = |n: &str| std::fs::read_link(format!("/proc/self/ns/{n}")).expect("ns").to_string_lossy().into_owned();
    let script = "for n in cgroup ipc mnt net pid uts user; do readlink /proc/self/ns/$n; done";
    let names = ["cgroup", "ipc", "mnt", "net", "pid", "uts", "user"];
    for (name, line) in names.iter().zip(b.output(script).lines()) {
        assert_eq!(line == own(name), *name == "user", "{name}");
    }
    b.linux().namespaces.retain(|n| n.kind == "mount");
    b.spec.hostname = None;
    for (name, line) in names.iter().zip(b.output(script).lines()) {
        assert_eq!(line == own(name), *name != "mnt", "{name}");
    }
}

#[test]
fn namespaces_are_joined_by_path() {
    let Some(mut first) = bench() else { return };
    let Some(mut second) = bench() else { return };
    first.spec.hostname = Some("first".into());
    first.started("exec sleep 100");
    let pid = first.pid();
    second.spec.hostname = None;
    let mut expected = String::new();
    for (kind, file) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid"), ("cgroup", "cgroup")] {
        let path = format!("/proc/{pid}/ns/{file}");
        expected += &(std::fs::read_link(&path).expect("ns").to_string_lossy().into_owned() + "\n");
        let namespace = second.linux().namespaces.iter_mut().find(|n| n.kind == kind).expect(kind);
        namespace.path = Some(path.into());
    }
    let out = second.output("for n in net ipc uts pid cgroup; do readlink /proc/self/ns/$n; done; hostname");
    assert_eq!(out, expected + "first\n");
}

#[test]
fn a_user_namespace_maps_ids() {
    let Some(mut b) = bench() else { return };
    let map = |host_id| vec![IdMapping { container_id: 0, host_id, size: 1000 }];
    b.linux().namespaces.push(Namespace { kind: "user".into(), path: None });
    b.linux().uid_mappings = map(100_000);
    b.linux().gid_mappings = map(200_000);
    b.spec.root.as_mut().expect("root").readonly = false;
    std::os::unix::fs::chown(b.rootfs().join("tmp"), Some(100_000), Some(200_000)).expect("chown");
    // A source that the mapped root may not reach by its path.
    let private = b.directory.path().join("private");
    std::fs::create_dir_all(private.join("data")).expect("mkdir");
    std::fs::write(private.join("data/file"), "reached\n").expect("write");
    std::os::unix::fs::chown(&private, Some(4242), Some(4242)).expect("chown");
    std::fs::set_permissions(&private, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("chmod");
    let source = private.join("data");
    b.spec.mounts.push(mount("/tmp/data", "bind", source.to_str().expect("path"), &["rbind", "ro"]));
    // A test's directory is 0700 by nature: the parents of the rootfs are another such place.
    let out =
        b.output("id -u; cat /proc/self/uid_map; touch /tmp/made; cat /tmp/data/file; test -c /dev/null && echo dev");
    let words: Vec<&str> = out.split_whitespace().collect();
    assert_eq!(words, ["0", "0", "100000", "1000", "reached", "dev"]);
    let made = std::fs::metadata(b.rootfs().join("tmp/made")).expect("made");
    assert_eq!(
        (std::os::unix::fs::MetadataExt::uid(&made), std::os::unix::fs::MetadataExt::gid(&made)),
        (100_000, 200_000)
    );
    b.started("exec sleep 100");
    let id = b.id.clone();
    assert_eq!(b.ok(&["exec", &id, "sh", "-c", "id -u; readlink /proc/self/ns/user"]).lines().next(), Some("0"));
    let outside = std::fs::read_to_string(format!("/proc/{}/status", b.pid())).expect("status");
    assert!(outside.contains("Uid:\t100000\t"), "{outside}");
}

#[test]
fn a_joined_user_namespace() {
    let Some(mut first) = bench() else { return };
    let Some(mut second) = bench() else { return };
    first.linux().namespaces.push(Namespace { kind: "user".into(), path: None });
    first.linux().uid_mappings = vec![IdMapping { container_id: 0, host_id: 100_000, size: 10 }];
    first.linux().gid_mappings = first.linux().uid_mappings.clone();
    first.spec.hostname = Some("first".into());
    first.started("exec sleep 100");
    let pid = first.pid();
    second.spec.hostname = None;
    for (kind, file) in [("user", "user"), ("network", "net"), ("ipc", "ipc")] {
        second.linux().namespaces.retain(|n| n.kind != kind);
        let path = Some(format!("/proc/{pid}/ns/{file}").into());
        second.linux().namespaces.push(Namespace { kind: kind.into(), path });
    }
    let out = second.output("readlink /proc/self/ns/user; readlink /proc/self/ns/net; id -u; echo $$");
    let link = |n: &str| std::fs::read_link(format!("/proc/{pid}/ns/{n}")).expect("ns").to_string_lossy().into_owned();
    assert_eq!(out, format!("{}\n{}\n0\n1\n", link("user"), link("net")));
    second.assert_nothing_left();
}

#[test]
fn a_time_namespace_has_its_offsets() {
    let Some(mut b) = bench() else { return };
    if !std::path::Path::new("/proc/self/timens_offsets").exists() {
        println!("skipped: no time namespaces in this kernel");
        return;
    }
    b.linux().namespaces.push(Namespace { kind: "time".into(), path: None });
    b.linux().time_offsets = [("boottime".to_owned(), TimeOffset { secs: 1_000_000, nanosecs: 0 })].into();
    let out = b.output("cut -d. -f1 /proc/uptime");
    assert!(out.trim().parse::<u64>().expect("seconds") > 1_000_000, "{out}");
}

#[test]
fn mounts_have_their_options() {
    let Some(mut b) = bench() else { return };
    let source = b.directory.path().join("src");
    std::fs::create_dir(&source).expect("mkdir");
    std::fs::write(source.join("f"), "content").expect("write");
    let path = source.to_str().expect("path").to_owned();
    b.spec.mounts.push(mount("/tmp/ro", "bind", &path, &["bind", "ro", "nosuid", "nodev", "noexec"]));
    b.spec.mounts.push(mount("/tmp/rw", "none", &path, &["rbind", "rw", "rshared"]));
    b.spec.mounts.push(mount("/tmp/file", "bind", &format!("{path}/f"), &["bind"]));
    b.spec.mounts.push(mount("/tmp/t", "tmpfs", "tmpfs", &["size=1m", "mode=700", "noexec", "ro"]));
    b.spec.root.as_mut().expect("root").readonly = false;
    let out = b.output(
        "cat /tmp/file; echo; touch /tmp/ro/x 2>/dev/null || echo readonly; touch /tmp/rw/y; stat -c %a /tmp/t; \
         grep -E ' /tmp/' /proc/self/mountinfo",
    );
    assert!(out.starts_with("content\nreadonly\n700\n"), "{out}");
    let line = |point: &str| out.lines().find(|l| l.contains(&format!(" {point} "))).unwrap_or("").to_owned();
    assert!(line("/tmp/ro").contains(" ro,nosuid,nodev,noexec,"), "{out}");
    assert!(line("/tmp/rw").contains("shared:"), "{out}");
    assert!(line("/tmp/t").contains(" ro,noexec") && line("/tmp/t").contains("size=1024k"), "{out}");
    assert!(source.join("y").exists());
    b.assert_nothing_left();
}

#[test]
fn recursive_options_reach_the_whole_tree() {
    let Some(mut b) = bench() else { return };
    // /proc has mounts of its own nowhere; /dev has several on every machine.
    b.spec.mounts.push(mount("/tmp/d", "bind", "/dev", &["rbind", "rro", "rnosuid"]));
    b.spec.root.as_mut().expect("root").readonly = false;
    let out = b.output("grep -E ' /tmp/d' /proc/self/mountinfo | cut -d' ' -f5,6");
    assert!(!out.is_empty());
    assert!(out.lines().all(|l| l.contains(" ro,nosuid")), "{out}");
}

#[test]
fn links_in_the_rootfs_lead_nowhere_else() {
    let Some(mut b) = bench() else { return };
    let victim = b.directory.path().join("victim");
    std::fs::create_dir(&victim).expect("mkdir");
    let up = format!("../../../../../../../../../..{}", victim.display());
    std::os::unix::fs::symlink(&up, b.rootfs().join("relative")).expect("link");
    std::os::unix::fs::symlink(&victim, b.rootfs().join("absolute")).expect("link");
    b.spec.root.as_mut().expect("root").readonly = false;
    b.spec.mounts.push(mount("/relative/a", "tmpfs", "tmpfs", &[]));
    b.spec.mounts.push(mount("/absolute/b", "tmpfs", "tmpfs", &[]));
    b.output("true");
    assert_eq!(std::fs::read_dir(&victim).expect("victim").count(), 0, "something was made outside");
    std::os::unix::fs::symlink("/proc/self", b.rootfs().join("attr")).expect("link");
    b.spec.mounts.push(mount("/attr/attr", "tmpfs", "tmpfs", &[]));
    let error = b.failure();
    assert!(error.contains("/proc"), "{error}");
}

#[test]
fn masked_and_readonly_paths() {
    let Some(mut b) = bench() else { return };
    std::fs::create_dir(b.rootfs().join("secret")).expect("mkdir");
    std::fs::write(b.rootfs().join("secret/x"), "x").expect("write");
    std::fs::write(b.rootfs().join("plain"), "x").expect("write");
    b.linux().masked_paths.extend(["/secret", "/plain", "/missing"].map(String::from));
    b.spec.root.as_mut().expect("root").readonly = false;
    b.linux().readonly_paths.push("/etc".into());
    let out = b.output(
        "ls /secret | wc -l; wc -c < /plain; touch /secret/y 2>/dev/null || echo no; touch /etc/y 2>/dev/null || echo ro; \
         echo 1 2>/dev/null > /proc/sys/kernel/domainname || echo sysro; cat /proc/timer_list | wc -c",
    );
    assert_eq!(out.split_whitespace().collect::<Vec<_>>(), ["0", "0", "no", "ro", "sysro", "0"]);
    // What is named twice is covered once.
    b.linux().masked_paths.extend(["/secret", "/./plain/"].map(String::from));
    assert_eq!(b.output("grep -c ' /secret ' /proc/self/mountinfo; grep -c ' /plain ' /proc/self/mountinfo"), "1\n1\n");
}

#[test]
fn a_mask_gives_no_hold_on_the_hosts_files() {
    let Some(mut b) = bench() else { return };
    let sets = b.process().capabilities.as_mut().expect("capabilities");
    for set in [&mut sets.bounding, &mut sets.permitted, &mut sets.effective] {
        set.extend(["CAP_FOWNER", "CAP_CHOWN"].map(String::from));
    }
    let mode = |path: &str| std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(path).expect("stat"));
    let before = mode("/dev/null");
    std::fs::write(b.rootfs().join("plain"), "x").expect("write");
    b.linux().masked_paths.push("/plain".into());
    b.output("chmod 640 /plain && stat -c %a /plain");
    assert_eq!(mode("/dev/null"), before);
}

#[test]
fn a_false_null_device_masks_nothing() {
    // The image's own /dev/null must not become the mask (CVE-2025-31133).
    let Some(mut b) = bench() else { return };
    std::fs::write(b.rootfs().join("plain"), "seen").expect("write");
    std::fs::write(b.rootfs().join("trap"), "trapped").expect("write");
    b.spec.mounts.retain(|m| !m.destination.starts_with("/dev"));
    std::os::unix::fs::symlink("/trap", b.rootfs().join("dev/null")).expect("link");
    b.linux().masked_paths.push("/plain".into());
    let error = b.failure();
    assert!(error.contains("/dev/null"), "{error}");
}

#[test]
fn identity_and_rights() {
    let Some(mut b) = bench() else { return };
    let p = b.process();
    p.user.uid = 1000;
    p.user.gid = 1001;
    p.user.additional_gids = vec![7, 8];
    p.user.umask = Some(0o27);
    p.rlimits = vec![Rlimit { kind: "RLIMIT_CORE".into(), hard: 0, soft: 0 }];
    p.oom_score_adj = Some(500);
    let caps = vec!["CAP_KILL".to_owned(), "CAP_NET_BIND_SERVICE".into()];
    let sets = p.capabilities.as_mut().expect("capabilities");
    sets.bounding = caps.clone();
    sets.permitted = caps.clone();
    sets.effective = caps.clone();
    sets.inheritable = caps.clone();
    sets.ambient = vec!["CAP_KILL".into()];
    let out = b.output(
        "id -u; id -g; grep Groups /proc/self/status; umask; cat /proc/self/oom_score_adj; \
         grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status; grep core /proc/self/limits; echo $HOME",
    );
    for words in [
        "1000\n1001\n",
        "Groups:\t7 8 ",
        "0027\n500\n",
        "CapInh:\t0000000000000420",
        "CapPrm:\t0000000000000020",
        "CapEff:\t0000000000000020",
        "CapBnd:\t0000000000000420",
        "CapAmb:\t0000000000000020",
        "NoNewPrivs:\t1",
        "Seccomp:\t0",
        "Max core file size        0                    0",
        "/home/user",
    ] {
        assert!(out.contains(words), "{words:?} in {out}");
    }
}

#[test]
fn devices_are_made_and_guarded() {
    let Some(mut b) = bench() else { return };
    let kmsg = Device {
        path: "/dev/deep/kmsg".into(),
        kind: "c".into(),
        major: 1,
        minor: 11,
        file_mode: Some(0o640),
        uid: Some(0),
        gid: Some(6),
    };
    b.linux().devices.push(kmsg.clone());
    let script = "stat -c '%a %u %g %t %T' /dev/deep/kmsg; for d in null zero full random urandom tty; do test -c /dev/$d || echo $d; done; \
                  readlink /dev/fd; readlink /dev/ptmx; head -c 1 /dev/zero | wc -c; (: > /dev/deep/kmsg) 2>/dev/null && echo opened; true";
    let out = b.output(script);
    assert_eq!(out, "640 0 6 1 b\n/proc/self/fd\npts/ptmx\n1\n", "not allowed by any rule, so it cannot be opened");
    b.linux().resources.get_or_insert_default().devices.push(DeviceRule {
        allow: true,
        kind: Some("c".into()),
        major: Some(1),
        minor: Some(11),
        access: Some("w".into()),
    });
    assert!(b.output(script).ends_with("opened\n"));
}

#[test]
fn nothing_but_standard_descriptors_is_inherited() {
    let Some(mut b) = bench() else { return };
    let leak = std::fs::File::open("/").expect("open");
    // Without close-on-exec, as a careless caller would have it.
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).expect("setfd");
    b.process().args = ["ls", "/proc/self/fd"].map(String::from).into();
    let out = text(&b.run());
    drop(leak);
    // The last one is the listing itself.
    assert_eq!(out.split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
}

#[test]
fn a_filter_holds_for_everyone_inside() {
    let Some(mut b) = bench() else { return };
    b.linux().seccomp = Some(Seccomp {
        default_action: "SCMP_ACT_ALLOW".into(),
        architectures: vec!["SCMP_ARCH_X86_64".into(), "SCMP_ARCH_X86".into(), "SCMP_ARCH_X32".into()],
        syscalls: vec![SyscallRule {
            names: vec!["mkdir".into(), "mkdirat".into()],
            action: "SCMP_ACT_ERRNO".into(),
            errno_ret: Some(28),
            ..Default::default()
        }],
        ..Default::default()
    });
    b.spec.root.as_mut().expect("root").readonly = false;
    for (uid, no_new_privileges) in [(0, true), (0, false), (1000, true), (1000, false)] {
        b.process().user.uid = uid;
        b.process().no_new_privileges = no_new_privileges;
        let out = b.output("mkdir /tmp/x 2>&1; grep Seccomp: /proc/self/status");
        assert!(
            out.contains("No space left on device") && out.contains("Seccomp:\t2"),
            "{uid} {no_new_privileges}: {out}"
        );
    }
    b.started("exec sleep 100");
    let id = b.id.clone();
    assert!(b.ok(&["exec", &id, "sh", "-c", "mkdir /tmp/x 2>&1; true"]).contains("No space left"));
}

#[test]
fn a_terminal_is_the_containers_own() {
    let Some(mut b) = bench() else { return };
    b.process().terminal = true;
    b.process().console_size = Some(oci::runtime::ConsoleSize { height: 33, width: 77 });
    let output = b.script("tty; stty size; ls -l /dev/console; echo to-console > /dev/console").run();
    let out = text(&output).replace('\r', "");
    assert!(output.status.success(), "{output:?}");
    assert!(out.contains("/dev/pts/0\n33 77\n") && out.contains("136,   0") && out.contains("to-console"), "{out}");
    // A detached one needs somebody to take the terminal.
    assert!(String::from_utf8_lossy(&b.create().stderr).contains("console socket"));
    b.assert_nothing_left();
}

#[test]
fn the_runtime_cannot_be_overwritten_from_inside() {
    // CVE-2019-5736: the program's own file through /proc/<pid>/exe.
    let Some(mut b) = bench() else { return };
    let copy = b.directory.path().join("runtime-copy");
    std::fs::copy(common::RUNTIME, &copy).expect("copy");
    b.runtime = copy.clone();
    let before = std::fs::read(&copy).expect("read");
    // The image's program is the runtime itself, by way of the kernel's link.
    b.spec.root.as_mut().expect("root").readonly = false;
    std::os::unix::fs::symlink("/proc/self/exe", b.rootfs().join("bin/evil")).expect("link");
    std::fs::write(b.rootfs().join("bin/script"), "#!/proc/self/exe\n").expect("write");
    std::fs::set_permissions(b.rootfs().join("bin/script"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("chmod");
    let caps: Vec<String> = ["CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"].map(String::from).into();
    for set in ["bounding", "permitted", "effective"] {
        let sets = b.process().capabilities.as_mut().expect("capabilities");
        match set {
            "bounding" => sets.bounding = caps.clone(),
            "permitted" => sets.permitted = caps.clone(),
            _ => sets.effective = caps.clone(),
        }
    }
    // A process inside tries, for as long as commands are being added, to open each runtime's file for writing.
    let attack = "while :; do for p in /proc/[0-9]*; do case $(readlink $p/exe) in */busybox) ;; *) \
                  ( exec 3<>$p/exe ) 2>/dev/null && echo opened; ( echo broken > $p/exe ) 2>/dev/null && echo written;; esac; done; done";
    b.started(attack);
    let id = b.id.clone();
    for program in ["/bin/evil", "/bin/script", "true", "/bin/evil", "true"] {
        let _ = b.call(&["exec", &id, program]);
    }
    assert_eq!(std::fs::read(&copy).expect("read"), before, "the runtime was changed");
    let seen = std::fs::read_to_string(b.directory.path().join("out")).expect("out");
    assert!(!seen.contains("opened") && !seen.contains("written"), "{seen}");
}

#[test]
fn unsupported_things_are_refused_by_name() {
    let Some(mut b) = bench() else { return };
    b.script("true");
    let original = b.spec.clone();
    type Change = fn(&mut oci::runtime::Spec);
    let cases: [(&str, Change); 8] = [
        ("linux.intelRdt: Intel RDT resctrl mount point not found", |s| {
            s.linux.as_mut().expect("linux").intel_rdt = Some(Default::default())
        }),
        ("mountLabel", |s| s.linux.as_mut().expect("linux").mount_label = Some("x".into())),
        ("selinuxLabel", |s| s.process.as_mut().expect("process").selinux_label = Some("x".into())),
        ("apparmorProfile", |s| s.process.as_mut().expect("process").apparmor_profile = Some("x".into())),
        ("slice:prefix:name", |s| s.linux.as_mut().expect("linux").cgroups_path = Some("a.slice:b:c".into())),
        ("ociVersion", |s| s.oci_version = "2.0.0".into()),
        ("RLIMIT_FOO", |s| s.process.as_mut().expect("process").rlimits[0].kind = "RLIMIT_FOO".into()),
        ("kernel.core_pattern", |s| {
            s.linux.as_mut().expect("linux").sysctl = [("kernel.core_pattern".to_owned(), "|/x".to_owned())].into();
        }),
    ];
    for (word, change) in cases {
        b.spec = original.clone();
        change(&mut b.spec);
        let error = b.failure();
        assert!(error.contains(word), "{word}: {error}");
    }
    assert!(b.refused(&["init", "x"]).contains("init"));
}
