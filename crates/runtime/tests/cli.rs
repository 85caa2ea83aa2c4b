//! The command line where Debian's runc cannot be the measure: what newer ones have, and what the caller's sockets get.

mod common;

use std::fs;
use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::{Bench, RUNTIME, bench, text};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// One message with the descriptor that came along.
fn receive(socket: impl AsFd) -> (String, Option<OwnedFd>) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0; 256];
    let message = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC);
    let length = message.expect("message").bytes;
    let fd = control.drain().find_map(|m| match m {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    (String::from_utf8_lossy(&bytes[..length]).into_owned(), fd)
}

/// What the runtime sends to a socket while it does something.
fn over_socket(b: &Bench, before: &[&str], after: &[&str]) -> OwnedFd {
    let path = b.directory.path().join("pidfd.sock");
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path).expect("listen");
    let option = ["--pidfd-socket", path.to_str().expect("path")];
    let status = b.command(&[before, &option, after].concat()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.expect("runtime").success(), "{before:?}");
    let (connection, _) = listener.accept().expect("connection");
    let (name, fd) = receive(&connection);
    assert_eq!(name, "pidfd");
    fd.expect("a descriptor")
}

fn pid_of(pidfd: &OwnedFd) -> i32 {
    use std::os::fd::AsRawFd;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).expect("fdinfo");
    info.lines().find_map(|l| l.strip_prefix("Pid:")).expect("a pidfd").trim().parse().expect("number")
}

#[test]
fn a_pidfd_goes_to_the_caller() {
    let Some(mut b) = bench() else { return };
    let bundle = b.bundle();
    let (id, bundle) = (b.id.clone(), bundle.to_str().expect("path"));
    b.script("exec sleep 1000").write_config();
    for verb in [&["create"][..], &["run", "--detach"]] {
        let pidfd = over_socket(&b, &[verb, &["--bundle", bundle]].concat(), &[&id]);
        assert_eq!(pid_of(&pidfd), b.pid());
        let added = over_socket(&b, &["exec", "--detach"], &[&id, "sleep", "1000"]);
        let pid = pid_of(&added);
        assert_eq!(fs::read(format!("/proc/{pid}/cmdline")).expect("alive"), b"sleep\x001000\x00");
        rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL).expect("signal");
        b.until("the end", || b.status() == "stopped");
        b.ok(&["delete", &id]);
    }
    let error = b.refused(&["create", "--bundle", bundle, "--pidfd-socket", "/nonexistent/s", &id]);
    assert!(error.contains("no such file or directory"), "{error}");
    b.assert_nothing_left();
}

/// A service manager's end.
fn manager(b: &Bench) -> (UnixDatagram, PathBuf) {
    let path = b.directory.path().join("manager.sock");
    let socket = UnixDatagram::bind(&path).expect("bind");
    socket.set_read_timeout(Some(std::time::Duration::from_secs(10))).expect("timeout");
    (socket, path)
}

/// Says something from inside the container.
fn say(b: &Bench, pid: i32, message: &str) {
    let inside = format!("/proc/{pid}/root/run/notify/notify.sock");
    b.until("the socket", || Path::new(&inside).exists());
    UnixDatagram::unbound().expect("socket").send_to(message.as_bytes(), inside).expect("send");
}

#[test]
fn readiness_goes_to_the_service_manager() {
    let Some(mut b) = bench() else { return };
    let (socket, path) = manager(&b);
    b.script("echo $NOTIFY_SOCKET; grep ' /run/notify ' /proc/mounts | cut -d' ' -f4; exec sleep 1000").write_config();
    fs::create_dir(b.rootfs().join("run")).expect("mkdir");
    let id = b.id.clone();
    let out = b.directory.path().join("out");
    let bundle = b.bundle();
    let call = |args: &[&str]| {
        let mut command = b.command(args);
        let file = fs::File::options().create(true).append(true).open(&out).expect("out");
        command.env("NOTIFY_SOCKET", &path).stdout(file.try_clone().expect("clone")).stderr(file);
        command
    };
    assert!(call(&["create", "--bundle", bundle.to_str().expect("path"), &id]).status().expect("create").success());
    let mut start = call(&["start", &id]).spawn().expect("start");
    b.until("the program", || b.status() == "running");
    let pid = b.pid();
    say(&b, pid, "STATUS=nearly");
    assert!(start.try_wait().expect("wait").is_none(), "start waits for READY=1");
    assert_eq!(b.status(), "running", "others are not kept waiting");
    say(&b, pid, "STATUS=there\nREADY=1\n");
    assert_eq!(receive(&socket).0, "READY=1\n");
    assert_eq!(receive(&socket).0, format!("MAINPID={pid}\n"));
    let (barrier, fd) = receive(&socket);
    assert_eq!(barrier, "BARRIER=1");
    assert!(start.try_wait().expect("wait").is_none(), "start waits for the manager to have read it");
    drop(fd.expect("a descriptor"));
    assert!(start.wait().expect("wait").success());
    let shown = fs::read_to_string(&out).expect("out");
    assert!(shown.starts_with("/run/notify/notify.sock\n") && shown.contains("ro,"), "{shown}");
    b.ok(&["delete", "--force", &id]);

    // Detached run: the same; and a program that ends without a word is not waited for.
    let mut run = call(&["run", "-d", "--bundle", bundle.to_str().expect("path"), &id]).spawn().expect("run");
    b.until("the program", || b.call(&["state", &id]).status.success() && b.status() == "running");
    b.ok(&["kill", &id, "KILL"]);
    assert!(run.wait().expect("wait").success());
    b.ok(&["delete", &id]);

    // In the foreground the manager watches the runtime: no other main process.
    let mut run = call(&["run", "--bundle", bundle.to_str().expect("path"), &id]).spawn().expect("run");
    b.until("the program", || b.call(&["state", &id]).status.success() && b.status() == "running");
    say(&b, b.pid(), "READY=1");
    assert_eq!(receive(&socket).0, "READY=1\n");
    b.ok(&["kill", &id, "KILL"]);
    assert_eq!(run.wait().expect("wait").code(), Some(137));
    socket.set_nonblocking(true).expect("nonblocking");
    assert!(socket.recv(&mut [0; 64]).is_err(), "nothing but READY=1");
    b.assert_nothing_left();
}

#[test]
fn sockets_keep_their_names() {
    let Some(mut b) = bench() else { return };
    b.script("echo $LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES; cat <&3").write_config();
    fs::write(b.directory.path().join("f"), "hello\n").expect("f");
    let script = "LISTEN_FDS=1 LISTEN_FDNAMES=web LISTEN_PID=$$ exec \"$@\" 3<f";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", RUNTIME, "--root"]).arg(b.state_root()).args(["run", "--bundle"]);
    let output = command.arg(b.bundle()).arg(&b.id).current_dir(b.directory.path()).output().expect("run");
    assert_eq!(text(&output), "1 1 web\nhello\n", "{output:?}");
}

#[test]
fn exec_enters_cgroups_below() {
    let Some(mut b) = bench() else { return };
    b.started("exec sleep 1000");
    let id = b.id.clone();
    let (top, option) = if b.v2() { (b.cgroup(""), "sub") } else { (b.cgroup("memory"), "memory:sub") };
    fs::create_dir(top.join("sub")).expect("mkdir");
    let pid_file = b.directory.path().join("p");
    let pid_file = pid_file.to_str().expect("path");
    let mut added = b.command(&["exec", "-d", "--cgroup", option, "--pid-file", pid_file, &id, "sleep", "1000"]);
    assert!(added.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("exec").success());
    let pid = fs::read_to_string(pid_file).expect("pid");
    let inside = |at: &Path| fs::read_to_string(at.join("cgroup.procs")).expect("cgroup.procs");
    assert_eq!(inside(&top.join("sub")).trim(), pid);
    assert!(!inside(&top).contains(&pid));
    for (option, words) in [
        ("..", "bad sub cgroup path: .. is not a sub cgroup path"),
        ("nosuch", "no such file or directory"),
        ("whaat:/", "unknown controller whaat"),
    ] {
        let output = b.call(&["exec", "--cgroup", option, &id, "true"]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(255) && error.contains(words), "{option}: {error}");
        if option == "nosuch" {
            assert!(error.contains("adding pid ") && error.contains("/nosuch"), "{error}");
        }
    }
    b.ok(&["exec", "--cgroup", "/", &id, "true"]);
    b.ok(&["delete", "--force", &id]);
    b.assert_nothing_left();
}

#[test]
fn it_has_the_name_it_is_called_by() {
    let Some(b) = bench() else { return };
    let runc = b.directory.path().join("runc");
    std::os::unix::fs::symlink(RUNTIME, &runc).expect("symlink");
    let call = |args: &[&str]| Command::new(&runc).arg("--root").arg(b.state_root()).args(args).output().expect("runs");
    let version = text(&call(&["--version"]));
    let lines: Vec<&str> = version.lines().collect();
    assert!(lines[0].starts_with("runc version 0."), "{version}");
    assert!(lines[1].starts_with("commit: ") && lines[2].starts_with("spec: 1."), "{version}");
    for verb in
        "checkpoint create delete events exec features kill list pause ps restore resume run spec start state update"
            .split(' ')
    {
        let help = text(&call(&[verb, "--help"]));
        assert!(help.lines().nth(1).is_some_and(|l| l.starts_with(&format!("   runc {verb} - "))), "{help}");
        assert_eq!(help, text(&call(&["help", verb])), "{verb}");
    }
    let refused = call(&["create", "--bundle", "/nonexistent", "x"]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(error.contains("msg=\"runc create failed: chdir /nonexistent: no such file or directory\""), "{error}");
}

#[test]
fn several_containers_are_deleted_at_once() {
    let Some(mut b) = bench() else { return };
    b.script("exec sleep 1000").write_config();
    let bundle = b.bundle();
    let names = ["b1", "b2"].map(|n| format!("{}-{n}", b.id));
    for name in &names {
        b.linux().cgroups_path = Some(format!("/{name}"));
        b.write_config();
        let mut run = b.command(&["run", "-d", "--bundle", bundle.to_str().expect("path"), name]);
        assert!(run.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("run").success());
    }
    b.ok(&["pause", &names[1]]);
    let output = b.call(&["delete", "--force", &names[0], "nosuch", &names[1]]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(b.ok(&["list", "-q"]), "");
    let output = b.call(&["delete", "nosuch", "neither"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stderr).matches("container does not exist").count(), 2);
    b.assert_nothing_left();
}

#[test]
fn orphans_end_with_the_runtime() {
    let Some(mut b) = bench() else { return };
    // Without a PID namespace an orphan goes to the next subreaper, which is the runtime in the foreground.
    b.linux().namespaces.retain(|n| n.kind != "pid");
    b.script("(sleep 0.05 &); exec sleep 1000").write_config();
    let (id, bundle) = (b.id.clone(), b.bundle());
    let mut run = b.command(&["run", "--bundle", bundle.to_str().expect("path"), &id]).spawn().expect("run");
    b.until("the program", || b.call(&["state", &id]).status.success() && b.status() == "running");
    let children = || {
        let text = fs::read_to_string(format!("/proc/{0}/task/{0}/children", run.id())).unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let alone = || b.ok(&["ps", "-f", "json", &id]).matches(',').count() == 0;
    b.until("the orphan's end", || alone() && children() == [b.pid().to_string()]);
    b.ok(&["kill", &id, "KILL"]);
    assert_eq!(run.wait().expect("wait").code(), Some(137));
    b.assert_nothing_left();
}

#[test]
fn debug_words_of_exec() {
    let Some(mut b) = bench() else { return };
    b.started("exec sleep 1000");
    let id = b.id.clone();
    let output = b.call(&["--debug", "exec", &id, "true"]);
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    for words in ["level=debug", "nsexec container setup", "child process in init()", "setns_init: about to exec"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    let log = b.directory.path().join("log");
    let output = b.call(&["--debug", "--log", log.to_str().expect("path"), "exec", &id, "true"]);
    assert!(!String::from_utf8_lossy(&output.stderr).contains("level=debug"));
    assert!(fs::read_to_string(&log).expect("log").contains("setns_init: about to exec"));
}

/// A terminal for the runtime itself: master, slave.
fn terminal() -> (fs::File, fs::File) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("openpt");
    grantpt(&master).expect("grantpt");
    unlockpt(&master).expect("unlockpt");
    let name = ptsname(&master, Vec::new()).expect("ptsname").into_string().expect("UTF-8");
    let slave = fs::File::options().read(true).write(true).open(name).expect("slave");
    (master.into(), slave)
}

fn read_until(master: &mut fs::File, words: &str) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut seen = String::new();
    let mut bytes = [0; 256];
    while !seen.contains(words) {
        let time = Timespec { tv_sec: 20, tv_nsec: 0 };
        let ready = poll(&mut [PollFd::new(master, PollFlags::IN)], Some(&time)).expect("poll");
        assert_ne!(ready, 0, "no {words:?} in {seen:?}");
        let length = master.read(&mut bytes).expect("output");
        seen += &String::from_utf8_lossy(&bytes[..length]);
    }
}

#[test]
fn a_terminal_is_resized_and_put_back() {
    use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
    let Some(mut b) = bench() else { return };
    let (mut master, slave) = terminal();
    let size = |ws_row, ws_col| Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&master, size(30, 100)).expect("size");
    b.process().terminal = true;
    b.script("stty size; read x; stty size; read x; echo got $x; exit 4").write_config();
    let (id, bundle) = (b.id.clone(), b.bundle());
    let mut run = b.command(&["run", "--bundle", bundle.to_str().expect("path"), &id]);
    let clone = || slave.try_clone().expect("clone");
    let mut run = run.stdin(clone()).stdout(clone()).stderr(clone()).spawn().expect("run");
    read_until(&mut master, "30 100");
    assert!(!tcgetattr(&slave).expect("mode").local_modes.contains(LocalModes::ECHO), "raw mode");
    tcsetwinsize(&master, size(40, 120)).expect("size");
    // The kernel tells those whose controlling terminal it is; the runtime's here is another.
    let pid = rustix::process::Pid::from_child(&run);
    rustix::process::kill_process(pid, rustix::process::Signal::WINCH).expect("signal");
    b.until("the new size", || b.ok(&["exec", &id, "stty", "-F", "/dev/pts/0", "size"]).contains("40 120"));
    master.write_all(b"\n").expect("input");
    read_until(&mut master, "40 120");
    master.write_all(b"word\n").expect("input");
    read_until(&mut master, "got word");
    assert_eq!(run.wait().expect("wait").code(), Some(4));
    assert!(tcgetattr(&slave).expect("mode").local_modes.contains(LocalModes::ECHO), "the mode is put back");
    b.assert_nothing_left();
}

#[test]
fn a_user_s_containers_are_in_the_user_s_directory() {
    let Some(b) = bench() else { return };
    let here = b.directory.path();
    let program = here.join("runtime");
    fs::copy(RUNTIME, &program).expect("copy");
    fs::set_permissions(here, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
    fs::create_dir_all(here.join("xdg/sampan-runtime/mine")).expect("mkdir");
    let output = Command::new(&program).arg("list").uid(1000).env("XDG_RUNTIME_DIR", here.join("xdg")).output();
    let shown = text(&output.expect("list"));
    assert!(shown.lines().nth(1).is_some_and(|l| l.starts_with("mine ") && l.contains("stopped")), "{shown}");
}

#[test]
fn ps_shows_what_procps_would() {
    let Some(mut b) = bench() else { return };
    b.started("exec sleep 1000");
    let id = b.id.clone();
    b.until("sleep", || b.ok(&["ps", &id]).contains("sleep 1000"));
    let pid = b.pid().to_string();
    let shown = b.ok(&["ps", &id]);
    let lines: Vec<Vec<&str>> = shown.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]);
    assert_eq!((lines[1][0], lines[1][1], &lines[1][7..]), ("root", pid.as_str(), &["sleep", "1000"][..]));
    let shown = b.ok(&["ps", &id, "-e", "-x"]);
    assert_eq!(shown.lines().next().expect("heading").split_whitespace().next_back(), Some("COMMAND"));
    assert!(b.refused(&["ps", &id, "--forest"]).contains("--forest"));
    b.ok(&["kill", &id, "KILL"]);
    b.until("the end", || b.status() == "stopped");
    assert_eq!(b.ok(&["ps", &id]).lines().count(), 1);
}

/// Root without the right to mount gets no read-only view of the program, nor anything else that a container needs:
/// the words are those of what it was asked for.
#[test]
fn a_program_without_a_view_of_itself_goes_on() {
    let Some(mut b) = bench() else { return };
    b.script("true").write_config();
    let bundle = b.bundle();
    let inner = b.command(&["run", "--bundle", bundle.to_str().expect("path"), &b.id]);
    let mut without = Command::new("setpriv");
    without
        .args(["--bounding-set=-sys_admin", "--inh-caps=-sys_admin"])
        .arg(inner.get_program())
        .args(inner.get_args());
    let output = without.output().expect("setpriv");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    // What is refused first: the devices' rules on cgroup v1, the namespaces on v2.
    assert!(error.contains("run failed: ") && error.to_lowercase().contains("operation not permitted"), "{error}");
    b.assert_nothing_left();
}

/// `exec -p <(…)` of a shell is the path of a descriptor; the process that is added gets neither it nor its number.
#[test]
fn a_process_comes_through_a_descriptor() {
    let Some(mut b) = bench() else { return };
    b.started("exec sleep 1000");
    let mut process = b.process().clone();
    process.args = ["ls", "/proc/self/fd"].map(String::from).into();
    let file = b.directory.path().join("process.json");
    fs::write(&file, serde_json::to_vec(&process).expect("JSON")).expect("write");
    let inner = b.command(&["exec"]);
    let mut shell = Command::new("bash");
    shell.args(["-c", r#"exec "$@" --process <(cat "$FILE") "$ID""#, "bash"]).arg(inner.get_program());
    shell.args(inner.get_args()).env("FILE", &file).env("ID", &b.id);
    let output = shell.output().expect("bash");
    assert_eq!(text(&output), "0\n1\n2\n3\n", "{output:?}");
    // A descriptor that is not open.
    let id = b.id.clone();
    let error = b.refused(&["exec", "--process", "/dev/fd/63", &id]);
    assert!(error.contains("read process file /dev/fd/63: no such file or directory"), "{error}");
}
