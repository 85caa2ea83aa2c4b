//! Containers of an ordinary user, compared with what Debian's runc and crun give the same user.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::{Bench, bench, text};
use oci::runtime::{IdMapping, Mount, Resources, Spec};

const UID: u32 = 21_234;
const GID: u32 = 21_235;
/// The first of the ids that the user is given in `/etc/subuid` and `/etc/subgid`.
const SUB: u32 = 1_300_000;

/// A user with a bundle of his own.
struct User {
    bench: Bench,
    runtime: PathBuf,
    options: Vec<String>,
}

/// The user's bundle is what `spec --rootless` writes. `None`, with the reason printed, where users cannot have any.
fn user() -> Option<User> {
    let mut bench = bench()?;
    if fs::read_to_string("/proc/sys/user/max_user_namespaces").is_ok_and(|n| n.trim() == "0") {
        println!("skipped: user namespaces are switched off");
        return None;
    }
    let top = bench.directory.path().to_owned();
    fs::set_permissions(&top, fs::Permissions::from_mode(0o755)).expect("chmod");
    fs::create_dir(top.join("run")).expect("mkdir");
    // Not where the test was built: a user may not get there.
    let runtime = top.join("runtime");
    fs::copy(&bench.runtime, &runtime).expect("copy");
    fs::remove_file(bench.bundle().join("config.json")).expect("remove");
    give(&top.join("run"));
    give(&bench.bundle());
    let id = bench.id.clone();
    bench.spec = Spec::default();
    let mut user = User { bench, runtime, options: Vec::new() };
    let bundle = user.bench.bundle();
    user.ok(&["spec", "--rootless", "--bundle", bundle.to_str().expect("path")]);
    let config = fs::read(bundle.join("config.json")).expect("config.json");
    user.bench.spec = serde_json::from_slice(&config).expect("config.json");
    user.bench.process().terminal = false;
    assert!(!id.is_empty());
    Some(user)
}

/// Gives a tree to the user.
fn give(path: &Path) {
    std::os::unix::fs::lchown(path, Some(UID), Some(GID)).expect("chown");
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).expect("read").flatten() {
            give(&entry.path());
        }
    }
}

impl User {
    /// A program as the user, in an environment like that of a login.
    fn program(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("USER", "somebody");
        command.env("XDG_RUNTIME_DIR", self.bench.directory.path().join("run"));
        command.current_dir(self.bench.bundle()).stdin(Stdio::null()).uid(UID).gid(GID);
        command
    }

    fn call(&self, args: &[&str]) -> Output {
        self.program(&self.runtime).args(&self.options).args(args).output().expect("runtime")
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.call(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        text(&output)
    }

    fn refused(&self, args: &[&str]) -> String {
        let output = self.call(args);
        assert!(!output.status.success(), "{args:?}: {output:?}");
        String::from_utf8_lossy(&output.stderr).replace("\\\"", "\"")
    }

    fn run(&mut self, script: &str) -> Output {
        self.bench.script(script).write_config();
        give(&self.bench.bundle().join("config.json"));
        self.call(&["run", &self.bench.id])
    }

    fn output(&mut self, script: &str) -> String {
        let output = self.run(script);
        assert!(output.status.success(), "{script}: {output:?}");
        text(&output)
    }

    fn failure(&mut self) -> String {
        let output = self.run("true");
        assert!(!output.status.success(), "{output:?}");
        self.assert_nothing_left();
        String::from_utf8_lossy(&output.stderr).replace("\\\"", "\"")
    }

    fn started(&mut self, script: &str) {
        self.bench.script(script).write_config();
        give(&self.bench.bundle().join("config.json"));
        let out = fs::File::create(self.bench.directory.path().join("out")).expect("out");
        let mut command = self.program(&self.runtime);
        command.args(["run", "--detach", &self.bench.id]).stdout(out.try_clone().expect("clone")).stderr(out);
        assert!(command.status().expect("run").success(), "{:?}", fs::read_to_string(self.state().join("../../out")));
    }

    fn state(&self) -> PathBuf {
        self.bench.directory.path().join("run/sampan-runtime")
    }

    fn assert_nothing_left(&self) {
        let left = fs::read_dir(self.state()).map_or(0, Iterator::count);
        assert_eq!(left, 0, "state is left");
        assert_eq!(self.bench.cgroups(), Vec::<PathBuf>::new(), "cgroups are left");
    }

    fn pid(&self) -> i32 {
        let state: serde_json::Value = serde_json::from_str(&self.ok(&["state", &self.bench.id])).expect("state");
        state["pid"].as_i64().expect("pid") as i32
    }
}

impl Drop for User {
    fn drop(&mut self) {
        self.call(&["delete", "--force", &self.bench.id]);
    }
}

fn map(container_id: u32, host_id: u32, size: u32) -> IdMapping {
    IdMapping { container_id, host_id, size }
}

#[test]
fn a_user_has_containers() {
    let Some(mut u) = user() else { return };
    let out = u.output(
        "id -u; id -g; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; hostname; \
         test -c /dev/null && echo 1 > /dev/null && echo dev; test -e /sys/class/net/lo && echo sys; touch /x || echo ro",
    );
    let words: Vec<&str> = out.split_whitespace().collect();
    let (uid, gid) = (UID.to_string(), GID.to_string());
    assert_eq!(words[..9], ["0", "0", "0", &uid, "1", "0", &gid, "1", "deny"], "{out}");
    assert_eq!(words[10..], ["dev", "sys", "ro"], "{out}");
    u.assert_nothing_left();
    u.started("trap 'exit 3' TERM; while :; do sleep 0.1; done");
    let status = fs::read_to_string(format!("/proc/{}/status", u.pid())).expect("status");
    assert!(status.contains(&format!("Uid:\t{UID}\t{UID}\t{UID}\t{UID}")), "{status}");
    let id = u.bench.id.clone();
    assert!(u.ok(&["list"]).contains(&id));
    assert!(u.ok(&["state", &id]).contains("running"));
    // A process is added from outside of the user namespace.
    let own = format!("/proc/{}/ns/", u.pid());
    let namespaces =
        u.ok(&["exec", &id, "sh", "-c", "id -u; for n in user pid mnt ipc uts; do readlink /proc/self/ns/$n; done"]);
    let expected: Vec<String> = ["user", "pid", "mnt", "ipc", "uts"]
        .map(|n| fs::read_link(format!("{own}{n}")).expect("ns").to_string_lossy().into_owned())
        .into();
    assert_eq!(namespaces.lines().skip(1).collect::<Vec<_>>(), expected);
    assert_eq!(u.call(&["exec", &id, "sh", "-c", "exit 42"]).status.code(), Some(42));
    assert!(u.refused(&["exec", &id, "/missing"]).contains("no such file or directory"));
    let pid_file = u.bench.directory.path().join("run/pid");
    let mut detached = u.program(&u.runtime);
    detached.args(["exec", "--detach", "--pid-file", pid_file.to_str().expect("path"), &id, "sleep", "100"]);
    // It keeps what it gets.
    assert!(detached.stdout(Stdio::null()).stderr(Stdio::null()).status().expect("exec").success());
    let added: i32 = fs::read_to_string(&pid_file).expect("pid").parse().expect("number");
    assert!(fs::read_to_string(format!("/proc/{added}/cmdline")).expect("added").contains("sleep"));
    u.ok(&["kill", &id, "TERM"]);
    u.bench.until("the end", || u.ok(&["state", &id]).contains("stopped"));
    u.ok(&["delete", &id]);
    u.assert_nothing_left();
}

#[test]
fn a_user_has_terminals() {
    let Some(mut u) = user() else { return };
    u.bench.process().terminal = true;
    let out = u.output("tty; ls -l /dev/console; echo to-console > /dev/console").replace('\r', "");
    assert!(out.contains("/dev/pts/0") && out.contains("136,   0") && out.contains("to-console"), "{out}");
    u.bench.process().terminal = false;
    u.started("exec sleep 100");
    let id = u.bench.id.clone();
    assert!(u.ok(&["exec", "--tty", &id, "tty"]).contains("/dev/pts/"));
}

#[test]
fn what_a_user_cannot_have_is_refused_before_anything_is_made() {
    let Some(mut u) = user() else { return };
    let original = u.bench.spec.clone();
    u.bench.process().user.additional_gids = vec![7];
    assert!(u.failure().contains("cannot set any additional groups in a rootless container"));
    u.bench.spec = original.clone();
    u.bench.linux().namespaces.retain(|n| n.kind != "user");
    u.bench.linux().uid_mappings.clear();
    u.bench.linux().gid_mappings.clear();
    assert!(u.failure().contains("rootless container requires user namespaces"));
    u.bench.spec = original.clone();
    let pts = u.bench.spec.mounts.iter_mut().find(|m| m.destination == "/dev/pts").expect("devpts");
    pts.options.push("gid=5".into());
    let error = u.failure();
    assert!(error.contains("cannot specify gid=5 mount option for rootless container"), "{error}");
    u.bench.spec = original.clone();
    u.bench.linux().uid_mappings = vec![map(0, UID + 1, 1)];
    assert!(u.failure().contains("newuidmap"), "another user's id");
    u.bench.spec = original.clone();
    u.bench.process().user.uid = 5;
    assert!(u.failure().contains("is it mapped"));
    // An added process has the same groups.
    u.bench.spec = original;
    u.started("exec sleep 100");
    let id = u.bench.id.clone();
    let error = u.refused(&["exec", "--additional-gids", "7", &id, "true"]);
    assert!(error.contains("cannot set any additional groups in a rootless container"), "{error}");
}

#[test]
fn cgroups_are_done_without_where_nothing_is_asked_of_them() {
    let Some(mut u) = user() else { return };
    let original = u.bench.spec.clone();
    let output = u.run("true");
    assert!(output.status.success() && output.stderr.is_empty(), "without a word: {output:?}");
    u.bench.linux().namespaces.retain(|n| n.kind != "pid");
    u.bench.spec.mounts.retain(|m| m.destination != "/proc");
    u.bench.linux().masked_paths.clear();
    u.bench.linux().readonly_paths.clear();
    let output = u.run("true");
    let words = "Such configuration is strongly discouraged";
    assert!(output.status.success() && String::from_utf8_lossy(&output.stderr).contains(words), "{output:?}");
    u.bench.spec = original.clone();
    u.bench.linux().cgroups_path = Some(format!("/{}/c", u.bench.id));
    let error = u.failure();
    assert!(error.contains("unable to apply cgroup configuration") && error.contains("permission denied"), "{error}");
    u.bench.spec = original;
    u.bench.linux().resources =
        Some(Resources { pids: Some(oci::runtime::PidsLimit { limit: Some(20) }), ..Default::default() });
    let error = u.failure();
    let words = "rootless needs no limits + no cgrouppath when no permission is granted for cgroups";
    assert!(error.contains(words), "{error}");
    // Devices cannot be limited by a user, and are not.
    u.bench.linux().resources = Some(Resources {
        devices: vec![oci::runtime::DeviceRule { allow: false, access: Some("rwm".into()), ..Default::default() }],
        ..Default::default()
    });
    assert_eq!(u.output("echo ran"), "ran\n");
    u.options = vec!["--rootless".into(), "false".into()];
    assert!(u.failure().contains("permission denied"), "it was told not to do without");
    u.options = vec!["--rootless".into(), "maybe".into()];
    assert!(u.refused(&["list"]).contains("maybe"));
}

#[test]
fn the_oom_score_can_be_raised() {
    let Some(mut u) = user() else { return };
    u.bench.process().oom_score_adj = Some(321);
    u.started("exec sleep 100");
    let score = |pid: i32| fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("score");
    assert_eq!(score(u.pid()).trim(), "321");
    let process = u.bench.directory.path().join("run/process.json");
    let mut added = u.bench.process().clone();
    added.args = ["cat", "/proc/self/oom_score_adj"].map(String::from).into();
    added.oom_score_adj = Some(432);
    fs::write(&process, serde_json::to_vec(&added).expect("JSON")).expect("process.json");
    let id = u.bench.id.clone();
    assert_eq!(u.ok(&["exec", "--process", process.to_str().expect("path"), &id]).trim(), "432");
}

#[test]
fn state_is_in_the_users_directory() {
    let Some(mut u) = user() else { return };
    u.started("exec sleep 100");
    let root = fs::metadata(u.state()).expect("root");
    // Sticky: what cleans up old files leaves it alone.
    assert_eq!((root.uid(), root.mode() & 0o7777), (UID, 0o1700));
    let own = u.state().join(&u.bench.id);
    assert_eq!(fs::metadata(own.join("state.json")).expect("state").mode() & 0o777, 0o600);
    // Another user sees nothing of it.
    let mut other = Command::new("cat");
    let seen = other.arg(own.join("state.json")).uid(UID + 1).gid(GID + 1).output().expect("cat");
    assert!(!seen.status.success(), "{seen:?}");
    // Without the variable the place is root's, and that is said.
    let mut lost = u.program(&u.runtime);
    let output = lost.env_remove("XDG_RUNTIME_DIR").args(["run", "lost"]).output().expect("runtime");
    assert!(String::from_utf8_lossy(&output.stderr).contains("permission denied"), "{output:?}");
}

/// Words that run what follows them where the user has a name and ranges of ids. The host's `/etc` stays as it is.
fn with_ranges(u: &User) -> Option<Vec<String>> {
    for program in ["newuidmap", "newgidmap"] {
        let found = ["/usr/bin", "/bin"].iter().any(|d| Path::new(d).join(program).exists());
        if !found {
            println!("skipped: {program} is missing; install uidmap");
            return None;
        }
    }
    let etc = u.bench.directory.path().join("etc");
    fs::create_dir_all(&etc).expect("mkdir");
    let add = |name: &str, line: String| {
        let mut old = fs::read_to_string(Path::new("/etc").join(name)).unwrap_or_default();
        old.retain(|c| c != '\0');
        fs::write(etc.join(name), old + &line).expect("write");
    };
    add("passwd", format!("somebody:x:{UID}:{GID}::/:/bin/sh\n"));
    add("group", format!("somebody:x:{GID}:\n"));
    add("subuid", format!("somebody:{SUB}:65536\n"));
    add("subgid", format!("somebody:{SUB}:65536\n"));
    if !["subuid", "subgid"].iter().all(|name| Path::new("/etc").join(name).exists()) {
        println!("skipped: /etc/subuid and /etc/subgid do not exist, and cannot be covered");
        return None;
    }
    let script = format!(
        "for f in passwd group subuid subgid; do mount --bind {}/$f /etc/$f || exit 99; done; \
         exec setpriv --reuid {UID} --regid {GID} --clear-groups \"$@\"",
        etc.display()
    );
    Some(["unshare", "-m", "--propagation", "private", "sh", "-c", &script, "sh"].map(String::from).into())
}

#[test]
fn ranges_of_ids_come_from_newuidmap() {
    let Some(mut u) = user() else { return };
    let Some(words) = with_ranges(&u) else { return };
    u.bench.linux().uid_mappings = vec![map(0, UID, 1), map(1, SUB, 1000)];
    u.bench.linux().gid_mappings = vec![map(0, GID, 1), map(1, SUB + 5000, 1000)];
    u.bench.process().user.uid = 5;
    u.bench.process().user.gid = 6;
    u.bench.process().user.additional_gids = vec![7, 8];
    u.bench
        .script("id -u; id -g; grep Groups /proc/self/status; cat /proc/self/uid_map /proc/self/gid_map")
        .write_config();
    give(&u.bench.bundle().join("config.json"));
    let run = |u: &User, program: &Path, options: &[&str]| {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(program).args(options).args(["run", &u.bench.id]);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("XDG_RUNTIME_DIR", u.bench.directory.path().join("run"));
        command.current_dir(u.bench.bundle()).stdin(Stdio::null()).output().expect("run")
    };
    let output = run(&u, &u.runtime.clone(), &[]);
    assert!(output.status.success(), "{output:?}");
    let numbers = text(&output).replace("Groups:", "");
    let expected = format!("5 6 7 8 0 {UID} 1 1 {SUB} 1000 0 {GID} 1 1 {} 1000", SUB + 5000);
    assert_eq!(numbers.split_whitespace().collect::<Vec<_>>().join(" "), expected);
    u.assert_nothing_left();
    // Ids that nobody has given to the user.
    u.bench.linux().uid_mappings = vec![map(0, UID, 1), map(1, SUB + 65_536, 1000)];
    u.bench.write_config();
    let output = run(&u, &u.runtime.clone(), &[]);
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("newuidmap") && error.contains("not allowed"), "{error}");
    u.assert_nothing_left();
}

/// podman without root calls the runtime as root of a user namespace that it has made, in a mount namespace of its own.
#[test]
fn podman_runs_it_without_root() {
    let Some(u) = user() else { return };
    let Some(words) = with_ranges(&u) else { return };
    if !Path::new("/usr/bin/podman").exists() {
        println!("skipped: podman is missing");
        return;
    }
    let run = u.bench.directory.path().join("run");
    let podman = |args: &[&str]| {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg("podman").arg("--runtime").arg(&u.runtime);
        for (option, name) in [("--root", "storage"), ("--runroot", "containers-run"), ("--tmpdir", "containers-tmp")] {
            command.arg(option).arg(run.join(name));
        }
        command
            .args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none"])
            .args(args);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("HOME", &run);
        command.env("XDG_RUNTIME_DIR", &run).current_dir(&run).stdin(Stdio::null()).output().expect("podman")
    };
    let rootfs = u.bench.rootfs();
    let rootfs = rootfs.to_str().expect("path");
    let ok = |args: &[&str]| {
        let output = podman(args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        text(&output)
    };
    let script = "id -u; cat /proc/self/uid_map; exec sleep 100";
    ok(&["run", "--detach", "--name", "one", "--network", "none", "--rootfs", rootfs, "sh", "-c", script]);
    assert!(ok(&["ps"]).contains("one"));
    assert_eq!(ok(&["exec", "--user", "3", "one", "id", "-u"]), "3\n");
    let logs = ok(&["logs", "one"]);
    let expected = format!("0 0 {UID} 1 1 {SUB} 65536");
    assert_eq!(logs.split_whitespace().collect::<Vec<_>>().join(" "), expected);
    ok(&["stop", "--time", "0", "one"]);
    ok(&["rm", "one"]);
    u.assert_nothing_left();
    // What keeps its namespaces for the next call.
    for place in ["libpod/tmp/pause.pid", "containers-tmp/pause.pid"] {
        let pid = fs::read_to_string(run.join(place)).ok().and_then(|text| text.trim().parse().ok());
        if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

#[test]
fn root_of_a_user_namespace_is_a_user_too() {
    let Some(mut u) = user() else { return };
    // The ids of the namespace around it: there is but one.
    u.bench.linux().uid_mappings = vec![map(0, 0, 1)];
    u.bench.linux().gid_mappings = vec![map(0, 0, 1)];
    let nested = u.bench.spec.clone();
    for own_namespace in [true, false] {
        u.bench.spec = nested.clone();
        if !own_namespace {
            u.bench.linux().namespaces.retain(|n| n.kind != "user");
            u.bench.linux().uid_mappings.clear();
            u.bench.linux().gid_mappings.clear();
        }
        u.bench.script("id -u; cat /proc/self/uid_map; test -c /dev/null && echo dev").write_config();
        // With a mount namespace of its own, and with the host's.
        for options in [&["-Ur"][..], &["-Ur", "-m"]] {
            let mut command = u.program(Path::new("unshare"));
            let output = command.args(options).arg(&u.runtime).args(["run", &u.bench.id]).output().expect("unshare");
            assert!(output.status.success(), "{own_namespace} {options:?}: {output:?}");
            let host = if own_namespace { 0 } else { UID };
            let numbers = text(&output).split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(numbers, format!("0 0 {host} 1 dev"), "{options:?}");
            // `USER` says that this is not the machine's root: the state was in the user's directory.
            assert!(u.state().is_dir());
            u.assert_nothing_left();
        }
    }
}

/// CVE-2023-25809: a user's container could write to those cgroups of the host that are delegated to the user.
#[test]
fn the_hosts_cgroups_cannot_be_written_to() {
    let Some(mut u) = user() else { return };
    let unified = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
        .into_iter()
        .map(Path::new)
        .find(|path| path.join("cgroup.procs").exists());
    let Some(unified) = unified else {
        println!("skipped: no cgroup v2 hierarchy is mounted");
        return;
    };
    let delegation = Delegated::new(unified, &u);
    let delegated = delegation.0.clone();
    let inside = delegated.strip_prefix("/sys/fs/cgroup").expect("path").to_owned();
    let inside = Path::new("/sys/fs/cgroup").join(inside).display().to_string();
    let name = delegated.file_name().expect("name").to_string_lossy().into_owned();
    let script = format!(
        "for d in {inside} /sys/fs/cgroup/{name} /sys/fs/cgroup; do mkdir $d/made 2>/dev/null && echo made $d; \
         (echo 1 > $d/cgroup.procs) 2>/dev/null && echo moved $d; done; echo tried"
    );
    let with_cgroup_namespace = u.bench.spec.clone();
    for own in [true, false] {
        u.bench.spec = with_cgroup_namespace.clone();
        u.bench.linux().namespaces.retain(|n| own || n.kind != "cgroup");
        for writable in [false, true] {
            let cgroup = u.bench.spec.mounts.iter_mut().find(|m| m.destination == "/sys/fs/cgroup").expect("cgroup");
            cgroup.options.retain(|o| o != "ro");
            if !writable {
                cgroup.options.push("ro".into());
            }
            let out = u.output(&script);
            if writable && own {
                // What a namespace of its own shows may be changed where that was asked for; it begins at the user's
                // own cgroup, which is this test's here.
                assert!(out.ends_with("tried\n"), "{out}");
                let _ = fs::remove_dir(delegated.join("made"));
                continue;
            }
            assert_eq!(out, "tried\n", "own namespace: {own}, writable: {writable}");
            assert!(!delegated.join("made").exists(), "own namespace: {own}, writable: {writable}");
        }
    }
}

#[test]
fn delegated_cgroups_are_used() {
    let Some(mut u) = user() else { return };
    let root = Path::new("/sys/fs/cgroup");
    if !u.bench.v2() {
        println!("skipped: controllers of cgroup v1 cannot be delegated; run scripts/test-v2.sh");
        return;
    }
    // Where nobody has done it yet; it harms nobody.
    fs::write(root.join("cgroup.subtree_control"), "+pids +memory").expect("controllers");
    let delegation = Delegated::new(root, &u);
    let session = delegation.0.join("session");
    fs::create_dir(&session).expect("mkdir");
    give(&session);
    u.bench.linux().resources = Some(Resources {
        pids: Some(oci::runtime::PidsLimit { limit: Some(20) }),
        memory: Some(oci::runtime::MemoryLimits { limit: Some(64 << 20), ..Default::default() }),
        ..Default::default()
    });
    u.bench.script("exec sleep 100").write_config();
    give(&u.bench.bundle().join("config.json"));
    let script = format!(
        "echo $$ > {}/cgroup.procs && exec setpriv --reuid {UID} --regid {GID} --clear-groups \"$@\"",
        session.display()
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh"]).arg(&u.runtime).args(["run", "--detach", &u.bench.id]);
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("XDG_RUNTIME_DIR", u.bench.directory.path().join("run"));
    let command = command.current_dir(u.bench.bundle()).stdin(Stdio::null()).stdout(Stdio::null());
    // The container keeps what it gets: a pipe would stay open.
    let log = u.bench.directory.path().join("log");
    let status = command.stderr(fs::File::create(&log).expect("log")).status().expect("run");
    assert!(status.success(), "{}", fs::read_to_string(&log).expect("log"));
    let own = fs::read_to_string(format!("/proc/{}/cgroup", u.pid())).expect("cgroup");
    let own = root.join(own.trim().strip_prefix("0::/").expect("v2"));
    assert!(own.starts_with(&delegation.0) && own != session, "{own:?}");
    let value = |file: &str| fs::read_to_string(own.join(file)).expect(file).trim().to_owned();
    assert_eq!((value("pids.max").as_str(), value("memory.max").as_str()), ("20", "67108864"));
    let id = u.bench.id.clone();
    u.ok(&["pause", &id]);
    assert_eq!(value("cgroup.freeze"), "1");
    u.ok(&["resume", &id]);
    u.ok(&["update", "--pids-limit", "30", &id]);
    assert_eq!(value("pids.max"), "30");
    u.ok(&["delete", "--force", &id]);
    assert!(!own.exists(), "it is left");
}

/// A cgroup of the user's own, as a service manager gives it; gone at the end with what is in it.
struct Delegated(PathBuf);

impl Delegated {
    fn new(hierarchy: &Path, user: &User) -> Self {
        let own = hierarchy.join(format!("{}-user", user.bench.id));
        fs::create_dir(&own).expect("mkdir");
        for file in ["", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
            chown(own.join(file), Some(UID), Some(GID)).expect("chown");
        }
        Self(own)
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let _ = fs::remove_dir(entry.path());
        }
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn the_specification_is_what_runc_writes() {
    let Some(u) = user() else { return };
    let directory = u.bench.directory.path().join("run/spec");
    fs::create_dir(&directory).expect("mkdir");
    give(&directory);
    let bundle = directory.to_str().expect("path");
    let Ok(status) = u.program(Path::new("runc")).args(["spec", "--rootless", "--bundle", bundle]).status() else {
        println!("skipped: runc is missing");
        return;
    };
    assert!(status.success());
    let theirs: Spec = serde_json::from_slice(&fs::read(directory.join("config.json")).expect("read")).expect("JSON");
    fs::remove_file(directory.join("config.json")).expect("remove");
    u.ok(&["spec", "--rootless", "--bundle", bundle]);
    let ours: Spec = serde_json::from_slice(&fs::read(directory.join("config.json")).expect("read")).expect("JSON");
    let (ours_linux, theirs_linux) = (ours.linux.expect("linux"), theirs.linux.expect("linux"));
    assert_eq!(ours.mounts, theirs.mounts);
    assert_eq!(ours_linux.uid_mappings, theirs_linux.uid_mappings);
    assert_eq!(ours_linux.gid_mappings, theirs_linux.gid_mappings);
    assert_eq!(ours_linux.resources, None);
    let kinds = |linux: &oci::runtime::Linux| {
        // runc names the cgroup namespace on pure v2 machines only.
        let mut kinds: Vec<String> = linux.namespaces.iter().map(|n| n.kind.clone()).collect();
        kinds.retain(|k| k != "cgroup");
        kinds
    };
    assert_eq!(kinds(&ours_linux), kinds(&theirs_linux));
}

#[test]
fn the_same_bundle_gives_the_same_as_under_runc_and_crun() {
    let Some(mut u) = user() else { return };
    u.bench.spec.oci_version = "1.0.2".into();
    let data = u.bench.directory.path().join("run/data");
    fs::create_dir(&data).expect("mkdir");
    fs::write(data.join("file"), "content\n").expect("write");
    give(&data);
    u.bench.spec.mounts.push(Mount {
        destination: "/tmp/data".into(),
        kind: Some("bind".into()),
        source: Some(data.display().to_string()),
        options: ["rbind", "ro", "nosuid"].map(String::from).into(),
        ..Default::default()
    });
    let script = "id -u; id -g; hostname; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; \
                  grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status; cat /tmp/data/file; \
                  touch /tmp/data/x 2>&1 | cut -d: -f3; for d in null zero full random urandom tty; do test -c /dev/$d || echo no $d; done; \
                  readlink /dev/fd /dev/ptmx; stat -c '%a %u %g' /dev/null /dev/pts /dev/shm; ls /proc/self/fd; echo $$; pwd; env | sort; \
                  cat /proc/timer_list /sys/firmware/* 2>/dev/null | wc -c; ulimit -n; umask; exit 7";
    let ours = u.run(script);
    let (ours_out, code) = (text(&ours), ours.status.code());
    assert_eq!(code, Some(7), "{ours:?}");
    let run_root = u.bench.directory.path().join("run/peer");
    fs::create_dir(&run_root).expect("mkdir");
    give(&run_root);
    let root = run_root.to_str().expect("path").to_owned();
    for (peer, options) in
        [("runc", vec!["--root", &root]), ("crun", vec!["--root", &root, "--cgroup-manager=disabled"])]
    {
        let mut command = u.program(Path::new(peer));
        let Ok(theirs) = command.args(options).args(["run", &u.bench.id]).output() else {
            println!("skipped: {peer} is missing");
            continue;
        };
        if String::from_utf8_lossy(&theirs.stderr).contains("hybrid mode not supported") {
            println!("skipped: {peer} does not run on a machine with v1 and v2 cgroups");
            continue;
        }
        assert_eq!(theirs.status.code(), code, "{peer}: {theirs:?}");
        assert_eq!(text(&theirs), ours_out, "{peer}");
    }
}

#[path = "rootless/cgroups.rs"]
mod cgroups;
