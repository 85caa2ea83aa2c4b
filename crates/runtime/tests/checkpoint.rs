//! Checkpoint and restore against a criu that is not one: it speaks the same protocol and does as a test tells it.
//!
//! What the real one makes of it is in `checkpoint_criu.rs`.

mod common;
mod fake_criu;

use std::fs;
use std::io::Read;
use std::mem::MaybeUninit;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use common::{Bench, bench};
use fake_criu::{Stage, number, pairs, parse, strings};

/// The other side: run by the script that stands in criu's place.
#[test]
fn fake_criu() {
    fake_criu::serve_if_asked();
}

fn alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|s| !s.contains(") Z"))
}

/// A bundle and image files, ready for a restore.
fn saved(b: &mut Bench) -> PathBuf {
    let images = b.directory.path().join("images");
    fs::create_dir_all(&images).expect("mkdir");
    fs::write(images.join("descriptors.json"), r#"["/dev/null","pipe:[123]","/dev/pts/0"]"#).expect("descriptors");
    fs::write(b.bundle().join("config.json"), serde_json::to_vec(&b.spec).expect("JSON")).expect("config");
    images
}

#[test]
fn a_machine_without_criu_says_so() {
    let Some(mut b) = bench() else { return };
    b.started("exec sleep 100");
    let id = b.id.clone();
    let words = "CRIU version check failed: exec: \"criu\": executable file not found in $PATH";
    let call = |args: &[&str]| {
        let output = b.command(args).env("PATH", "/nowhere:.").current_dir(b.directory.path()).output().expect("call");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).replace("\\\"", "\"")
    };
    let error = call(&["checkpoint", &id]);
    assert!(error.contains(words), "{error}");
    assert_eq!(b.status(), "running");
    let bundle = b.bundle();
    let error = call(&["restore", "-d", "--bundle", bundle.to_str().expect("path"), "other"]);
    assert!(error.contains(words), "{error}");
    assert!(!b.state_root().join("other").exists());
}

#[test]
fn states_and_options_are_checked_first() {
    let Some(mut b) = bench() else { return };
    let stage = Stage::new(&b);
    let id = b.id.clone();
    b.script("exec sleep 100");
    assert!(b.create().status.success());
    assert!(
        stage.refused(&b, "ok", &["checkpoint", &id]).contains("Container cannot be checkpointed in created state")
    );
    b.ok(&["start", &id]);
    fs::create_dir(b.directory.path().join("img")).expect("mkdir");
    fs::write(b.directory.path().join("file"), "").expect("file");
    for (option, value, word) in [
        ("--parent-path", "/absolute", "--parent-path must be relative"),
        ("--parent-path", "./missing", "invalid --parent-path"),
        ("--parent-path", "../file", "invalid --parent-path"),
        ("--page-server", "nowhere", "Use --page-server ADDRESS:PORT"),
        ("--page-server", "host:http", "Invalid port number"),
        ("--manage-cgroups-mode", "props", "manage-cgroups-mode"),
        ("--empty-ns", "ipc", "namespace \"ipc\" is not supported"),
        ("--status-fd", "77", "invalid --status-fd argument 77"),
        ("--status-fd", "x", "invalid value \"x\" for flag -status-fd"),
    ] {
        let error = stage.refused(&b, "ok", &["checkpoint", "--image-path", "img", option, value, &id]);
        assert!(error.contains(word), "{option} {value}: {error}");
    }
    assert!(stage.refused(&b, "ok", &["checkpoint"]).contains("requires exactly 1 argument(s)"));
    assert!(stage.refused(&b, "ok", &["checkpoint", "nosuch"]).contains("does not exist"));
    assert_eq!(b.status(), "running");
    assert!(!stage.notes.join("options").exists(), "criu was not asked");
    b.ok(&["kill", &id, "9"]);
    b.until("the end", || b.status() == "stopped");
    let error = stage.refused(&b, "ok", &["checkpoint", &id]);
    assert!(error.contains("Container cannot be checkpointed in stopped state"), "{error}");
}

#[test]
fn a_checkpoint_tells_criu_of_the_container() {
    let Some(mut b) = bench() else { return };
    let stage = Stage::new(&b);
    let id = b.id.clone();
    let stopped = b.directory.path().join("stopped");
    b.spec.hooks = Some(oci::runtime::Hooks {
        poststop: vec![oci::runtime::Hook {
            path: "/usr/bin/touch".into(),
            args: vec!["touch".into(), stopped.to_str().expect("path").into()],
            ..Default::default()
        }],
        ..Default::default()
    });
    // A bind mount whose destination is a link in the rootfs.
    fs::create_dir_all(b.rootfs().join("real/conf")).expect("mkdir");
    std::os::unix::fs::symlink("/real/conf", b.rootfs().join("conf")).expect("link");
    b.spec.mounts.push(oci::runtime::Mount {
        destination: "/conf".into(),
        kind: Some("bind".into()),
        source: Some(".".into()),
        options: vec!["bind".into()],
        ..Default::default()
    });
    b.linux().masked_paths.push("/etc/passwd".into());
    b.started("exec sleep 100");
    let pid = b.pid();
    stage.ok(
        &b,
        "ok",
        &[
            "checkpoint",
            "--leave-running",
            "--tcp-established",
            "--tcp-skip-in-flight",
            "--file-locks",
            "--image-path",
            "img",
            "--work-path",
            "work",
            "--manage-cgroups-mode",
            "strict",
            &id,
        ],
    );
    assert_eq!(b.status(), "running");
    let options = stage.options();
    for (field, value) in
        [(2, pid as u64), (3, 1), (4, 0), (5, 1), (7, 0), (8, 1), (34, 5), (38, 0x4000_0000), (46, 1), (50, 1)]
    {
        assert_eq!(number(&options, field), Some(value), "field {field}");
    }
    assert_eq!(strings(&options, 10), ["dump.log"]);
    assert_eq!(strings(&options, 13), [b.rootfs().to_str().expect("path")]);
    assert_eq!(strings(&options, 51), ["/etc/criu/runc.conf"]);
    assert_eq!(strings(&options, 37), [] as [&str; 0], "no external namespaces");
    assert!(Path::new(&strings(&options, 44).concat()).starts_with("/sys/fs/cgroup"), "the freezer");
    let mounts = pairs(&options, 23);
    assert!(mounts.contains(&("/real/conf".into(), "/real/conf".into())), "{mounts:?}");
    assert!(mounts.contains(&("/etc/passwd".into(), "/dev/null".into())), "{mounts:?}");
    assert!(!mounts.iter().any(|m| m.0 == "/sys/firmware"), "masked directories are saved: {mounts:?}");
    let names: Vec<String> =
        serde_json::from_slice(&fs::read(b.directory.path().join("img/descriptors.json")).expect("descriptors"))
            .expect("JSON");
    assert_eq!(names.len(), 3);
    assert_eq!(names[0], "/dev/null");
    // And again, for good; the default place is below the working directory.
    stage.ok(&b, "ok", &["checkpoint", &id]);
    assert!(b.directory.path().join("checkpoint/inventory.img").exists());
    assert!(stopped.exists(), "poststop hooks are run");
    assert!(b.refused(&["state", &id]).contains("does not exist"));
    b.assert_nothing_left();
}

#[test]
fn a_pre_dump_leaves_the_container_and_a_parent_is_named() {
    let Some(mut b) = bench() else { return };
    let stage = Stage::new(&b);
    let id = b.id.clone();
    b.started("exec sleep 100");
    let error = stage.refused(&b, "nofeature", &["checkpoint", "--pre-dump", "--image-path", "parent", &id]);
    assert!(error.contains("criu is missing features: [MemTrack]"), "{error}");
    let error = stage.refused(&b, "nofeature", &["checkpoint", "--lazy-pages", "--image-path", "parent", &id]);
    assert!(error.contains("criu is missing features: [LazyPages]"), "{error}");
    stage.ok(&b, "ok", &["checkpoint", "--pre-dump", "--image-path", "parent", &id]);
    assert_eq!(b.status(), "running");
    let options = stage.options();
    assert_eq!(strings(&options, 14), [] as [&str; 0]);
    assert!(pairs(&options, 23).is_empty());
    fs::create_dir(b.directory.path().join("img")).expect("mkdir");
    stage.ok(&b, "ok", &["checkpoint", "--parent-path", "../parent", "--image-path", "img", "--leave-running", &id]);
    let options = stage.options();
    assert_eq!(strings(&options, 14), ["../parent"]);
    assert_eq!(number(&options, 15), Some(1), "memory is tracked");
}

#[test]
fn lazy_pages_report_when_they_are_ready() {
    let Some(mut b) = bench() else { return };
    let stage = Stage::new(&b);
    let id = b.id.clone();
    b.started("exec sleep 100");
    let status = b.directory.path().join("status");
    fs::write(&status, "").expect("file");
    // The shell hands over descriptor 9.
    let mut shell = std::process::Command::new("/bin/sh");
    shell
        .arg("-c")
        .arg("exec \"$@\" 9>status")
        .args(["sh", common::RUNTIME, "--root"])
        .arg(b.state_root())
        .args(["checkpoint", "--lazy-pages", "--status-fd", "9", "--page-server", "127.0.0.1:27277", &id])
        .env("PATH", &stage.path)
        .env("FAKE_CRIU", "ok")
        .env("FAKE_CRIU_NOTES", &stage.notes)
        .current_dir(b.directory.path());
    let output = shell.output().expect("shell");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read(&status).expect("status"), [0]);
    let options = stage.options();
    assert_eq!((number(&options, 48), number(&options, 49)), (Some(1), None));
    let server = parse(&options.iter().find(|f| f.0 == 11).expect("page server").2);
    assert_eq!((strings(&server, 1).concat().as_str(), number(&server, 2)), ("127.0.0.1", Some(27277)));
    b.assert_nothing_left();
}

#[test]
fn what_goes_wrong_in_criu_leaves_the_container_running() {
    let Some(mut b) = bench() else { return };
    let stage = Stage::new(&b);
    let id = b.id.clone();
    b.started("exec sleep 100");
    for (mode, word) in [
        ("die", "CRIU version check failed: criu failed: unexpected EOF (exit status 3)"),
        ("die-1", "criu failed: unexpected EOF (exit status 3)"),
        ("errno", "CRIU version check failed: criu failed: type VERSION errno 13: no luck"),
        ("errno-1", "criu failed: type DUMP errno 13: no luck"),
        ("garbage", "CRIU version check failed: cannot read criu's answer"),
        ("garbage-1", "cannot read criu's answer"),
        ("huge-1", "criu's answer is longer than 40 KiB"),
        ("other-1", "criu answers PAGE_SERVER_CHLD to DUMP"),
        ("old", "CRIU version 21200 must be 30000 or higher"),
        ("dump-fails", "criu failed: type DUMP errno 0"),
        ("freeze-death", "criu failed: unexpected EOF (exit status 4)"),
        ("dump-orphans", "criu failed: unexpected EOF (exit status 4)"),
    ] {
        let error = stage.refused(&b, mode, &["checkpoint", "--image-path", "img", "--work-path", "work", &id]);
        assert!(error.contains(word), "{mode}: {error}");
        if mode == "dump-fails" {
            // The reason stands in criu's log.
            assert!(error.contains("--- Quoting") && error.contains("3:(00.1) Error (criu/x.c:1): the reason"));
        }
        assert_eq!(b.status(), "running", "{mode}");
    }
}

#[test]
fn a_criu_that_hangs_is_given_up() {
    let Some(mut b) = bench() else { return };
    let stage = Stage::new(&b);
    let id = b.id.clone();
    b.started("exec sleep 100");
    let error = stage.refused(&b, "hang-10", &["checkpoint", &id]);
    assert!(error.contains("CRIU version check failed: criu has not answered for"), "{error}");
    assert_eq!(b.status(), "running");
}

#[test]
fn a_signal_while_criu_is_at_work_is_a_failure_like_any_other() {
    let Some(mut b) = bench() else { return };
    let stage = Stage::new(&b);
    let id = b.id.clone();
    let interrupt = |b: &Bench, mode: &str, args: &[&str], signal: i32| {
        let mut child = stage.command(b, mode, args).spawn().expect("spawn");
        let waits = stage.notes.join("waits");
        b.until("criu at work", || fs::read(&waits).is_ok_and(|pid| !pid.is_empty()));
        let criu: i32 = fs::read_to_string(&waits).expect("pid").parse().expect("number");
        sys::process::kill(child.id().cast_signed(), signal).expect("kill");
        assert_eq!(child.wait().expect("wait").code(), Some(1));
        let said = fs::read_to_string(stage.notes.join("err")).expect("stderr");
        assert!(said.contains(&format!("given up: signal {signal} came while criu was at work")), "{said}");
        assert!(!alive(criu), "criu is over before the runtime is");
        fs::remove_file(&waits).expect("remove");
        let undone = fs::remove_file(stage.notes.join("undone")).is_ok();
        assert_eq!(undone, mode != "freeze-hangs", "criu undoes what it has begun");
    };
    b.started("exec sleep 100");
    interrupt(&b, "dump-waits", &["checkpoint", &id], 15);
    interrupt(&b, "dump-waits", &["checkpoint", "--pre-dump", &id], 2);
    assert_eq!(b.status(), "running");
    // One that does not go is killed, and what it has left frozen is thawed.
    interrupt(&b, "freeze-hangs", &["checkpoint", &id], 3);
    assert_eq!(b.status(), "running");
    b.ok(&["delete", "--force", &id]);
    let images = saved(&mut b);
    let bundle = b.bundle();
    let words = ["restore", "-b", bundle.to_str().expect("path"), "--image-path", images.to_str().expect("path")];
    for more in [&["--detach", &*id] as &[&str], &[&id]] {
        interrupt(&b, "restore-waits", &[&words, more].concat(), 1);
        b.assert_nothing_left();
        b.until("the end of what was half restored", || !alive(stage.pid()));
    }
}

#[test]
fn a_restore_makes_a_container() {
    let Some(mut b) = bench() else { return };
    let stage = Stage::new(&b);
    let id = b.id.clone();
    let hook = |name: &str| oci::runtime::Hook {
        path: "/bin/sh".into(),
        args: ["sh".into(), "-c".into(), format!("cat >{}/{name}", stage.notes.display())].into(),
        ..Default::default()
    };
    b.spec.hooks = Some(oci::runtime::Hooks {
        prestart: vec![hook("prestart")],
        create_runtime: vec![hook("createRuntime")],
        poststop: vec![hook("poststop")],
        ..Default::default()
    });
    let outside = b.directory.path().join("outside");
    fs::create_dir(&outside).expect("mkdir");
    for (destination, source) in [("/data", "outside"), ("/data/deeper", "notes")] {
        b.spec.mounts.push(oci::runtime::Mount {
            destination: destination.into(),
            kind: Some("bind".into()),
            source: Some(b.directory.path().join(source).to_str().expect("path").into()),
            options: vec!["bind".into()],
            ..Default::default()
        });
    }
    let images = saved(&mut b);
    let (images, bundle) = (images.to_str().expect("path"), b.bundle());
    let bundle = bundle.to_str().expect("path");
    let pid_file = b.directory.path().join("pid-file");
    stage.ok(
        &b,
        "ok",
        &[
            "restore",
            "--detach",
            "--bundle",
            bundle,
            "--image-path",
            images,
            "--work-path",
            "work",
            "--tcp-established",
            "--pid-file",
            pid_file.to_str().expect("path"),
            "--lsm-profile",
            "selinux:a:b",
            &id,
        ],
    );
    let pid = stage.pid();
    assert_eq!(b.status(), "running");
    assert_eq!(b.pid(), pid);
    assert_eq!(fs::read_to_string(&pid_file).expect("pid file"), pid.to_string());
    let state: serde_json::Value =
        serde_json::from_slice(&fs::read(stage.notes.join("createRuntime")).expect("state")).expect("JSON");
    assert_eq!((state["pid"].as_i64(), state["status"].as_str()), (Some(i64::from(pid)), Some("creating")));
    assert!(stage.notes.join("prestart").exists());
    let options = stage.options();
    for (field, value) in [(5, 1), (6, 1), (26, 1), (34, 6), (38, 0x4000_0000)] {
        assert_eq!(number(&options, field), Some(value), "field {field}");
    }
    assert_eq!(strings(&options, 10), ["restore.log"]);
    assert_eq!(strings(&options, 53), ["selinux:a:b"]);
    let mounts = pairs(&options, 23);
    assert!(mounts.contains(&("/data".into(), outside.to_str().expect("path").into())), "{mounts:?}");
    assert!(mounts.contains(&("/dev/null".into(), "/dev/null".into())), "{mounts:?}");
    let inherited = parse(&options.iter().find(|f| f.0 == 27).expect("inherited").2);
    assert_eq!((strings(&inherited, 1).concat().as_str(), number(&inherited, 2)), ("pipe:[123]", Some(1)));
    // The mount points exist, and criu has seen the rootfs as a mount that nobody else sees.
    assert!(b.rootfs().join("data").is_dir() && outside.join("deeper").is_dir());
    assert!(fs::read_to_string(stage.notes.join("root")).expect("root").contains("bin"));
    let inside = fs::read_to_string(stage.notes.join("mountinfo")).expect("mountinfo");
    assert_eq!(inside.matches("/criu-root ").count(), 1, "{inside}");
    assert!(!fs::read_to_string("/proc/self/mountinfo").expect("mountinfo").contains("criu-root"));
    assert!(!b.state_root().join(&id).join("criu-root").exists());
    // In the container's cgroup from the beginning.
    let processes = fs::read_to_string(b.cgroup("pids").join("cgroup.procs")).expect("cgroup");
    assert_eq!(processes.trim(), pid.to_string());
    let roots = pairs(&options, 25);
    assert!(roots.iter().any(|(_, path)| path.ends_with(&format!("{id}/c"))), "{roots:?}");
    assert!(stage.refused(&b, "ok", &["restore", "-d", "-b", bundle, &id]).contains("already exists"));
    b.ok(&["delete", "--force", &id]);
    assert!(stage.notes.join("poststop").exists());
    b.until("the end", || !alive(pid));
    b.assert_nothing_left();
}

#[test]
fn a_restore_in_the_foreground_returns_the_status() {
    let Some(mut b) = bench() else { return };
    let stage = Stage::new(&b);
    let id = b.id.clone();
    let images = saved(&mut b);
    let (images, bundle) = (images.to_str().expect("path"), b.bundle());
    let bundle = bundle.to_str().expect("path");
    let output = stage.call(&b, "short", &["restore", "-b", bundle, "--image-path", images, &id]);
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    b.assert_nothing_left();
}

#[test]
fn a_restored_terminal_goes_to_the_console_socket() {
    let Some(mut b) = bench() else { return };
    let stage = Stage::new(&b);
    let id = b.id.clone();
    let images = saved(&mut b);
    let (images, bundle) = (images.to_str().expect("path"), b.bundle());
    let bundle = bundle.to_str().expect("path");
    // Without a terminal in the configuration there is nobody to give it to.
    let error = stage.refused(&b, "terminal", &["restore", "-d", "-b", bundle, "--image-path", images, &id]);
    assert!(error.contains("the checkpoint has a terminal"), "{error}");
    b.until("the end", || !alive(stage.pid()));
    b.assert_nothing_left();
    b.process().terminal = true;
    let _ = saved(&mut b);
    let error = stage.refused(&b, "terminal", &["restore", "-d", "-b", bundle, "--image-path", images, &id]);
    assert!(error.contains("without setting console socket"), "{error}");
    let socket = b.directory.path().join("console");
    let listener = UnixListener::bind(&socket).expect("bind");
    let mut child = stage
        .command(
            &b,
            "terminal",
            &[
                "restore",
                "-d",
                "-b",
                bundle,
                "--image-path",
                images,
                "--console-socket",
                socket.to_str().expect("path"),
                &id,
            ],
        )
        .stdin(Stdio::null())
        .spawn()
        .expect("spawn");
    let (stream, _) = listener.accept().expect("accept");
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = rustix::net::RecvAncillaryBuffer::new(&mut space);
    let mut name = [0; 64];
    let mut parts = [std::io::IoSliceMut::new(&mut name)];
    rustix::net::recvmsg(&stream, &mut parts, &mut control, rustix::net::RecvFlags::CMSG_CLOEXEC).expect("receive");
    let fd = control
        .drain()
        .find_map(|m| match m {
            rustix::net::RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        })
        .expect("a descriptor");
    let mut byte = [1];
    fs::File::from(fd).read_exact(&mut byte).expect("read");
    assert_eq!(byte, [0], "it is what criu has sent");
    assert!(child.wait().expect("wait").success());
    b.ok(&["delete", "-f", &id]);
    b.assert_nothing_left();
}

#[test]
fn a_failed_restore_leaves_nothing() {
    let Some(mut b) = bench() else { return };
    let stage = Stage::new(&b);
    let id = b.id.clone();
    let images = saved(&mut b);
    let (images, bundle) = (images.to_str().expect("path").to_owned(), b.bundle());
    let bundle = bundle.to_str().expect("path");
    let pid_file = b.directory.path().join("no/such/directory/pid");
    let restore = |mode: &str, images: &str, more: &[&str]| {
        let args = [&["restore", "-d", "-b", bundle, "--image-path", images], more, &[id.as_str()]].concat();
        let error = stage.refused(&b, mode, &args);
        b.assert_nothing_left();
        if let Ok(pid) = fs::read_to_string(stage.notes.join("pid")) {
            let pid = pid.parse().expect("number");
            b.until("the end of what was half restored", || !alive(pid));
        }
        error
    };
    for (mode, word) in [
        ("die-2", "criu failed: unexpected EOF (exit status 3)"),
        ("errno-2", "criu failed: type RESTORE errno 13: no luck"),
        ("garbage-2", "cannot read criu's answer"),
        ("other-2", "criu answers PAGE_SERVER_CHLD to RESTORE"),
        ("early-death", "criu failed: unexpected EOF (exit status 4)"),
        ("restore-orphans", "criu failed: unexpected EOF (exit status 4)"),
        ("wrong-pid", "criu says that it has restored process 0"),
        ("late-errno", "criu failed: type RESTORE errno 5"),
        ("late-death", "criu failed: unexpected EOF (exit status 4)"),
        ("bad-end", "criu failed: exit status 9"),
    ] {
        let error = restore(mode, &images, &[]);
        assert!(error.contains(word), "{mode}: {error}");
    }
    assert!(restore("ok", "/nowhere", &[]).contains("no such file or directory"));
    assert!(restore("ok", &images, &["--pid-file", pid_file.to_str().expect("path")]).contains("open "));
    let lsm = ["--lsm-profile", "selinux:x"];
    assert!(restore("criu3.14", &images, &lsm).contains("--lsm-profile requires at least CRIU 3.16"));
    fs::remove_file(Path::new(&images).join("descriptors.json")).expect("remove");
    assert!(restore("ok", &images, &[]).contains("descriptors.json: no such file or directory"));
    fs::write(Path::new(&images).join("descriptors.json"), "{").expect("write");
    assert!(restore("ok", &images, &[]).contains("descriptors.json"));
    // A hook that fails stops it half-way.
    let mut b = b;
    b.spec.hooks = Some(oci::runtime::Hooks {
        create_runtime: vec![oci::runtime::Hook { path: "/bin/false".into(), ..Default::default() }],
        ..Default::default()
    });
    let images = saved(&mut b);
    let images = images.to_str().expect("path");
    let bundle = b.bundle();
    let args = ["restore", "-d", "-b", bundle.to_str().expect("path"), "--image-path", images, &id];
    assert!(stage.refused(&b, "ok", &args).contains("error running createRuntime hook #0"));
    b.until("the end of what was half restored", || !alive(stage.pid()));
    b.assert_nothing_left();
}

#[test]
fn a_restore_that_was_killed_can_be_deleted() {
    let Some(mut b) = bench() else { return };
    let stage = Stage::new(&b);
    let id = b.id.clone();
    b.spec.hooks = Some(oci::runtime::Hooks {
        create_runtime: vec![oci::runtime::Hook {
            path: "/bin/sleep".into(),
            args: vec!["sleep".into(), "20".into()],
            ..Default::default()
        }],
        ..Default::default()
    });
    let images = saved(&mut b);
    let bundle = b.bundle();
    let args =
        ["restore", "-d", "-b", bundle.to_str().expect("path"), "--image-path", images.to_str().expect("path"), &id];
    let mut child = stage.command(&b, "ok", &args).spawn().expect("spawn");
    b.until("the restored process", || stage.notes.join("pid").exists());
    child.kill().expect("kill");
    child.wait().expect("wait");
    b.ok(&["delete", "--force", &id]);
    b.until("the end", || !alive(stage.pid()));
    b.assert_nothing_left();
    assert!(b.rootfs().join("bin/busybox").exists(), "the rootfs is whole");
}

#[test]
fn no_link_gives_a_mount_the_name_of_another() {
    // CVE-2026-119101, CVE-2026-115520: links that the container has made decide what is mounted where.
    let Some(mut b) = bench() else { return };
    let stage = Stage::new(&b);
    for name in ["public", "private"] {
        let source = b.directory.path().join(name);
        fs::create_dir(&source).expect("mkdir");
        fs::create_dir(b.rootfs().join(name)).expect("mkdir");
        b.spec.mounts.push(oci::runtime::Mount {
            destination: format!("/{name}"),
            kind: Some("bind".into()),
            source: Some(source.to_str().expect("path").into()),
            options: vec!["bind".into()],
            ..Default::default()
        });
    }
    let images = saved(&mut b);
    let bundle = b.bundle();
    let id = b.id.clone();
    let words = ["restore", "--detach", "--bundle", bundle.to_str().expect("path"), "--image-path"];
    let words = [&words[..], &[images.to_str().expect("path"), &id]].concat();
    let public = b.rootfs().join("public");
    let outside = b.directory.path().join("outside").display().to_string();
    for (target, refused) in [("private", true), ("/private", true), ("tmp/../private", true), (&*outside, false)] {
        let _ = fs::remove_dir(&public);
        let _ = fs::remove_file(&public);
        std::os::unix::fs::symlink(target, &public).expect("link");
        if refused {
            let error = stage.refused(&b, "ok", &words);
            assert!(error.contains("would be mounted at /private"), "{target}: {error}");
            b.assert_nothing_left();
            continue;
        }
        // Elsewhere in the rootfs it is a place of its own, and nothing of the host's.
        stage.ok(&b, "ok", &words);
        let mounts = pairs(&stage.options(), 23);
        let private = b.directory.path().join("private").display().to_string();
        assert_eq!(mounts.iter().filter(|(place, _)| place == "/private").count(), 1, "{mounts:?}");
        assert!(mounts.contains(&("/private".into(), private)), "{mounts:?}");
        assert!(!Path::new(&outside).exists(), "it was made outside");
    }
}
