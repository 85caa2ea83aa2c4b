//! A container of systemd's that is saved and restored by criu.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use oci::runtime::{MemoryLimits, PidsLimit};

use super::machine::{detached, ended, fresh, gone, limits, property, unit};

/// The scope goes with the container that was saved; the restored one is in a new one, with its limits, from the
/// beginning. `limit` is systemd's name for that of memory.
pub(super) fn a_checkpoint_comes_back_in_a_new_unit(limit: &str) {
    let mut b = fresh();
    limits(&mut b).memory = Some(MemoryLimits { limit: Some(64 << 20), ..Default::default() });
    limits(&mut b).pids = Some(PidsLimit { limit: Some(77) });
    b.spec.root.as_mut().expect("root").readonly = false;
    b.script("i=0; while :; do i=$((i+1)); echo $i >/tmp/new; mv /tmp/new /tmp/count; sleep 0.1; done").write_config();
    let (unit, id) = (unit(&b), b.id.clone());
    let path = |name: &str| b.directory.path().join(name).to_str().expect("path").to_owned();
    let (bundle, images) = (path("bundle"), path("images"));
    let count = || {
        let text = fs::read_to_string(b.rootfs().join("tmp/count")).unwrap_or_default();
        text.trim().parse::<u64>().unwrap_or(0)
    };
    detached(&b, &["--systemd-cgroup", "run", "--detach", "--bundle", &bundle, &id]);
    b.until("counting", || count() > 0);
    b.ok(&["checkpoint", "--image-path", &images, &id]);
    gone(&b, &unit);
    let at = count();
    let restore = ["--systemd-cgroup", "restore", "--detach", "--bundle", &bundle, "--image-path", &images, &id];
    detached(&b, &restore);
    b.until("counting on", || count() > at);
    let shown = [limit, "TasksMax", "ActiveState", "Description"].map(|name| property(&unit, name));
    let description = format!("libcontainer container {id}");
    assert_eq!(shown, ["67108864", "77", "active", &*description]);
    let own = fs::read_to_string(format!("/proc/{}/cgroup", b.pid())).expect("cgroup");
    assert!(own.lines().all(|line| line.ends_with(&format!(":/system.slice/{unit}"))), "{own}");
    b.ok(&["pause", &id]);
    b.ok(&["resume", &id]);
    ended(&b);
    // What fails leaves no unit either.
    fs::remove_file(Path::new(&images).join("pstree.img")).expect("remove");
    let failed = b.command(&restore).stdout(Stdio::null()).stderr(Stdio::null()).status().expect("runtime");
    assert_eq!(failed.code(), Some(1));
    gone(&b, &unit);
}
