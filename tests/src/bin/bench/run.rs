//! `run --rm` of `/bin/true` through each engine, with its default network.

use crate::table::{Contender, interleaved, print};
use sampan_tests::peers::{PODMAN_LIMITS, docker, dockerd, podman};
use sampan_tests::{Node, Registry, World, images};

pub(crate) fn bench() {
    let world = World::new();
    let Some(registry) = Registry::start(&world, 5000) else { return };
    registry.push(&images::busybox(), "latest", "busybox");
    let image = registry.name("busybox:latest");
    let node = Node::new(&world);
    node.docker(&["pull", "-q", &image]).ok();
    let Some(peer) = dockerd(&world, &[]) else { return };
    docker(&peer.socket, &["pull", "-q", &image]).ok();
    podman(&world, &["pull", "-q", "--tls-verify=false", &image]).ok();

    for (title, network) in [("with the default network", None), ("with --network none", Some("none"))] {
        let mut args = vec!["run", "--rm"];
        if let Some(network) = network {
            args.extend(["--network", network]);
        }
        let mut limited = args.clone();
        limited.extend(PODMAN_LIMITS);
        for list in [&mut args, &mut limited] {
            list.extend([image.as_str(), "/bin/true"]);
        }
        let mut contenders = vec![
            Contender { name: "sampan on sampand", action: Box::new(|| drop(node.sampan(&args).ok())) },
            Contender { name: "docker on sampand", action: Box::new(|| drop(node.docker(&args).ok())) },
            Contender { name: "docker on dockerd 20.10", action: Box::new(|| drop(docker(&peer.socket, &args).ok())) },
        ];
        if podman(&world, &limited).code == 0 {
            contenders.push(Contender {
                name: "podman 4.3 with runc",
                action: Box::new(|| drop(podman(&world, &limited).ok())),
            });
        } else {
            println!("podman does not run here {title}: {}", podman(&world, &limited).stderr.trim());
        }
        let medians = interleaved(&mut contenders, 15);
        let rows: Vec<(&str, f64)> = contenders.iter().map(|c| c.name).zip(medians).collect();
        print(&format!("run --rm /bin/true, {title}, median of 15"), "ms", &rows);
    }
}
