//! kill -9 at every step, then a sweep, then nothing is left.

mod common;

use common::{Inside, World, interfaces, nft, port, to_bridge};
use sampan_network::{Manager, Options, Protocol};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A helper that is killed when it makes its `number`th call of `call`.
fn mortal(world: &World, call: &str, number: u32) -> PathBuf {
    let path = world.dir.path().join("mortal.sh");
    let helper = common::helper();
    let script = format!(
        "#!/bin/sh\nexec strace -qq -o /dev/null -e trace={call} -e inject={call}:signal=SIGKILL:when={number} {}\n",
        helper.display()
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    path
}

fn strace_works() -> bool {
    let works = Command::new("strace").args(["-qq", "-o", "/dev/null", "true"]).status().is_ok_and(|s| s.success());
    if !works {
        eprintln!("skipped: strace is missing or may not trace (apt-get install strace)");
    }
    works
}

/// Nothing of the manager's is left, in the kernel or on disk.
fn assert_clean(world: &World, manager: &Manager, when: &str) {
    assert_eq!(interfaces("sv"), [""; 0], "{when}");
    assert!(!nft().contains("ctr:"), "{when}: {}", nft());
    let endpoints = std::fs::read_dir(world.state().join("endpoints")).unwrap().count();
    assert_eq!(endpoints, 0, "{when}");
    for pool in std::fs::read_dir(world.state().join("leases")).unwrap().flatten() {
        let taken = std::fs::read_dir(pool.path()).unwrap().flatten();
        let taken: Vec<_> =
            taken.filter(|e| e.file_name().to_string_lossy().parse::<std::net::Ipv4Addr>().is_ok()).collect();
        assert_eq!(taken.len(), 0, "{when}");
    }
    manager.teardown().unwrap();
    assert_eq!(interfaces("sampan0"), [""; 0], "{when}");
    assert_eq!(nft(), "", "{when}");
}

fn ports() -> [sampan_network::PortMapping; 2] {
    [port(None, 8080, 80, Protocol::Tcp), port(None, 8080, 80, Protocol::Udp)]
}

#[test]
fn the_helper_killed_at_each_step_of_an_attach() {
    let Some(world) = World::new() else { return };
    if !strace_works() {
        return;
    }
    for call in ["sendto", "write", "setns"] {
        let mut kills = 0;
        for number in 1..60 {
            let inside = Inside::new();
            let when = format!("killed at {call} {number}");
            let options = Options { helper: mortal(&world, call, number), ..world.options() };
            let manager = Manager::open(&world.state(), options).unwrap();
            let survived = manager.attach(&to_bridge("victim", &inside, &ports())).is_ok();
            drop(manager);
            let manager = world.manager();
            let report = manager.sweep(&[""; 0]).unwrap();
            assert_eq!(report.problems, [""; 0], "{when}");
            assert_clean(&world, &manager, &when);
            if survived {
                break;
            }
            kills += 1;
        }
        assert!(kills >= 1, "{call} never killed the helper");
        eprintln!("{call}: killed {kills} times");
    }
}

#[test]
fn the_helper_killed_at_each_step_of_a_detach() {
    let Some(world) = World::new() else { return };
    if !strace_works() {
        return;
    }
    for number in 1..60 {
        let inside = Inside::new();
        let when = format!("killed at sendto {number}");
        let manager = world.manager();
        manager.attach(&to_bridge("victim", &inside, &ports())).unwrap();
        drop(manager);
        let options = Options { helper: mortal(&world, "sendto", number), ..world.options() };
        let manager = Manager::open(&world.state(), options).unwrap();
        let survived = manager.detach("victim").is_ok();
        drop(manager);
        let manager = world.manager();
        manager.detach("victim").unwrap();
        assert_clean(&world, &manager, &when);
        if survived {
            assert!(number > 3, "a detach has more steps than {number}");
            return;
        }
    }
    panic!("the helper never survived");
}

/// Not a test of its own: what the next one kills.
#[test]
#[ignore = "run by the_daemon_killed_at_any_moment"]
fn daemon_under_load() {
    let Ok(state) = std::env::var("SAMPAN_TEST_STATE") else { return };
    let options = Options { bridge_name: Some("sampan0".into()), ..Options::new(common::helper()) };
    let manager = Manager::open(Path::new(&state), options).unwrap();
    manager.sweep(&[""; 0]).unwrap();
    std::thread::scope(|scope| {
        for n in 0..2 {
            let manager = &manager;
            scope.spawn(move || {
                let inside = Inside::new();
                loop {
                    let id = format!("c{n}");
                    let published = [port(None, 8080 + n, 80, Protocol::Tcp)];
                    manager.attach(&to_bridge(&id, &inside, &published)).unwrap();
                    manager.detach(&id).unwrap();
                }
            });
        }
    });
}

#[test]
fn the_daemon_killed_at_any_moment() {
    let Some(world) = World::new() else { return };
    for round in 0..40u64 {
        let mut daemon = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "daemon_under_load", "--ignored"])
            .env("SAMPAN_TEST_STATE", world.state())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // From before it has begun until it is deep in its work, at uneven distances.
        std::thread::sleep(Duration::from_micros(4_000 + round * 2_713));
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        let manager = world.manager();
        let report = manager.sweep(&[""; 0]).unwrap();
        assert_eq!(report.problems, [""; 0], "round {round}");
        assert_clean(&world, &manager, &format!("round {round}"));
    }
}
