//! Containers on the default network, with real packets.

mod common;

use common::{Inside, World, address, ask_tcp, ask_tcp_within, ask_udp, interfaces, ip, nft, port, to_bridge};
use sampan_network::{Mac, Protocol};
use std::net::Ipv4Addr;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(400);

#[test]
fn a_container_gets_what_docker_gives() {
    let Some(world) = World::new() else { return };
    let (manager, inside) = (world.manager(), Inside::new());
    let attached = manager.attach(&to_bridge("one", &inside, &[])).unwrap();
    assert_eq!(address(&attached), Ipv4Addr::new(172, 17, 0, 2));
    assert_eq!((attached.prefix, attached.gateway), (16, Some(Ipv4Addr::new(172, 17, 0, 1))));
    assert_eq!(attached.mac, Some(Mac::of(address(&attached))));
    assert_eq!(attached.interface, "eth0");
    let seen = inside.run(|| ip(&["-o", "addr"]) + &ip(&["route"]) + &ip(&["link", "show", "eth0"]));
    for expected in [
        "lo    inet 127.0.0.1/8",
        "eth0    inet 172.17.0.2/16 brd 172.17.255.255",
        "default via 172.17.0.1 dev eth0",
        "02:42:ac:11:00:02",
        "LOWER_UP",
    ] {
        assert!(seen.contains(expected), "{expected}: {seen}");
    }
    assert!(!seen.contains("fe80"), "{seen}");
    // Packets pass both ways between host and container.
    inside.serve_tcp(80, "one");
    assert_eq!(ask_tcp((address(&attached), 80)).unwrap(), "one 172.17.0.1");
    let link = ip(&["-d", "link", "show", &attached.host_interface]);
    assert!(link.contains("alias sampan:") && link.contains("master sampan0"), "{link}");
    let traffic = &manager.stats("one").unwrap()[0];
    assert!(traffic.rx_bytes > 0 && traffic.tx_bytes > 0 && traffic.interface == "eth0", "{traffic:?}");

    manager.detach("one").unwrap();
    manager.detach("one").unwrap();
    assert_eq!(interfaces("sv"), [""; 0]);
    assert_eq!(inside.run(|| interfaces("eth")), [""; 0]);
    manager.teardown().unwrap();
    assert_eq!(interfaces("sampan0"), [""; 0]);
    assert_eq!(nft(), "");
}

#[test]
fn published_ports_are_reached_from_everywhere() {
    let Some(world) = World::new() else { return };
    let outside = world.outside();
    let (manager, web, other) = (world.manager(), Inside::new(), Inside::new());
    let ports = [
        port(None, 8080, 80, Protocol::Tcp),
        port(None, 5353, 53, Protocol::Udp),
        port(Some("127.0.0.1"), 8081, 80, Protocol::Tcp),
        port(Some("10.99.0.1"), 8082, 80, Protocol::Tcp),
    ];
    let attached = manager.attach(&to_bridge("web", &web, &ports)).unwrap();
    manager.attach(&to_bridge("other", &other, &[])).unwrap();
    web.serve_tcp(80, "web");
    web.serve_udp(53, "dns");
    let (local, here) = (Ipv4Addr::LOCALHOST, Ipv4Addr::new(10, 99, 0, 1));
    // From this host, through loopback and through its address.
    assert_eq!(ask_tcp((local, 8080)).unwrap(), "web 172.17.0.1");
    assert_eq!(ask_tcp((Ipv4Addr::new(127, 3, 2, 1), 8080)).unwrap(), "web 172.17.0.1");
    assert_eq!(ask_tcp((here, 8080)).unwrap(), "web 10.99.0.1");
    assert_eq!(ask_udp((local, 5353)).unwrap(), "dns 172.17.0.1");
    assert_eq!(ask_udp((here, 5353)).unwrap(), "dns 10.99.0.1");
    assert_eq!(ask_tcp((local, 8081)).unwrap(), "web 172.17.0.1");
    assert!(ask_tcp_within((here, 8081), SOON).is_err());
    assert_eq!(ask_tcp((here, 8082)).unwrap(), "web 10.99.0.1");
    assert!(ask_tcp_within((local, 8082), SOON).is_err());
    // From another machine, which is seen with its own address.
    let seen = outside.run(move || (ask_tcp((here, 8080)), ask_udp((here, 5353)), ask_tcp_within((here, 8081), SOON)));
    assert_eq!((seen.0.unwrap(), seen.1.unwrap()), ("web 10.99.0.2".into(), "dns 10.99.0.2".into()));
    assert!(seen.2.is_err());
    // From another container and from itself, by published port and by address.
    let inside_address = address(&attached);
    for container in [&other, &web] {
        let seen = container.run(move || [ask_tcp((here, 8080)), ask_udp((here, 5353)), ask_tcp((inside_address, 80))]);
        for answer in seen {
            answer.unwrap();
        }
    }
    // A machine that routes to the container's address directly is turned away.
    assert!(outside.run(move || ask_tcp_within((inside_address, 80), SOON)).is_err());
    // Containers reach the outside with the host's address.
    outside.serve_tcp(7, "out");
    assert_eq!(web.run(|| ask_tcp((Ipv4Addr::new(10, 99, 0, 2), 7))).unwrap(), "out 10.99.0.1");

    manager.detach("web").unwrap();
    assert!(ask_tcp_within((local, 8080), SOON).is_err());
    assert!(!nft().contains("ctr:"), "{}", nft());
}
