//! Root and mounts: what the kernel's list of mounts says inside of a container.

mod common;

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use common::{Bench, bench};
use oci::runtime::{IdMapping, Mount, Namespace};
use rustix::mount::{MountFlags, MountPropagationFlags};

fn mount(destination: &str, kind: &str, source: impl AsRef<Path>, options: &[&str]) -> Mount {
    Mount {
        destination: destination.into(),
        kind: Some(kind.into()),
        source: Some(source.as_ref().to_str().expect("path").into()),
        options: options.iter().map(|s| s.to_string()).collect(),
        ..Default::default()
    }
}

/// A test that mounts on the host does it in a mount namespace of its own.
fn own_mounts() {
    sys::unshare::new_network_and_mount_namespace().expect("unshare");
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).expect("private");
}

/// A directory beside the bundle.
fn directory(b: &Bench, name: &str) -> PathBuf {
    let path = b.directory.path().join(name);
    std::fs::create_dir_all(&path).expect("mkdir");
    path
}

/// A tmpfs of the host with these flags.
fn host_tmpfs(b: &Bench, name: &str, flags: MountFlags) -> PathBuf {
    let path = directory(b, name);
    rustix::mount::mount(c"t", &path, c"tmpfs", flags, c"").expect("mount");
    path
}

fn map(container_id: u32, host_id: u32, size: u32) -> Vec<IdMapping> {
    vec![IdMapping { container_id, host_id, size }]
}

/// Puts the container into a user namespace, in which the directories of the bench can be passed.
fn in_user_namespace(b: &mut Bench) {
    b.linux().namespaces.push(Namespace { kind: "user".into(), path: None });
    b.linux().uid_mappings = map(0, 100_000, 65536);
    b.linux().gid_mappings = map(0, 200_000, 65536);
    std::fs::set_permissions(b.directory.path(), std::fs::Permissions::from_mode(0o755)).expect("chmod");
}

fn writable(b: &mut Bench) {
    b.spec.root.as_mut().expect("root").readonly = false;
}

/// The line of a mount point inside, without the ids in front.
fn line(mountinfo: &str, point: &str) -> String {
    let found = mountinfo.lines().rfind(|l| l.split(' ').nth(4) == Some(point));
    found.map(|l| l.split(' ').skip(4).collect::<Vec<_>>().join(" ")).unwrap_or_default()
}

const MOUNTS: &str = "cat /proc/self/mountinfo";

#[test]
fn the_root_is_as_the_configuration_says() {
    let Some(mut b) = bench() else { return };
    let script = "touch /made 2>/dev/null && echo written; cat /proc/self/mountinfo";
    let out = b.output(script);
    assert!(!out.contains("written") && line(&out, "/").starts_with("/ ro,"), "{out}");
    writable(&mut b);
    let out = b.output(script);
    assert!(out.contains("written") && line(&out, "/").starts_with("/ rw,"), "{out}");
    // An absolute path, and one through a link.
    b.spec.root.as_mut().expect("root").path = b.rootfs();
    assert!(b.output("ls /bin").contains("busybox"));
    symlink("rootfs", b.bundle().join("link")).expect("link");
    b.spec.root.as_mut().expect("root").path = "link".into();
    assert!(b.output("ls /bin").contains("busybox"));
    for (path, words) in [("none", "root.path: invalid rootfs"), ("", "root.path: is missing"), ("/", "root.path")] {
        b.spec.root.as_mut().expect("root").path = path.into();
        let error = b.failure();
        assert!(error.contains(words), "{path}: {error}");
    }
}

#[test]
fn the_roots_propagation_is_as_the_configuration_says() {
    let Some(mut b) = bench() else { return };
    own_mounts();
    // Something to be a peer or a slave of.
    let host = host_tmpfs(&b, "shared", MountFlags::empty());
    rustix::mount::mount_change(&host, MountPropagationFlags::SHARED).expect("shared");
    let copy = std::process::Command::new("cp").arg("-a").arg(b.rootfs()).arg(&host).status().expect("cp");
    assert!(copy.success());
    b.spec.root.as_mut().expect("root").path = host.join("rootfs");
    for (word, has, has_not) in [
        (None, "master:", "shared:"),
        (Some("slave"), "master:", "shared:"),
        (Some("rslave"), "master:", "shared:"),
        (Some("private"), " - ", "master:"),
        (Some("rprivate"), " - ", "shared:"),
        // A peer group of its own, which hears nothing of the host's.
        (Some("shared"), "shared:", "master:"),
        (Some("rshared"), "shared:", "master:"),
        (Some("unbindable"), "unbindable", "shared:"),
        (Some("runbindable"), "unbindable", "shared:"),
    ] {
        b.linux().rootfs_propagation = word.map(String::from);
        let root = line(&b.output(MOUNTS), "/");
        assert!(root.contains(has) && !root.contains(has_not), "{word:?}: {root}");
    }
    b.linux().rootfs_propagation = Some("everywhere".into());
    let error = b.failure();
    assert!(error.contains("rootfsPropagation=everywhere is not supported; known are private"), "{error}");
}

#[test]
fn a_bind_mount_has_the_flags_of_its_options_and_no_others() {
    let Some(mut b) = bench() else { return };
    own_mounts();
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::NOATIME;
    let source = host_tmpfs(&b, "source", flags);
    writable(&mut b);
    let cases: [(&str, &[&str], &str); 11] = [
        ("/tmp/a", &["bind"], "rw,nosuid,nodev,noexec,noatime"),
        ("/tmp/b", &["bind", "ro"], "ro,noatime"),
        ("/tmp/c", &["bind", "nodev"], "rw,nodev,noatime"),
        ("/tmp/d", &["bind", "suid"], "rw,noatime"),
        ("/tmp/e", &["bind", "rro"], "ro,nosuid,nodev,noexec,noatime"),
        ("/tmp/f", &["bind", "nodiratime"], "rw,nodiratime,relatime"),
        ("/tmp/g", &["bind", "strictatime"], "rw"),
        ("/tmp/h", &["bind", "nosymfollow", "relatime", "sync"], "rw,relatime,nosymfollow"),
        // Words that name no mode of access times leave the source's, as under runc.
        ("/tmp/i", &["bind", "atime"], "rw,noatime"),
        ("/tmp/j", &["bind", "norelatime", "diratime"], "rw,noatime"),
        ("/tmp/k", &["bind", "nostrictatime"], "rw,noatime"),
    ];
    for (destination, options, _) in cases {
        b.spec.mounts.push(mount(destination, "none", &source, options));
    }
    let out = b.output(MOUNTS);
    for (destination, options, expected) in cases {
        let found = line(&out, destination);
        assert_eq!(found.split(' ').nth(1), Some(expected), "{options:?}: {found}");
    }
}

#[test]
fn locked_flags_stay_in_a_user_namespace() {
    let Some(mut b) = bench() else { return };
    own_mounts();
    let source = host_tmpfs(&b, "source", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::RDONLY);
    in_user_namespace(&mut b);
    writable(&mut b);
    for path in ["tmp", "dev", "proc", "sys"] {
        std::os::unix::fs::chown(b.rootfs().join(path), Some(100_000), Some(200_000)).expect("chown");
    }
    let caps = b.process().capabilities.as_mut().expect("capabilities");
    for set in [&mut caps.bounding, &mut caps.permitted, &mut caps.effective] {
        set.push("CAP_SYS_ADMIN".into());
    }
    let original = b.spec.clone();
    b.spec.mounts.push(mount("/tmp/a", "bind", &source, &["bind", "noexec"]));
    // Nor can the container take them away later.
    let out = b.output("cat /proc/self/mountinfo; mount -o remount,bind,rw /tmp/a 2>&1; touch /tmp/a/x 2>&1; true");
    assert_eq!(line(&out, "/tmp/a").split(' ').nth(1), Some("ro,nosuid,nodev,noexec,relatime"), "{out}");
    assert!(out.contains("ermission denied") || out.contains("not permitted"), "{out}");
    assert!(out.contains("Read-only file system"), "{out}");
    for options in [["bind", "rw"], ["bind", "suid"], ["bind", "noatime"]] {
        b.spec = original.clone();
        b.spec.mounts.push(mount("/tmp/a", "bind", &source, &options));
        b.script("true");
        let error = b.failure();
        let words = "unable to start container process: error during container init: error mounting";
        assert!(error.contains(words), "{options:?}: {error}");
        assert!(error.contains("operation not permitted") && error.contains("/tmp/a"), "{options:?}: {error}");
    }
    for word in ["atime", "norelatime", "nostrictatime", "diratime"] {
        b.spec = original.clone();
        b.spec.mounts.push(mount("/tmp/a", "bind", &source, &["bind", word]));
        let out = b.output(MOUNTS);
        assert_eq!(line(&out, "/tmp/a").split(' ').nth(1), Some("ro,nosuid,nodev,relatime"), "{word}: {out}");
    }
    // The same where only the host's root can reach the source.
    let hidden = directory(&b, "hidden");
    let deep = host_tmpfs(&b, "hidden/deep", MountFlags::NOSUID | MountFlags::RDONLY);
    std::os::unix::fs::chown(&hidden, Some(4242), Some(4242)).expect("chown");
    std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(0o700)).expect("chmod");
    b.spec = original.clone();
    b.spec.mounts.push(mount("/tmp/a", "bind", &deep, &["bind", "nodev"]));
    let out = b.output(MOUNTS);
    assert_eq!(line(&out, "/tmp/a").split(' ').nth(1), Some("ro,nosuid,nodev,relatime"), "{out}");
    b.spec = original;
    b.spec.mounts.push(mount("/tmp/a", "bind", &deep, &["bind", "rw"]));
    b.script("true");
    assert!(b.failure().contains("operation not permitted"));
}

#[test]
fn remount_changes_what_is_mounted() {
    let Some(mut b) = bench() else { return };
    writable(&mut b);
    b.spec.mounts.push(mount("/tmp/a", "tmpfs", "tmpfs", &["nosuid", "size=1m"]));
    b.spec.mounts.push(mount("/tmp/a", "bind", "/nowhere", &["bind", "remount", "ro", "noexec"]));
    b.spec.mounts.push(mount("/tmp/b", "tmpfs", "tmpfs", &["nosuid", "size=1m"]));
    b.spec.mounts.push(mount("/tmp/b", "tmpfs", "tmpfs", &["remount", "nodev", "size=2m"]));
    let out = b.output(MOUNTS);
    assert!(line(&out, "/tmp/a").starts_with("/tmp/a ro,noexec,relatime "), "{out}");
    let b_line = line(&out, "/tmp/b");
    assert!(b_line.starts_with("/tmp/b rw,nodev,relatime ") && b_line.contains("size=2048k"), "{out}");
    assert_eq!(
        out.lines().filter(|l| l.split(' ').nth(4).is_some_and(|p| p.starts_with("/tmp"))).count(),
        2,
        "nothing new is mounted: {out}"
    );
    b.spec.mounts.push(mount("/etc", "bind", "/nowhere", &["bind", "remount", "ro"]));
    b.script("true");
    let error = b.failure();
    assert!(error.contains("at \"/etc\"") && error.contains("remount"), "/etc is no mount: {error}");
}

#[test]
fn a_tmpfs_takes_over_what_it_covers() {
    let Some(mut b) = bench() else { return };
    let image = b.rootfs().join("data");
    std::fs::create_dir_all(image.join("sub")).expect("mkdir");
    std::fs::write(image.join("file"), "content").expect("write");
    std::fs::write(image.join("suid"), "").expect("write");
    std::os::unix::fs::chown(image.join("file"), Some(7), Some(8)).expect("chown");
    std::os::unix::fs::lchown(image.join("sub"), Some(9), Some(10)).expect("chown");
    std::fs::set_permissions(image.join("file"), std::fs::Permissions::from_mode(0o604)).expect("chmod");
    std::fs::set_permissions(image.join("suid"), std::fs::Permissions::from_mode(0o4755)).expect("chmod");
    std::fs::set_permissions(&image, std::fs::Permissions::from_mode(0o2750)).expect("chmod");
    symlink("/etc/passwd", image.join("link")).expect("link");
    symlink("/data", b.rootfs().join("alias")).expect("link");
    symlink("../../../../data", b.rootfs().join("climber")).expect("link");
    // Without it, only the mode is taken over.
    b.spec.mounts.push(mount("/data", "tmpfs", "tmpfs", &[]));
    let script = "stat -c '%a %u %g %n' /data /data/*; readlink /data/link; cat /data/file; touch /data/new && echo ok";
    let out = b.script(script).run();
    assert!(common::text(&out).starts_with("2750 0 0 /data\n"), "{out:?}");
    for destination in ["/data", "/alias", "/climber"] {
        b.spec.mounts.pop();
        b.spec.mounts.push(mount(destination, "tmpfs", "tmpfs", &["tmpcopyup"]));
        let out = b.output(script);
        for words in ["2750 0 0 /data\n", "604 7 8 /data/file\n", "755 9 10 /data/sub\n", "4755 0 0 /data/suid\n"] {
            assert!(out.contains(words), "{destination}: {words} in {out}");
        }
        assert!(out.ends_with("/etc/passwd\ncontentok\n"), "{destination}: {out}");
    }
    assert!(!image.join("new").exists(), "the image is not changed");
    // A mode of its own is kept; a missing place is made; read-only comes after the copy.
    b.spec.mounts.pop();
    writable(&mut b);
    b.spec.mounts.push(mount("/data", "tmpfs", "tmpfs", &["tmpcopyup", "mode=700", "ro"]));
    b.spec.mounts.push(mount("/none/here", "tmpfs", "tmpfs", &["tmpcopyup"]));
    let out = b.output("stat -c '%a' /data; cat /data/file; touch /data/x 2>&1; ls /none/here | wc -l");
    assert!(out.starts_with("700\ncontent") && out.contains("Read-only") && out.ends_with("0\n"), "{out}");
    b.spec.mounts.push(mount("/x", "proc", "proc", &["tmpcopyup"]));
    assert!(b.failure().contains("\"tmpcopyup\" needs type tmpfs"));
}

#[test]
fn files_are_bound_on_targets_that_are_made() {
    let Some(mut b) = bench() else { return };
    let source = directory(&b, "source");
    std::fs::write(source.join("f"), "content").expect("write");
    symlink("f", source.join("l")).expect("link");
    writable(&mut b);
    b.spec.mounts.push(mount("/made/deep/file", "bind", source.join("f"), &["bind"]));
    b.spec.mounts.push(mount("/etc/passwd", "bind", source.join("l"), &["bind", "ro"]));
    // Relative to the bundle.
    b.spec.mounts.push(mount("relative/dir", "bind", "../source", &["rbind"]));
    let out = b.script("cat /made/deep/file /etc/passwd /relative/dir/f; cat /proc/self/mountinfo").run();
    assert!(common::text(&out).starts_with("contentcontentcontent"), "{out:?}");
    assert!(String::from_utf8_lossy(&out.stderr).contains("relative/dir is not absolute"), "{out:?}");
    let made = std::fs::metadata(b.rootfs().join("made/deep/file")).expect("made");
    assert_eq!((made.mode() & 0o7777, made.len()), (0o644, 0));
    b.spec.mounts.push(mount("/tmp/x", "bind", source.join("missing"), &["bind"]));
    let error = b.failure();
    assert!(error.contains("at \"/tmp/x\"") && error.contains("no such file"), "{error}");
    b.spec.mounts.pop();
    b.spec.mounts.push(mount("/tmp", "bind", source.join("f"), &["bind"]));
    assert!(b.failure().contains("at \"/tmp\""), "a file cannot cover a directory");
    b.spec.mounts.pop();
    b.spec.mounts.push(mount("/tmp", "bind", &source, &["bind", "size=1m"]));
    assert!(b.failure().contains("bind mounts cannot have any filesystem-specific options applied"));
    b.spec.mounts.pop();
    b.spec.mounts.push(mount("/tmp", "tmpfs", "tmpfs", &["no-such-option"]));
    let error = b.failure();
    assert!(error.contains("at \"/tmp\"") && error.contains("invalid argument"), "{error}");
    b.spec.mounts.pop();
    b.spec.mounts.push(mount("/tmp", "no-such-filesystem", "x", &[]));
    assert!(b.failure().contains("no such device"));
}

#[test]
fn links_are_bound_covered_or_copied_where_crun_does_it() {
    let Some(mut b) = bench() else { return };
    let source = directory(&b, "source");
    std::fs::write(source.join("f"), "content").expect("write");
    symlink("/etc/passwd", source.join("l")).expect("link");
    std::fs::write(b.rootfs().join("target"), "").expect("write");
    symlink("/target", b.rootfs().join("covered")).expect("link");
    writable(&mut b);
    b.spec.mounts.push(mount("/covered", "bind", source.join("l"), &["bind", "src-nofollow", "dest-nofollow"]));
    b.spec.mounts.push(mount("/made/link", "bind", source.join("l"), &["bind", "copy-symlink"]));
    b.spec.mounts.push(mount("/made/file", "bind", source.join("f"), &["bind", "copy-symlink"]));
    let script = "readlink /covered; readlink /made/link; cat /made/file; wc -c < /target";
    assert_eq!(b.output(script), "/etc/passwd\n/etc/passwd\ncontent0\n");
    assert_eq!(b.output(script), "/etc/passwd\n/etc/passwd\ncontent0\n", "the link that is there is the same");
    std::fs::remove_file(b.rootfs().join("made/link")).expect("remove");
    symlink("elsewhere", b.rootfs().join("made/link")).expect("link");
    b.script("true");
    assert!(b.failure().contains("something else is there already"));
    let original = b.spec.mounts[..b.spec.mounts.len() - 3].to_vec();
    for (destination, kind, options, words) in [
        ("/none", "bind", &["bind", "dest-nofollow"][..], "open /none in the rootfs"),
        ("/proc/cpuinfo", "bind", &["bind", "dest-nofollow"][..], "override of the mount destination"),
        ("/tmp", "bind", &["bind", "copy-symlink", "src-nofollow"][..], "excludes"),
        ("/tmp", "tmpfs", &["copy-symlink"][..], "are for new bind mounts"),
    ] {
        b.spec.mounts.clone_from(&original);
        b.spec.mounts.push(mount(destination, kind, source.join("f"), options));
        let error = b.failure();
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[test]
fn propagation_of_each_mount() {
    let Some(mut b) = bench() else { return };
    own_mounts();
    let host = host_tmpfs(&b, "shared", MountFlags::empty());
    std::fs::create_dir(host.join("below")).expect("mkdir");
    rustix::mount::mount(c"t", host.join("below"), c"tmpfs", MountFlags::empty(), c"").expect("mount");
    rustix::mount::mount_change(&host, MountPropagationFlags::SHARED | MountPropagationFlags::REC).expect("shared");
    writable(&mut b);
    let cases = [
        ("private", " - ", "master:", true),
        ("rprivate", " - ", "master:", false),
        ("slave", "master:", "shared:", true),
        ("rslave", "master:", "shared:", false),
        ("shared", "shared:", "unbindable", true),
        ("rshared", "shared:", "unbindable", false),
        ("unbindable", "unbindable", "shared:", true),
        ("runbindable", "unbindable", "shared:", false),
    ];
    for (word, ..) in cases {
        b.spec.mounts.push(mount(&format!("/tmp/{word}"), "bind", &host, &["rbind", word]));
    }
    b.spec.mounts.push(mount("/tmp/fs", "tmpfs", "tmpfs", &["shared"]));
    let out = b.output(MOUNTS);
    for (word, has, has_not, alone) in cases {
        let (top, below) = (line(&out, &format!("/tmp/{word}")), line(&out, &format!("/tmp/{word}/below")));
        assert!(top.contains(has) && !top.contains(has_not), "{word}: {top}");
        if !alone {
            assert!(below.contains(has) && !below.contains(has_not), "{word}: {below}");
        }
    }
    assert!(line(&out, "/tmp/fs").contains("shared:"), "{out}");
}

#[test]
fn proc_is_proc_and_nothing_is_put_below() {
    let Some(mut b) = bench() else { return };
    let source = directory(&b, "source");
    std::fs::write(source.join("f"), "false\n").expect("write");
    b.spec.mounts.push(mount("/proc/cpuinfo", "bind", source.join("f"), &["bind"]));
    b.spec.mounts.push(mount("/proc/uptime", "bind", source.join("f"), &["bind"]));
    assert_eq!(b.output("cat /proc/cpuinfo /proc/uptime"), "false\nfalse\n", "as lxcfs does it");
    b.spec.mounts.truncate(b.spec.mounts.len() - 2);
    let original = b.spec.clone();
    for (destination, kind, options, words) in [
        ("/proc/self", "tmpfs", &[][..], "cannot be mounted because it is inside /proc"),
        ("/proc/sys", "bind", &["bind"][..], "cannot be mounted because it is inside /proc"),
        ("/proc", "tmpfs", &[][..], "\"/proc\" cannot be mounted because it is not of type proc"),
        ("/proc", "bind", &["bind"][..], "\"/proc\" cannot be mounted because it is not of type proc"),
        ("/", "tmpfs", &[][..], "the root itself cannot be a mount's destination"),
    ] {
        b.spec = original.clone();
        b.spec.mounts.push(mount(destination, kind, &source, options));
        b.script("true");
        let error = b.failure();
        assert!(error.contains(words), "{destination} {kind}: {error}");
    }
    // The host's procfs may be bound, as it is where the PID namespace is the host's.
    b.spec = original;
    b.spec.mounts.retain(|m| m.destination != "/proc");
    b.spec.mounts.insert(0, mount("/proc", "bind", "/proc", &["rbind"]));
    assert_eq!(b.output("test -d /proc/1 && echo there"), "there\n");
}

#[test]
fn mqueue_devpts_and_shm_are_the_containers_own() {
    let Some(mut b) = bench() else { return };
    let out = b.output("cat /proc/self/mountinfo; stat -c '%a' /dev/pts/ptmx /dev/shm; stat -c '%t %T' /dev/null");
    assert!(line(&out, "/dev/mqueue").contains(" - mqueue "), "{out}");
    assert!(line(&out, "/dev/pts").contains("gid=5,mode=620,ptmxmode=666"), "{out}");
    assert!(line(&out, "/dev/shm").contains("size=65536k") && out.contains("\n666\n1777\n1 3\n"), "{out}");
    assert!(line(&out, "/sys").starts_with("/sys ro,nosuid,nodev,noexec"), "{out}");
}

#[test]
fn a_user_namespace_has_all_the_mounts() {
    let Some(mut b) = bench() else { return };
    in_user_namespace(&mut b);
    let out = b.output(MOUNTS);
    for (point, words) in [
        ("/proc", " - proc "),
        ("/dev", "uid=100000,gid=200000"),
        ("/dev/pts", "gid=200005,mode=620"),
        ("/dev/mqueue", " - mqueue "),
        ("/sys", " - sysfs "),
        ("/dev/null", "/null"),
        ("/sys/fs/cgroup", "cgroup"),
        ("/proc/sys", " ro,"),
    ] {
        let all: String = out.lines().filter(|l| l.split(' ').nth(4) == Some(point)).collect();
        assert!(all.contains(words), "{point}: {out}");
    }
    // Group 5 of the terminals must exist there.
    b.linux().gid_mappings = map(0, 200_000, 1);
    b.script("true");
    let error = b.failure();
    assert!(error.contains("\"/dev/pts\"") && error.contains("is its gid mapped"), "{error}");
}

#[test]
fn without_a_network_namespace_of_its_own_a_user_namespace_sees_the_hosts_sysfs() {
    let Some(mut b) = bench() else { return };
    in_user_namespace(&mut b);
    b.linux().namespaces.retain(|n| n.kind != "network");
    let out = b.output(
        "cat /proc/self/mountinfo; ls /sys/class/net; (echo x > /sys/kernel/mm/ksm/run) 2>/dev/null || echo readonly",
    );
    let sys: Vec<_> = out.lines().filter(|l| l.split(' ').nth(4).is_some_and(|p| p.starts_with("/sys"))).collect();
    let host = std::fs::read_dir("/sys/class/net").expect("net").count();
    assert!(!sys.is_empty() && sys.iter().all(|l| l.split(' ').nth(5).is_some_and(|o| o.starts_with("ro"))), "{out}");
    assert!(out.ends_with("readonly\n") && out.lines().rev().take(host + 1).any(|l| l == "lo"), "{out}");
    // Without "ro" it would be the host's to write to.
    for mount in b.spec.mounts.iter_mut().filter(|m| m.destination == "/sys") {
        mount.options.retain(|o| o != "ro");
    }
    b.script("true");
    assert!(b.failure().contains("error mounting \"sysfs\" to rootfs at \"/sys\": operation not permitted"));
}

#[test]
fn cgroups_are_shown_with_and_without_a_namespace() {
    let Some(mut b) = bench() else { return };
    writable(&mut b);
    let v2 = b.v2();
    let own = format!("/{}/c", b.id);
    for namespace in [true, false] {
        if !namespace {
            b.linux().namespaces.retain(|n| n.kind != "cgroup");
        }
        b.spec.mounts.retain(|m| m.destination != "/sys/fs/cgroup");
        b.spec.mounts.push(mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "noexec", "nodev", "ro", "shared"]));
        let out = b.output("cat /proc/self/mountinfo; echo; cat /proc/self/cgroup");
        let (mounts, cgroups) = out.split_once("\n\n").expect("both");
        let top = line(mounts, "/sys/fs/cgroup");
        assert!(top.starts_with("/sys/fs/cgroup ro,") && top.contains("shared:"), "{out}");
        let root = cgroups.lines().rfind(|l| l.contains("pids") || l.starts_with("0::/")).expect("a line");
        assert_eq!(root.ends_with(&own), !namespace, "{out}");
        if v2 {
            assert!(top.contains("cgroup2"), "{out}");
            continue;
        }
        let pids = line(mounts, "/sys/fs/cgroup/pids");
        assert!(pids.contains(" ro,nosuid,nodev,noexec") && pids.contains(" - cgroup "), "{out}");
    }
    // Read-only for the whole tree at once.
    b.linux().namespaces.push(Namespace { kind: "cgroup".into(), path: None });
    b.spec.mounts.retain(|m| m.destination != "/sys/fs/cgroup");
    b.spec.mounts.push(mount("/sys/fs/cgroup", "cgroup", "cgroup", &["nosuid", "rro"]));
    let out = b.output("cat /proc/self/mountinfo; mkdir /sys/fs/cgroup/x /sys/fs/cgroup/pids/x 2>/dev/null || echo no");
    let all: Vec<_> =
        out.lines().filter(|l| l.split(' ').nth(4).is_some_and(|p| p.starts_with("/sys/fs/cgroup"))).collect();
    assert!(!all.is_empty() && all.iter().all(|l| l.split(' ').nth(5).is_some_and(|o| o.starts_with("ro"))), "{out}");
    assert!(out.ends_with("no\n"), "{out}");
}

#[test]
fn a_source_can_be_what_an_earlier_mount_has_put_into_the_rootfs() {
    for user in [false, true] {
        let Some(mut b) = bench() else { return };
        for name in ["a/x", "b/y", "c/z"] {
            let path = directory(&b, &format!("trees/{name}"));
            std::fs::write(path.join("file"), name).expect("write");
        }
        for name in ["first", "final"] {
            std::fs::create_dir(b.rootfs().join(name)).expect("mkdir");
        }
        if user {
            in_user_namespace(&mut b);
            // Nobody but the host's root passes here.
            let trees = std::fs::Permissions::from_mode(0o700);
            std::fs::set_permissions(b.directory.path().join("trees"), trees).expect("chmod");
        }
        let trees = b.directory.path().join("trees");
        b.spec.mounts.push(mount("/first", "bind", trees.join("a"), &["bind"]));
        b.spec.mounts.push(mount("/first/x", "bind", trees.join("b"), &["bind"]));
        b.spec.mounts.push(mount("/first/x/y", "bind", trees.join("c"), &["bind"]));
        // A destination may be given as the host knows it.
        let destination = b.rootfs().join("final").to_str().expect("path").to_owned();
        b.spec.mounts.push(mount(&destination, "bind", b.rootfs().join("first"), &["rbind", "ro"]));
        assert_eq!(b.output("cat /final/x/y/z/file; touch /final/new 2>/dev/null || echo ro"), "c/zro\n", "{user}");
    }
}

/// The same, with its ids mapped: only the runtime may do it, and only the container's process can open it.
#[test]
fn such_a_source_can_be_id_mapped() {
    for user in [false, true] {
        let Some(mut b) = bench() else { return };
        let source = directory(&b, "source");
        if !maps_ids(&mut b, &source) {
            return;
        }
        std::fs::write(source.join("f"), "").expect("write");
        for name in ["first", "final"] {
            std::fs::create_dir(b.rootfs().join(name)).expect("mkdir");
        }
        let id = if user {
            in_user_namespace(&mut b);
            // The container's 7 is the host's 100007, and is to be seen for the file's 1000.
            100_007
        } else {
            7
        };
        std::os::unix::fs::chown(source.join("f"), Some(1000), Some(1000)).expect("chown");
        b.spec.mounts.push(mount("/first", "bind", &source, &["bind"]));
        let mut mapped = mount("/final", "bind", b.rootfs().join("first"), &["bind"]);
        mapped.uid_mappings = map(1000, id, 1);
        mapped.gid_mappings = map(1000, if user { 200_007 } else { 7 }, 1);
        b.spec.mounts.push(mapped);
        assert_eq!(b.output("stat -c '%u %g' /final/f"), "7 7\n", "{user}");
        b.assert_nothing_left();
    }
}

/// False, with the reason printed, where the kernel cannot map this filesystem's ids.
fn maps_ids(b: &mut Bench, source: &Path) -> bool {
    let spec = b.spec.clone();
    let mut mapped = mount("/tmp", "bind", source, &["bind"]);
    mapped.uid_mappings = map(0, 1, 1);
    mapped.gid_mappings = map(0, 1, 1);
    b.spec.mounts.push(mapped);
    let output = b.script("true").run();
    b.spec = spec;
    let refused = String::from_utf8_lossy(&output.stderr).contains("doesn't support idmap mounts");
    if refused {
        println!("skipped: the kernel maps no ids of the filesystem of {}", source.display());
    }
    !refused
}

#[test]
fn a_mount_has_its_own_id_mapping() {
    let Some(mut b) = bench() else { return };
    let source = directory(&b, "source");
    if !maps_ids(&mut b, &source) {
        return;
    }
    std::fs::write(source.join("f"), "").expect("write");
    std::os::unix::fs::chown(source.join("f"), Some(1000), Some(1001)).expect("chown");
    writable(&mut b);
    let mut mapped = mount("/tmp/a", "bind", &source, &["bind", "ro"]);
    mapped.uid_mappings = map(1000, 5000, 1);
    mapped.gid_mappings = map(1001, 6000, 10);
    b.spec.mounts.push(Mount { destination: "/tmp/b".into(), options: vec!["bind".into()], ..mapped.clone() });
    b.spec.mounts.push(mapped);
    b.spec.mounts.push(mount("/tmp/plain", "bind", &source, &["bind"]));
    let out = b.output("stat -c '%u %g' /tmp/a/f /tmp/b/f /tmp/plain/f; cat /proc/self/mountinfo");
    assert!(out.starts_with("5000 6000\n5000 6000\n1000 1001\n"), "{out}");
    assert!(line(&out, "/tmp/a").contains("ro,") && line(&out, "/tmp/a").contains("idmapped"), "{out}");
    // What is written through it lands with the ids of the other side.
    b.process().user.uid = 5000;
    b.process().user.gid = 6000;
    std::os::unix::fs::chown(&source, Some(1000), Some(1001)).expect("chown");
    b.output("touch /tmp/b/made");
    let made = std::fs::metadata(source.join("made")).expect("made");
    assert_eq!((made.uid(), made.gid()), (1000, 1001));
    b.assert_nothing_left();
}

#[test]
fn a_mount_takes_the_containers_id_mapping() {
    let Some(mut b) = bench() else { return };
    let source = directory(&b, "source");
    if !maps_ids(&mut b, &source) {
        return;
    }
    std::fs::write(source.join("f"), "").expect("write");
    std::os::unix::fs::chown(source.join("f"), Some(1000), Some(1001)).expect("chown");
    in_user_namespace(&mut b);
    // Directories for the mounts, because root of the container may not make them in the image.
    for name in ["tmp/a", "tmp/b"] {
        std::fs::create_dir_all(b.rootfs().join(name)).expect("mkdir");
    }
    b.spec.mounts.push(mount("/tmp/a", "bind", &source, &["rbind", "idmap"]));
    b.spec.mounts.push(mount("/tmp/b", "bind", &source, &["rbind"]));
    let script = "stat -c '%u %g' /tmp/a/f /tmp/b/f";
    assert_eq!(b.output(script), "1000 1001\n65534 65534\n");
    // The same for a namespace by path.
    b.started("exec sleep 100");
    let Some(mut second) = bench() else { return };
    std::fs::set_permissions(second.directory.path(), std::fs::Permissions::from_mode(0o755)).expect("chmod");
    for name in ["tmp/a", "tmp/b"] {
        std::fs::create_dir_all(second.rootfs().join(name)).expect("mkdir");
    }
    let path = Some(format!("/proc/{}/ns/user", b.pid()).into());
    second.linux().namespaces.push(Namespace { kind: "user".into(), path });
    second.spec.mounts.extend(b.spec.mounts.iter().filter(|m| m.destination.starts_with("/tmp/")).cloned());
    assert_eq!(second.output(script), "1000 1001\n65534 65534\n");
}

#[test]
fn only_ridmap_maps_what_is_mounted_below() {
    let Some(mut b) = bench() else { return };
    own_mounts();
    let source = host_tmpfs(&b, "source", MountFlags::empty());
    if !maps_ids(&mut b, &source) {
        return;
    }
    std::fs::create_dir(source.join("below")).expect("mkdir");
    rustix::mount::mount(c"t", source.join("below"), c"tmpfs", MountFlags::empty(), c"").expect("mount");
    for file in ["f", "below/f"] {
        std::fs::write(source.join(file), "").expect("write");
        std::os::unix::fs::chown(source.join(file), Some(1000), Some(1000)).expect("chown");
    }
    writable(&mut b);
    for (destination, options) in
        [("/tmp/a", vec!["rbind"]), ("/tmp/b", vec!["rbind", "idmap"]), ("/tmp/c", vec!["rbind", "ridmap"])]
    {
        let mut mapped = mount(destination, "bind", &source, &options);
        mapped.uid_mappings = map(1000, 5000, 1);
        mapped.gid_mappings = map(1000, 6000, 1);
        b.spec.mounts.push(mapped);
    }
    let out = b.output("stat -c '%u' /tmp/a/f /tmp/a/below/f /tmp/b/f /tmp/b/below/f /tmp/c/f /tmp/c/below/f");
    assert_eq!(out, "5000\n1000\n5000\n1000\n5000\n5000\n");
}

#[test]
fn id_mappings_that_cannot_be_are_refused() {
    let Some(mut b) = bench() else { return };
    b.script("true");
    let original = b.spec.clone();
    let source = directory(&b, "source");
    let plain = |options: &[&str]| mount("/tmp", "bind", &source, options);
    let half = Mount { uid_mappings: map(0, 1, 1), ..plain(&["bind"]) };
    let both = |m: Mount| Mount { uid_mappings: map(0, 1, 1), gid_mappings: map(0, 1, 1), ..m };
    let both_words = "id-mapped mounts must have both uid and gid mappings specified";
    for (m, words) in [
        (half, both_words),
        (plain(&["bind", "idmap"]), both_words),
        (both(mount("/tmp", "tmpfs", "tmpfs", &[])), "id-mapped mounts are only supported for bind-mounts"),
        // Later than the checks: the kernel will not have it.
        (both(mount("/tmp", "bind", "/sys", &["bind"])), "maybe the filesystem used doesn't support idmap mounts"),
        (Mount { uid_mappings: map(0, 1, 0), ..both(plain(&["bind"])) }, "failed to create userns"),
    ] {
        b.spec = original.clone();
        b.spec.mounts.push(m);
        let error = b.failure();
        assert!(error.contains(words), "{words}: {error}");
    }
    // No process of the attempts is left.
    let children = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    assert_eq!(children.trim(), "");
}

#[test]
fn masks_and_readonly_paths_follow_links_inside_only() {
    let Some(mut b) = bench() else { return };
    std::fs::create_dir_all(b.rootfs().join("real/dir")).expect("mkdir");
    std::fs::write(b.rootfs().join("real/file"), "seen").expect("write");
    std::fs::write(b.rootfs().join("real/dir/x"), "seen").expect("write");
    symlink("/real/file", b.rootfs().join("filelink")).expect("link");
    symlink("real/dir", b.rootfs().join("dirlink")).expect("link");
    let outside = directory(&b, "outside");
    std::fs::write(outside.join("x"), "host").expect("write");
    symlink(&outside, b.rootfs().join("out")).expect("link");
    symlink("nowhere", b.rootfs().join("dangling")).expect("link");
    writable(&mut b);
    let words = ["/filelink", "/dirlink", "/dirlink", "/out/x", "/dangling", "/real/file/not", "/none"];
    b.linux().masked_paths = words.map(String::from).into();
    b.linux().readonly_paths = ["/etc", "/etc/passwd", "/none", "/dangling"].map(String::from).into();
    let out = b.output(
        "cat /real/file; ls /real/dir | wc -l; touch /real/dir/y 2>/dev/null || echo masked; \
         (echo >> /etc/passwd) 2>/dev/null || echo readonly; touch /etc/y 2>/dev/null || echo readonly",
    );
    assert_eq!(out, "0\nmasked\nreadonly\nreadonly\n");
    assert_eq!(std::fs::read_to_string(outside.join("x")).expect("read"), "host");
    b.linux().masked_paths.push("relative".into());
    let error = b.failure();
    assert!(error.contains("linux.maskedPaths: \"relative\" must be an absolute path"), "{error}");
}

#[test]
fn readonly_paths_cover_what_is_mounted_below() {
    let Some(mut b) = bench() else { return };
    writable(&mut b);
    b.spec.mounts.push(mount("/tmp/below", "tmpfs", "tmpfs", &["nosuid", "noexec"]));
    b.linux().readonly_paths.push("/tmp".into());
    let out = b.output("touch /tmp/x 2>&1; touch /tmp/below/x 2>&1; cat /proc/self/mountinfo");
    assert_eq!(out.matches("Read-only file system").count(), 2, "{out}");
    assert!(line(&out, "/tmp/below").starts_with("/tmp/below ro,nosuid,noexec"), "{out}");
}

#[test]
fn a_label_needs_selinux() {
    let Some(mut b) = bench() else { return };
    if Path::new("/sys/fs/selinux/enforce").exists() {
        println!("skipped: SELinux is there");
        return;
    }
    b.script("true");
    b.linux().mount_label = Some("system_u:object_r:container_file_t:s0".into());
    let error = b.failure();
    assert!(
        error.contains("linux.mountLabel: selinux label is specified in config, but selinux is disabled"),
        "{error}"
    );
}
