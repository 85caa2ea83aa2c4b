//! Containers from create to remove, with the real shim and runtime.

mod run_support;

use bytes::Bytes;
use engine::model::*;
use oci::Kind;
use run_support::{LONG, World, logs, unframe, until};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_exit_code_log_and_removal() {
    let Some(world) = World::new().await else { return };
    let (id, output, exit) = world.run(world.spec(&["sh", "-c", "echo out; echo err >&2; exit 3"])).await;
    let mut lines: Vec<&str> = output.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["err", "out"]);
    assert_eq!(exit.code, 3);
    let containers = world.containers();
    let record = containers.get(&id).unwrap();
    assert_eq!((record.phase, record.exit_code, record.pid), (Phase::Exited, 3, 0));
    assert!(!record.started_at.is_zero() && record.finished_at >= record.started_at);
    for stage in ["snapshot", "shim", "create", "start"] {
        assert!(record.timeline.iter().any(|s| s.stage == stage), "{stage}: {:?}", record.timeline);
    }
    let log = logs(&containers, &id).await;
    assert!(log.contains("out\n") && log.contains("err\n"), "{log:?}");
    // It can be started again, with a fresh exit.
    let again = containers.wait(&id, Condition::NextExit).unwrap();
    assert!(containers.start(&id).await.unwrap());
    assert_eq!(tokio::time::timeout(LONG, again).await.unwrap().unwrap().code, 3);
    let gone = containers.wait(&id, Condition::Removed).unwrap();
    containers.remove(&id[..12], false, false).await.unwrap();
    assert_eq!(gone.await.unwrap().code, 3);
    assert_eq!(containers.get(&id).unwrap_err().kind(), Kind::NotFound);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_users_hosts_and_missing_commands() {
    let Some(world) = World::new().await else { return };
    let mut spec = world.spec(&["sh", "-c", "id; hostname; cat /etc/hosts; echo $HOSTNAME $A"]);
    spec.user = "ann".into();
    spec.hostname = "boat".into();
    spec.env = vec!["A=b".into()];
    spec.name = Some("first".into());
    spec.extra_hosts = vec![("other".into(), "10.1.2.3".into())];
    let (_, output, exit) = world.run(spec).await;
    assert_eq!(exit.code, 0, "{output}");
    for part in ["uid=1000(ann) gid=100(users)", "10(wheel)", "boat\n", "10.1.2.3\tother", "boat b"] {
        assert!(output.contains(part), "{part}: {output}");
    }
    let containers = world.containers();
    let mut taken = world.spec(&["true"]);
    taken.name = Some("first".into());
    let error = containers.create(taken).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(error.to_string().starts_with("Conflict. The container name \"/first\" is already in use"), "{error}");

    let id = containers.create(world.spec(&["no-such-command"])).await.unwrap().id;
    let error = containers.start(&id).await.unwrap_err();
    assert!(error.to_string().contains("\"no-such-command\": executable file not found in $PATH"), "{error}");
    let record = containers.get(&id).unwrap();
    assert_eq!((record.phase, record.exit_code), (Phase::Created, 127));
    let mut nobody = world.spec(&["true"]);
    nobody.user = "nobody-there".into();
    let id = containers.create(nobody).await.unwrap().id;
    let error = containers.start(&id).await.unwrap_err();
    assert!(error.to_string().contains("unable to find user nobody-there"), "{error}");
    let error = containers.create(ContainerSpec { image: "no-such-image".into(), ..world.spec(&["true"]) }).await;
    assert_eq!(error.unwrap_err().kind(), Kind::NotFound);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stdin_terminal_exec_and_signals() {
    let Some(world) = World::new().await else { return };
    let containers = world.containers();
    let mut spec = world.spec(&["cat"]);
    spec.open_stdin = true;
    spec.stdin_once = true;
    let id = containers.create(spec).await.unwrap().id;
    let options = AttachOptions { stdin: true, stdout: true, stderr: true, logs: false, stream: true };
    let mut stream = containers.attach(&id, options).await.unwrap();
    containers.start(&id).await.unwrap();
    let mut input = stream.input.take().unwrap();
    input.write(Bytes::from_static(b"through and back\n")).await.unwrap();
    input.close().await.unwrap();
    let mut output = Vec::new();
    while let Some(piece) = tokio::time::timeout(LONG, stream.output.next()).await.unwrap() {
        output.extend_from_slice(&piece.unwrap());
    }
    assert_eq!(unframe(&output), "through and back\n");

    let mut spec = world.spec(&["sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.1; done"]);
    spec.tty = true;
    let id = containers.create(spec).await.unwrap().id;
    containers.start(&id).await.unwrap();
    containers.resize(&id, 40, 100).await.unwrap();
    assert!(!containers.top(&id).await.unwrap().is_empty());
    let stats = containers.stats(&id).await.unwrap();
    assert!(stats.pids >= 1 && stats.memory_limit > 0, "{stats:?}");

    let execs = world.ns().execs();
    let wanted = ExecSpec {
        args: ["sh", "-c", "echo inside; exit 5"].map(str::to_owned).into(),
        stdout: true,
        stderr: true,
        ..Default::default()
    };
    let exec = execs.create(&id, wanted).await.unwrap();
    let mut stream = execs.start(&exec, true, None).await.unwrap().unwrap();
    let mut output = Vec::new();
    while let Some(piece) = tokio::time::timeout(LONG, stream.output.next()).await.unwrap() {
        output.extend_from_slice(&piece.unwrap());
    }
    assert_eq!(unframe(&output), "inside\n");
    until("the exec's exit", || execs.inspect(&exec).unwrap().exit_code == Some(5)).await;
    assert_eq!(execs.start(&exec, false, None).await.err().unwrap().kind(), Kind::Conflict);

    containers.pause(&id).await.unwrap();
    assert_eq!(containers.get(&id).unwrap().phase, Phase::Paused);
    assert_eq!(containers.pause(&id).await.unwrap_err().kind(), Kind::Conflict);
    containers.unpause(&id).await.unwrap();
    assert_eq!(containers.remove(&id, false, false).await.unwrap_err().kind(), Kind::Conflict);
    assert!(containers.stop(&id, Some(30), None).await.unwrap());
    assert_eq!(containers.get(&id).unwrap().exit_code, 7);
    assert!(!containers.stop(&id, None, None).await.unwrap());
    assert_eq!(containers.kill(&id, None).await.unwrap_err().kind(), Kind::Conflict);

    // What ignores the signal is killed when its time is up.
    let id =
        containers.create(world.spec(&["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"])).await.unwrap().id;
    containers.start(&id).await.unwrap();
    assert!(containers.stop(&id, Some(1), None).await.unwrap());
    assert_eq!(containers.get(&id).unwrap().exit_code, 137);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_policies_and_automatic_removal() {
    let Some(world) = World::new().await else { return };
    let containers = world.containers();
    let mut spec = world.spec(&["sh", "-c", "echo run; exit 4"]);
    spec.restart = RestartPolicy::OnFailure { max: 2 };
    let id = containers.create(spec).await.unwrap().id;
    containers.start(&id).await.unwrap();
    until("three runs", || {
        let record = containers.get(&id).unwrap();
        record.phase == Phase::Exited && record.restart_count == 2
    })
    .await;
    assert_eq!(logs(&containers, &id).await, "run\nrun\nrun\n");

    let mut spec = world.spec(&["sh", "-c", "exit 6"]);
    spec.auto_remove = true;
    let id = containers.create(spec).await.unwrap().id;
    let gone = containers.wait(&id, Condition::Removed).unwrap();
    containers.start(&id).await.unwrap();
    assert_eq!(tokio::time::timeout(LONG, gone).await.unwrap().unwrap().code, 6);
    assert_eq!(containers.get(&id).unwrap_err().kind(), Kind::NotFound);

    let mut spec = world.spec(&["sleep", "1000"]);
    spec.restart = RestartPolicy::Always;
    let id = containers.create(spec).await.unwrap().id;
    containers.start(&id).await.unwrap();
    let first = containers.get(&id).unwrap().pid;
    containers.restart(&id, Some(0), None).await.unwrap();
    let record = containers.get(&id).unwrap();
    assert!(record.phase == Phase::Running && record.pid != first);
    containers.stop(&id, Some(0), None).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(containers.get(&id).unwrap().phase, Phase::Exited, "stopped by hand stays stopped");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volumes_binds_tmpfs_and_copies() {
    let Some(world) = World::new().await else { return };
    let containers = world.containers();
    let host = world.dir.path().join("host");
    std::fs::create_dir(&host).unwrap();
    std::fs::write(host.join("x"), "bound\n").unwrap();
    let mount = |target: &str, source, readonly| MountSpec { target: target.into(), source, readonly };
    let volume = |name: Option<&str>| MountSource::Volume {
        name: name.map(str::to_owned),
        no_copy: false,
        driver: None,
        options: Default::default(),
        labels: Default::default(),
        subpath: None,
    };
    let bind = MountSource::Bind {
        path: host.to_string_lossy().into_owned(),
        create: false,
        propagation: None,
        non_recursive: false,
    };
    let tmpfs = MountSource::Tmpfs { size: Some(1 << 20), mode: None, options: Vec::new() };
    let mut spec = world.spec(&[
        "sh",
        "-c",
        "cat /data/sub/file /host/x; echo new > /data/new; echo t > /t/f; ls /anon; touch /host/y 2>/dev/null || echo read-only",
    ]);
    spec.mounts = vec![
        mount("/data", volume(Some("kept")), false),
        mount("/anon", volume(None), false),
        mount("/host", bind, true),
        mount("/t", tmpfs, false),
    ];
    let (id, output, exit) = world.run(spec).await;
    assert_eq!(output, "from the image\nbound\nread-only\n", "{exit:?}");
    let volumes = world.ns().volumes();
    assert_eq!(volumes.list().await.unwrap().len(), 2);
    assert_eq!(volumes.remove("kept", false).await.unwrap_err().kind(), Kind::Conflict);

    // Files in and out of a container that doesn't run.
    let (stat, mut stream) = containers.archive_get(&id, "/bin/busybox").await.unwrap();
    assert_eq!(stat.name, "busybox");
    let mut bytes = 0;
    while let Some(piece) = stream.recv().await {
        bytes += piece.unwrap().len() as u64;
    }
    assert!(bytes > stat.size);
    assert_eq!(containers.archive_stat(&id, "/none").await.unwrap_err().kind(), Kind::NotFound);
    // What a mount shows is found behind it, too.
    assert_eq!(containers.archive_stat(&id, "/data/new").await.unwrap().size, 4);
    let error = containers.archive_put(&id, "/host", ArchivePut::default(), tokio::sync::mpsc::channel(1).1).await;
    assert_eq!(error.unwrap_err().kind(), Kind::PermissionDenied);

    containers.remove(&id, false, true).await.unwrap();
    let left: Vec<String> = volumes.list().await.unwrap().into_iter().map(|v| v.name).collect();
    assert_eq!(left, ["kept"], "the anonymous one went along");
    let mut spec = world.spec(&["cat", "/data/new"]);
    spec.mounts = vec![mount("/data", volume(Some("kept")), true)];
    let (id, output, _) = world.run(spec).await;
    assert_eq!(output, "new\n");
    containers.remove(&id, false, true).await.unwrap();
    volumes.remove("kept", false).await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_of_the_daemon() {
    let Some(mut world) = World::new().await else { return };
    let containers = world.containers();
    let mut ids = Vec::new();
    for (words, restart) in [
        (["sleep", "1000"], RestartPolicy::No),
        (["sleep", "1001"], RestartPolicy::No),
        (["sleep", "1002"], RestartPolicy::Always),
    ] {
        let mut spec = world.spec(&words);
        spec.restart = restart;
        let id = containers.create(spec).await.unwrap().id;
        containers.start(&id).await.unwrap();
        ids.push(id);
    }
    let pids: Vec<u32> = ids.iter().map(|id| containers.get(id).unwrap().pid).collect();
    drop(containers);
    let engine = world.engine.take().unwrap();
    engine.shutdown().await;
    drop(engine);
    // Two end while nobody looks.
    for pid in &pids[1..] {
        assert!(std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let before = oci::Timestamp::now();
    tokio::time::sleep(Duration::from_millis(300)).await;
    world.reopen().await;
    let containers = world.containers();
    let alive = containers.get(&ids[0]).unwrap();
    assert_eq!((alive.phase, alive.pid), (Phase::Running, pids[0]));
    let ended = containers.get(&ids[1]).unwrap();
    assert_eq!((ended.phase, ended.exit_code), (Phase::Exited, 137));
    assert!(ended.finished_at < before, "the exit has its own time");
    until("the policy", || {
        let record = containers.get(&ids[2]).unwrap();
        record.phase == Phase::Running && record.pid != pids[2]
    })
    .await;
    assert!(containers.stop(&ids[0], Some(0), None).await.unwrap());
    drop(containers);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_limit_is_enforced_and_told() {
    let Some(world) = World::new().await else { return };
    // A file in memory counts as the container's.
    let mut spec = world.spec(&["dd", "if=/dev/zero", "of=/dev/shm/x", "bs=1M", "count=60"]);
    spec.resources.memory = Some(16 << 20);
    let (id, output, exit) = world.run(spec).await;
    let record = world.containers().get(&id).unwrap();
    assert!(record.oom_killed, "{exit:?} {output}");
    assert_eq!(exit.code, 137);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_a_port_and_the_host() {
    let Some(world) = World::new().await else { return };
    let containers = world.containers();
    let mut spec = world.spec(&["sh", "-c", "while :; do echo hello | nc -l -p 80; done"]);
    spec.network = NetworkMode::Default;
    spec.ports =
        vec![PortSpec { container_port: 80, protocol: "tcp".into(), host_ip: None, host_port: 0, host_port_end: None }];
    let id = containers.create(spec).await.unwrap().id;
    containers.start(&id).await.unwrap();
    let record = containers.get(&id).unwrap();
    let port = record.ports[0].host_port;
    assert!(port > 0 && record.endpoints["bridge"].ip.is_some());
    let mut answer = String::new();
    for _ in 0..100 {
        use tokio::io::AsyncReadExt;
        if let Ok(mut stream) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await {
            let _ = tokio::time::timeout(LONG, stream.read_to_string(&mut answer)).await;
            if !answer.is_empty() {
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(answer, "hello\n");
    let mut second = world.spec(&["sleep", "5"]);
    second.network = NetworkMode::Default;
    second.ports = vec![PortSpec { host_port: port, ..record.spec.ports[0].clone() }];
    let other = containers.create(second).await.unwrap().id;
    let error = containers.start(&other).await.unwrap_err();
    assert!(error.to_string().contains("port is already allocated"), "{error}");
    let mut peer = world.spec(&["cat", "/etc/hosts"]);
    peer.network = NetworkMode::Container(id.clone());
    let (_, output, _) = world.run(peer).await;
    assert!(output.contains(&record.endpoints["bridge"].ip.unwrap().to_string()), "{output}");
    containers.remove(&id, true, true).await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_create_leaves_nothing() {
    let Some(world) = World::new().await else { return };
    let containers = world.containers();
    let volume = MountSource::Volume {
        name: None,
        no_copy: false,
        driver: None,
        options: Default::default(),
        labels: Default::default(),
        subpath: None,
    };
    let missing =
        MountSource::Bind { path: "/nonexistent/here".into(), create: false, propagation: None, non_recursive: false };
    let mut spec = world.spec(&["true"]);
    spec.name = Some("again".into());
    spec.mounts = vec![
        MountSpec { target: "/a".into(), source: volume, readonly: false },
        MountSpec { target: "/b".into(), source: missing, readonly: false },
    ];
    let error = containers.create(spec.clone()).await.unwrap_err();
    assert!(error.to_string().contains("/nonexistent/here"), "{error}");
    assert!(world.ns().volumes().list().await.unwrap().is_empty(), "the first volume is gone again");
    spec.network = NetworkMode::Network("no-such-network".into());
    spec.mounts.clear();
    assert_eq!(containers.create(spec.clone()).await.unwrap_err().kind(), Kind::NotFound);
    spec.network = NetworkMode::None;
    containers.create(spec).await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_runtime_under_the_same_shim() {
    let Some(world) = World::new().await else { return };
    let found = std::env::var_os("PATH").is_some_and(|p| std::env::split_paths(&p).any(|d| d.join("runc").exists()));
    if !found {
        eprintln!("skipped: runc is not installed");
        return;
    }
    let mut spec = world.spec(&["echo", "by runc"]);
    spec.runtime = Some("runc".into());
    let (_, output, exit) = world.run(spec).await;
    assert_eq!((output.as_str(), exit.code), ("by runc\n", 0));
    world.end().await;
}
