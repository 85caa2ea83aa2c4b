//! User-defined networks: making, finding, joining several, isolation, removing.

mod common;

use common::{Inside, World, address, ask_tcp, ask_tcp_within, interfaces, ip, nft, port, to_bridge};
use oci::Kind;
use sampan_network::{Attach, Manager, NetworkConfig, Protocol};
use std::net::Ipv4Addr;
use std::time::Duration;

const SOON: Duration = Duration::from_millis(400);

fn named(name: &str) -> NetworkConfig {
    NetworkConfig { name: name.into(), ..NetworkConfig::default() }
}

fn join(manager: &Manager, id: &str, network: &str, inside: &Inside) -> Ipv4Addr {
    let attach = Attach { network: network.into(), ..to_bridge(id, inside, &[]) };
    address(&manager.attach(&attach).unwrap())
}

#[test]
fn networks_are_made_found_and_removed() {
    let Some(world) = World::new() else { return };
    let manager = world.manager();
    let names = |manager: &Manager| manager.networks().into_iter().map(|n| n.name).collect::<Vec<_>>();
    assert_eq!(names(&manager), ["bridge", "host", "none"]);
    let made = manager.create(&named("backend")).unwrap();
    assert_eq!(made.subnet.unwrap().to_string(), "172.17.0.0/16");
    for name in ["backend", &made.id, &made.id[..12]] {
        assert_eq!(manager.inspect(name).unwrap(), made);
    }
    let inside = Inside::new();
    // The default network was not in use yet; now it takes the next free subnet.
    assert_eq!(join(&manager, "one", "bridge", &inside), Ipv4Addr::new(172, 18, 0, 2));
    let in_use = Inside::new();
    join(&manager, "two", "backend", &in_use);
    assert!(interfaces("smp-").contains(&made.bridge));

    let error = |config: &NetworkConfig| manager.create(config).unwrap_err();
    assert_eq!(error(&named("backend")).kind(), Kind::AlreadyExists);
    assert_eq!(error(&named("bridge")).kind(), Kind::AlreadyExists);
    assert_eq!(error(&named("no/slash")).kind(), Kind::InvalidArgument);
    let with = |f: &dyn Fn(&mut NetworkConfig)| {
        let mut config = named("x");
        f(&mut config);
        error(&config)
    };
    assert_eq!(with(&|c| c.driver = Some("overlay".into())).kind(), Kind::Unsupported);
    assert_eq!(with(&|c| c.subnet = Some("172.17.9.0/24".parse().unwrap())).kind(), Kind::PermissionDenied);
    assert_eq!(with(&|c| c.subnet = Some("10.0.0.0/31".parse().unwrap())).kind(), Kind::InvalidArgument);
    assert_eq!(with(&|c| c.subnet = Some("224.0.0.0/24".parse().unwrap())).kind(), Kind::InvalidArgument);
    assert_eq!(with(&|c| c.gateway = Some(Ipv4Addr::new(10, 0, 0, 1))).kind(), Kind::InvalidArgument);
    assert_eq!(with(&|c| c.bridge_name = Some("sampan0".into())).kind(), Kind::AlreadyExists);
    assert_eq!(with(&|c| drop(c.options.insert("com.example.x".into(), "1".into()))).kind(), Kind::Unsupported);
    let mtu = |c: &mut NetworkConfig| drop(c.options.insert("com.docker.network.driver.mtu".into(), "9".into()));
    assert_eq!(with(&mtu).kind(), Kind::InvalidArgument);

    assert_eq!(manager.remove("bridge").unwrap_err().kind(), Kind::PermissionDenied);
    assert_eq!(manager.remove("absent").unwrap_err().kind(), Kind::NotFound);
    assert_eq!(manager.remove("backend").unwrap_err().kind(), Kind::Conflict);
    assert_eq!(manager.endpoints("backend").unwrap()[0].container, "two");
    manager.detach("two").unwrap();
    manager.remove("backend").unwrap();
    assert_eq!(names(&manager), ["bridge", "host", "none"]);
    assert!(!interfaces("").contains(&made.bridge));
    assert!(!nft().contains(&made.id[..12]), "{}", nft());
    assert!(nft().contains("sampan0"), "the other network's rules stay");
}

#[test]
fn networks_are_kept_apart_and_a_container_can_be_in_several() {
    let Some(world) = World::new() else { return };
    let outside = world.outside();
    let manager = world.manager();
    manager.create(&named("front")).unwrap();
    let back = NetworkConfig { internal: true, subnet: Some("10.50.0.0/24".parse().unwrap()), ..named("back") };
    manager.create(&back).unwrap();
    let (web, db, both) = (Inside::new(), Inside::new(), Inside::new());
    let web_ip = join(&manager, "web", "front", &web);
    let db_ip = join(&manager, "db", "back", &db);
    let both_front = join(&manager, "both", "front", &both);
    let both_back = join(&manager, "both", "back", &both);
    assert_eq!(manager.endpoints_of("both")[1].interface, "eth1");
    web.serve_tcp(80, "web");
    db.serve_tcp(80, "db");
    outside.serve_tcp(80, "out");
    let far = Ipv4Addr::new(10, 99, 0, 2);
    assert_eq!(both.run(move || ask_tcp((web_ip, 80))).unwrap(), format!("web {both_front}"));
    assert_eq!(both.run(move || ask_tcp((db_ip, 80))).unwrap(), format!("db {both_back}"));
    assert_eq!(both.run(move || ask_tcp((far, 80))).unwrap(), "out 10.99.0.1");
    assert!(web.run(move || ask_tcp_within((db_ip, 80), SOON)).is_err(), "front must not reach back");
    assert!(db.run(move || ask_tcp_within((web_ip, 80), SOON)).is_err(), "back must not reach front");
    assert!(db.run(move || ask_tcp_within((far, 80), SOON)).is_err(), "internal means internal");
    // Even a container that adds a route of its own stays inside.
    db.run(|| drop(ip(&["route", "add", "default", "via", "10.50.0.1"])));
    assert!(db.run(move || ask_tcp_within((far, 80), SOON)).is_err());

    let publish =
        Attach { network: "back".into(), ..to_bridge("p", &Inside::new(), &[port(None, 8080, 80, Protocol::Tcp)]) };
    assert_eq!(manager.attach(&publish).unwrap_err().kind(), Kind::InvalidArgument);

    // The default route moves to another network when its own is left.
    manager.create(&named("side")).unwrap();
    join(&manager, "both", "side", &both);
    manager.disconnect("both", "front").unwrap();
    manager.disconnect("both", "front").unwrap();
    assert_eq!(both.run(move || ask_tcp((far, 80))).unwrap(), "out 10.99.0.1");
    assert_eq!(both.run(move || ask_tcp((db_ip, 80))).unwrap(), format!("db {both_back}"));
    assert_eq!(both.run(|| interfaces("eth").len()), 2);
}

#[test]
fn containers_can_be_kept_from_each_other() {
    let Some(world) = World::new() else { return };
    let manager = world.manager();
    let mut config = named("quiet");
    config.options.insert("com.docker.network.bridge.enable_icc".into(), "false".into());
    config.options.insert("com.docker.network.driver.mtu".into(), "1400".into());
    manager.create(&config).unwrap();
    let (one, two) = (Inside::new(), Inside::new());
    let one_ip = join(&manager, "one", "quiet", &one);
    join(&manager, "two", "quiet", &two);
    one.serve_tcp(80, "one");
    ask_tcp((one_ip, 80)).unwrap();
    assert!(two.run(move || ask_tcp_within((one_ip, 80), SOON)).is_err());
    assert!(two.run(|| ip(&["link", "show", "eth0"])).contains("mtu 1400"));
}

#[test]
fn fixed_addresses_ranges_and_macs() {
    let Some(world) = World::new() else { return };
    let manager = world.manager();
    let config = NetworkConfig {
        subnet: Some("10.60.0.0/24".parse().unwrap()),
        gateway: Some(Ipv4Addr::new(10, 60, 0, 254)),
        ip_range: Some("10.60.0.64/26".parse().unwrap()),
        ..named("fixed")
    };
    manager.create(&config).unwrap();
    let (one, two) = (Inside::new(), Inside::new());
    assert_eq!(join(&manager, "one", "fixed", &one), Ipv4Addr::new(10, 60, 0, 64));
    let wanted = Attach {
        network: "fixed".into(),
        ip: Some("10.60.0.7".parse().unwrap()),
        mac: Some("92:d0:c6:0a:29:33".parse().unwrap()),
        interface: "net7".into(),
        ..to_bridge("two", &two, &[])
    };
    let got = manager.attach(&wanted).unwrap();
    assert_eq!(got.gateway, Some(Ipv4Addr::new(10, 60, 0, 254)));
    let seen = two.run(|| ip(&["addr", "show", "net7"]));
    assert!(seen.contains("10.60.0.7/24") && seen.contains("92:d0:c6:0a:29:33"), "{seen}");
    let again = Attach { container_id: "three".into(), netns: Inside::new().netns.clone(), ..wanted.clone() };
    assert_eq!(manager.attach(&again).unwrap_err().kind(), Kind::Conflict, "the address is taken");
    assert_eq!(manager.attach(&wanted).unwrap_err().kind(), Kind::AlreadyExists);
    let six = Attach { ip: Some("fd00::7".parse().unwrap()), container_id: "six".into(), ..wanted };
    assert_eq!(manager.attach(&six).unwrap_err().kind(), Kind::Unsupported);
}

#[test]
fn none_has_loopback_and_nothing_else() {
    let Some(world) = World::new() else { return };
    let (manager, inside) = (world.manager(), Inside::new());
    let attach = Attach { network: "none".into(), ..to_bridge("lonely", &inside, &[]) };
    assert_eq!(manager.attach(&attach).unwrap().ip, None);
    assert!(inside.run(|| ip(&["link", "show", "lo"])).contains("LOOPBACK,UP"));
    assert_eq!(inside.run(|| interfaces("eth")), [""; 0]);
    let published = Attach { ports: vec![port(None, 1, 1, Protocol::Tcp)], ..attach };
    assert_eq!(manager.attach(&published).unwrap_err().kind(), Kind::InvalidArgument);
    manager.detach("lonely").unwrap();
}
