use super::*;
use oci::Kind;

fn of(json: &str) -> Result<ContainerSpec> {
    container(serde_json::from_str(json).unwrap(), None, None)
}

fn refused(json: &str) -> Error {
    match of(json) {
        Ok(_) => panic!("{json} is accepted"),
        Err(error) => error,
    }
}

#[test]
fn what_the_docker_command_sends_by_default_asks_for_nothing() {
    let json = r#"{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":true,"AttachStderr":true,
        "Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":null,"Cmd":null,"Image":"a","Volumes":{},"WorkingDir":"",
        "Entrypoint":null,"OnBuild":null,"Labels":{},
        "HostConfig":{"Binds":null,"ContainerIDFile":"","LogConfig":{"Type":"","Config":{}},"NetworkMode":"default",
        "PortBindings":{},"RestartPolicy":{"Name":"no","MaximumRetryCount":0},"AutoRemove":false,"VolumeDriver":"",
        "VolumesFrom":null,"ConsoleSize":[0,0],"CapAdd":null,"CapDrop":null,"CgroupnsMode":"","Dns":[],"DnsOptions":[],
        "DnsSearch":[],"ExtraHosts":null,"GroupAdd":null,"IpcMode":"","Cgroup":"","Links":null,"OomScoreAdj":0,
        "PidMode":"","Privileged":false,"PublishAllPorts":false,"ReadonlyRootfs":false,"SecurityOpt":null,"UTSMode":"",
        "UsernsMode":"","ShmSize":0,"Isolation":"","CpuShares":0,"Memory":0,"NanoCpus":0,"CgroupParent":"",
        "BlkioWeight":0,"BlkioWeightDevice":[],"BlkioDeviceReadBps":[],"BlkioDeviceWriteBps":[],
        "BlkioDeviceReadIOps":[],"BlkioDeviceWriteIOps":[],"CpuPeriod":0,"CpuQuota":0,"CpuRealtimePeriod":0,
        "CpuRealtimeRuntime":0,"CpusetCpus":"","CpusetMems":"","Devices":[],"DeviceCgroupRules":null,
        "DeviceRequests":null,"MemoryReservation":0,"MemorySwap":0,"MemorySwappiness":-1,"OomKillDisable":false,
        "PidsLimit":0,"Ulimits":[],"CpuCount":0,"CpuPercent":0,"IOMaximumIOps":0,"IOMaximumBandwidth":0,
        "MaskedPaths":null,"ReadonlyPaths":null},"NetworkingConfig":{"EndpointsConfig":{"default":{}}}}"#;
    let mut spec = of(json).unwrap();
    spec.door = Value::Null;
    let mut expected = ContainerSpec { image: "a".into(), ..ContainerSpec::default() };
    expected.resources.oom_kill_disable = Some(false);
    expected.endpoints.insert("bridge".into(), EndpointSpec::default());
    assert_eq!(spec, expected);
}

#[test]
fn every_option_reaches_the_spec() {
    let json = r#"{"Image":"a","Hostname":"h","Domainname":"d","User":"u","Tty":true,"OpenStdin":true,"StdinOnce":true,
        "Env":["A=1","B"],"Cmd":["c"],"Entrypoint":"e","WorkingDir":"/w","Labels":{"k":"v"},"StopSignal":"SIGINT",
        "StopTimeout":3,"MacAddress":"02:00:00:00:00:01","ExposedPorts":{"80-81/tcp":{}},
        "Healthcheck":{"Test":["NONE"]},
        "HostConfig":{"NetworkMode":"mine","RestartPolicy":{"Name":"on-failure","MaximumRetryCount":4},
        "ConsoleSize":[24,80],"Annotations":{"x":"y"},"CapAdd":["NET_ADMIN"],"CapDrop":["ALL"],"CgroupnsMode":"private",
        "Dns":["1.1.1.1"],"DnsOptions":["ndots:1"],"DnsSearch":["s"],"ExtraHosts":["n:1.2.3.4","six=[::1]"],
        "GroupAdd":["g"],"IpcMode":"container:i","OomScoreAdj":5,"PidMode":"host","Privileged":true,
        "PublishAllPorts":true,"ReadonlyRootfs":true,"UTSMode":"host","ShmSize":9,"Sysctls":{"net.x":"1"},
        "Runtime":"crun","CgroupParent":"/p","Memory":10000000,"CpuShares":3,"PidsLimit":7,"Init":true,
        "Devices":[{"PathOnHost":"/dev/fuse","PathInContainer":"","CgroupPermissions":""}],
        "Ulimits":[{"Name":"nofile","Soft":1,"Hard":2}],"MaskedPaths":[],"ReadonlyPaths":["/r"],
        "LogConfig":{"Type":"none","Config":{"a":"b"}},"VolumesFrom":["c:ro"],"DeviceCgroupRules":["c 1:* r"]},
        "NetworkingConfig":{"EndpointsConfig":{"mine":{"Aliases":["al"],"IPAMConfig":{"IPv4Address":"10.0.0.5"}}}}}"#;
    let spec = container(serde_json::from_str(json).unwrap(), Some("/name"), None).unwrap();
    assert_eq!(spec.name.as_deref(), Some("name"));
    assert_eq!(spec.entrypoint.as_deref(), Some(["e".to_owned()].as_slice()));
    assert_eq!(spec.command.as_deref(), Some(["c".to_owned()].as_slice()));
    assert_eq!(spec.network, NetworkMode::Network("mine".into()));
    assert_eq!(spec.endpoints["mine"].ipv4, Some("10.0.0.5".parse().unwrap()));
    assert_eq!(spec.endpoints["mine"].aliases, ["al"]);
    assert_eq!(spec.console_size, Some((24, 80)));
    assert_eq!(spec.extra_hosts, [("n".into(), "1.2.3.4".into()), ("six".into(), "::1".into())]);
    assert_eq!(spec.ipc_mode, NamespaceMode::Container("i".into()));
    assert_eq!((spec.pid_mode, spec.uts_mode), (NamespaceMode::Host, NamespaceMode::Host));
    assert_eq!(spec.cgroupns_mode, Some(NamespaceMode::Private));
    assert_eq!(spec.restart, RestartPolicy::OnFailure { max: 4 });
    assert_eq!(spec.exposed_ports.iter().collect::<Vec<_>>(), ["80/tcp", "81/tcp"]);
    assert_eq!((spec.stop_signal.as_deref(), spec.stop_timeout), (Some("SIGINT"), Some(3)));
    assert_eq!((spec.masked_paths, spec.readonly_paths), (Some(vec![]), Some(vec!["/r".into()])));
    assert_eq!((spec.log.driver.as_str(), spec.log.options["a"].as_str()), ("none", "b"));
    assert_eq!(spec.devices[0].container_path, "/dev/fuse");
    assert_eq!(spec.devices[0].permissions, "rwm");
    assert_eq!((spec.shm_size, spec.oom_score_adj, spec.runtime.as_deref()), (Some(9), Some(5), Some("crun")));
    assert_eq!(spec.resources.memory, Some(10_000_000));
    assert_eq!((spec.resources.pids_limit, spec.resources.cpu_shares), (Some(7), Some(3)));
    assert!(spec.privileged && spec.publish_all && spec.readonly_rootfs && spec.init && spec.tty && spec.open_stdin);
    assert_eq!(spec.healthcheck.unwrap().test, ["NONE"]);
    assert_eq!(spec.door["HostConfig"]["Runtime"], "crun");
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    for (field, json) in [
        ("Links", r#"{"Image":"a","HostConfig":{"Links":["x"]}}"#),
        ("StorageOpt", r#"{"Image":"a","HostConfig":{"StorageOpt":{"size":"1"}}}"#),
        ("UsernsMode", r#"{"Image":"a","HostConfig":{"UsernsMode":"x"}}"#),
        ("DeviceRequests", r#"{"Image":"a","HostConfig":{"DeviceRequests":[{"Count":-1}]}}"#),
        ("CpuCount", r#"{"Image":"a","HostConfig":{"CpuCount":1}}"#),
        ("KernelMemory", r#"{"Image":"a","HostConfig":{"KernelMemory":1}}"#),
        ("HostConfig.Novelty", r#"{"Image":"a","HostConfig":{"Novelty":true}}"#),
        ("Novelty", r#"{"Image":"a","Novelty":{"x":1}}"#),
        ("OnBuild", r#"{"Image":"a","OnBuild":["x"]}"#),
        ("Shell", r#"{"Image":"a","Shell":["x"]}"#),
        ("GwPriority", r#"{"Image":"a","NetworkingConfig":{"EndpointsConfig":{"bridge":{"GwPriority":1}}}}"#),
        ("more than one", r#"{"Image":"a","NetworkingConfig":{"EndpointsConfig":{"other":{}}}}"#),
    ] {
        let error = refused(json);
        assert_eq!(error.kind(), Kind::Unsupported, "{json}: {error}");
        assert!(error.message().contains(field), "{json}: {error}");
    }
}

#[test]
fn unknown_keys_that_say_nothing_are_no_error() {
    of(r#"{"Image":"a","Novelty":null,"Other":"","More":[],"HostConfig":{"Novelty":0,"Other":false,"More":{}}}"#)
        .unwrap();
}

#[test]
fn what_is_wrong_is_refused() {
    for (words, json) in [
        ("no image", r"{}"),
        ("environment", r#"{"Image":"a","Env":["=x"]}"#),
        ("absolute", r#"{"Image":"a","WorkingDir":"w"}"#),
        ("AutoRemove", r#"{"Image":"a","HostConfig":{"AutoRemove":true,"RestartPolicy":{"Name":"always"}}}"#),
        ("unknown policy", r#"{"Image":"a","HostConfig":{"RestartPolicy":{"Name":"x"}}}"#),
        ("maximum retry", r#"{"Image":"a","HostConfig":{"RestartPolicy":{"Name":"no","MaximumRetryCount":1}}}"#),
        ("6MB", r#"{"Image":"a","HostConfig":{"Memory":1000}}"#),
        ("memoryswap", r#"{"Image":"a","HostConfig":{"Memory":10000000,"MemorySwap":9000000}}"#),
        ("Nano CPUs", r#"{"Image":"a","HostConfig":{"NanoCpus":1,"CpuQuota":5000}}"#),
        ("SHM", r#"{"Image":"a","HostConfig":{"ShmSize":-1}}"#),
        ("oom score", r#"{"Image":"a","HostConfig":{"OomScoreAdj":5000}}"#),
        ("PidMode", r#"{"Image":"a","HostConfig":{"PidMode":"bogus"}}"#),
        ("IpcMode", r#"{"Image":"a","HostConfig":{"IpcMode":"container:"}}"#),
        ("UTSMode", r#"{"Image":"a","HostConfig":{"UTSMode":"private"}}"#),
        ("add-host", r#"{"Image":"a","HostConfig":{"ExtraHosts":["x"]}}"#),
        ("ConsoleSize", r#"{"Image":"a","HostConfig":{"ConsoleSize":[70000,1]}}"#),
        ("swappiness", r#"{"Image":"a","HostConfig":{"MemorySwappiness":101}}"#),
        (
            "address",
            r#"{"Image":"a","NetworkingConfig":{"EndpointsConfig":{"bridge":{"IPAMConfig":{"IPv4Address":"x"}}}}}"#,
        ),
    ] {
        let error = refused(json);
        assert_eq!(error.kind(), Kind::InvalidArgument, "{json}: {error}");
        assert!(error.message().contains(words), "{json}: {error}");
    }
    for name in ["", "a", "-ab", "a b", "a/b", "ä1"] {
        assert!(container_name(name).is_err(), "{name:?}");
    }
    assert_eq!(container_name("/a.b_c-1").unwrap(), "a.b_c-1");
}
