//! cgroup v1 where nobody expects it: in a mount namespace of the test's own, ours and runc's side by side.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use oci::runtime::{PidsLimit, Resources};

use super::common::{Bench, bench, text};

/// Runs the container in a mount namespace that `script` has changed; `$D` is a directory of the test's own.
fn run_among(b: &Bench, script: &str, runtime: &Path) -> Output {
    b.write_config();
    let run = format!("set -e; {script}; {} --root $D/state run --bundle $D/bundle {}", runtime.display(), b.id);
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &run]).env("D", b.directory.path());
    command.stdin(Stdio::null()).output().expect("unshare")
}

#[test]
fn hierarchies_that_are_mounted_elsewhere_are_used() {
    let Some(mut b) = bench() else { return };
    if b.v2() || !Path::new("/sys/fs/cgroup/pids").is_dir() {
        println!("skipped: needs cgroup v1");
        return;
    }
    b.linux().namespaces.retain(|n| n.kind != "cgroup");
    b.spec.mounts.retain(|m| m.kind.as_deref() != Some("cgroup"));
    b.linux().resources = Some(Resources { pids: Some(PidsLimit { limit: Some(20) }), ..Default::default() });
    let absolute = b.spec.linux.as_ref().and_then(|l| l.cgroups_path.clone());
    b.script("cat /proc/self/cgroup; echo ran");
    let moved =
        "mkdir $D/cg; for d in /sys/fs/cgroup/*/; do n=$(basename $d); mkdir $D/cg/$n; mount --bind $d $D/cg/$n; done";
    let runc = ["/usr/sbin/runc", "/usr/bin/runc"].into_iter().map(PathBuf::from).find(|path| path.exists());
    for (all, script) in [
        (true, format!("{moved}; umount -R -l /sys/fs/cgroup")),
        // At their place, but one.
        (
            false,
            format!(
                "{moved}; umount -R -l /sys/fs/cgroup; mount -t tmpfs tmpfs /sys/fs/cgroup; for d in $D/cg/*; do \
                 n=$(basename $d); test $n = pids && continue; mkdir /sys/fs/cgroup/$n; \
                 mount --move $d /sys/fs/cgroup/$n; done"
            ),
        ),
    ] {
        for path in [absolute.clone(), None] {
            b.linux().cgroups_path.clone_from(&path);
            for runtime in std::iter::once(b.runtime.clone()).chain(runc.clone()) {
                // runc takes one directory for all hierarchies.
                if !all && runtime != b.runtime {
                    continue;
                }
                let output = run_among(&b, &script, &runtime);
                let _ = std::fs::remove_dir_all(b.directory.path().join("cg"));
                // runc takes one directory for all hierarchies.
                assert!(output.status.success(), "{runtime:?} {path:?}: {output:?}");
                let shown = text(&output);
                let place = path.clone().unwrap_or_else(|| format!("/{}", b.id));
                for controller in ["pids", "memory", "devices"] {
                    let line = shown.lines().find(|l| l.split(':').nth(1).is_some_and(|c| c.contains(controller)));
                    assert!(line.is_some_and(|l| l.ends_with(&place)), "{runtime:?} {controller} {path:?}: {shown}");
                }
                if runtime != b.runtime {
                    // It leaves the parents that it has made.
                    b.cgroups().iter().for_each(|parent| std::fs::remove_dir(parent).expect("empty"));
                }
                b.assert_nothing_left();
            }
        }
    }
}

#[test]
fn nothing_is_made_where_no_hierarchy_is() {
    let Some(mut b) = bench() else { return };
    if b.v2() || !Path::new("/sys/fs/cgroup/pids").is_dir() {
        println!("skipped: needs cgroup v1");
        return;
    }
    b.spec.mounts.retain(|m| m.kind.as_deref() != Some("cgroup"));
    b.script("true");
    for (script, words) in [
        ("umount -R -l /sys/fs/cgroup; mount -t tmpfs tmpfs /sys/fs/cgroup", "make cgroup /sys/fs/cgroup/"),
        (
            "mkdir -p $D/keep; mount --bind /sys/fs/cgroup/pids $D/keep; umount -R -l /sys/fs/cgroup",
            "hierarchy of the controller \\\"devices\\\" is not mounted",
        ),
    ] {
        let script = format!("{script}; trap 'ls -A /sys/fs/cgroup' EXIT");
        let output = run_among(&b, &script, &b.runtime.clone());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(words), "{output:?}");
        assert_eq!(text(&output), "", "directories are left: {output:?}");
        b.assert_nothing_left();
    }
}
