//! The seams below the daemon: other people's runtimes under our shim, our runtime under podman
//! and containerd.

use sampan_tests::peers::{PODMAN_LIMITS, containerd, ctr, docker, dockerd};
use sampan_tests::{Node, NodeOptions, Registry, World, images, peer, program, run};
use std::process::Command;

#[test]
fn runc_runs_under_our_shim() {
    let Some(runc) = peer("runc") else { return };
    let world = World::new();
    let Some(registry) = Registry::start(&world, 5000) else { return };
    registry.push(&images::busybox(), "latest", "busybox");
    let options = NodeOptions { args: vec!["--runtime".into(), format!("runc={}", runc.display())] };
    let node = Node::with(&world, options);
    let image = registry.name("busybox:latest");
    node.docker(&["pull", "-q", &image]).ok();
    node.docker(&["run", "-d", "--name", "under", "--runtime", "runc", "-p", "18082:80", &image, "sleep", "1000"]).ok();
    assert_eq!(node.inspect("under", "{{.HostConfig.Runtime}}"), "runc");
    assert_eq!(node.docker(&["exec", "under", "sh", "-c", "echo in; exit 6"]).code, 6);
    assert_eq!(node.docker(&["run", "--rm", "--runtime", "runc", "-m", "32m", &image, "sh", "-c", "exit 3"]).code, 3);
    node.docker(&["run", "--rm", "--runtime", "runc", &image, "no-such"]).fails(127, "executable file not found");
    node.docker(&["rm", "-f", "under"]).ok();
    node.assert_clean();
}

#[test]
fn crun_runs_under_our_shim() {
    let Some(crun) = peer("crun") else { return };
    let world = World::new();
    world.hide_unified_cgroups();
    let Some(registry) = Registry::start(&world, 5000) else { return };
    registry.push(&images::busybox(), "latest", "busybox");
    let options = NodeOptions { args: vec!["--runtime".into(), format!("crun={}", crun.display())] };
    let node = Node::with(&world, options);
    let image = registry.name("busybox:latest");
    node.docker(&["pull", "-q", &image]).ok();
    let ran = node.docker(&["run", "--rm", "--runtime", "crun", &image, "sh", "-c", "echo under; exit 5"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (5, "under\n"), "{ran:?}");
    node.assert_clean();
}

#[test]
fn our_runtime_runs_under_podman() {
    if peer("podman").is_none() || peer("conmon").is_none() {
        return;
    }
    let world = World::new();
    let dir = world.dir().join("podman");
    let path = |name: &str| dir.join(name).to_string_lossy().into_owned();
    let podman = |args: &[&str]| {
        let mut command = Command::new("podman");
        command
            .args(["--root", &path("root"), "--runroot", &path("run"), "--tmpdir", &path("tmp")])
            .args(["--network-config-dir", &path("net"), "--cgroup-manager=cgroupfs", "--storage-driver=overlay"])
            .args(["--events-backend=file", "--runtime"])
            .arg(program("sampan-runtime"))
            .args(args);
        run(&mut command, b"")
    };
    let layout = images::busybox();
    let source = format!("oci:{}:latest", layout.display());
    let image = podman(&["pull", "-q", &source]).ok();
    let parent = format!("/{}", world.name());
    // Raising hard limits needs CAP_SYS_RESOURCE, which podman takes for granted.
    let options = [&["--network", "none", "--cgroup-parent", &parent], &PODMAN_LIMITS[..]].concat();
    let with = |verb: &[&str], rest: &[&str]| podman(&[verb, &options, &[image.as_str()], rest].concat());
    let ran = with(&["run", "--rm"], &["sh", "-c", "echo out; exit 7"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (7, "out\n"), "{ran:?}");
    with(&["run", "-d", "--name", "p"], &["sleep", "1000"]).ok();
    assert_eq!(podman(&["exec", "p", "echo", "in"]).ok(), "in");
    assert_eq!(podman(&["exec", "p", "false"]).code, 1);
    podman(&["pause", "p"]).ok();
    podman(&["unpause", "p"]).ok();
    podman(&["stop", "-t", "0", "p"]).ok();
    podman(&["start", "p"]).ok();
    podman(&["rm", "-f", "-t", "0", "p"]).ok();
    with(&["run", "--rm"], &["no-such-command"]).fails(127, "no-such-command");
}

/// Pull, run, exec, logs, limits, pause, stop and removal, with our runtime in runc's place under Debian's dockerd.
#[test]
fn our_runtime_runs_what_dockerd_pulls() {
    if peer("docker").is_none() {
        return;
    }
    let world = World::new();
    let Some(registry) = Registry::start(&world, 5000) else { return };
    registry.push(&images::busybox(), "latest", "busybox");
    let image = registry.name("busybox:latest");
    let runtime = format!("ours={}", program("sampan-runtime").display());
    let Some(peer) = dockerd(&world, &["--add-runtime", &runtime, "--default-runtime", "ours"]) else { return };
    let docker = |args: &[&str]| docker(&peer.socket, args);
    docker(&["pull", "-q", &image]).ok();
    let ran = docker(&["run", "--rm", &image, "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (7, "out\n", "err\n"), "{ran:?}");
    docker(&["run", "--rm", &image, "no-such"]).fails(127, "executable file not found in $PATH");
    let id = docker(&["run", "-d", "-m", "32m", "--pids-limit", "50", &image, "sh", "-c", "echo up; sleep 1000"]).ok();
    assert_eq!(docker(&["inspect", "--format", "{{.HostConfig.Runtime}}", &id]).ok(), "ours");
    let limit = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; exit 5";
    let shown = docker(&["exec", &id, "sh", "-c", limit]);
    assert_eq!((shown.code, shown.stdout.as_str()), (5, "33554432\n"), "{shown:?}");
    assert_eq!(docker(&["logs", &id]).ok(), "up");
    docker(&["pause", &id]).ok();
    assert_eq!(docker(&["inspect", "--format", "{{.State.Status}}", &id]).ok(), "paused");
    docker(&["unpause", &id]).ok();
    assert!(docker(&["top", &id]).ok().contains("sleep 1000"));
    docker(&["stop", "-t", "1", &id]).ok();
    docker(&["start", &id]).ok();
    docker(&["rm", "-f", &id]).ok();
    let eater = "head -c 200m /dev/zero | tail";
    let eaten = docker(&["run", "-m", "16m", "--memory-swap", "16m", "--name", "eater", &image, "sh", "-c", eater]);
    assert_ne!(eaten.code, 0, "{eaten:?}");
    assert_eq!(docker(&["inspect", "--format", "{{.State.OOMKilled}}", "eater"]).ok(), "true");
    docker(&["rm", "eater"]).ok();
}

/// The same under Debian's containerd, by its own shim.
#[test]
fn our_runtime_runs_what_containerd_pulls() {
    if peer("ctr").is_none() {
        return;
    }
    let world = World::new();
    let Some(registry) = Registry::start(&world, 5000) else { return };
    registry.push(&images::busybox(), "latest", "busybox");
    let image = registry.name("busybox:latest");
    let Some(peer) = containerd(&world, "containerd") else { return };
    let ctr = |args: &[&str]| ctr(&peer, args);
    ctr(&["image", "pull", "--plain-http", &image]).ok();
    let ours = program("sampan-runtime");
    let (binary, cgroup) = (ours.to_string_lossy(), format!("/{}/c", world.name()));
    let run = |more: &[&str], id: &str, words: &[&str]| {
        let base = ["run", "--runc-binary", &binary, "--cgroup", &cgroup];
        ctr(&[&base[..], more, &[image.as_str(), id], words].concat())
    };
    let ran = run(&["--rm"], "one", &["sh", "-c", "echo out; exit 7"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (7, "out\n"), "{ran:?}");
    run(&["-d", "--memory-limit", "33554432"], "two", &["sleep", "1000"]).ok();
    assert_eq!(ctr(&["task", "exec", "--exec-id", "e", "two", "sh", "-c", "echo in; exit 5"]).code, 5);
    ctr(&["task", "pause", "two"]).ok();
    assert!(ctr(&["task", "ls"]).ok().contains("PAUSED"));
    ctr(&["task", "resume", "two"]).ok();
    ctr(&["task", "kill", "-s", "KILL", "two"]).ok();
    sampan_tests::wait_until("the task has stopped", || ctr(&["task", "ls"]).ok().contains("STOPPED"));
    ctr(&["task", "delete", "two"]);
    ctr(&["container", "delete", "two"]).ok();
}
