//! What a `config.json` says for what a container asked for.

use super::*;
use crate::model::*;
use oci::Timestamp;
use proptest::prelude::*;

pub(crate) fn record(spec: ContainerSpec) -> ContainerRecord {
    let digest: oci::Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
    ContainerRecord {
        id: "f".repeat(64),
        namespace: "moby".into(),
        name: "test".into(),
        created: Timestamp::now(),
        image: ImageUsed { given: "x".into(), reference: None, id: digest.clone(), manifest: digest, chain: None },
        process: ResolvedProcess {
            args: vec!["/bin/true".into()],
            cwd: "/".into(),
            hostname: "h".into(),
            stop_signal: "SIGTERM".into(),
            ..Default::default()
        },
        mounts: Vec::new(),
        phase: Phase::Created,
        pid: 0,
        started_at: Timestamp::ZERO,
        finished_at: Timestamp::ZERO,
        exit_code: 0,
        oom_killed: false,
        error: String::new(),
        restart_count: 0,
        stopped_by_hand: false,
        stopping: false,
        exits: 0,
        endpoints: BTreeMap::new(),
        ports: Vec::new(),
        timeline: Vec::new(),
        snapshotter: "overlayfs".into(),
        shim: None,
        log_path: String::new(),
        spec,
    }
}

fn made(spec: ContainerSpec) -> Spec {
    let facts = Facts { files: Some("/files".into()), ..Default::default() };
    generate(&record(spec), &facts, &Host::for_tests()).unwrap()
}

fn kinds(spec: &Spec) -> Vec<&str> {
    spec.linux.as_ref().unwrap().namespaces.iter().map(|n| n.kind.as_str()).collect()
}

#[test]
fn a_plain_container_is_closed() {
    let spec = made(ContainerSpec::default());
    let linux = spec.linux.as_ref().unwrap();
    assert_eq!(kinds(&spec), ["mount", "network", "uts", "pid", "ipc", "cgroup"]);
    assert!(linux.seccomp.is_some());
    assert!(linux.masked_paths.contains(&"/proc/kcore".to_owned()));
    assert!(!linux.resources.as_ref().unwrap().devices[0].allow);
    let sys = spec.mounts.iter().find(|m| m.destination == "/sys").unwrap();
    assert!(sys.options.contains(&"ro".to_owned()));
    assert!(spec.mounts.iter().any(|m| m.destination == "/etc/hosts"));
}

#[test]
fn a_privileged_one_is_open() {
    let spec = made(ContainerSpec { privileged: true, ..Default::default() });
    let linux = spec.linux.as_ref().unwrap();
    assert!(linux.seccomp.is_none());
    assert!(linux.masked_paths.is_empty());
    assert!(linux.resources.as_ref().unwrap().devices[0].allow);
    let caps = spec.process.as_ref().unwrap().capabilities.as_ref().unwrap();
    assert!(caps.bounding.contains(&"CAP_SYS_ADMIN".to_owned()));
}

#[test]
fn namespaces_of_the_host_are_not_made() {
    let spec = made(ContainerSpec {
        network: NetworkMode::Host,
        pid_mode: NamespaceMode::Host,
        ipc_mode: NamespaceMode::Host,
        uts_mode: NamespaceMode::Host,
        cgroupns_mode: Some(NamespaceMode::Host),
        ..Default::default()
    });
    assert_eq!(kinds(&spec), ["mount"]);
    assert_eq!(spec.hostname, None);
    assert!(spec.linux.unwrap().sysctl.is_empty());
    let shm = spec.mounts.iter().find(|m| m.destination == "/dev/shm").unwrap();
    assert_eq!(shm.source.as_deref(), Some("/dev/shm"));
}

#[test]
fn another_containers_namespace_is_joined_while_it_runs() {
    let spec = ContainerSpec { network: NetworkMode::Container("other".into()), ..Default::default() };
    let error = generate(&record(spec.clone()), &Facts::default(), &Host::for_tests()).unwrap_err();
    assert_eq!(error.kind(), oci::Kind::Conflict);
    let facts = Facts { pids: [("other".to_owned(), 42)].into(), ..Default::default() };
    let made = generate(&record(spec), &facts, &Host::for_tests()).unwrap();
    let network = made.linux.unwrap().namespaces.into_iter().find(|n| n.kind == "network").unwrap();
    assert_eq!(network.path, Some("/proc/42/ns/net".into()));
}

#[test]
fn own_mounts_replace_defaults_and_come_in_order() {
    let point = |target: &str, rw| MountPoint {
        kind: MountKind::Bind,
        name: String::new(),
        source: "/src".into(),
        target: target.into(),
        rw,
        options: Vec::new(),
        anonymous: false,
        copy_up: false,
    };
    let mut container = record(ContainerSpec::default());
    container.mounts =
        vec![point("/a/b/c", true), point("/a", false), point("/dev/shm", true), point("/etc/hosts", true)];
    let facts = Facts { files: Some("/files".into()), ..Default::default() };
    let spec = generate(&container, &facts, &Host::for_tests()).unwrap();
    let at = |target: &str| spec.mounts.iter().position(|m| m.destination == target).unwrap();
    assert!(at("/a") < at("/a/b/c"));
    assert_eq!(spec.mounts.iter().filter(|m| m.destination == "/dev/shm").count(), 1);
    assert_eq!(spec.mounts[at("/dev/shm")].source.as_deref(), Some("/src"));
    assert_eq!(spec.mounts[at("/etc/hosts")].source.as_deref(), Some("/src"));
    assert_eq!(spec.mounts[at("/a")].options, ["rbind", "ro", "rprivate", "rro"]);
}

#[test]
fn refusals_name_the_value() {
    let refused = |spec| generate(&record(spec), &Facts::default(), &Host::for_tests()).unwrap_err().to_string();
    let sysctl =
        |name: &str| ContainerSpec { sysctls: [(name.to_owned(), "1".to_owned())].into(), ..Default::default() };
    assert!(refused(sysctl("vm.swappiness")).contains("vm.swappiness"));
    let ulimit = Ulimit { name: "bogus".into(), soft: 1, hard: 1 };
    assert!(refused(ContainerSpec { ulimits: vec![ulimit], ..Default::default() }).contains("bogus"));
    let security = SecuritySpec { apparmor: Some("mine".into()), ..Default::default() };
    assert!(refused(ContainerSpec { security, ..Default::default() }).contains("mine"));
    assert!(
        refused(ContainerSpec { device_cgroup_rules: vec!["x 1:2 r".into()], ..Default::default() }).contains("x 1:2")
    );
}

proptest! {
    /// Whatever is asked for, a container that is not privileged keeps its filters, and the result can be read back.
    #[test]
    fn an_ordinary_container_stays_confined(
        add in proptest::sample::subsequence(vec!["NET_ADMIN", "SYS_PTRACE", "SYS_ADMIN", "MKNOD"], 0..4),
        tty: bool, readonly_rootfs: bool, memory in proptest::option::of(6i64 << 20..1 << 40), uid in 0u32..3,
    ) {
        let mut container = record(ContainerSpec {
            cap_add: add.iter().map(|&c| c.to_owned()).collect(),
            tty,
            readonly_rootfs,
            resources: ResourceSpec { memory, ..Default::default() },
            ..Default::default()
        });
        container.process.user = uid.to_string();
        let facts = Facts { user: ResolvedUser { uid, gid: 0, groups: vec![] }, ..Default::default() };
        let spec = generate(&container, &facts, &Host::for_tests()).unwrap();
        let linux = spec.linux.as_ref().unwrap();
        prop_assert!(linux.seccomp.is_some());
        prop_assert!(!linux.resources.as_ref().unwrap().devices[0].allow);
        prop_assert!(linux.masked_paths.len() == MASKED.len());
        let caps = spec.process.as_ref().unwrap().capabilities.as_ref().unwrap();
        prop_assert_eq!(caps.effective.is_empty(), uid != 0);
        let again: Spec = serde_json::from_str(&serde_json::to_string(&spec).unwrap()).unwrap();
        prop_assert_eq!(spec, again);
    }
}
