//! What a user may and may not have of delegated cgroups, ours and runc's side by side.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use oci::runtime::{DeviceRule, PidsLimit, Resources};

use super::common::text;
use super::{Delegated, GID, UID, User, give, user};

/// A user on cgroup v2; `None`, with the reason printed, elsewhere.
fn user_on_v2() -> Option<User> {
    let u = user()?;
    if !u.bench.v2() {
        println!("skipped: needs cgroup v2; run scripts/test-v2.sh");
        return None;
    }
    // Where nobody has done it yet; it harms nobody.
    fs::write("/sys/fs/cgroup/cgroup.subtree_control", "+pids").expect("controllers");
    Some(u)
}

/// Ours and, where it is installed, runc, each with the options that it needs.
fn runtimes(u: &User) -> Vec<(PathBuf, Vec<String>)> {
    let peer = u.bench.directory.path().join("run/peer");
    fs::create_dir_all(&peer).expect("mkdir");
    give(&peer);
    let runc = ["/usr/sbin/runc", "/usr/bin/runc"].into_iter().map(PathBuf::from).find(|path| path.exists());
    if runc.is_none() {
        println!("runc is missing: ours alone is looked at");
    }
    let options = vec!["--root".to_owned(), peer.display().to_string()];
    std::iter::once((u.runtime.clone(), Vec::new())).chain(runc.map(|path| (path, options))).collect()
}

/// Runs the container as the user, who is in `cgroup`, by the program `around` if there is one.
fn run_in(u: &User, cgroup: &Path, around: &[&str], runtime: &(PathBuf, Vec<String>), options: &[&str]) -> Output {
    u.bench.write_config();
    give(&u.bench.bundle().join("config.json"));
    let enter = format!(
        "echo $$ > {}/cgroup.procs && exec setpriv --reuid {UID} --regid {GID} --clear-groups \"$@\"",
        cgroup.display()
    );
    let mut command = Command::new("sh");
    command.args(["-c", &enter, "sh"]).args(around).arg(&runtime.0).args(&runtime.1).args(options);
    command.args(["run", &u.bench.id]).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("USER", "somebody");
    command.env("XDG_RUNTIME_DIR", u.bench.directory.path().join("run"));
    command.current_dir(u.bench.bundle()).stdin(Stdio::null()).output().expect("run")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).replace("\\\"", "\"")
}

#[test]
fn device_rules_stay_unset_in_a_user_namespace() {
    let Some(mut u) = user_on_v2() else { return };
    let delegation = Delegated::new(Path::new("/sys/fs/cgroup"), &u);
    let session = delegation.0.join("session");
    fs::create_dir(&session).expect("mkdir");
    give(&session);
    u.bench.linux().namespaces.retain(|n| n.kind != "cgroup");
    u.bench.linux().resources = Some(Resources {
        devices: vec![DeviceRule { allow: false, access: Some("rwm".into()), ..Default::default() }],
        pids: Some(PidsLimit { limit: Some(20) }),
        ..Default::default()
    });
    u.bench.script("cat /proc/self/cgroup");
    let place = format!("0::{}/{}", delegation.0.display(), u.bench.id).replace("/sys/fs/cgroup", "");
    let whole = u.bench.spec.clone();
    for runtime in runtimes(&u) {
        u.bench.spec = whole.clone();
        let output = run_in(&u, &session, &[], &runtime, &[]);
        assert_eq!(text(&output).trim(), place, "{runtime:?}: {output:?}");
        // An ordinary user who insists on the rules does not get them.
        let output = run_in(&u, &session, &[], &runtime, &["--rootless", "false"]);
        assert!(
            !output.status.success() && said(&output).contains("operation not permitted"),
            "{runtime:?}: {output:?}"
        );
        // Root of a user namespace has the kernel's word that no nodes can be made.
        u.bench.linux().namespaces.retain(|n| n.kind != "user");
        u.bench.linux().uid_mappings.clear();
        u.bench.linux().gid_mappings.clear();
        for options in [&[][..], &["--rootless", "false"]] {
            let output = run_in(&u, &session, &["unshare", "-Urm"], &runtime, options);
            assert_eq!(text(&output).trim(), place, "{runtime:?} {options:?}: {output:?}");
        }
        assert!(!delegation.0.join(&u.bench.id).exists(), "{runtime:?}: it is left");
    }
}

#[test]
fn a_cgroup_of_somebody_else_is_not_done_without() {
    let Some(mut u) = user_on_v2() else { return };
    let theirs = Delegated(Path::new("/sys/fs/cgroup").join(format!("{}-theirs", u.bench.id)));
    let (session, place) = (theirs.0.join("session"), theirs.0.join(&u.bench.id));
    fs::create_dir_all(&session).expect("mkdir");
    u.bench.script("true");
    for runtime in runtimes(&u) {
        // Without a place: none could be made, and none is needed.
        let output = run_in(&u, &session, &[], &runtime, &[]);
        assert!(output.status.success(), "{runtime:?}: {output:?}");
        // What is there by that name is found, and cannot be entered.
        fs::create_dir(&place).expect("mkdir");
        let output = run_in(&u, &session, &[], &runtime, &[]);
        let error = said(&output);
        assert!(!output.status.success() && error.contains("unable to apply cgroup configuration"), "{error}");
        assert!(error.contains("permission denied"), "{runtime:?}: {error}");
        if runtime.0 == u.runtime {
            assert!(error.contains("choose a place with linux.cgroupsPath"), "{error}");
            assert_eq!(fs::read_dir(u.state()).map_or(0, Iterator::count), 0, "state is left");
        }
        fs::remove_dir(&place).expect("it is still there");
    }
}

/// A cgroup of the user's own in every v1 hierarchy; gone at the end.
struct DelegatedV1(Vec<PathBuf>);

impl DelegatedV1 {
    fn new(name: &str) -> Self {
        let mut made = Vec::new();
        for hierarchy in fs::read_dir("/sys/fs/cgroup").expect("cgroups").flatten() {
            let (hierarchy, own) = (hierarchy.path(), hierarchy.path().join(name));
            if hierarchy.is_symlink() || !hierarchy.join("cgroup.procs").exists() {
                continue;
            }
            fs::create_dir(&own).expect("mkdir");
            made.push(own.clone());
            for file in ["cpuset.cpus", "cpuset.mems"].into_iter().filter(|file| own.join(file).exists()) {
                fs::write(own.join(file), fs::read(hierarchy.join(file)).expect("read")).expect("write");
            }
            std::os::unix::fs::chown(&own, Some(UID), Some(GID)).expect("chown");
        }
        Self(made)
    }
}

impl Drop for DelegatedV1 {
    fn drop(&mut self) {
        for own in &self.0 {
            let _ = fs::remove_dir(own.join("c"));
            let _ = fs::remove_dir(own);
        }
    }
}

#[test]
fn delegated_cgroups_of_v1_are_used() {
    let Some(mut u) = user() else { return };
    if u.bench.v2() || !Path::new("/sys/fs/cgroup/pids").is_dir() {
        println!("skipped: needs cgroup v1");
        return;
    }
    let name = format!("{}-v1", u.bench.id);
    let delegation = DelegatedV1::new(&name);
    let linux = u.bench.linux();
    linux.namespaces.retain(|n| !matches!(n.kind.as_str(), "user" | "cgroup"));
    linux.uid_mappings.clear();
    linux.gid_mappings.clear();
    linux.cgroups_path = Some(format!("/{name}/c"));
    linux.resources = Some(Resources {
        devices: vec![DeviceRule { allow: false, access: Some("rwm".into()), ..Default::default() }],
        pids: Some(PidsLimit { limit: Some(20) }),
        ..Default::default()
    });
    u.bench.script("cat /proc/self/cgroup");
    let unified = Path::new("/sys/fs/cgroup/unified").join(&name);
    // The user may have the v2 hierarchy's too, and may not go there, or none.
    for of_root in [false, true] {
        if of_root && unified.exists() {
            std::os::unix::fs::chown(&unified, Some(0), Some(0)).expect("chown");
        }
        for runtime in runtimes(&u) {
            let output = run_in(&u, Path::new("/sys/fs/cgroup/pids"), &["unshare", "-Urm"], &runtime, &[]);
            let shown = text(&output);
            for controller in ["pids", "memory", "devices"] {
                let line = shown.lines().find(|l| l.split(':').nth(1).is_some_and(|c| c.contains(controller)));
                let there = line.is_some_and(|l| l.ends_with(&format!(":/{name}/c")));
                assert!(there, "{runtime:?} {controller}: {output:?}");
            }
            assert!(delegation.0.iter().all(|own| !own.join("c").exists()), "{runtime:?}: cgroups are left");
        }
    }
}
