//! A container swaps directories with links in what it shares with a second one, while that one is made again and again.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::common::{Bench, bench, text};
use crate::{assert_untouched, attacker, mount, victim};

/// How often the second container is made.
const ROUNDS: usize = 60;

/// A container that swaps two names of a directory of the host, a link and something else.
fn swapping(directory: &Path, [one, other]: [&str; 2]) -> Option<Bench> {
    let mut b = bench()?;
    attacker::bring(&mut b);
    b.spec.mounts.push(mount("/shared", "bind", directory.to_str().expect("path"), &["bind", "rw"]));
    b.spec.root.as_mut().expect("root").readonly = false;
    let words = attacker::words("exchange", &format!("/shared:{one}:{other}"));
    b.started(&format!("exec env {words}"));
    // Both states have been there, or the race is none.
    let seen = std::cell::RefCell::new(BTreeSet::new());
    b.until("the exchange", || {
        seen.borrow_mut().insert(fs::symlink_metadata(directory.join(one)).is_ok_and(|m| m.is_symlink()));
        seen.borrow().len() == 2
    });
    Some(b)
}

/// A directory to be shared, owned by nobody else.
fn shared(b: &Bench) -> PathBuf {
    let directory = b.directory.path().join("shared");
    fs::create_dir(&directory).expect("mkdir");
    directory
}

fn link_up(victim: &Path) -> String {
    format!("../../../../../../../../../../../..{}", victim.display())
}

/// CVE-2021-30465, CVE-2024-45310: destinations of mounts in a shared volume are made, or mounted on, outside.
#[test]
fn mounts_in_a_shared_volume_stay_inside() {
    for absolute in [false, true] {
        let Some(mut b) = bench() else { return };
        let victim = victim(&b);
        let directory = shared(&b);
        fs::create_dir(directory.join("a")).expect("mkdir");
        let target = if absolute { victim.display().to_string() } else { link_up(&victim) };
        symlink(target, directory.join("b")).expect("link");
        let Some(_attacker) = swapping(&directory, ["a", "b"]) else { return };
        let source = b.directory.path().join("source");
        fs::write(&source, "").expect("write");
        b.spec.mounts.push(mount("/volume", "bind", directory.to_str().expect("path"), &["bind"]));
        b.spec.mounts.push(mount("/volume/a/tmp", "tmpfs", "tmpfs", &["ro"]));
        b.spec.mounts.push(mount("/volume/a/file", "bind", source.to_str().expect("path"), &["bind", "ro"]));
        b.spec.mounts.push(mount("/volume/a/deep/er/dir", "bind", directory.to_str().expect("path"), &["rbind"]));
        b.spec.mounts.push(mount("/volume/a/copy", "tmpfs", "tmpfs", &["tmpcopyup"]));
        b.spec.root.as_mut().expect("root").readonly = false;
        b.script("cat /proc/self/mountinfo");
        let mut made = 0;
        for round in 0..ROUNDS {
            b.process().cwd = format!("/volume/a/cwd{round}");
            let output = b.run();
            assert_untouched(&victim);
            if output.status.success() {
                made += 1;
                assert!(!text(&output).contains(" /victim"), "{output:?}");
            }
        }
        b.assert_nothing_left();
        // What the race is won by is luck; that the container can be made at all is not.
        println!("made {made} of {ROUNDS}");
    }
}

/// CVE-2025-31133, CVE-2025-62161: the null device that masks is swapped with a link.
#[test]
fn a_swapped_null_device_masks_or_fails() {
    let Some(mut b) = bench() else { return };
    let directory = shared(&b);
    let device = rustix::fs::FileType::CharacterDevice;
    let mode = rustix::fs::Mode::from_raw_mode(0o666);
    rustix::fs::mknodat(rustix::fs::CWD, directory.join("a"), device, mode, rustix::fs::makedev(1, 3)).expect("mknod");
    symlink("/proc/sys/kernel/core_pattern", directory.join("b")).expect("link");
    let Some(_attacker) = swapping(&directory, ["a", "b"]) else { return };
    fs::write(b.rootfs().join("plain"), "seen").expect("write");
    b.spec.mounts.retain(|m| !m.destination.starts_with("/dev"));
    b.spec.mounts.push(mount("/dev", "bind", directory.to_str().expect("path"), &["bind"]));
    // The volume's name for it is "a"; the link beside it leads there.
    let null = directory.join("null");
    symlink("a", &null).expect("link");
    b.linux().masked_paths = vec!["/plain".into()];
    let masked = "stat -c '%F %t %T' /plain; wc -c < /plain; : > /plain";
    b.script(masked);
    assert!(b.failure().contains("/dev/null"), "a link is no null device, wherever it leads");
    // Now the swapped name itself.
    fs::remove_file(&null).expect("remove");
    b.spec.mounts.last_mut().expect("mount").destination = "/dev-volume".into();
    b.spec.mounts.push(mount("/dev", "tmpfs", "tmpfs", &["mode=755"]));
    let source = directory.join("a");
    b.spec.mounts.push(mount("/dev/null", "bind", source.to_str().expect("path"), &["bind"]));
    let (mut made, mut refused) = (0, 0);
    for _ in 0..ROUNDS {
        b.script(masked);
        let output = b.run();
        if output.status.success() {
            made += 1;
            assert_eq!(text(&output), "character special file 1 3\n0\n");
        } else {
            refused += 1;
        }
    }
    b.assert_nothing_left();
    println!("made {made}, refused {refused}");
    assert!(!fs::read_to_string("/proc/sys/kernel/core_pattern").expect("core_pattern").is_empty());
}

/// CVE-2019-19921, CVE-2023-27561: `/proc` itself is swapped, so that what is masked and read-only is elsewhere.
#[test]
fn a_swapped_proc_is_masked_or_fails() {
    let Some(mut b) = bench() else { return };
    let rootfs = b.rootfs();
    symlink("tmp", rootfs.join("b")).expect("link");
    let Some(_attacker) = swapping(&rootfs, ["proc", "b"]) else { return };
    b.spec.root.as_mut().expect("root").readonly = false;
    // Wherever procfs is now: its timers cannot be read, its switches not be thrown.
    let script = "for p in /proc /b /tmp; do test -e $p/1/stat || continue; \
                  cat $p/timer_list 2>/dev/null | head -c 20; (echo x > $p/sys/kernel/domainname) 2>/dev/null && echo thrown; \
                  done; true";
    let (mut made, mut refused) = (0, 0);
    for _ in 0..ROUNDS {
        let output = b.script(script).run();
        if output.status.success() {
            made += 1;
            assert_eq!(text(&output), "", "procfs is in sight without its masks");
        } else {
            refused += 1;
        }
    }
    println!("made {made}, refused {refused}");
}
