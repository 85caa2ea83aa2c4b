//! Beside other people's programs: the same containers under runc, and our runtime under podman.

mod common;

use std::process::Command;

use common::{bench, text};

fn installed(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok_and(|o| o.status.success());
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

/// Lines that are the same from one container to the next.
const SCRIPTS: [&str; 14] = [
    "id; echo $HOME $PATH; pwd; umask; hostname",
    "grep -E 'Cap|NoNewPrivs|Seccomp:|Groups|Uid|Gid' /proc/self/status",
    "cut -d' ' -f2 /proc/mounts | sort",
    "grep -E ' /(proc|sys|dev)' /proc/mounts | grep -v cgroup | cut -d' ' -f2,3 | sort",
    "for p in proc/bus proc/fs proc/irq proc/sys dev dev/shm dev/mqueue sys; do grep \" /$p \" /proc/mounts | cut -d' ' -f2,4; done",
    "ls /dev; stat -c '%n %a %u %g %t %T' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty",
    "readlink /dev/fd; readlink /dev/stdin; readlink /dev/ptmx",
    "cat /proc/self/limits | grep -E 'files|core'; cat /proc/self/oom_score_adj",
    "touch /x 2>&1; echo x 2>&1 > /proc/sys/kernel/hostname; cat /proc/timer_list | wc -c; ls /sys/firmware | wc -l",
    "sed 's/[0-9]*:/:/' /proc/self/cgroup | grep -v '^::' | sort",
    "ls -A /sys/fs/cgroup | grep -v unified | sort",
    "echo $$; cat /proc/1/cmdline",
    "exit 3",
    "kill -TERM $$; exec sleep 0",
];

#[test]
fn the_same_as_under_runc() {
    if !installed("runc") {
        return;
    }
    let Some(mut ours) = bench() else { return };
    let Some(mut theirs) = bench() else { return };
    theirs.runtime = "runc".into();
    type Change = fn(&mut oci::runtime::Spec);
    let variants: [(&str, Change); 3] = [
        ("as generated", |_| {}),
        ("another user", |s| {
            let user = &mut s.process.as_mut().expect("process").user;
            (user.uid, user.gid, user.additional_gids) = (1000, 1000, vec![4, 5]);
        }),
        ("the host's namespaces", |s| {
            s.hostname = None;
            let linux = s.linux.as_mut().expect("linux");
            linux.namespaces.retain(|n| !matches!(n.kind.as_str(), "uts" | "ipc" | "network"));
            // A new sysfs needs a network namespace of one's own, a new mqueue one of ipc.
            s.mounts.retain(|m| !m.destination.starts_with("/sys"));
        }),
    ];
    for (name, change) in variants {
        for script in SCRIPTS {
            let outputs = [&mut ours, &mut theirs].map(|b| {
                let original = b.spec.clone();
                b.spec.oci_version = "1.0.2".into();
                change(&mut b.spec);
                let output = b.script(script).run();
                b.spec = original;
                (output.status.code(), text(&output))
            });
            assert_eq!(outputs[0], outputs[1], "{name}: {script}");
        }
    }
    ours.assert_nothing_left();
}

#[test]
fn podman_runs_it() {
    if !installed("podman") || !installed("conmon") {
        return;
    }
    let Some(b) = bench() else { return };
    let here = b.directory.path().to_owned();
    let conf = here.join("containers.conf");
    // Without CAP_SYS_RESOURCE podman's own default limits cannot be set.
    std::fs::write(&conf, "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n")
        .expect("conf");
    let podman = |args: &[&str]| {
        let output = common::podman(&b).args(args).output().expect("podman");
        (output.status.code(), text(&output).trim().to_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let archive = here.join("rootfs.tar");
    let packed = Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(b.rootfs()).arg(".").status();
    assert!(packed.expect("tar").success());
    let imported = podman(&["import", "-q", archive.to_str().expect("path"), "box"]);
    assert_eq!(imported.0, Some(0), "{imported:?}");
    // podman's own parent would stay behind.
    let parent = format!("--cgroup-parent=/{}", b.id);
    let run = |args: &[&str]| podman(&[&["run", "--rm", "--network=none", &parent], args].concat());
    let name = format!("{}-p", b.id);
    let hello = run(&["box", "sh", "-c", "echo hello; exit 42"]);
    assert_eq!(hello.1, "hello", "{hello:?}");
    assert_eq!(run(&["box", "sh", "-c", "exit 42"]).0, Some(42));
    assert_eq!(run(&["box", "nosuch"]).0, Some(127));
    assert_eq!(run(&["box", "/etc"]).0, Some(126));
    let limited = run(&["--pids-limit", "30", "box", "cat", "/sys/fs/cgroup/pids/pids.max"]);
    if !b.v2() {
        assert_eq!(limited.1, "30", "{limited:?}");
    }
    assert_eq!(
        run(&["--user", "5:6", "--tmpfs", "/etc", "box", "sh", "-c", "id -u; ls /etc/passwd"]).1,
        "5\n/etc/passwd"
    );
    let started = podman(&["run", "-d", "--network=none", &parent, "--name", &name, "box", "sleep", "100"]);
    assert_eq!(started.0, Some(0), "{started:?}");
    assert_eq!(podman(&["exec", &name, "sh", "-c", "echo in; exit 7"]).0, Some(7));
    assert_eq!(podman(&["exec", &name, "nosuch"]).0, Some(127));
    assert_eq!(podman(&["pause", &name]).0, Some(0));
    assert_eq!(podman(&["unpause", &name]).0, Some(0));
    assert_eq!(podman(&["stop", "-t", "0", &name]).0, Some(0));
    assert_eq!(podman(&["inspect", "-f", "{{.State.ExitCode}}", &name]).1, "137");
    assert_eq!(podman(&["rm", "-f", &name]).0, Some(0));
    podman(&["rmi", "-f", "box"]);
}
