//! Connecting and disconnecting a container with one published port, beside Debian's CNI plugins
//! `bridge` (with `host-local`), `portmap` and `loopback`, run one after the other as containerd runs them.
//!
//! `SAMPAN_BIN` names the directory with the static `sampan-net`; without it cargo's build is used.

#[path = "../tests/common/mod.rs"]
mod common;

use common::{Inside, World, port, to_bridge};
use sampan_network::{Manager, Options, Protocol};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 40;
const PLUGINS: &str = "/usr/lib/cni";

fn main() {
    let Some(world) = World::new() else { return };
    let helper = std::env::var_os("SAMPAN_BIN").map(|dir| PathBuf::from(dir).join("sampan-net"));
    let helper = helper.filter(|path| path.exists()).unwrap_or_else(common::helper);
    println!("helper {}", helper.display());
    let options = Options { bridge_name: Some("sampan0".into()), ..Options::new(helper) };
    let manager = Manager::open(&world.state(), options).expect("a manager");
    let cni = Cni { dir: world.dir.path().join("cni") };
    std::fs::create_dir(&cni.dir).expect("a directory");
    let with_cni = Path::new(PLUGINS).join("bridge").exists();
    let (mut ours, mut theirs) = (Times::default(), Times::default());
    for round in 0..ROUNDS {
        let id = format!("c{round}");
        let inside = Inside::new();
        let ports = [port(None, 8080, 80, Protocol::Tcp)];
        let start = Instant::now();
        manager.attach(&to_bridge(&id, &inside, &ports)).expect("attach");
        ours.attach.push(start.elapsed());
        let start = Instant::now();
        manager.detach(&id).expect("detach");
        ours.detach.push(start.elapsed());
        if with_cni {
            let inside = Inside::new();
            let start = Instant::now();
            let result = cni.add(&id, &inside.netns);
            theirs.attach.push(start.elapsed());
            let start = Instant::now();
            cni.del(&id, &inside.netns, &result);
            theirs.detach.push(start.elapsed());
        }
    }
    println!("sampan    attach {:?} detach {:?}", median(&mut ours.attach), median(&mut ours.detach));
    if with_cni {
        let (attach, detach) = (median(&mut theirs.attach), median(&mut theirs.detach));
        println!("cni       attach {attach:?} detach {detach:?}");
        let ratio = |a: &mut [Duration], b: Duration| median(a).as_secs_f64() / b.as_secs_f64();
        println!(
            "ratio     attach {:.2} detach {:.2}",
            ratio(&mut ours.attach, attach),
            ratio(&mut ours.detach, detach)
        );
    } else {
        println!("no CNI plugins in {PLUGINS} (apt-get install containernetworking-plugins)");
    }
    many(&manager);
}

/// 20 containers at once, as a busy node starts them.
fn many(manager: &Manager) {
    let insides: Vec<Inside> = (0..20).map(|_| Inside::new()).collect();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for (n, inside) in insides.iter().enumerate() {
            let ports = [port(None, 0, 80, Protocol::Tcp)];
            scope.spawn(move || manager.attach(&to_bridge(&format!("m{n}"), inside, &ports)).expect("attach"));
        }
    });
    println!("20 at once: attached within {:?}", start.elapsed());
    let start = Instant::now();
    for n in 0..20 {
        manager.detach(&format!("m{n}")).expect("detach");
    }
    println!("20 detached one by one within {:?}", start.elapsed());
}

#[derive(Default)]
struct Times {
    attach: Vec<Duration>,
    detach: Vec<Duration>,
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

struct Cni {
    dir: PathBuf,
}

impl Cni {
    fn add(&self, id: &str, netns: &Path) -> String {
        self.plugin("loopback", "ADD", id, netns, "lo", &self.config("loopback", None));
        let result = self.plugin("bridge", "ADD", id, netns, "eth0", &self.config("bridge", None));
        self.plugin("portmap", "ADD", id, netns, "eth0", &self.config("portmap", Some(&result)))
    }

    fn del(&self, id: &str, netns: &Path, result: &str) {
        self.plugin("portmap", "DEL", id, netns, "eth0", &self.config("portmap", Some(result)));
        self.plugin("bridge", "DEL", id, netns, "eth0", &self.config("bridge", Some(result)));
        self.plugin("loopback", "DEL", id, netns, "lo", &self.config("loopback", None));
    }

    fn config(&self, kind: &str, result: Option<&str>) -> String {
        let mut config = serde_json::json!({"cniVersion": "1.0.0", "name": "bench", "type": kind});
        match kind {
            "bridge" => {
                config["bridge"] = "cni0".into();
                config["isGateway"] = true.into();
                config["ipMasq"] = true.into();
                config["hairpinMode"] = true.into();
                config["ipam"] = serde_json::json!({
                    "type": "host-local", "dataDir": self.dir, "subnet": "10.88.0.0/16",
                    "routes": [{"dst": "0.0.0.0/0"}]
                });
            }
            "portmap" => {
                config["capabilities"] = serde_json::json!({"portMappings": true});
                config["runtimeConfig"] = serde_json::json!({
                    "portMappings": [{"hostPort": 9090, "containerPort": 80, "protocol": "tcp"}]
                });
            }
            _ => {}
        }
        if let Some(result) = result {
            config["prevResult"] = serde_json::from_str(result).expect("a result");
        }
        config.to_string()
    }

    fn plugin(&self, name: &str, command: &str, id: &str, netns: &Path, interface: &str, config: &str) -> String {
        let mut child = Command::new(Path::new(PLUGINS).join(name))
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", id)
            .env("CNI_NETNS", netns)
            .env("CNI_IFNAME", interface)
            .env("CNI_PATH", PLUGINS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a plugin");
        child.stdin.take().expect("stdin").write_all(config.as_bytes()).expect("a reader");
        let output = child.wait_with_output().expect("an end");
        let text = String::from_utf8(output.stdout).expect("text");
        assert!(output.status.success(), "{name} {command}: {text}");
        text
    }
}
