//! The seams below the daemon: other people's runtimes under our shim, our runtime under podman
//! and containerd.

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
    let options = [
        "--network",
        "none",
        "--cgroup-parent",
        &parent,
        "--ulimit",
        "nofile=1024:1024",
        "--ulimit",
        "nproc=4096:4096",
    ];
    let with = |verb: &[&'static str], rest: &[&str]| {
        let mut args: Vec<&str> = verb.to_vec();
        args.extend(options);
        args.push(&image);
        args.extend(rest);
        podman(&args)
    };
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
