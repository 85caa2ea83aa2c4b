//! What is taken, full, foreign or wrong, and that nothing stays behind then.

mod common;

use common::{Inside, World, address, ask_tcp, interfaces, ip, nft, port, to_bridge};
use oci::Kind;
use sampan_network::{Attach, Manager, NetworkConfig, Options, Protocol};
use std::net::{Ipv4Addr, TcpListener};

#[test]
fn ports_that_are_taken_are_refused_in_dockers_words() {
    let Some(world) = World::new() else { return };
    let (manager, one, two) = (world.manager(), Inside::new(), Inside::new());
    let published = |n| [port(None, n, 80, Protocol::Tcp)];
    manager.attach(&to_bridge("one", &one, &published(8080))).unwrap();
    let error = manager.attach(&to_bridge("two", &two, &published(8080))).unwrap_err();
    assert_eq!(error.message(), "Bind for 0.0.0.0:8080 failed: port is already allocated");
    let error = manager.attach(&to_bridge("two", &two, &[port(Some("127.0.0.1"), 8080, 80, Protocol::Tcp)]));
    assert!(error.unwrap_err().to_string().contains("port is already allocated"));
    let listener = TcpListener::bind("0.0.0.0:8090").unwrap();
    let error = manager.attach(&to_bridge("two", &two, &published(8090))).unwrap_err();
    assert!(error.to_string().contains("8090") && error.to_string().contains("address already in use"), "{error}");
    assert_eq!(error.kind(), Kind::Conflict);
    drop(listener);
    let far = [port(Some("203.0.113.9"), 80, 80, Protocol::Tcp)];
    assert_eq!(manager.attach(&to_bridge("two", &two, &far)).unwrap_err().kind(), Kind::InvalidArgument);
    let six = [port(Some("::"), 80, 80, Protocol::Tcp)];
    assert_eq!(manager.attach(&to_bridge("two", &two, &six)).unwrap_err().kind(), Kind::Unsupported);
    // None of the refused ones kept an address, and nobody else can take a port that is published.
    let attached = manager.attach(&to_bridge("two", &two, &published(8090))).unwrap();
    assert_eq!(address(&attached), Ipv4Addr::new(172, 17, 0, 8), "every try took the next address and gave it back");
    assert_eq!(manager.endpoints("bridge").unwrap().len(), 2);
    assert!(TcpListener::bind("127.0.0.1:8090").is_err());
    manager.detach("two").unwrap();
    TcpListener::bind("127.0.0.1:8090").unwrap();
    // UDP and TCP ports of one number don't meet.
    let both = [port(None, 8091, 80, Protocol::Tcp), port(None, 8091, 80, Protocol::Udp)];
    manager.attach(&to_bridge("two", &two, &both)).unwrap();
}

#[test]
fn ports_are_picked_from_the_range() {
    let Some(world) = World::new() else { return };
    let options = Options { port_range: Some((40000, 40001)), ..world.options() };
    let manager = Manager::open(&world.state(), options).unwrap();
    let (one, two) = (Inside::new(), Inside::new());
    let any = port(None, 0, 80, Protocol::Tcp);
    let attached = manager.attach(&to_bridge("one", &one, &[any, any])).unwrap();
    assert_eq!(attached.ports.iter().map(|p| p.host_port).collect::<Vec<_>>(), [40000, 40001]);
    one.serve_tcp(80, "one");
    assert_eq!(ask_tcp((Ipv4Addr::LOCALHOST, 40001)).unwrap(), "one 172.17.0.1");
    assert_eq!(manager.attach(&to_bridge("two", &two, &[any])).unwrap_err().kind(), Kind::ResourceExhausted);
}

#[test]
fn a_large_range_of_ports_is_one_rule() {
    let Some(world) = World::new() else { return };
    let (manager, one) = (world.manager(), Inside::new());
    let mut ports: Vec<_> = (20000..20500).map(|n| port(None, n, n, Protocol::Tcp)).collect();
    ports.extend((30000..30300).map(|n| port(None, n, n - 10000, Protocol::Udp)));
    manager.attach(&to_bridge("one", &one, &ports)).unwrap();
    assert!(nft().contains("tcp dport 20000-20499 "), "{}", nft());
    assert_eq!(nft().matches("udp dport").count(), 300);
    one.serve_tcp(20321, "deep");
    one.serve_udp(20007, "deeper");
    assert_eq!(ask_tcp((Ipv4Addr::LOCALHOST, 20321)).unwrap(), "deep 172.17.0.1");
    assert_eq!(common::ask_udp((Ipv4Addr::LOCALHOST, 30007)).unwrap(), "deeper 172.17.0.1");
    manager.detach("one").unwrap();
    assert!(!nft().contains("dport"));
}

#[test]
fn a_full_subnet_says_so() {
    let Some(world) = World::new() else { return };
    let options = Options { bridge_subnet: Some("10.70.0.0/30".parse().unwrap()), ..world.options() };
    let manager = Manager::open(&world.state(), options).unwrap();
    let (one, two) = (Inside::new(), Inside::new());
    manager.attach(&to_bridge("one", &one, &[])).unwrap();
    let error = manager.attach(&to_bridge("two", &two, &[])).unwrap_err();
    assert_eq!(error.kind(), Kind::ResourceExhausted);
    assert!(error.to_string().contains("10.70.0.0/30"), "{error}");
    manager.detach("one").unwrap();
    manager.attach(&to_bridge("two", &two, &[])).unwrap();
}

#[test]
fn subnets_of_the_host_are_not_picked() {
    let Some(world) = World::new() else { return };
    ip(&["link", "add", "other", "type", "bridge"]);
    ip(&["addr", "add", "172.17.5.1/24", "dev", "other"]);
    ip(&["link", "set", "other", "up"]);
    ip(&["route", "add", "172.18.0.0/15", "dev", "other"]);
    let (manager, one) = (world.manager(), Inside::new());
    assert_eq!(address(&manager.attach(&to_bridge("one", &one, &[])).unwrap()), Ipv4Addr::new(172, 20, 0, 2));
    // After a teardown (a reboot) the subnet may have been taken: another is picked.
    manager.detach("one").unwrap();
    manager.teardown().unwrap();
    ip(&["route", "add", "172.20.0.0/16", "dev", "other"]);
    assert_eq!(address(&manager.attach(&to_bridge("one", &one, &[])).unwrap()), Ipv4Addr::new(172, 21, 0, 2));
}

#[test]
fn names_that_others_have_are_left_alone() {
    let Some(world) = World::new() else { return };
    let manager = world.manager();
    let (one, two) = (Inside::new(), Inside::new());
    let first = manager.attach(&to_bridge("one", &one, &[])).unwrap();
    manager.detach("one").unwrap();
    // Somebody has an interface with the very name that the container would get.
    ip(&["link", "add", &first.host_interface, "type", "dummy"].map(|a| if a == "dummy" { "bridge" } else { a }));
    ip(&["link", "set", &first.host_interface, "alias", "somebody else's"]);
    let second = manager.attach(&to_bridge("one", &one, &[])).unwrap();
    assert_ne!(second.host_interface, first.host_interface);
    manager.detach("one").unwrap();
    manager.sweep(&[""; 0]).unwrap();
    assert_eq!(interfaces("sv"), std::slice::from_ref(&first.host_interface));

    // A bridge of that name that isn't ours is neither used nor removed.
    ip(&["link", "add", "mine", "type", "bridge"]);
    ip(&["addr", "add", "10.80.0.1/24", "dev", "mine"]);
    let config = NetworkConfig { name: "foreign".into(), bridge_name: Some("mine".into()), ..NetworkConfig::default() };
    manager.create(&config).unwrap();
    let attach = Attach { network: "foreign".into(), ..to_bridge("two", &two, &[]) };
    let error = manager.attach(&attach).unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(error.to_string().contains("mine"), "{error}");
    assert!(manager.endpoints("foreign").unwrap().is_empty());
    manager.remove("foreign").unwrap();
    assert!(ip(&["addr", "show", "mine"]).contains("10.80.0.1/24"));

    // So is an interface that the container has already.
    two.run(|| drop(ip(&["link", "add", "eth0", "type", "bridge"])));
    assert_eq!(manager.attach(&to_bridge("two", &two, &[])).unwrap_err().kind(), Kind::Conflict);
    assert_eq!(interfaces("sv"), [first.host_interface]);
    assert!(manager.endpoints("bridge").unwrap().is_empty());
}

#[test]
fn wrong_namespaces_are_refused() {
    let Some(world) = World::new() else { return };
    let (manager, inside) = (world.manager(), Inside::new());
    let with =
        |netns: &str| manager.attach(&Attach { netns: netns.into(), ..to_bridge("one", &inside, &[]) }).unwrap_err();
    assert_eq!(with("/proc/self/ns/net").kind(), Kind::InvalidArgument, "the host's own");
    assert_eq!(with("/proc/0/ns/net").kind(), Kind::NotFound);
    assert_eq!(with("/etc/hostname").kind(), Kind::InvalidArgument);
    assert_eq!(with("/proc/self/ns/uts").kind(), Kind::InvalidArgument);
    let bad = Attach { container_id: "../x".into(), ..to_bridge("", &inside, &[]) };
    assert_eq!(manager.attach(&bad).unwrap_err().kind(), Kind::InvalidArgument);
    assert!(manager.endpoints("bridge").unwrap().is_empty());
    assert_eq!(interfaces("sv"), [""; 0]);
}

#[test]
fn a_helper_that_is_missing_or_broken_is_named() {
    let Some(world) = World::new() else { return };
    let inside = Inside::new();
    for (number, (helper, expected)) in
        [("/absent/sampan-net", "/absent/sampan-net"), ("/bin/true", "without an answer"), ("/bin/sh", "")]
            .into_iter()
            .enumerate()
    {
        let state = world.dir.path().join(number.to_string());
        let manager = Manager::open(&state, Options::new(helper)).unwrap();
        let error = manager.attach(&to_bridge("one", &inside, &[])).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let slow = world.dir.path().join("slow.sh");
    std::fs::write(&slow, "#!/bin/sh\nexec sleep 60\n").unwrap();
    std::fs::set_permissions(&slow, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let options = Options { deadline: std::time::Duration::from_millis(100), ..Options::new(slow) };
    let manager = Manager::open(&world.state(), options).unwrap();
    let error = manager.attach(&to_bridge("one", &inside, &[])).unwrap_err();
    assert_eq!(error.kind(), Kind::DeadlineExceeded);
}

#[test]
fn forwarding_is_switched_on_when_needed_and_given_back() {
    let Some(world) = World::new() else { return };
    let forwarding = || tool_forwarding(None);
    tool_forwarding(Some("0"));
    let options = Options { restore_forwarding: true, ..world.options() };
    let manager = Manager::open(&world.state(), options).unwrap();
    let inner = NetworkConfig { name: "inner".into(), internal: true, ..NetworkConfig::default() };
    manager.create(&inner).unwrap();
    let (one, two) = (Inside::new(), Inside::new());
    manager.attach(&Attach { network: "inner".into(), ..to_bridge("one", &one, &[]) }).unwrap();
    assert_eq!(forwarding(), "0", "an internal network forwards nothing");
    manager.attach(&to_bridge("two", &two, &[])).unwrap();
    assert_eq!(forwarding(), "1");
    manager.detach("one").unwrap();
    assert_eq!(forwarding(), "1");
    manager.detach("two").unwrap();
    assert_eq!(forwarding(), "0");
    // What was on before stays on.
    tool_forwarding(Some("1"));
    manager.attach(&to_bridge("two", &two, &[])).unwrap();
    manager.detach("two").unwrap();
    assert_eq!(forwarding(), "1");
}

/// Sets and returns `ip_forward` of the world.
fn tool_forwarding(value: Option<&str>) -> String {
    let path = "/proc/sys/net/ipv4/ip_forward";
    // A child sees the settings of the namespace it was started in, as does this thread.
    if let Some(value) = value {
        std::fs::write(path, value).unwrap();
    }
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

#[test]
fn many_at_once() {
    let Some(world) = World::new() else { return };
    let manager = world.manager();
    let insides: Vec<Inside> = (0..20).map(|_| Inside::new()).collect();
    let mut addresses: Vec<Ipv4Addr> = std::thread::scope(|scope| {
        let threads: Vec<_> = insides
            .iter()
            .enumerate()
            .map(|(n, inside)| {
                let manager = &manager;
                let ports = [port(None, 0, 80, Protocol::Tcp)];
                scope.spawn(move || address(&manager.attach(&to_bridge(&format!("c{n}"), inside, &ports)).unwrap()))
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 20);
    assert_eq!(nft().matches("ctr:").count(), 20);
    assert_eq!(interfaces("sv").len(), 20);
    std::thread::scope(|scope| {
        for n in 0..20 {
            let manager = &manager;
            scope.spawn(move || manager.detach(&format!("c{n}")).unwrap());
        }
    });
    assert_eq!(nft().matches("ctr:").count(), 0);
    assert_eq!(interfaces("sv"), [""; 0]);
    manager.teardown().unwrap();
    assert_eq!(nft(), "");
}
