//! Malicious images: links, volumes and devices where the runtime looks for its own.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;

use oci::runtime::{Device, IdMapping, Namespace, Resources};

use crate::common::{Bench, bench, text};
use crate::{assert_untouched, mount, victim};

/// The ways a link can point at a directory of the host.
fn links_to(directory: &Path) -> [String; 2] {
    let absolute = directory.to_str().expect("path").to_owned();
    [format!("../../../../../../../../../../../..{absolute}"), absolute]
}

/// CVE-2019-16884: a volume over `/proc` makes the labels that are written there go nowhere.
#[test]
fn only_procfs_is_mounted_on_proc() {
    let Some(mut b) = bench() else { return };
    b.script("true");
    let fake = b.directory.path().join("fake");
    fs::create_dir_all(fake.join("self/attr")).expect("mkdir");
    let original = b.spec.clone();
    for stand_in in
        [mount("/proc", "bind", fake.to_str().expect("path"), &["bind"]), mount("/proc", "tmpfs", "tmpfs", &[])]
    {
        b.spec = original.clone();
        b.spec.mounts.retain(|m| m.destination != "/proc");
        b.spec.mounts.push(stand_in);
        let error = b.failure();
        assert!(error.contains("\"/proc\" cannot be mounted because it is not of type proc"), "{error}");
    }
    b.spec = original;
    b.spec.mounts.push(mount("/proc/self/attr", "tmpfs", "tmpfs", &[]));
    assert!(b.failure().contains("inside /proc"));
}

/// CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2025-54867: `/proc` or `/sys` of the image is a link.
#[test]
fn proc_and_sys_are_ordinary_directories() {
    for (name, filesystem) in [("proc", "proc"), ("sys", "sysfs")] {
        let Some(mut b) = bench() else { return };
        b.script("true");
        let victim = victim(&b);
        let [relative, absolute] = links_to(&victim);
        for target in [relative.as_str(), absolute.as_str(), "tmp", "/tmp", "/missing", "."] {
            let _ = fs::remove_dir(b.rootfs().join(name));
            let _ = fs::remove_file(b.rootfs().join(name));
            symlink(target, b.rootfs().join(name)).expect("link");
            let error = b.failure();
            let words = format!("filesystem \"{filesystem}\" must be mounted on ordinary directory");
            assert!(error.contains(&words), "{name} → {target}: {error}");
        }
        assert_untouched(&victim);
    }
}

/// CVE-2026-41579: `/dev` of the image is a link, and the links of `/dev` are made, or removed, where it points.
#[test]
fn a_link_for_dev_changes_nothing_outside() {
    let Some(mut b) = bench() else { return };
    b.script("test -c /dev/null && readlink /dev/ptmx");
    b.spec.mounts.retain(|m| !m.destination.starts_with("/dev"));
    let victim = victim(&b);
    for target in links_to(&victim) {
        let _ = fs::remove_dir(b.rootfs().join("dev"));
        let _ = fs::remove_file(b.rootfs().join("dev"));
        symlink(&target, b.rootfs().join("dev")).expect("link");
        let masks = std::mem::take(&mut b.linux().masked_paths);
        let output = b.run();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(text(&output), "pts/ptmx\n");
        assert_untouched(&victim);
        b.linux().masked_paths = masks;
        assert!(b.failure().contains("/dev/null"), "nothing is masked with what a link leads to");
        assert_untouched(&victim);
    }
    b.linux().masked_paths.clear();
    // One that exists is replaced in the image, and only there.
    fs::write(victim.join("secret"), "the host's\n").expect("write");
    symlink("/host", victim.join("ptmx")).expect("link");
    assert!(b.run().status.success());
    assert_eq!(fs::read_link(victim.join("ptmx")).expect("still a link"), Path::new("/host"));
}

/// CVE-2025-52565, CVE-2026-88264: `/dev/console` of the image is a link, to a file that would be made or covered.
#[test]
fn a_link_for_the_console_is_not_followed() {
    let Some(mut b) = bench() else { return };
    b.process().terminal = true;
    b.script("echo started");
    b.spec.mounts.retain(|m| m.destination != "/dev");
    let victim = victim(&b);
    let console = b.rootfs().join("dev/console");
    let files = links_to(&victim).map(|directory| format!("{directory}/made"));
    for target in [files[0].as_str(), files[1].as_str(), "/proc/sys/kernel/core_pattern", "/proc/self/fd/0", "/made"] {
        let _ = fs::remove_file(&console);
        symlink(target, &console).expect("link");
        let error = b.failure();
        assert!(error.contains("/dev/console in the container is neither a file nor a device"), "{target}: {error}");
        assert_untouched(&victim);
        assert!(!b.rootfs().join("made").exists(), "the link was followed");
    }
    fs::remove_file(&console).expect("remove");
    fs::create_dir(&console).expect("mkdir");
    assert!(b.failure().contains("/dev/console"));
}

/// CVE-2025-31133, CVE-2025-62161, CVE-2026-88265: `/dev/null` of the image is a link to something worth writing to.
#[test]
fn a_false_null_device_is_no_mask_and_no_stream() {
    let Some(mut b) = bench() else { return };
    let victim = victim(&b);
    let dev = b.directory.path().join("dev");
    fs::create_dir(&dev).expect("mkdir");
    fs::write(b.rootfs().join("plain"), "seen").expect("write");
    // The container's /dev is a volume, so the runtime makes nothing in it.
    b.spec.mounts.retain(|m| !m.destination.starts_with("/dev"));
    b.spec.mounts.push(mount("/dev", "bind", dev.to_str().expect("path"), &["bind"]));
    b.spec.mounts.push(mount("/data", "bind", victim.join("secret").to_str().expect("path"), &["bind"]));
    b.script("echo from-inside");
    let masks = std::mem::take(&mut b.linux().masked_paths);
    for target in ["/data", "/proc/sys/kernel/core_pattern", "/plain", "../plain"] {
        let _ = fs::remove_file(dev.join("null"));
        symlink(target, dev.join("null")).expect("link");
        b.linux().masked_paths = masks.clone();
        b.linux().masked_paths.push("/plain".into());
        let error = b.failure();
        assert!(error.contains("/dev/null"), "{target}: {error}");
        // Without masks it is nobody's business what it is, and the streams stay what they are.
        b.linux().masked_paths.clear();
        b.process().user.uid = 1000;
        assert_eq!(b.output("echo from-inside"), "from-inside\n", "{target}");
        b.process().user.uid = 0;
        assert_untouched(&victim);
        assert_eq!(fs::metadata(victim.join("secret")).expect("secret").uid(), 0, "its owner was changed");
    }
}

/// CVE-2019-18837: mounts, devices and the working directory below links of the image.
#[test]
fn links_below_mounts_devices_and_cwd_stay_inside() {
    let Some(mut b) = bench() else { return };
    let victim = victim(&b);
    let [relative, absolute] = links_to(&victim);
    symlink(&relative, b.rootfs().join("up")).expect("link");
    symlink(&absolute, b.rootfs().join("down")).expect("link");
    let source = b.directory.path().join("source");
    fs::write(&source, "").expect("write");
    for link in ["/up", "/down"] {
        b.spec.mounts.push(mount(&format!("{link}/file"), "bind", source.to_str().expect("path"), &["bind"]));
        b.spec.mounts.push(mount(&format!("{link}/tmp"), "tmpfs", "tmpfs", &["tmpcopyup"]));
        b.linux().devices.push(Device {
            path: format!("{link}/dev/zero"),
            kind: "c".into(),
            major: 1,
            minor: 5,
            ..Default::default()
        });
        b.process().cwd = format!("{link}/cwd/deep");
        assert_eq!(
            b.output("test -c /up/dev/zero && test -f /up/file && pwd"),
            format!("{}/cwd/deep\n", victim.display())
        );
        assert_untouched(&victim);
    }
    assert!(b.rootfs().join(absolute.trim_start_matches('/')).join("cwd/deep").is_dir(), "it was made inside");
}

/// CVE-2025-52881, CVE-2025-62596: what the runtime writes to the kernel ends in a file of the image, or in another of
/// the kernel's.
#[test]
fn parameters_are_written_to_the_kernel_itself() {
    let Some(mut b) = bench() else { return };
    let decoys = ["sys/net/ipv4/ip_forward", "sys/kernel/shmmni", "self/oom_score_adj", "self/attr/exec"];
    for decoy in decoys {
        let path = b.rootfs().join("proc").join(decoy);
        fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
        fs::write(&path, "decoy").expect("write");
    }
    b.spec.mounts.retain(|m| m.destination != "/proc");
    b.linux().masked_paths.clear();
    b.linux().readonly_paths.clear();
    b.linux().sysctl = [("net.ipv4.ip_forward", "1"), ("kernel.shmmni", "77")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    b.process().oom_score_adj = Some(500);
    b.started("exec sleep 100");
    let pid = b.pid();
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("score").trim(), "500");
    for decoy in decoys {
        assert_eq!(fs::read_to_string(b.rootfs().join("proc").join(decoy)).expect("decoy"), "decoy", "{decoy}");
    }
    let Some(mut other) = bench() else { return };
    other.spec.hostname = None;
    for (kind, file) in [("network", "net"), ("ipc", "ipc")] {
        let namespace = other.linux().namespaces.iter_mut().find(|n| n.kind == kind).expect(kind);
        namespace.path = Some(format!("/proc/{pid}/ns/{file}").into());
    }
    assert_eq!(other.output("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmni"), "1\n77\n");
}

/// CVE-2021-43784: values so long that their length no longer fits, and what follows is taken for configuration.
#[test]
fn long_values_are_only_values() {
    let Some(mut b) = bench() else { return };
    let map = |host_id, size| vec![IdMapping { container_id: 0, host_id, size }];
    b.linux().namespaces.push(Namespace { kind: "user".into(), path: None });
    b.linux().uid_mappings = map(100_000, 1000);
    b.linux().gid_mappings = map(200_000, 1000);
    let long = "x".repeat(0x1_0008);
    b.process().env.push(format!("LONG={long}"));
    b.spec.annotations = [("long".to_owned(), long.clone())].into();
    let out = b.output("cat /proc/self/uid_map; echo ${#LONG}");
    assert_eq!(out.split_whitespace().collect::<Vec<_>>(), ["0", "100000", "1000", "65544"]);
    let original = b.spec.clone();
    b.linux().uid_mappings = (0..400).map(|i| IdMapping { container_id: i, host_id: 100_000 + i, size: 1 }).collect();
    assert!(b.failure().contains("uid_map"), "more lines than the kernel takes");
    b.spec = original;
    b.linux().namespaces[1].path = Some(format!("/{long}").into());
    assert!(!b.failure().is_empty());
}

/// GHSA-g54h-m393-cpwq: without device rules everything was allowed.
#[test]
fn devices_are_forbidden_unless_allowed() {
    for resources in [None, Some(Resources::default())] {
        let Some(mut b) = bench() else { return };
        let sets = b.process().capabilities.as_mut().expect("capabilities");
        for set in [&mut sets.bounding, &mut sets.permitted, &mut sets.effective] {
            set.push("CAP_MKNOD".into());
        }
        b.linux().resources = resources;
        let script = "for d in 'mem c 1 1' 'kmsg c 1 11' 'zero2 c 1 5'; do set -- $d; busybox mknod /dev/$1 $2 $3 $4; \
                      head -c 1 /dev/$1 >/dev/null 2>&1 && echo $1; done; true";
        assert_eq!(b.output(script), "zero2\n");
        let null = fs::metadata("/dev/null").expect("null");
        assert!(null.file_type().is_char_device());
    }
}

/// The state of the host's `core_pattern`, which many of these attacks are after.
fn core_pattern() -> String {
    fs::read_to_string("/proc/sys/kernel/core_pattern").expect("core_pattern")
}

/// An image's `/etc/passwd` that never ends, never begins, or is not in the image.
#[test]
fn a_strange_passwd_delays_nobody() {
    let Some(mut b) = bench() else { return };
    let before = core_pattern();
    let passwd = b.rootfs().join("etc/passwd");
    let home = |b: &mut Bench| b.output("echo $HOME");
    for target in ["/dev/zero", "/proc/self/fd/0", "/proc/sys/kernel/core_pattern", "/etc"] {
        fs::remove_file(&passwd).expect("remove");
        symlink(target, &passwd).expect("link");
        assert_eq!(home(&mut b), "/\n", "{target}");
    }
    fs::remove_file(&passwd).expect("remove");
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &passwd, kind, rustix::fs::Mode::from_raw_mode(0o644), 0).expect("fifo");
    assert_eq!(home(&mut b), "/\n");
    assert_eq!(core_pattern(), before);
}
