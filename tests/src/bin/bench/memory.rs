//! Proportional memory: the idle daemon, and the daemon and each shim with 20 containers.

use crate::table::{median, print};
use sampan_tests::peers::{docker, dockerd, pids, pss};
use sampan_tests::{Node, Registry, World, images};
use std::path::Path;

const CONTAINERS: usize = 20;

fn start_all(socket: &Path, image: &str) {
    for number in 0..CONTAINERS {
        docker(socket, &["run", "-d", "--name", &format!("m{number}"), image, "sleep", "100000"]).ok();
    }
    std::thread::sleep(std::time::Duration::from_secs(2));
}

fn remove_all(socket: &Path) {
    for number in 0..CONTAINERS {
        docker(socket, &["rm", "-f", &format!("m{number}")]).ok();
    }
}

pub(crate) fn bench() {
    let world = World::new();
    let Some(registry) = Registry::start(&world, 5000) else { return };
    registry.push(&images::busybox(), "latest", "busybox");
    let image = registry.name("busybox:latest");

    let mut node = Node::new(&world);
    node.docker(&["pull", "-q", &image]).ok();
    node.stop();
    node.start();
    node.docker(&["ps"]).ok();
    std::thread::sleep(std::time::Duration::from_secs(2));
    let idle = pss(node.pid());
    start_all(&node.socket(), &image);
    let loaded = pss(node.pid());
    let shims: Vec<f64> =
        pids("containerd-shim-sampan-v2", &world.dir().to_string_lossy()).into_iter().map(pss).collect();
    let (count, shim) = (shims.len(), median(shims));
    remove_all(&node.socket());
    drop(node);

    let Some(peer) = dockerd(&world, &[]) else { return };
    docker(&peer.socket, &["pull", "-q", &image]).ok();
    drop(peer);
    let Some(peer) = dockerd(&world, &[]) else { return };
    std::thread::sleep(std::time::Duration::from_secs(2));
    let below = world.dir().to_string_lossy().into_owned();
    let daemons = || {
        let containerd: f64 = pids("containerd", &below).into_iter().map(pss).sum();
        (pss(peer.pid()), containerd)
    };
    let (dockerd_idle, containerd_idle) = daemons();
    start_all(&peer.socket, &image);
    let (dockerd_loaded, containerd_loaded) = daemons();
    let theirs: Vec<f64> = pids("containerd-shim-runc-v2", &below).into_iter().map(pss).collect();
    let (their_count, their_shim) = (theirs.len(), median(theirs));
    remove_all(&peer.socket);

    print(
        "Idle daemon, proportional memory",
        "KiB",
        &[
            ("sampand", idle),
            ("dockerd + containerd", dockerd_idle + containerd_idle),
            ("containerd alone", containerd_idle),
        ],
    );
    print(
        "Daemon with 20 containers",
        "KiB",
        &[
            ("sampand", loaded),
            ("dockerd + containerd", dockerd_loaded + containerd_loaded),
            ("containerd alone", containerd_loaded),
        ],
    );
    let growth = |before: f64, after: f64| (after - before) / CONTAINERS as f64;
    print(
        "Growth of the daemon per running container",
        "KiB",
        &[
            ("sampand", growth(idle, loaded)),
            ("dockerd + containerd", growth(dockerd_idle + containerd_idle, dockerd_loaded + containerd_loaded)),
        ],
    );
    println!("\n{count} shims of ours, {their_count} of theirs");
    print(
        "Each shim, median of 20",
        "KiB",
        &[("containerd-shim-sampan-v2", shim), ("containerd-shim-runc-v2", their_shim)],
    );
}
