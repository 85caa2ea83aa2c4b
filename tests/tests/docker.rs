//! Every day with the real `docker` command.

use sampan_tests::{Node, Registry, World, images, peer, run, terminal::Terminal, wait_until};
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::process::{Command, Stdio};

/// A node with a registry that serves busybox, already pulled.
macro_rules! node_with_busybox {
    ($world:ident, $node:ident, $registry:ident, $image:ident) => {
        if peer("docker").is_none() {
            return;
        }
        let $world = World::new();
        let Some($registry) = Registry::start(&$world, 5000) else { return };
        $registry.push(&images::busybox(), "latest", "busybox");
        #[allow(unused_mut, reason = "some tests kill and start it")]
        let mut $node = Node::new(&$world);
        let $image = $registry.name("busybox:latest");
        $node.docker(&["pull", "-q", &$image]).ok();
    };
}

#[test]
fn a_debian_image_is_pulled_and_runs() {
    if peer("docker").is_none() {
        return;
    }
    let world = World::new();
    let Some(registry) = Registry::start(&world, 5000) else { return };
    registry.push(&images::debian(), "12", "debian");
    let node = Node::new(&world);
    let image = registry.name("debian:12");

    let pulled = node.docker(&["pull", &image]).ok();
    assert!(pulled.contains("Status: Downloaded newer image for"), "{pulled}");
    assert!(pulled.contains("Digest: sha256:"), "{pulled}");
    let again = node.docker(&["pull", &image]).ok();
    assert!(again.contains("Status: Image is up to date for"), "{again}");

    let script = "cat /etc/debian_version; ls /opt; cat /opt/one/b; ls /opt/one /opt/link; stat -c %a /opt/suid";
    let shown = node.docker(&["run", "--rm", &image, "sh", "-c", script]).ok();
    assert!(shown.starts_with("12."), "{shown}");
    assert!(!shown.contains("gone"), "a removed directory is back: {shown}");
    assert!(shown.contains("4755"), "setuid is lost: {shown}");
    assert!(shown.contains("\nlink\n"), "{shown}");
    let history = node.docker(&["history", "-q", &image]).ok();
    assert!(!history.is_empty());
    node.docker(&["rmi", &image]).ok();
    assert_eq!(node.docker(&["images", "-q"]).ok(), "");
    node.assert_clean();
}

#[test]
fn exit_codes_and_streams_are_docker_s() {
    node_with_busybox!(world, node, registry, image);
    let ran = node.docker(&["run", "--rm", &image, "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (7, "out\n", "err\n"));
    assert_eq!(node.docker(&["run", "--rm", &image, "sh", "-c", "sh -c 'kill -9 $$'; exit $?"]).code, 137);
    node.docker(&["run", "--rm", &image, "no-such-command"]).fails(127, "executable file not found in $PATH");
    node.docker(&["run", "--rm", &image, "/etc/passwd"]).fails(126, "permission denied");
    node.docker(&["run", "--rm", "--user", "nobody-here", &image, "true"]).fails(125, "nobody-here");
    node.docker(&["run", "--rm", &registry.name("absent"), "true"]).fails(125, "not found");
    node.docker(&["run", "--name", "one", &image, "true"]).ok();
    node.docker(&["run", "--name", "one", &image, "true"]).fails(125, "already in use");
    node.docker(&["rm", "one"]).ok();
    let echoed = run(node.docker_command().args(["run", "--rm", "-i", &image, "cat"]), b"through\n").ok();
    assert_eq!(echoed, "through");
    assert_eq!(node.docker(&["ps", "-aq"]).ok(), "");
    node.assert_clean();
}

#[test]
fn a_terminal_with_resize() {
    node_with_busybox!(world, node, registry, image);
    let mut command = node.docker_command();
    command.args(["run", "--rm", "-it", &image, "sh"]);
    let mut terminal = Terminal::spawn(&command, 91, 33);
    terminal.expect("#");
    terminal.send("stty size; tty\n");
    terminal.expect("33 91");
    terminal.expect("/dev/pts/0");
    terminal.resize(120, 44);
    terminal.send("sleep 0.5; stty size\n");
    terminal.expect("44 120");
    terminal.send("exit 3\n");
    assert_eq!(terminal.wait(), 3);
    node.assert_clean();
}

#[test]
fn published_ports_carry_tcp_and_udp() {
    node_with_busybox!(world, node, registry, image);
    registry.push(&images::debian(), "12", "debian");
    let debian = registry.name("debian:12");
    let script = "echo page > /var/www/index.html; httpd -p 80 -h /var/www; sleep 1000";
    node.docker(&["run", "-d", "--name", "web", "-p", "18080:80", &image, "sh", "-c", script]).ok();
    let echo = "$s = IO::Socket::INET->new(Proto => 'udp', LocalPort => 53); while ($s->recv($d, 99)) { $s->send($d) }";
    let perl = ["perl", "-MIO::Socket::INET", "-e", echo];
    let mut args = vec!["run", "-d", "--name", "udp", "-p", "127.0.0.1:15353:53/udp", &debian];
    args.extend(perl);
    node.docker(&args).ok();
    assert!(node.docker(&["port", "web", "80/tcp"]).ok().starts_with("0.0.0.0:18080"));
    let mut page = String::new();
    wait_until("the page is served through the published port", || {
        page.clear();
        let Ok(mut stream) = TcpStream::connect("127.0.0.1:18080") else { return false };
        let _ = stream.write_all(b"GET /index.html HTTP/1.0\r\n\r\n");
        let _ = stream.read_to_string(&mut page);
        page.contains("page")
    });
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
    socket.set_read_timeout(Some(std::time::Duration::from_millis(300))).expect("a timeout");
    wait_until("a datagram comes back", || {
        let _ = socket.send_to(b"ping", "127.0.0.1:15353");
        socket.recv(&mut [0; 16]).is_ok_and(|n| n == 4)
    });
    node.docker(&["run", "--rm", "-p", "18080:80", &image, "true"]).fails(125, "port is already allocated");
    // The failed one left no container behind: --rm was not reached, docker keeps it as Created.
    let address = node.inspect("web", "{{.NetworkSettings.IPAddress}}");
    let fetched = node.docker(&["run", "--rm", &image, "wget", "-qO-", &format!("http://{address}/")]).ok();
    assert_eq!(fetched, "page");
    for id in node.docker(&["ps", "-aq"]).ok().lines() {
        node.docker(&["rm", "-f", id]).ok();
    }
    node.assert_clean();
    node.docker(&["run", "-d", "--name", "web", "-p", "18080:80", &image, "sleep", "1000"]).ok();
    node.docker(&["rm", "-f", "web"]).ok();
}

#[test]
fn exec_logs_cp_stats_top_and_stop() {
    node_with_busybox!(world, node, registry, image);
    let script = "trap 'echo bye; exit 5' TERM; i=0; while true; do i=$((i+1)); echo line $i; sleep 0.1; done";
    node.docker(&["run", "-d", "--name", "box", &image, "sh", "-c", script]).ok();
    assert_eq!(node.docker(&["exec", "box", "sh", "-c", "echo in; exit 4"]).code, 4);
    assert_eq!(
        node.docker(&["exec", "-u", "alice", "-w", "/tmp", "-e", "A=b", "box", "sh", "-c", "id -un; pwd; echo $A"])
            .ok(),
        "alice\n/tmp\nb"
    );
    // dockerd tells of it in the exec's own output.
    let absent = node.docker(&["exec", "box", "no-such"]);
    assert!(absent.code == 127 && absent.stdout.contains("executable file not found"), "{absent:?}");
    let piped = run(node.docker_command().args(["exec", "-i", "box", "wc", "-c"]), &[b'x'; 100_000]).ok();
    assert_eq!(piped.trim(), "100000");

    let mut follower =
        node.docker_command().args(["logs", "-f", "box"]).stdout(Stdio::piped()).spawn().expect("start docker logs");
    std::thread::sleep(std::time::Duration::from_millis(500));
    let top = node.docker(&["top", "box"]).ok();
    assert!(top.contains("PID") && top.contains("sh -c"), "{top}");
    let stats = node.docker(&["stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}} {{.PIDs}}", "box"]).ok();
    assert!(stats.starts_with("box ") && stats.contains("iB / "), "{stats}");

    std::fs::write(world.dir().join("up"), "carried").expect("write");
    let up = world.dir().join("up");
    node.docker(&["cp", up.to_str().expect("utf-8"), "box:/root/there"]).ok();
    assert_eq!(node.docker(&["exec", "box", "cat", "/root/there"]).ok(), "carried");
    let down = world.dir().join("down");
    node.docker(&["cp", "box:/etc/passwd", down.to_str().expect("utf-8")]).ok();
    assert!(std::fs::read_to_string(&down).expect("copied").contains("alice"));

    node.docker(&["stop", "-t", "10", "box"]).ok();
    let mut followed = String::new();
    follower.stdout.take().expect("piped").read_to_string(&mut followed).expect("read");
    follower.wait().expect("wait");
    assert!(followed.starts_with("line 1\nline 2\n") && followed.ends_with("bye\n"), "{followed}");
    assert_eq!(node.inspect("box", "{{.State.ExitCode}} {{.State.Status}} {{.State.OOMKilled}}"), "5 exited false");
    assert_eq!(node.docker(&["logs", "--tail", "1", "box"]).ok(), "bye");
    node.docker(&["start", "box"]).ok();
    node.docker(&["kill", "box"]).ok();
    assert_eq!(node.docker(&["wait", "box"]).ok(), "137");
    node.docker(&["rm", "box"]).ok();
    node.assert_clean();
}

#[test]
fn an_over_eater_is_oom_killed_and_inspect_says_so() {
    node_with_busybox!(world, node, registry, image);
    let eat = "head -c 200000000 /dev/zero | tail | wc -c";
    let ran = node.docker(&[
        "run",
        "--name",
        "eater",
        "--memory",
        "32m",
        &image,
        "sh",
        "-c",
        &format!("exec tail /dev/zero; {eat}"),
    ]);
    assert_eq!(ran.code, 137, "{ran:?}");
    assert_eq!(node.inspect("eater", "{{.State.OOMKilled}} {{.State.ExitCode}}"), "true 137");
    assert_eq!(node.inspect("eater", "{{.HostConfig.Memory}}"), "33554432");
    node.docker(&["rm", "eater"]).ok();
    node.assert_clean();
}

#[test]
fn an_image_saved_is_loaded_by_skopeo_and_back() {
    node_with_busybox!(world, node, registry, image);
    let tar = world.dir().join("saved.tar");
    let tar_name = tar.to_str().expect("utf-8");
    node.docker(&["save", "-o", tar_name, &image]).ok();
    let id = node.inspect(&image, "{{.Id}}");
    let back = world.dir().join("back.tar");
    for (from, to) in [("docker-archive", "docker-archive"), ("oci-archive", "docker-archive")] {
        let _ = std::fs::remove_file(&back);
        let copied = Command::new("skopeo")
            .args(["--insecure-policy", "copy", "-q"])
            .arg(format!("{from}:{tar_name}"))
            .arg(format!("{to}:{}:again:1", back.display()))
            .output()
            .expect("run skopeo");
        assert!(copied.status.success(), "{from}: {}", String::from_utf8_lossy(&copied.stderr));
    }
    node.docker(&["load", "-i", back.to_str().expect("utf-8")]).ok();
    assert_eq!(node.docker(&["run", "--rm", "again:1", "echo", "loaded"]).ok(), "loaded");
    node.docker(&["rmi", "again:1", &image]).ok();
    let loaded = node.docker(&["load", "-i", tar_name]).ok();
    assert!(loaded.contains("Loaded image"), "{loaded}");
    assert_eq!(node.inspect(&image, "{{.Id}}"), id);

    node.docker(&["tag", &image, &registry.name("copy:2")]).ok();
    let pushed = node.docker(&["push", &registry.name("copy:2")]).ok();
    assert!(pushed.contains("digest: sha256:"), "{pushed}");
    let mut skopeo = Command::new("skopeo");
    skopeo.args(["inspect", "--tls-verify=false", &format!("docker://{}", registry.name("copy:2"))]);
    run(&mut skopeo, b"").ok();
}

#[test]
fn the_options_of_run_reach_the_container() {
    node_with_busybox!(world, node, registry, image);
    std::fs::create_dir(world.dir().join("shared")).expect("a directory");
    let bind = format!("{}:/shared", world.dir().join("shared").display());
    let sh = |options: &[&str], script: &str| -> String {
        let mut args = vec!["run", "--rm"];
        args.extend(options);
        args.extend([image.as_str(), "sh", "-c", script]);
        node.docker(&args).ok()
    };
    assert_eq!(sh(&["-h", "box", "-e", "A=1", "-w", "/tmp"], "hostname; echo $A; pwd"), "box\n1\n/tmp");
    assert_eq!(sh(&["-u", "alice:staff"], "id -u; id -g"), "1000\n50");
    assert_eq!(
        sh(
            &["--add-host", "there:10.1.2.3", "--dns", "9.9.9.9"],
            "grep there /etc/hosts; cat /etc/resolv.conf | grep 9.9"
        ),
        "10.1.2.3\tthere\nnameserver 9.9.9.9"
    );
    assert_eq!(sh(&["-v", &bind], "echo x > /shared/f; cat /shared/f"), "x");
    assert_eq!(
        sh(
            &["--read-only", "--tmpfs", "/scratch:size=1m"],
            "touch /f 2>/dev/null || echo ro; touch /scratch/f && echo rw"
        ),
        "ro\nrw"
    );
    assert_eq!(sh(&["--network", "none"], "ip -o link | wc -l"), "1");
    assert_eq!(sh(&["--ulimit", "nofile=123:456"], "ulimit -n; ulimit -Hn"), "123\n456");
    assert_eq!(
        sh(&["--pids-limit", "50"], "cat /sys/fs/cgroup/pids/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids.max"),
        "50"
    );
    assert_eq!(sh(&["--shm-size", "1m"], "df -k /dev/shm | tail -1 | awk '{print $2}'"), "1024");
    assert!(!sh(&["--init"], "cat /proc/1/comm").contains("sh"));
    assert_eq!(sh(&["--entrypoint", "echo"], "-n"), "sh -c -n");
    assert_eq!(sh(&["--cap-drop", "ALL"], "grep CapEff /proc/self/status | awk '{print $2}'"), "0000000000000000");
    assert_eq!(
        sh(
            &["--privileged"],
            "mount -t tmpfs t /mnt 2>/dev/null || mkdir /mnt && mount -t tmpfs t /mnt && echo mounted"
        ),
        "mounted"
    );
    assert_eq!(sh(&[], "grep Seccomp: /proc/self/status | awk '{print $2}'"), "2");
    assert_eq!(
        sh(&["--security-opt", "seccomp=unconfined"], "grep Seccomp: /proc/self/status | awk '{print $2}'"),
        "0"
    );
    assert_eq!(
        sh(&["--security-opt", "no-new-privileges"], "grep NoNewPrivs /proc/self/status | awk '{print $2}'"),
        "1"
    );
    node.docker(&["volume", "create", "data"]).ok();
    assert_eq!(sh(&["-v", "data:/d"], "echo kept > /d/f"), "");
    assert_eq!(sh(&["--mount", "type=volume,src=data,dst=/e"], "cat /e/f"), "kept");
    node.docker(&["volume", "rm", "data"]).ok();
    node.docker(&["run", "--rm", "--platform", "linux/s390x", "--pull", "always", &image, "true"]).fails(125, "s390x");
    node.docker(&["run", "--rm", "--runtime", "absent", &image, "true"]).fails(125, "absent");
    node.assert_clean();
}

#[test]
fn restart_policies_hold() {
    node_with_busybox!(world, node, registry, image);
    node.docker(&["run", "-d", "--name", "fails", "--restart", "on-failure:2", &image, "sh", "-c", "exit 9"]).ok();
    wait_until("the policy gives up after two restarts", || {
        node.inspect("fails", "{{.RestartCount}} {{.State.Status}}") == "2 exited"
    });
    node.docker(&["run", "-d", "--name", "again", "--restart", "always", &image, "sleep", "0.2"]).ok();
    wait_until("it is restarted", || node.inspect("again", "{{.RestartCount}}") != "0");
    node.docker(&["stop", "-t", "0", "again"]).ok();
    node.docker(&["rm", "-f", "again", "fails"]).ok();
    node.assert_clean();
}

#[test]
fn pause_rename_update_diff_and_events() {
    node_with_busybox!(world, node, registry, image);
    node.docker(&["run", "-d", "--name", "old", &image, "sleep", "1000"]).ok();
    node.docker(&["pause", "old"]).ok();
    assert_eq!(node.inspect("old", "{{.State.Status}}"), "paused");
    node.docker(&["unpause", "old"]).ok();
    node.docker(&["rename", "old", "fresh"]).ok();
    node.docker(&["exec", "fresh", "touch", "/new"]).ok();
    assert!(node.docker(&["diff", "fresh"]).ok().contains("A /new"));
    node.docker(&["rm", "-f", "fresh"]).ok();
    // docker cuts "now" down to the second.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let events = node.docker(&["events", "--since", "1h", "--until", "0s", "--format", "{{.Type}} {{.Action}}"]).ok();
    for action in ["create", "start", "pause", "unpause", "rename", "die", "destroy"] {
        assert!(events.lines().any(|l| l == format!("container {action}")), "no {action} in:\n{events}");
    }
    node.assert_clean();
}
