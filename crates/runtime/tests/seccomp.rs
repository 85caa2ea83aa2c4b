//! Filters on real containers: what the kernel does about filtered calls, and what listeners are told.

mod common;
#[path = "common/filters.rs"]
mod filters;

use std::io::{IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use common::{Bench, bench, text};
use filters::{MKDIR, build, policy, rule};
use oci::runtime::{Hook, Hooks, IdMapping, Mount, Namespace, SyscallArg, SyscallRule};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::Value;
use sys::seccomp::{Answer, receive, respond};

/// A container with a filter, in which everybody may write to `/tmp`.
fn filtered(syscalls: Vec<SyscallRule>) -> Option<Bench> {
    let mut b = bench()?;
    b.spec.root.as_mut().expect("root").readonly = false;
    std::fs::set_permissions(b.rootfs().join("tmp"), std::fs::Permissions::from_mode(0o777)).expect("chmod");
    b.linux().seccomp = Some(policy("ALLOW", syscalls));
    Some(b)
}

#[test]
fn errors_are_returned() {
    for (errno, words) in [(None, "Operation not permitted"), (Some(100), "Network is down"), (Some(0), "")] {
        let Some(mut b) = filtered(vec![SyscallRule { errno_ret: errno, ..rule(&MKDIR, "ERRNO") }]) else { return };
        for nnp in [true, false] {
            b.process().no_new_privileges = nnp;
            let out = b.output("mkdir /tmp/x 2>&1; ls /tmp");
            // With error 0 the call succeeds and nothing is done.
            assert!(out.contains(words) && !out.lines().any(|l| l == "x"), "{errno:?}: {out}");
        }
    }
}

#[test]
fn kills_end_the_process() {
    for action in ["KILL", "KILL_THREAD", "KILL_PROCESS", "TRAP"] {
        let Some(mut b) = filtered(vec![rule(&MKDIR, action)]) else { return };
        assert_eq!(b.output("ulimit -c 0; mkdir /tmp/x; echo $?; ls /tmp").trim(), "159", "{action}");
        // The first process itself: SIGSYS is 31.
        b.process().args = ["mkdir", "/tmp/x"].map(String::from).into();
        b.process().rlimits.push(oci::runtime::Rlimit { kind: "RLIMIT_CORE".into(), hard: 0, soft: 0 });
        assert_eq!(b.run().status.code(), Some(128 + 31), "{action}");
        b.assert_nothing_left();
    }
}

#[test]
fn traps_can_be_caught() {
    let Some(mut b) = filtered(vec![rule(&["chdir"], "TRAP")]) else { return };
    // The container's own working directory is entered before the filter is on.
    assert_eq!(b.output("trap 'echo caught' SYS; cd /tmp 2>/dev/null; true").trim(), "caught");
}

/// Runs inside a container: a thread makes a filtered call, the others live or not.
#[test]
#[ignore = "the part of killing_a_thread_leaves_the_others that runs in the container"]
fn inside_a_thread_calls() {
    let _thread = std::thread::spawn(|| std::fs::create_dir("/tmp/x"));
    for _ in 0..200 {
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("main lives");
}

#[test]
fn killing_a_thread_leaves_the_others() {
    for (action, lives) in [("KILL_THREAD", true), ("KILL_PROCESS", false)] {
        let Some(mut b) = filtered(vec![rule(&MKDIR, action)]) else { return };
        let own = std::env::current_exe().expect("exe");
        let places = [("/usr", PathBuf::from("/usr")), ("/lib", "/lib".into()), ("/lib64", "/lib64".into())];
        for (to, from) in places.into_iter().chain([("/probe", own)]).filter(|(_, from)| from.exists()) {
            b.spec.mounts.push(Mount {
                destination: to.into(),
                kind: Some("bind".into()),
                source: Some(from.to_str().expect("path").to_owned()),
                options: ["rbind", "ro"].map(String::from).into(),
                ..Default::default()
            });
        }
        let args = ["/probe", "--ignored", "--exact", "inside_a_thread_calls", "--nocapture", "--test-threads=1"];
        b.process().args = args.map(String::from).into();
        let output = b.run();
        assert_eq!(text(&output).contains("main lives"), lives, "{action}: {output:?}");
        assert_eq!(output.status.code(), Some(if lives { 0 } else { 159 }), "{action}: {output:?}");
    }
}

#[test]
fn a_trace_without_a_tracer_is_no_such_call() {
    let Some(mut b) = filtered(vec![rule(&MKDIR, "TRACE")]) else { return };
    assert!(b.output("mkdir /tmp/x 2>&1; true").contains("Function not implemented"));
}

#[test]
fn logged_calls_are_made_and_logged() {
    let Some(mut b) = filtered(vec![rule(&MKDIR, "LOG")]) else { return };
    let Ok(mut kernel_log) = rustix::fs::open(
        "/dev/kmsg",
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .map(std::fs::File::from) else {
        println!("skipped: /dev/kmsg cannot be read");
        return;
    };
    let _ = rustix::fs::seek(&kernel_log, rustix::fs::SeekFrom::End(0));
    assert_eq!(b.output("mkdir /tmp/x && ls /tmp").trim(), "x");
    let mut log = String::new();
    let mut line = [0; 8192];
    while let Ok(length) = kernel_log.read(&mut line) {
        log += &String::from_utf8_lossy(&line[..length]);
    }
    if !Path::new("/proc/self/loginuid").exists() {
        println!("not looked for in the log: this kernel has no audit");
        return;
    }
    // code=0x7ffc0000 is the action.
    assert!(log.contains("type=1326") && log.contains("code=0x7ffc0000"), "{log}");
}

#[test]
fn conditions_look_at_arguments() {
    let chmod = |op: &str, value, value_two| {
        let condition = |index| vec![SyscallArg { index, value, value_two, op: format!("SCMP_CMP_{op}") }];
        vec![
            SyscallRule { args: condition(1), ..rule(&["chmod"], "ERRNO") },
            SyscallRule { args: condition(2), ..rule(&["fchmodat"], "ERRNO") },
        ]
    };
    let script = "for m in 100 200 300; do chmod $m /tmp/f 2>/dev/null && echo $m; done; true";
    for (op, value, value_two, allowed) in [
        ("EQ", 0o200, 0, "100 300"),
        ("NE", 0o200, 0, "200"),
        ("LT", 0o200, 0, "200 300"),
        ("LE", 0o200, 0, "300"),
        ("GT", 0o200, 0, "100 200"),
        ("GE", 0o200, 0, "100"),
        ("MASKED_EQ", 0o200, 0o200, "100"),
        // Against all 64 bits.
        ("EQ", 1 << 32 | 0o200, 0, "100 200 300"),
        ("LT", 1 << 32, 0, ""),
    ] {
        let Some(mut b) = filtered(chmod(op, value, value_two)) else { return };
        std::fs::write(b.rootfs().join("tmp/f"), "").expect("write");
        let out = b.output(script);
        assert_eq!(out.split_whitespace().collect::<Vec<_>>().join(" "), allowed, "{op} {value:#o}");
    }
}

#[test]
fn unknown_calls_are_skipped_and_unknown_words_refused() {
    let Some(mut b) = filtered(vec![rule(&["no_such_call_ever", "mkdir", "mkdirat"], "ERRNO")]) else { return };
    assert!(b.output("mkdir /tmp/x 2>&1; true").contains("not permitted"));
    b.linux().seccomp.as_mut().expect("seccomp").syscalls[0].action = "SCMP_ACT_EXPLODE".into();
    let error = b.failure();
    assert!(error.contains("linux.seccomp: syscalls[0]: string SCMP_ACT_EXPLODE is not a valid action"), "{error}");
    b.linux().seccomp = Some(policy("ALLOW", vec![rule(&["write"], "NOTIFY")]));
    assert!(b.failure().contains("SCMP_ACT_NOTIFY cannot be used for the write syscall"));
    b.linux().seccomp = Some(policy("ALLOW", vec![rule(&["mkdir"], "NOTIFY")]));
    assert!(b.failure().contains("seccomp listenerPath is not set"));
}

#[test]
fn flags_reach_the_kernel() {
    let Some(mut b) = filtered(vec![rule(&MKDIR, "ERRNO")]) else { return };
    b.script("true");
    let listed = |flags: &[&str]| Some(flags.iter().map(|f| format!("SECCOMP_FILTER_FLAG_{f}")).collect::<Vec<_>>());
    for (flags, number) in [
        (None, 4),
        (listed(&[]), 0),
        (listed(&["TSYNC"]), 0),
        (listed(&["LOG"]), 2),
        (listed(&["SPEC_ALLOW", "LOG", "TSYNC"]), 6),
    ] {
        b.linux().seccomp.as_mut().expect("seccomp").flags = flags.clone();
        let output = b.run_with(&["--debug"]);
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && log.contains(&format!("\"seccomp filter flags: {number}\"")), "{log}");
    }
}

#[test]
fn what_a_container_is_started_with_is_filtered_too() {
    let Some(mut b) = filtered(vec![rule(&MKDIR, "KILL")]) else { return };
    b.process().rlimits.push(oci::runtime::Rlimit { kind: "RLIMIT_CORE".into(), hard: 0, soft: 0 });
    b.spec.hooks = Some(Hooks {
        start_container: vec![Hook {
            path: "/bin/mkdir".into(),
            args: ["mkdir", "/tmp/x"].map(String::from).into(),
            ..Default::default()
        }],
        ..Default::default()
    });
    for nnp in [true, false] {
        b.process().no_new_privileges = nnp;
        let error = b.script("true").failure();
        assert!(error.contains("error running startContainer hook") && error.contains("bad system call"), "{error}");
    }
}

/// What a listener was told: the message, and its descriptor.
type Told = (Value, OwnedFd);

/// Accepts connections and answers calls until it is dropped.
struct Agent {
    path: PathBuf,
    told: Receiver<Value>,
    seen: Receiver<i32>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    fn new(b: &Bench, answer: impl Fn(i32) -> Answer + Send + 'static) -> Self {
        let path = b.directory.path().join("agent");
        let _ = std::fs::remove_file(&path);
        let socket = UnixListener::bind(&path).expect("bind");
        let (tell, told) = channel();
        let (saw, seen) = channel();
        let (stop, stopped) = channel();
        let thread = std::thread::spawn(move || serve(&socket, &tell, &saw, &stopped, answer));
        Self { path, told, seen, stop: Some(stop), thread: Some(thread) }
    }

    fn message(&self) -> Value {
        self.told.recv_timeout(Duration::from_secs(20)).expect("the listener is told")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    socket: &UnixListener,
    tell: &Sender<Value>,
    saw: &Sender<i32>,
    stopped: &Receiver<()>,
    answer: impl Fn(i32) -> Answer,
) {
    let mut descriptors: Vec<OwnedFd> = Vec::new();
    while stopped.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
        let mut fds = vec![PollFd::new(socket, PollFlags::IN)];
        fds.extend(descriptors.iter().map(|d| PollFd::new(d, PollFlags::IN)));
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 20_000_000 })).expect("poll");
        let ready: Vec<PollFlags> = fds.iter().map(|f| f.revents()).collect();
        drop(fds);
        for (descriptor, _) in descriptors.iter().zip(&ready[1..]).filter(|(_, r)| r.contains(PollFlags::IN)) {
            let Ok(call) = receive(descriptor.as_fd()) else { continue };
            let _ = saw.send(call.number);
            let _ = respond(descriptor.as_fd(), call.id, answer(call.number));
        }
        if ready[0].contains(PollFlags::IN) {
            let (message, descriptor) = take(&socket.accept().expect("accept").0);
            descriptors.push(descriptor);
            let _ = tell.send(message);
        }
    }
}

/// Reads one message, in one go as agents do: runc keeps the line open.
fn take(stream: &UnixStream) -> Told {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut text = vec![0; 65536];
    let got = recvmsg(stream, &mut [IoSliceMut::new(&mut text)], &mut control, RecvFlags::CMSG_CLOEXEC).expect("recv");
    text.truncate(got.bytes);
    let mut descriptors: Vec<OwnedFd> = control
        .drain()
        .filter_map(|m| if let RecvAncillaryMessage::ScmRights(fds) = m { Some(fds) } else { None })
        .flatten()
        .collect();
    assert_eq!(descriptors.len(), 1);
    (serde_json::from_slice(&text).expect("JSON"), descriptors.remove(0))
}

/// A container whose calls go to an agent.
fn notified(names: &[&str], answer: impl Fn(i32) -> Answer + Send + 'static) -> Option<(Bench, Agent)> {
    let mut b = filtered(vec![rule(names, "NOTIFY")])?;
    let agent = Agent::new(&b, answer);
    let seccomp = b.linux().seccomp.as_mut().expect("seccomp");
    seccomp.listener_path = Some(agent.path.clone());
    seccomp.listener_metadata = Some("bar".into());
    b.spec.annotations.insert("org.example".into(), "yes".into());
    Some((b, agent))
}

const ENOMEDIUM: i32 = 123;

fn no_medium(_: i32) -> Answer {
    Answer::Failure(ENOMEDIUM)
}

#[test]
fn a_listener_answers_for_a_container_and_what_is_added() {
    for nnp in [false, true] {
        let Some((mut b, agent)) = notified(&MKDIR, no_medium) else { return };
        b.process().no_new_privileges = nnp;
        // A user, whose process the runtime's handle must reach as well.
        b.process().user.uid = if nnp { 1000 } else { 0 };
        b.started("mkdir /tmp/x 2>/tmp/err; exec sleep 100");
        let told = agent.message();
        let pid = b.pid();
        assert_eq!(told["pid"], pid);
        assert_eq!(told["fds"], serde_json::json!(["seccompFd"]));
        assert_eq!((&told["metadata"], &told["ociVersion"]), (&"bar".into(), &oci::runtime::VERSION.into()));
        let state = &told["state"];
        assert_eq!((&state["id"], &state["status"]), (&b.id.as_str().into(), &"creating".into()));
        assert_eq!((&state["pid"], &state["annotations"]["org.example"]), (&pid.into(), &"yes".into()));
        assert_eq!(state["bundle"], b.bundle().to_str().expect("path"));
        agent.seen.recv_timeout(Duration::from_secs(20)).expect("a call is seen");
        let id = b.id.clone();
        let out = b.ok(&["exec", &id, "sh", "-c", "mkdir /tmp/y 2>&1; true"]);
        assert!(out.contains("No medium found"), "{out}");
        let told = agent.message();
        assert_eq!((&told["state"]["status"], &told["state"]["pid"]), (&"running".into(), &pid.into()));
        assert!(told["pid"].as_i64().is_some_and(|p| p > 1 && p != i64::from(pid)), "{told}");
        assert_eq!(told["metadata"], "bar");
    }
}

#[test]
fn calls_that_the_start_itself_needs_may_wait_for_the_listener() {
    // Everything between the filter and the program but write.
    let names =
        ["execve", "execveat", "open", "openat", "read", "close", "newfstatat", "faccessat2", "capset", "prctl"];
    for nnp in [false, true] {
        let Some((mut b, agent)) = notified(&names, |_| Answer::Continue) else { return };
        b.process().no_new_privileges = nnp;
        assert_eq!(b.output("echo hi").trim(), "hi");
        b.started("exec sleep 100");
        let id = b.id.clone();
        assert_eq!(b.ok(&["exec", &id, "echo", "hi"]).trim(), "hi");
        assert!(agent.seen.try_iter().count() > 4);
    }
}

#[test]
fn a_container_in_a_user_namespace_has_a_listener() {
    let Some((mut b, agent)) = notified(&MKDIR, no_medium) else { return };
    let map = vec![IdMapping { container_id: 0, host_id: 100_000, size: 2000 }];
    (b.linux().uid_mappings, b.linux().gid_mappings) = (map.clone(), map);
    b.linux().namespaces.push(Namespace { kind: "user".into(), path: None });
    assert!(b.output("mkdir /tmp/x 2>&1; true").contains("No medium found"));
    assert_eq!(agent.message()["state"]["status"], "creating");
}

/// The runtime of an ordinary user may not reach into the processes that it makes, so they send the descriptor.
#[test]
fn a_users_container_has_a_listener() {
    const USER: u32 = 21_236;
    if std::fs::read_to_string("/proc/sys/user/max_user_namespaces").is_ok_and(|n| n.trim() == "0") {
        println!("skipped: user namespaces are switched off");
        return;
    }
    let Some((b, agent)) = notified(&MKDIR, no_medium) else { return };
    let seccomp = b.spec.linux.as_ref().expect("linux").seccomp.clone();
    let top = b.directory.path();
    std::fs::set_permissions(top, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    std::fs::set_permissions(&agent.path, std::fs::Permissions::from_mode(0o777)).expect("chmod");
    std::fs::copy(common::RUNTIME, top.join("runtime")).expect("copy");
    std::fs::create_dir(top.join("run")).expect("mkdir");
    std::fs::remove_file(b.bundle().join("config.json")).expect("remove");
    for path in [top.join("run"), b.bundle(), b.rootfs()] {
        std::os::unix::fs::chown(path, Some(USER), Some(USER)).expect("chown");
    }
    let call = |args: &[&str]| {
        let mut command = Command::new(top.join("runtime"));
        command.env_clear().env("PATH", "/usr/bin:/bin").env("XDG_RUNTIME_DIR", top.join("run")).args(args);
        command.current_dir(b.bundle()).stdin(std::process::Stdio::null()).uid(USER).gid(USER);
        command.output().expect("runtime")
    };
    assert!(call(&["spec", "--rootless"]).status.success());
    let config = b.bundle().join("config.json");
    let mut spec: oci::runtime::Spec =
        serde_json::from_slice(&std::fs::read(&config).expect("config.json")).expect("config.json");
    spec.linux.as_mut().expect("linux").seccomp = seccomp;
    spec.root.as_mut().expect("root").readonly = false;
    spec.process.as_mut().expect("process").terminal = false;
    for nnp in [false, true] {
        let process = spec.process.as_mut().expect("process");
        process.no_new_privileges = nnp;
        process.args = ["sh", "-c", "mkdir /tmp/x 2>/tmp/err; exec sleep 100"].map(String::from).into();
        std::fs::write(&config, serde_json::to_vec(&spec).expect("JSON")).expect("config.json");
        let started = {
            let mut command = Command::new(top.join("runtime"));
            command.env_clear().env("PATH", "/usr/bin:/bin").env("XDG_RUNTIME_DIR", top.join("run"));
            command.args(["run", "--detach", &b.id]).current_dir(b.bundle()).uid(USER).gid(USER);
            let out = std::fs::File::create(top.join("out")).expect("out");
            command.stdin(std::process::Stdio::null()).stdout(out.try_clone().expect("clone")).stderr(out);
            command.status().expect("run")
        };
        assert!(started.success(), "{:?}", std::fs::read_to_string(top.join("out")));
        assert_eq!(agent.message()["state"]["status"], "creating");
        let added = call(&["exec", &b.id, "sh", "-c", "mkdir /tmp/y 2>&1; true"]);
        assert!(text(&added).contains("No medium found"), "{added:?}");
        assert_eq!(agent.message()["state"]["status"], "running");
        let deleted = call(&["delete", "--force", &b.id]);
        assert!(deleted.status.success(), "{deleted:?}");
    }
}

#[test]
fn without_its_listener_nothing_starts() {
    let Some((mut b, agent)) = notified(&MKDIR, no_medium) else { return };
    drop(agent);
    // The file is there, nobody listens.
    let error = b.script("true").failure();
    assert!(error.contains("failed to connect with seccomp agent"), "{error}");
    b.linux().seccomp.as_mut().expect("seccomp").listener_path = Some("/no/such/listener.sock".into());
    assert!(b.failure().contains("failed to connect with seccomp agent"));
    b.linux().seccomp.as_mut().expect("seccomp").listener_path = Some("@abstract".into());
    assert!(b.failure().contains("listenerPath: @abstract must be an absolute path"));
    // Without a rule that notifies, the listener is not needed.
    b.linux().seccomp.as_mut().expect("seccomp").syscalls.clear();
    b.linux().seccomp.as_mut().expect("seccomp").listener_path = Some("/no/such/listener.sock".into());
    assert_eq!(b.output("echo fine").trim(), "fine");
}

#[test]
fn an_exec_without_its_listener_leaves_nothing() {
    let Some((mut b, agent)) = notified(&MKDIR, no_medium) else { return };
    b.started("exec sleep 100");
    agent.message();
    drop(agent);
    let id = b.id.clone();
    assert!(b.refused(&["exec", &id, "true"]).contains("failed to connect with seccomp agent"));
    let processes: Vec<i32> = serde_json::from_str(&b.ok(&["ps", "--format", "json", &id])).expect("JSON");
    assert_eq!(processes, [b.pid()]);
}

#[test]
fn when_the_listener_goes_calls_fail() {
    let Some((mut b, agent)) = notified(&MKDIR, no_medium) else { return };
    b.started("while [ ! -e /tmp/go ]; do sleep 0.02; done; mkdir /tmp/x 2>/tmp/err; touch /tmp/done; exec sleep 100");
    agent.message();
    drop(agent);
    std::fs::write(b.rootfs().join("tmp/go"), "").expect("go");
    b.until("the call fails", || b.rootfs().join("tmp/done").exists());
    let error = std::fs::read_to_string(b.rootfs().join("tmp/err")).expect("err");
    assert!(error.contains("Function not implemented"), "{error}");
}

#[test]
fn hooks_get_no_notification_descriptor() {
    let Some((mut b, _agent)) = notified(&MKDIR, no_medium) else { return };
    b.spec.hooks = Some(Hooks {
        start_container: vec![Hook {
            path: "/bin/sh".into(),
            // Standard descriptors, and the one that ls reads the directory through.
            args: ["sh", "-c", "test $(ls /proc/self/fd | wc -l) = 4 || { ls -l /proc/self/fd; exit 1; }"]
                .map(String::from)
                .into(),
            ..Default::default()
        }],
        ..Default::default()
    });
    for nnp in [false, true] {
        b.process().no_new_privileges = nnp;
        assert_eq!(
            b.output("echo fine; ls /proc/self/fd | wc -l").split_whitespace().collect::<Vec<_>>(),
            ["fine", "4"]
        );
    }
}

#[test]
fn waiting_only_for_fatal_signals_is_passed_on() {
    let Some((mut b, agent)) = notified(&MKDIR, no_medium) else { return };
    let features: Value = serde_json::from_str(&b.ok(&["features"])).expect("JSON");
    let flag = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV";
    let supported = features["linux"]["seccomp"]["supportedFlags"].as_array().expect("flags").contains(&flag.into());
    if !supported {
        println!("skipped: this kernel does not know {flag}");
        return;
    }
    b.linux().seccomp.as_mut().expect("seccomp").flags = Some(vec![flag.into()]);
    b.script("mkdir /tmp/x 2>&1; true");
    let output = b.run_with(&["--debug"]);
    assert!(text(&output).contains("No medium found"), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("\"seccomp filter flags: 40\""), "{output:?}");
    drop(agent);
}

/// What runc tells its listener is what ours tells.
#[test]
fn runc_tells_the_same() {
    let Some(runc) = ["/usr/sbin/runc", "/usr/bin/runc"].into_iter().find(|p| Path::new(p).exists()) else {
        println!("skipped: runc is not installed");
        return;
    };
    let mut all = Vec::new();
    for runtime in [common::RUNTIME, runc] {
        let Some((mut b, agent)) = notified(&MKDIR, no_medium) else { return };
        b.runtime = runtime.into();
        b.spec.oci_version = "1.0.2".into();
        b.started("exec sleep 100");
        let id = b.id.clone();
        let out = b.ok(&["exec", &id, "sh", "-c", "mkdir /tmp/y 2>&1; true"]);
        assert!(out.contains("No medium found"), "{runtime}: {out}");
        let mut told = [agent.message(), agent.message()];
        for message in &mut told {
            // Of the machine, the moment or the version.
            for pointer in ["/pid", "/state/pid", "/state/id", "/state/bundle", "/state/ociVersion", "/ociVersion"] {
                *message.pointer_mut(pointer).expect(pointer) = Value::Null;
            }
        }
        all.push(told);
    }
    assert_eq!(all[0], all[1]);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_tracer_is_told() {
    let Some(mut b) = filtered(vec![SyscallRule { errno_ret: Some(77), ..rule(&MKDIR, "TRACE") }]) else { return };
    let Some(tracer) = build(&b, "tracer", include_str!("common/tracer.c"), &[]) else { return };
    b.script("while [ ! -e /tmp/go ]; do sleep 0.02; done; mkdir /tmp/x 2>&1");
    assert!(b.create().status.success());
    let id = b.id.clone();
    b.ok(&["start", &id]);
    let mut tracer =
        Command::new(tracer).arg(b.pid().to_string()).stdout(std::process::Stdio::piped()).spawn().expect("tracer");
    let mut said = [0; 8];
    let mut out = tracer.stdout.take().expect("stdout");
    out.read_exact(&mut said).expect("tracing");
    std::fs::write(b.rootfs().join("tmp/go"), "").expect("go");
    let mut told = String::new();
    out.read_to_string(&mut told).expect("told");
    tracer.wait().expect("tracer");
    assert_eq!((&said, told.as_str()), (b"tracing\n", "told 77\n"));
    let shown = std::fs::read_to_string(b.directory.path().join("out")).expect("out");
    assert!(shown.contains("No medium found"), "{shown}");
}
