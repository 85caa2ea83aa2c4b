//! What is sent is what the real `docker` sends: both run with the same words against an engine that only listens.

mod support;

use serde_json::{Map, Value};
use support::{Engine, json, text};

/// Nothing, however it is written, is nothing.
fn without_empties(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().map(|(k, v)| (k.clone(), without_empties(v))).filter(|(_, v)| !v.is_null());
            let kept: Map<String, Value> = kept.collect();
            if kept.is_empty() { Value::Null } else { Value::Object(kept) }
        }
        Value::Array(items) if items.is_empty() => Value::Null,
        Value::Array(items) => Value::Array(items.iter().map(keep_shape).collect()),
        Value::String(text) if text.is_empty() => Value::Null,
        Value::Bool(false) => Value::Null,
        Value::Number(number) if number.as_f64() == Some(0.0) => Value::Null,
        other => other.clone(),
    }
}

/// An element of a list keeps its place even if it is empty.
fn keep_shape(item: &Value) -> Value {
    match (item, without_empties(item)) {
        (Value::Object(_), Value::Null) => Value::Object(Map::new()),
        (Value::String(text), Value::Null) => Value::String(text.clone()),
        (_, kept) => kept,
    }
}

/// Maps whose keys alone matter lose them in [`without_empties`]; what is compared has them as lists.
fn keys_as_lists(value: &mut Value) {
    if let Value::Object(map) = value {
        // A variable's place in the list says nothing.
        if let Some(Value::Array(env)) = map.get_mut("Env") {
            env.sort_by_key(ToString::to_string);
        }
        for key in ["ExposedPorts", "Volumes", "EndpointsConfig"] {
            if let Some(Value::Object(inner)) = map.get(key) {
                let keys = inner.keys().map(|k| Value::String(k.clone())).collect();
                map.insert(format!("{key} keys"), Value::Array(keys));
            }
        }
        for inner in map.values_mut() {
            keys_as_lists(inner);
        }
    }
}

fn body(bytes: &[u8]) -> Value {
    let mut value = serde_json::from_slice(bytes).unwrap_or(Value::Null);
    keys_as_lists(&mut value);
    without_empties(&value)
}

/// The requests of `program`: method, path with a sorted query, body.
fn requests(engine: &Engine, program: &str, line: &[&str]) -> Vec<(String, String, Value)> {
    engine.forget();
    let output = engine.command(program).args(line).output().unwrap();
    let seen = engine.seen();
    assert!(!seen.is_empty(), "{program} {line:?} sent nothing: {}", text(&output.stderr));
    seen.iter()
        .map(|request| {
            let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
            // A blank has two spellings, and the Hub's names a long and a short one.
            let query = query.replace('+', "%20").replace("docker.io%2Flibrary%2F", "");
            let mut query: Vec<&str> = query.split('&').filter(|p| !p.is_empty() && !p.ends_with('=')).collect();
            query.sort_unstable();
            (request.method.clone(), format!("{path}?{}", query.join("&")), body(&request.body))
        })
        .collect()
}

fn docker_is_there() -> bool {
    match std::process::Command::new("docker").arg("--version").output() {
        Ok(output) if text(&output.stdout).contains(" 28.") => true,
        Ok(output) => {
            println!("skipped: the docker client is {}, the comparison is with 28", text(&output.stdout).trim());
            false
        }
        Err(error) => {
            println!("skipped: no docker client to compare with: {error}");
            false
        }
    }
}

fn compare(lines: &[&[&str]]) {
    if !docker_is_there() {
        return;
    }
    let engine = Engine::new("1.50", |_| json(400, r#"{"message":"recorded"}"#));
    std::fs::write(engine.directory().join("env"), "FROM_FILE=1\n# no\nVALUE_FROM_HERE\nUNSET_ANYWHERE\n").unwrap();
    std::fs::write(engine.directory().join("seccomp.json"), "{ \"defaultAction\" : \"SCMP_ACT_ALLOW\" }").unwrap();
    let mut different = Vec::new();
    for line in lines {
        let line: Vec<String> =
            line.iter().map(|word| word.replace("@DIR@", &engine.directory().display().to_string())).collect();
        let words: Vec<&str> = line.iter().map(String::as_str).collect();
        let docker = requests(&engine, "docker", &words);
        let ours = requests(&engine, env!("CARGO_BIN_EXE_sampan"), &words);
        if docker != ours {
            different.push(format!("{words:?}\n  docker {docker:?}\n  sampan {ours:?}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn create_bodies() {
    compare(&[
        &["create", "i"],
        &["create", "-it", "--name", "n", "i", "sh", "-c", "echo $x"],
        &["create", "-i", "i"],
        &["create", "-a", "stdin", "-a", "STDERR", "-i", "i"],
        &["create", "-e", "A=b", "-e", "VALUE_FROM_HERE", "-e", "UNSET_ANYWHERE", "--env-file", "@DIR@/env", "i"],
        &["create", "-l", "a=b", "-l", "c", "--label", "d=e=f", "--annotation", "x=y", "i"],
        &["create", "-v", "/h:/c:ro", "i"],
        &["create", "-v", "name:/c", "i"],
        &["create", "-v", "/anon", "i"],
        &["create", "--mount", "type=bind,src=/h,dst=/c,ro,bind-propagation=rslave", "i"],
        &["create", "--mount", "type=bind,source=/h,target=/c,readonly,bind-recursive=writable", "i"],
        &["create", "--mount", "type=volume,src=v,dst=/c,volume-nocopy,volume-label=a=b,volume-opt=type=tmpfs", "i"],
        &["create", "--mount", "type=tmpfs,dst=/c,tmpfs-size=1m,tmpfs-mode=1770", "i"],
        &["create", "--mount", "dst=/anon", "i"],
        &["create", "--tmpfs", "/t:size=1m,exec", "--tmpfs", "/u", "i"],
        &["create", "-p", "80", "i"],
        &["create", "-p", "8080:80", "-p", "127.0.0.1:53:53/udp", "-p", "8000-8002:9000-9002", "i"],
        &["create", "-p", "8000-8010:80", "i"],
        &["create", "-p", "[::1]:8080:80", "i"],
        &["create", "-p", "target=80,published=8080,protocol=udp", "i"],
        &["create", "-P", "--expose", "80", "--expose", "90-92/udp", "i"],
        &["create", "-u", "1:2", "-w", "/w", "--hostname", "h", "--domainname", "d", "i"],
        &["create", "--entrypoint", "/e", "i", "arg"],
        &["create", "--entrypoint", "", "i", "arg"],
        &["create", "--network", "host", "i"],
        &["create", "--network", "none", "--dns", "1.1.1.1", "--dns-search", "a.b", "--dns-option", "ndots:1", "i"],
        &["create", "--network", "n", "--network-alias", "a", "--ip", "10.0.0.2", "--link", "x:y", "i"],
        &["create", "--network", "name=n,alias=a,ip=10.0.0.3", "--network", "m", "i"],
        &["create", "--network", "container:x", "i"],
        &["create", "--mac-address", "92:d0:c6:0a:29:33", "i"],
        &["create", "--add-host", "a:1.2.3.4", "--add-host", "b=::1", "--add-host", "c:host-gateway", "i"],
        &[
            "create",
            "-m",
            "64m",
            "--memory-swap",
            "-1",
            "--memory-reservation",
            "32m",
            "--memory-swappiness",
            "10",
            "i",
        ],
        &["create", "--memory-swap", "1g", "--shm-size", "1g", "i"],
        &["create", "--cpus", "1.5", "-c", "512", "--cpuset-cpus", "0-1", "--cpuset-mems", "0", "i"],
        &["create", "--cpu-period", "1000", "--cpu-quota", "500", "--cpu-rt-period", "1", "--cpu-rt-runtime", "2", "i"],
        &["create", "--pids-limit", "10", "--oom-kill-disable", "--oom-score-adj", "100", "i"],
        &["create", "--pids-limit", "-1", "i"],
        &["create", "--cap-add", "NET_ADMIN", "--cap-add", "all", "--cap-drop", "MKNOD", "i"],
        &["create", "--privileged", "--read-only", "--init", "i"],
        &["create", "--init=false", "--privileged=false", "i"],
        &["create", "--restart", "on-failure:3", "i"],
        &["create", "--restart", "always", "i"],
        &["create", "--rm", "i"],
        &["create", "--ulimit", "nofile=1:2", "--ulimit", "core=0", "--ulimit", "nproc=-1", "i"],
        &["create", "--security-opt", "no-new-privileges", "--security-opt", "seccomp=unconfined", "i"],
        &["create", "--security-opt", "seccomp=@DIR@/seccomp.json", "--security-opt", "apparmor=x", "i"],
        &["create", "--security-opt", "systempaths=unconfined", "--security-opt", "label:disable", "i"],
        &["create", "--device", "/dev/fuse", "--device", "/dev/a:/dev/b:r", "--device", "/dev/c:rw", "i"],
        &["create", "--device", "vendor.com/class=name", "i"],
        &["create", "--device-cgroup-rule", "c 1:* rwm", "i"],
        &["create", "--gpus", "all", "i"],
        &["create", "--gpus", "2", "i"],
        &["create", "--gpus", "\"device=0,1\",driver=x", "i"],
        &["create", "--blkio-weight", "100", "--blkio-weight-device", "/dev/sda:200", "i"],
        &["create", "--device-read-bps", "/dev/sda:1mb", "--device-write-iops", "/dev/sda:10", "i"],
        &["create", "--stop-signal", "INT", "--stop-timeout", "3", "i"],
        &["create", "--log-driver", "json-file", "--log-opt", "max-size=1m", "i"],
        &["create", "--platform", "linux/arm64", "--runtime", "r", "--isolation", "default", "i"],
        &[
            "create",
            "--ipc",
            "host",
            "--pid",
            "host",
            "--uts",
            "host",
            "--userns",
            "host",
            "--cgroupns",
            "private",
            "i",
        ],
        &["create", "--pid", "container:x", "--cgroup-parent", "/p", "--group-add", "1", "--group-add", "g", "i"],
        &["create", "--sysctl", "net.core.somaxconn=1", "--storage-opt", "size=1G", "--volumes-from", "x:ro", "i"],
        &["create", "--volume-driver", "v", "-v", "name:/c", "i"],
        &[
            "create",
            "--health-cmd",
            "c",
            "--health-interval",
            "1m30s",
            "--health-timeout",
            "2s",
            "--health-retries",
            "3",
            "i",
        ],
        &["create", "--health-start-period", "5s", "--health-start-interval", "1s", "i"],
        &["create", "--no-healthcheck", "i"],
        &["create", "r.example:5000/a/b:t", "-x", "--", "y"],
        &["create", "--", "i", "-x"],
        &["create", "--net", "host", "i"],
    ]);
}

#[test]
fn other_requests() {
    compare(&[
        &["ps", "-a", "-n", "3", "-f", "status=exited", "-f", "label=a=b", "-s"],
        &["ps", "-l"],
        &["stop", "-t", "3", "c"],
        &["stop", "-s", "INT", "c"],
        &["restart", "-t", "0", "c"],
        &["kill", "-s", "HUP", "c"],
        &["rm", "-f", "-v", "c"],
        &["rmi", "-f", "--no-prune", "i"],
        &["update", "-m", "1g", "--cpus", "2", "--restart", "no", "c"],
        &["update", "--pids-limit", "5", "c"],
        &["rename", "a", "b"],
        &["tag", "i", "r.example/x:y"],
        &["tag", "i", "x"],
        &["history", "i"],
        &["top", "c", "-o", "pid,args"],
        &["wait", "c"],
        &["pause", "c"],
        &["diff", "c"],
        &["images", "-a", "-f", "dangling=true", "x"],
        &[
            "network",
            "create",
            "--subnet",
            "10.1.0.0/16",
            "--gateway",
            "10.1.0.1",
            "--ip-range",
            "10.1.1.0/24",
            "-o",
            "a=b",
            "n",
        ],
        &[
            "network",
            "create",
            "--internal",
            "--ipv6",
            "--label",
            "a=b",
            "--aux-address",
            "x=10.1.0.5",
            "--subnet",
            "10.1.0.0/16",
            "n",
        ],
        &["network", "connect", "--ip", "10.0.0.2", "--alias", "a", "n", "c"],
        &["network", "disconnect", "-f", "n", "c"],
        &["network", "ls", "-f", "driver=bridge"],
        &["network", "prune", "-f", "--filter", "until=1h"],
        &["volume", "create", "-d", "local", "-o", "a=b", "--label", "c=d", "v"],
        &["volume", "create"],
        &["volume", "rm", "-f", "v"],
        &["volume", "prune", "-f"],
        &["volume", "prune", "-f", "-a"],
        &["container", "prune", "-f", "--filter", "label=x"],
        &["image", "prune", "-f", "-a"],
        &["save", "-o", "@DIR@/out.tar", "a", "b:c"],
        &["import", "-c", "CMD [\"x\"]", "-m", "msg", "@DIR@/env", "r:t"],
        &["load", "-q", "-i", "@DIR@/env"],
        &["export", "-o", "@DIR@/out.tar", "c"],
    ]);
}
