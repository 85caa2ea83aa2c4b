//! Descriptors: those of a careless caller, and the runtime's own.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::process::{Command, Output, Stdio};

use oci::runtime::{Hook, Hooks};

use crate::common::{Bench, bench, text};
use crate::{assert_untouched, victim};

/// A handle that every child of this process inherits, as a careless caller would have it.
fn leak(path: &std::path::Path) -> File {
    let leak = File::open(path).expect("open");
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).expect("setfd");
    leak
}

fn listing(words: &str) -> Vec<String> {
    words.split_whitespace().map(String::from).collect()
}

/// The standard descriptors, and the listing's own.
const ALLOWED: [&str; 4] = ["0", "1", "2", "3"];

/// CVE-2024-21626: whatever the caller has open, neither program nor hooks get it.
#[test]
fn only_the_allowed_descriptors_are_inside() {
    let Some(mut b) = bench() else { return };
    let _leak = leak(b.directory.path());
    let log = b.directory.path().join("hooks");
    // `sh` itself has none open, and `ls` lists its own.
    let hook = |path: &str, script: String| Hook {
        path: path.into(),
        args: vec!["sh".into(), "-c".into(), script],
        env: Some(vec!["PATH=/usr/bin:/bin".into()]),
        timeout: Some(30),
    };
    let outside = |name: &str| vec![hook("/bin/sh", format!("echo {name} $(ls /proc/self/fd) >> {}", log.display()))];
    b.spec.hooks = Some(Hooks {
        prestart: outside("prestart"),
        create_runtime: outside("createRuntime"),
        create_container: outside("createContainer"),
        start_container: vec![hook("/bin/sh", "ls /proc/self/fd > /tmp/start; true".into())],
        poststart: outside("poststart"),
        poststop: outside("poststop"),
    });
    b.spec.root.as_mut().expect("root").readonly = false;
    b.started("ls /proc/self/fd > /tmp/init; exec sleep 100");
    let read = |b: &Bench, name: &str| fs::read_to_string(b.rootfs().join("tmp").join(name)).unwrap_or_default();
    b.until("the listing", || !read(&b, "init").is_empty());
    assert_eq!(listing(&read(&b, "init")), ALLOWED, "the container's own process");
    assert_eq!(listing(&read(&b, "start")), ALLOWED, "startContainer");
    let id = b.id.clone();
    assert_eq!(listing(&b.ok(&["exec", &id, "ls", "/proc/self/fd"])), ALLOWED, "exec");
    b.ok(&["delete", "--force", &id]);
    let hooks = fs::read_to_string(&log).expect("hooks ran");
    let names = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];
    let lines: Vec<Vec<String>> = hooks.lines().map(listing).collect();
    assert_eq!(lines.iter().map(|l| l[0].as_str()).collect::<Vec<_>>(), names);
    for line in lines {
        // A subshell of dash holds the pipe of `$(…)` as its standard output.
        assert_eq!(line[1..], ALLOWED, "{}", line[0]);
    }
}

/// Runs the container with extra descriptors, which a shell opens.
fn run_with(b: &mut Bench, script: &str, opened: &str, options: &str) -> Output {
    b.script(script).write_config();
    let command = format!(
        "exec {opened}; exec {} --root {} --log {} run {options} --bundle {} {}",
        b.runtime.display(),
        b.state_root().display(),
        b.directory.path().join("log").display(),
        b.bundle().display(),
        b.id
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &command]).stdin(Stdio::null());
    shell.output().expect("sh")
}

/// Numbers that were announced and are not open are not filled with the runtime's own descriptors.
#[test]
fn an_announced_descriptor_is_never_one_of_ours() {
    let Some(mut b) = bench() else { return };
    let output = run_with(&mut b, "true", "3<&-", "--preserve-fds 2");
    let log = fs::read_to_string(b.directory.path().join("log")).expect("log");
    assert!(!output.status.success() && log.contains("preserved-fd 0 (of 2) is present"), "{log}");
    b.assert_nothing_left();
    let output = run_with(&mut b, "true", "3</dev/null", "--preserve-fds 2");
    let log = fs::read_to_string(b.directory.path().join("log")).expect("log");
    assert!(!output.status.success() && log.contains("preserved-fd 1 (of 2) is present"), "{log}");
    // One that is open arrives, and not one more.
    let script = "ls /proc/self/fd; readlink /proc/self/fd/3";
    let out = text(&run_with(&mut b, script, "3</etc/passwd 4</etc/group 7</", "--preserve-fds 1"));
    assert_eq!(listing(&out), ["0", "1", "2", "3", "4", "/etc/passwd"], "4 is the listing's own");
    // Sockets of a service manager: two are announced, none is there.
    let list = "ls /proc/self/fd; echo $LISTEN_FDS $LISTEN_PID";
    let out = text(&run_with(&mut b, list, "3<&- 4<&-; export LISTEN_FDS=2", ""));
    assert_eq!(listing(&out), ["0", "1", "2", "3", "2", "1"]);
    let out = text(&run_with(&mut b, list, "3</etc/passwd 4</etc/group; export LISTEN_FDS=1 LISTEN_PID=$$", ""));
    assert_eq!(listing(&out), ["0", "1", "2", "3", "4", "1", "1"]);
    // They were somebody else's.
    let out = text(&run_with(&mut b, list, "3</etc/passwd; export LISTEN_FDS=1 LISTEN_PID=1", ""));
    assert_eq!(listing(&out), ["0", "1", "2", "3"]);
}

/// CVE-2024-21626: the working directory, or the program, is a handle that is still open. In `run` and in `exec`.
#[test]
fn open_handles_lead_nowhere() {
    let Some(mut b) = bench() else { return };
    let victim = victim(&b);
    let script = victim.join("secret");
    let _leak = leak(&victim);
    let number = _leak.as_raw_fd();
    let numbers: Vec<i32> = (3..16).chain([number]).collect();
    b.spec.root.as_mut().expect("root").readonly = false;
    let below = script.to_str().expect("path").to_owned();
    for n in &numbers {
        for directory in [format!("/proc/self/fd/{n}"), format!("/proc/self/fd/{n}/made/deep"), format!("/fd/{n}/made")]
        {
            let _ = fs::remove_file(b.rootfs().join("fd"));
            std::os::unix::fs::symlink("/proc/self/fd", b.rootfs().join("fd")).expect("link");
            b.process().cwd = directory.clone();
            b.script("ls; cat secret");
            let error = b.failure();
            assert!(error.contains("chdir to cwd"), "{directory}: {error}");
        }
        b.process().cwd = "/".into();
        b.process().args = vec![format!("/proc/self/fd/{n}/../../../../../../..{below}")];
        assert!(!b.run().status.success(), "{n}");
    }
    assert_eq!(fs::read_dir(&victim).expect("victim").count(), 1);
    assert_untouched(&victim);
    b.started("exec sleep 100");
    let id = b.id.clone();
    for n in &numbers {
        for directory in [format!("/proc/self/fd/{n}"), format!("/fd/{n}")] {
            let error = b.refused(&["exec", "--cwd", &directory, &id, "sh", "-c", "ls; cat secret"]);
            assert!(error.contains("chdir to cwd"), "{directory}: {error}");
        }
        b.refused(&["exec", &id, &format!("/proc/self/fd/{n}/../../../../../../../bin/true")]);
    }
}

/// A file that others can prepare is not written through.
#[test]
fn the_pid_file_is_written_through_no_link() {
    let Some(mut b) = bench() else { return };
    let victim = victim(&b);
    let place = b.directory.path().join("pids");
    fs::create_dir(&place).expect("mkdir");
    // The name that is written first, and the one that it gets.
    std::os::unix::fs::symlink(victim.join("secret"), place.join(".pid")).expect("link");
    std::os::unix::fs::symlink(victim.join("secret"), place.join("pid")).expect("link");
    b.script("true").write_config();
    let pid = place.join("pid");
    let bundle = b.bundle();
    let id = b.id.clone();
    let output =
        b.call(&["run", "--pid-file", pid.to_str().expect("path"), "--bundle", bundle.to_str().expect("path"), &id]);
    assert!(output.status.success(), "{output:?}");
    assert!(fs::read_to_string(&pid).expect("pid").parse::<u32>().is_ok());
    assert!(!fs::symlink_metadata(&pid).expect("pid").is_symlink());
    assert_untouched(&victim);
}
