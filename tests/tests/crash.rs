//! kill -9 of the daemon at random moments of a mixed load, over and over; afterwards everything
//! is as it should be and a sweep finds nothing orphaned.

use sampan_tests::{Node, Registry, World, images, peer, wait_until};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// xorshift: reproducible moments; the seed is printed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn kills() -> u64 {
    std::env::var("SAMPAN_TEST_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(200)
}

fn spawn(mut command: Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start a client")
}

#[test]
fn containers_outlive_the_daemon_and_their_logs_have_no_gap() {
    if peer("docker").is_none() {
        return;
    }
    let world = World::new();
    let Some(registry) = Registry::start(&world, 5000) else { return };
    registry.push(&images::busybox(), "latest", "busybox");
    let mut node = Node::new(&world);
    let image = registry.name("busybox:latest");
    node.docker(&["pull", "-q", &image]).ok();
    let count = "i=0; while [ $i -lt 400 ]; do i=$((i+1)); echo $i; sleep 0.01; done; exit 42";
    node.docker(&["run", "-d", "--name", "counter", &image, "sh", "-c", count]).ok();
    node.docker(&["run", "-d", "--name", "sleeper", "-p", "18081:80", &image, "sleep", "1000"]).ok();
    node.docker(&["run", "-d", "--name", "phoenix", "--restart", "always", &image, "sleep", "1000"]).ok();
    let pid = node.inspect("sleeper", "{{.State.Pid}}");
    node.kill9();
    std::thread::sleep(Duration::from_secs(6));
    node.start();
    assert_eq!(node.inspect("sleeper", "{{.State.Status}} {{.State.Pid}}"), format!("running {pid}"));
    assert_eq!(node.inspect("counter", "{{.State.Status}} {{.State.ExitCode}}"), "exited 42");
    let expected: Vec<String> = (1..=400).map(|n| n.to_string()).collect();
    assert_eq!(node.docker(&["logs", "counter"]).ok(), expected.join("\n"));
    assert_eq!(node.docker(&["exec", "sleeper", "echo", "alive"]).ok(), "alive");
    // A container that dies while the daemon is down comes back by its policy.
    let phoenix = node.inspect("phoenix", "{{.State.Pid}}");
    node.kill9();
    let raw = phoenix.parse().ok().and_then(rustix::process::Pid::from_raw).expect("a pid");
    rustix::process::kill_process(raw, rustix::process::Signal::KILL).expect("kill a container's process");
    std::thread::sleep(Duration::from_millis(500));
    node.start();
    wait_until("the policy starts it again", || {
        let now = node.inspect("phoenix", "{{.State.Status}} {{.State.Pid}}");
        now.starts_with("running") && !now.ends_with(&format!(" {phoenix}"))
    });
    node.docker(&["rm", "-f", "counter", "sleeper", "phoenix"]).ok();
    node.assert_clean();
}

#[test]
fn two_hundred_kills_of_the_daemon_leave_nothing_behind() {
    if peer("docker").is_none() {
        return;
    }
    let seed = std::env::var("SAMPAN_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(|| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64 | 1)
    });
    println!("SAMPAN_TEST_SEED={seed}");
    let mut random = Random(seed);
    let world = World::new();
    let Some(registry) = Registry::start(&world, 5000) else { return };
    registry.push(&images::busybox(), "latest", "busybox");
    registry.push(&images::debian(), "12", "debian");
    let mut node = Node::new(&world);
    let image = registry.name("busybox:latest");
    let debian = registry.name("debian:12");
    node.docker(&["pull", "-q", &image]).ok();
    for keeper in ["keeper-1", "keeper-2"] {
        node.docker(&["run", "-d", "--name", keeper, "--restart", "no", &image, "sleep", "100000"]).ok();
    }
    let keepers: Vec<String> = ["keeper-1", "keeper-2"].iter().map(|k| node.inspect(k, "{{.State.Pid}}")).collect();

    for round in 0..kills() {
        let load: Vec<Child> = (0..3)
            .map(|lane| {
                let name = format!("r{round}-{lane}");
                let mut command = node.docker_command();
                match random.below(7) {
                    0 => command.args(["run", "--rm", "--name", &name, &image, "sh", "-c", "echo $$; sleep 0.05"]),
                    1 => command.args(["run", "-d", "--name", &name, "-p", "80", &image, "sleep", "1000"]),
                    2 => command.args(["exec", "keeper-1", "sh", "-c", "echo exec; sleep 0.05"]),
                    3 => command.args(["pull", "-q", &debian]),
                    4 => command.args(["rmi", "-f", &debian]),
                    5 => command.args(["run", "-d", "--name", &name, "-v", "/data", &image, "sh", "-c", "exit 3"]),
                    _ => command.args(["rm", "-f", "-v", &format!("r{}-{lane}", round.saturating_sub(1))]),
                };
                spawn(command)
            })
            .collect();
        std::thread::sleep(Duration::from_millis(random.below(250)));
        node.kill9();
        for mut client in load {
            let _ = client.kill();
            let _ = client.wait();
        }
        node.start();
    }

    for (keeper, pid) in ["keeper-1", "keeper-2"].iter().zip(&keepers) {
        assert_eq!(node.inspect(keeper, "{{.State.Status}} {{.State.Pid}}"), format!("running {pid}"));
        assert_eq!(node.docker(&["exec", keeper, "echo", "alive"]).ok(), "alive");
    }
    for id in node.docker(&["ps", "-aq"]).ok().lines() {
        let status = node.inspect(id, "{{.State.Status}} {{.State.ExitCode}} {{.Config.Cmd}}");
        if status.ends_with("[sh -c exit 3]") && status.starts_with("exited") {
            assert!(status.starts_with("exited 3 "), "{status}");
        }
        node.docker(&["rm", "-f", "-v", id]).ok();
    }
    // Also drops downloads that broke off, which are otherwise kept for a day to be resumed.
    node.docker(&["image", "prune", "-af"]).ok();
    node.docker(&["volume", "prune", "-af"]).ok();
    node.assert_clean();
    assert_eq!(node.docker(&["volume", "ls", "-q"]).ok(), "");
    node.kill9();
    node.start();
    node.assert_clean();
    assert_eq!(orphans(node.dir()), Vec::<String>::new());
}

/// Files of a node without containers and images that should not exist: bundles, snapshots,
/// blobs and ingests.
fn orphans(node: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut stack = vec![node.join("root"), node.join("state")];
    while let Some(dir) = stack.pop() {
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.display().to_string();
            if entry.file_type().is_ok_and(|t| t.is_dir()) {
                stack.push(path.clone());
            }
            let of_one_thing = ["/blobs/sha256/", "/ingest", "/bundles/", "/snapshots/", "/containers/", "/volumes/"]
                .iter()
                .any(|part| {
                    name.split_once(part)
                        .is_some_and(|(_, rest)| rest.contains(|c: char| c.is_ascii_hexdigit()) && rest.len() > 20)
                });
            if of_one_thing {
                found.push(name);
            }
        }
    }
    found
}
