//! The rules as `nft` reads them back, and what survives changes from outside.

mod common;

use common::{Inside, World, address, ask_tcp, ask_udp_from, interfaces, nft, port, to_bridge, tool};
use oci::Kind;
use sampan_network::{Manager, NetworkConfig, Options, Protocol};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::time::Duration;

/// The table without what differs from run to run.
fn normal(text: &str, owner: &str, id: &str) -> String {
    let text = text.replace(owner, "OWNER").replace(&id[..12], "NETWORK");
    let mut out = String::new();
    for line in text.lines() {
        // The hash of the network's plan, and counters.
        let line = match line.split_once("comment \"net:NETWORK:") {
            Some((head, _)) => format!("{head}comment \"net:NETWORK:\""),
            None => line.to_owned(),
        };
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut kept = Vec::new();
        let mut skip = 0;
        for word in words {
            if skip > 0 {
                skip -= 1;
                continue;
            }
            kept.push(word);
            if word == "counter" {
                skip = 4;
            }
        }
        out.push_str(&kept.join(" "));
        out.push('\n');
    }
    out
}

#[test]
fn nft_reads_the_rules_that_were_meant() {
    let Some(world) = World::new() else { return };
    let (manager, one) = (world.manager(), Inside::new());
    let ports = [
        port(None, 8080, 80, Protocol::Tcp),
        port(None, 9000, 9000, Protocol::Udp),
        port(None, 9001, 9001, Protocol::Udp),
        port(Some("127.0.0.1"), 8081, 81, Protocol::Tcp),
    ];
    manager.attach(&to_bridge("one", &one, &ports)).unwrap();
    let id = manager.inspect("bridge").unwrap().id;
    let expected = r#"table ip sampan-OWNER {
chain guard {
type filter hook prerouting priority raw; policy accept;
iifname "sampan0" ip daddr 127.0.0.0/8 drop comment "net:NETWORK:"
}

chain prerouting {
type nat hook prerouting priority dstnat; policy accept;
fib daddr type local jump ports comment "base:1"
}

chain output {
type nat hook output priority -100; policy accept;
fib daddr type local jump ports comment "base:1"
ip daddr 127.0.0.1 tcp dport 8081 counter dnat to 172.17.0.2:81 comment "ctr:one:NETWORK"
}

chain forward {
type filter hook forward priority filter; policy accept;
oifname "sampan0" ct state established,related accept comment "net:NETWORK:"
oifname "sampan0" ct status dnat accept comment "net:NETWORK:"
oifname "sampan0" iifname != "sampan0" counter drop comment "net:NETWORK:"
}

chain postrouting {
type nat hook postrouting priority srcnat; policy accept;
ip saddr 172.17.0.0/16 oifname != "sampan0" masquerade comment "net:NETWORK:"
ip saddr 172.17.0.0/16 oifname "sampan0" ct status dnat masquerade comment "net:NETWORK:"
ip saddr 127.0.0.0/8 oifname "sampan0" masquerade comment "net:NETWORK:"
}

chain ports {
tcp dport 8080 counter dnat to 172.17.0.2:80 comment "ctr:one:NETWORK"
udp dport 9000-9001 counter dnat to 172.17.0.2 comment "ctr:one:NETWORK"
}
}
"#;
    assert_eq!(normal(&nft(), manager.owner(), &id), expected);
    // nft can also take back what it read: the form is one that it would write itself.
    let dump = world.dir.path().join("rules.nft");
    std::fs::write(&dump, nft()).unwrap();
    tool("nft", &["flush", "ruleset"]);
    tool("nft", &["-f", dump.to_str().unwrap()]);
    assert_eq!(normal(&nft(), manager.owner(), &id), expected);
}

#[test]
fn two_owners_side_by_side() {
    let Some(world) = World::new() else { return };
    let first = world.manager();
    let other_state = world.dir.path().join("other");
    let second = Manager::open(&other_state, Options::new(common::helper())).unwrap();
    assert_ne!(first.owner(), second.owner());
    let (one, two) = (Inside::new(), Inside::new());
    // The same container id in both must not matter.
    let a = first.attach(&to_bridge("same", &one, &[port(None, 8080, 80, Protocol::Tcp)])).unwrap();
    let b = second.attach(&to_bridge("same", &two, &[port(None, 8081, 80, Protocol::Tcp)])).unwrap();
    assert_eq!((address(&a).octets()[1], address(&b).octets()[1]), (17, 18));
    one.serve_tcp(80, "one");
    two.serve_tcp(80, "two");
    // Neither knows of the other's port, but the kernel does.
    let taken = second.attach(&to_bridge("x", &two, &[port(None, 8080, 81, Protocol::Tcp)])).unwrap_err();
    assert!(taken.to_string().contains("address already in use"), "{taken}");
    assert_eq!(ask_tcp((Ipv4Addr::LOCALHOST, 8080)).unwrap(), "one 172.17.0.1");
    assert_eq!(ask_tcp((Ipv4Addr::LOCALHOST, 8081)).unwrap(), "two 172.18.0.1");
    // One's sweep and teardown take nothing of the other's.
    first.sweep(&[""; 0]).unwrap();
    first.teardown().unwrap();
    assert_eq!(ask_tcp((Ipv4Addr::LOCALHOST, 8081)).unwrap(), "two 172.18.0.1");
    assert!(!nft().contains(first.owner()) && nft().contains(second.owner()));
    assert_eq!(interfaces("sampan0"), [""; 0]);
    assert_eq!(Manager::open(&other_state, Options::new(common::helper())).err().unwrap().kind(), Kind::Conflict);
}

#[test]
fn a_restarted_daemon_finds_everything_again() {
    let Some(world) = World::new() else { return };
    let (one, two) = (Inside::new(), Inside::new());
    let manager = world.manager();
    let kept = manager.create(&NetworkConfig { name: "kept".into(), ..NetworkConfig::default() }).unwrap();
    let attached = manager.attach(&to_bridge("one", &one, &[port(None, 8080, 80, Protocol::Tcp)])).unwrap();
    manager.attach(&to_bridge("two", &two, &[port(None, 8081, 80, Protocol::Tcp)])).unwrap();
    one.serve_tcp(80, "one");
    drop(manager);
    // Meanwhile two is gone, its port is somebody else's, and a firewall tool flushed everything.
    TcpListener::bind("127.0.0.1:8081").unwrap();
    tool("nft", &["flush", "ruleset"]);
    let manager = world.manager();
    let report = manager.sweep(&["one"]).unwrap();
    assert_eq!((report.endpoints, report.leases, report.problems.len()), (1, 0, 0), "{report:?}");
    assert_eq!(report.interfaces.len(), 1);
    assert!(report.restored_rules > 1, "{report:?}");
    assert_eq!(manager.inspect("kept").unwrap(), kept);
    assert_eq!(manager.endpoints_of("one")[0].ip, address(&attached));
    assert_eq!(ask_tcp((Ipv4Addr::LOCALHOST, 8080)).unwrap(), "one 172.18.0.1");
    assert!(TcpListener::bind("127.0.0.1:8080").is_err(), "the port is held again");
    TcpListener::bind("127.0.0.1:8081").unwrap();
    let again = manager.sweep(&["one"]).unwrap();
    assert_eq!(again, sampan_network::SweepReport::default(), "a second sweep finds nothing");
}

#[test]
fn rules_that_somebody_deleted_come_back_once() {
    let Some(world) = World::new() else { return };
    let (manager, one, two) = (world.manager(), Inside::new(), Inside::new());
    manager.attach(&to_bridge("one", &one, &[port(None, 8080, 80, Protocol::Tcp)])).unwrap();
    let before = nft();
    let table = format!("sampan-{}", manager.owner());
    let lines = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    for chain in ["prerouting", "forward", "ports", "postrouting"] {
        tool("nft", &["flush", "chain", "ip", &table, chain]);
        manager.sweep(&["one"]).unwrap();
        assert_eq!(lines(&nft()), lines(&before), "{chain}");
    }
    tool("nft", &["flush", "chain", "ip", &table, "output"]);
    tool("nft", &["flush", "chain", "ip", &table, "guard"]);
    manager.attach(&to_bridge("two", &two, &[])).unwrap();
    assert_eq!(lines(&nft()), lines(&before), "an attach puts back what the network needs");
    // An empty table is still removed.
    tool("nft", &["flush", "table", "ip", &table]);
    manager.detach("one").unwrap();
    manager.detach("two").unwrap();
    manager.teardown().unwrap();
    assert_eq!(nft(), "");
}

#[test]
fn a_changed_network_gets_new_rules() {
    let Some(world) = World::new() else { return };
    let one = Inside::new();
    let manager = world.manager();
    manager.attach(&to_bridge("one", &one, &[])).unwrap();
    manager.detach("one").unwrap();
    drop(manager);
    let options = Options { bridge_subnet: Some("10.44.0.0/16".parse().unwrap()), mtu: 1300, ..world.options() };
    let manager = Manager::open(&world.state(), options).unwrap();
    manager.sweep(&[""; 0]).unwrap();
    let attached = manager.attach(&to_bridge("one", &one, &[])).unwrap();
    assert_eq!(address(&attached), Ipv4Addr::new(10, 44, 0, 2));
    assert!(!nft().contains("172.17.0.0"), "{}", nft());
    assert_eq!(nft().matches("net:").count(), 7);
    one.serve_tcp(80, "one");
    assert_eq!(ask_tcp((address(&attached), 80)).unwrap(), "one 10.44.0.1");
}

#[test]
fn udp_clients_follow_the_port_to_another_container() {
    let Some(world) = World::new() else { return };
    let (manager, one, two) = (world.manager(), Inside::new(), Inside::new());
    let published = [port(None, 5353, 53, Protocol::Udp)];
    // The connections that the client's packets make before, between and after must not stick.
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let ask = || {
        let patience = Duration::from_millis(800);
        ask_udp_from(&client, (Ipv4Addr::LOCALHOST, 5353), patience)
            .or_else(|_| ask_udp_from(&client, (Ipv4Addr::LOCALHOST, 5353), patience))
    };
    assert!(ask().is_err());
    one.serve_udp(53, "one");
    manager.attach(&to_bridge("one", &one, &published)).unwrap();
    assert_eq!(ask().unwrap(), "one 172.17.0.1");
    manager.detach("one").unwrap();
    two.serve_udp(53, "two");
    manager.attach(&to_bridge("two", &two, &published)).unwrap();
    assert_eq!(ask().unwrap(), "two 172.17.0.1");
}

#[test]
fn hairpin_works_with_and_without_bridge_netfilter() {
    let Some(world) = World::new() else { return };
    let path = "/proc/sys/net/bridge/bridge-nf-call-iptables";
    let (manager, one, two) = (world.manager(), Inside::new(), Inside::new());
    let attached = manager.attach(&to_bridge("one", &one, &[port(None, 8080, 80, Protocol::Tcp)])).unwrap();
    manager.attach(&to_bridge("two", &two, &[])).unwrap();
    one.serve_tcp(80, "one");
    let gateway = attached.gateway.unwrap();
    for value in ["0", "1"] {
        if std::fs::write(path, value).is_err() {
            eprintln!("skipped for bridge-nf-call-iptables={value}: no br_netfilter");
            continue;
        }
        for container in [&one, &two] {
            container.run(move || ask_tcp((gateway, 8080))).unwrap_or_else(|e| panic!("br_netfilter {value}: {e}"));
        }
    }
}
