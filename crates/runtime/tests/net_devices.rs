//! `linux.netDevices`: what `ip` shows of a device on both sides of a network namespace.

mod common;

use std::process::Command;

use common::{Bench, bench};
use oci::runtime::{Namespace, NetDevice};

/// A host of this test's own: a network namespace with both ends of a veth pair. `None`, with the reason printed, where
/// that cannot be had.
fn host() -> Option<Bench> {
    let b = bench()?;
    if Command::new("ip").arg("-V").output().is_err() {
        println!("skipped: ip is missing; install iproute2");
        return None;
    }
    sys::unshare::new_network_and_mount_namespace().expect("unshare");
    let private = rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).expect("private");
    let made = Command::new("ip").args(["link", "add", "out0", "type", "veth", "peer", "name", "out1"]).output();
    let made = made.expect("ip");
    if !made.status.success() {
        println!("skipped: no veth devices here: {}", String::from_utf8_lossy(&made.stderr));
        return None;
    }
    Some(b)
}

fn ip(args: &str) -> String {
    let output = Command::new("ip").args(args.split(' ')).output().expect("ip");
    assert!(output.status.success(), "ip {args}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn device(b: &mut Bench, host: &str, inside: Option<&str>) {
    b.linux().net_devices.insert(host.into(), NetDevice { name: inside.map(String::from) });
}

/// Runs `ip` inside, from the host's program: the image's cannot do all of this.
fn inside(b: &Bench, args: &str) -> String {
    let pid = b.pid().to_string();
    let output =
        Command::new("nsenter").args(["-t", &pid, "-n", "ip"]).args(args.split(' ')).output().expect("nsenter");
    assert!(output.status.success(), "ip {args}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_device_moves_with_its_addresses_and_goes_up() {
    let Some(mut b) = host() else { return };
    ip("addr add 192.0.2.7/24 brd 192.0.2.255 dev out0");
    ip("addr add 192.0.2.8/24 dev out0");
    ip("addr add 169.254.1.1/16 scope link dev out0");
    ip("addr add 198.51.100.1/24 valid_lft 1000 preferred_lft 1000 dev out0");
    ip("-6 addr add 2001:db8::7/64 nodad dev out0");
    ip("link set out0 mtu 1400");
    ip("link set out0 up");
    ip("link set out1 up");
    device(&mut b, "out0", Some("in0"));
    b.started("exec sleep 100");
    let shown = inside(&b, "addr show dev in0");
    for words in ["mtu 1400", ",UP", "192.0.2.7/24 brd 192.0.2.255 scope global", "192.0.2.8/24", "2001:db8::7/64"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert!(!shown.contains("169.254.1.1"), "of the link, not global: {shown}");
    assert!(!shown.contains("198.51.100.1"), "not permanent: {shown}");
    assert!(!ip("link show").contains("out0"), "it is on the host no more");
    // What is at the other end is reached through it.
    ip("addr add 192.0.2.1/24 dev out1");
    let id = b.id.clone();
    let reached = Command::new("nsenter")
        .args(["-t", &b.pid().to_string(), "-n", "ip", "route", "get", "192.0.2.1"])
        .output()
        .expect("nsenter");
    assert!(String::from_utf8_lossy(&reached.stdout).contains("dev in0"), "{reached:?}");
    b.ok(&["delete", "--force", &id]);
}

#[test]
fn a_template_lets_the_kernel_number_the_device() {
    let Some(mut b) = host() else { return };
    ip("addr add 192.0.2.7/24 dev out0");
    device(&mut b, "out0", Some("net%d"));
    device(&mut b, "out1", Some("net%d"));
    b.started("exec sleep 100");
    let shown = inside(&b, "addr show");
    assert!(shown.contains("net0") && shown.contains("net1") && shown.contains("192.0.2.7/24"), "{shown}");
}

#[test]
fn a_device_moves_into_a_namespace_by_path_and_of_a_user_namespace() {
    let Some(mut first) = host() else { return };
    first.started("exec sleep 100");
    let Some(mut second) = bench() else { return };
    let path = format!("/proc/{}/ns/net", first.pid());
    second.linux().namespaces.retain(|n| n.kind != "network");
    second.linux().namespaces.push(Namespace { kind: "network".into(), path: Some(path.into()) });
    device(&mut second, "out0", None);
    assert!(second.output("cat /sys/class/net/out0/operstate; ls /sys/class/net").contains("out0"));
    assert!(inside(&first, "link show").contains("out0"), "it stays where it was moved to");
    let Some(mut third) = bench() else { return };
    third.linux().namespaces.push(Namespace { kind: "user".into(), path: None });
    let map = oci::runtime::IdMapping { container_id: 0, host_id: 100_000, size: 1000 };
    third.linux().uid_mappings = vec![map.clone()];
    third.linux().gid_mappings = vec![map];
    device(&mut third, "out1", Some("mine"));
    assert!(third.output("ls /sys/class/net").contains("mine"));
}

#[test]
fn a_container_that_fails_gives_its_devices_back() {
    let Some(mut b) = host() else { return };
    for (args, family) in [("addr add 192.0.2.7/24 dev out0", ""), ("addr add 2001:db8::7/64 nodad dev out0", "-6 ")] {
        ip(&format!("{family}{args}"));
    }
    ip("link set out0 up");
    ip("link set out1 down");
    let same = || {
        let shown = ip("addr show dev out0");
        assert!(shown.contains("192.0.2.7/24") && shown.contains("2001:db8::7/64") && shown.contains(",UP"), "{shown}");
        assert!(!ip("link show dev out1").contains(",UP"));
    };
    device(&mut b, "out0", Some("in0"));
    device(&mut b, "out1", None);
    b.script("true");
    // Long after the move.
    b.process().args = vec!["/no/such/program".into()];
    assert!(b.failure().contains("no such file or directory"));
    same();
    // The second one cannot be moved: its name is the first one's.
    b.linux().net_devices.remove("out1");
    device(&mut b, "missing0", None);
    let error = b.failure();
    assert!(error.contains("missing0") && error.contains("link not found"), "{error}");
    same();
    b.linux().net_devices.clear();
    device(&mut b, "out0", Some("lo"));
    let error = b.failure();
    assert!(error.contains("linux.netDevices[\"out0\"]") && error.contains("file exists"), "{error}");
    same();
    b.linux().net_devices.clear();
    device(&mut b, "lo", Some("in0"));
    let error = b.failure();
    assert!(error.contains("linux.netDevices[\"lo\"]") && error.contains("fail to move network device"), "{error}");
}

#[test]
fn devices_need_a_network_namespace_and_names() {
    let Some(mut b) = host() else { return };
    b.script("true");
    device(&mut b, "out0", Some("a/b"));
    let error = b.failure();
    assert!(error.contains("linux.netDevices[\"out0\"].name: invalid network device name"), "{error}");
    device(&mut b, "out0", None);
    let own = |path: Option<&str>| Namespace { kind: "network".into(), path: path.map(Into::into) };
    b.linux().namespaces.retain(|n| n.kind != "network");
    for extra in [None, Some(own(Some("/proc/thread-self/ns/net")))] {
        b.linux().namespaces.retain(|n| n.kind != "network");
        b.linux().namespaces.extend(extra);
        let error = b.failure();
        assert!(error.contains("unable to move network devices without a private NET namespace"), "{error}");
    }
    assert!(ip("link show").contains("out0"));
}
