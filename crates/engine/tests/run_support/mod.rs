//! An engine of its own: root, state, cgroups, bridge, and a busybox image; all removed in the end.
#![allow(dead_code, unreachable_pub, reason = "each test program compiles this and uses a part of it")]

use engine::images::ImportOptions;
use engine::model::*;
use engine::{BridgeConfig, Config, Containers, Engine, Namespace, RuntimeConfig};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub const NS: &str = "test";
/// No test waits longer than this for anything.
pub const LONG: Duration = Duration::from_secs(60);

/// Where the programs are: `SAMPAN_BIN`, the workspace's `target/bin`, or where cargo puts debug builds.
fn bin() -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    let candidates = [
        std::env::var_os("SAMPAN_BIN").map(PathBuf::from),
        Some(workspace.join("target/bin")),
        Some(target.join("debug")),
    ];
    let complete = |dir: &PathBuf| {
        ["containerd-shim-sampan-v2", "sampan-runtime", "sampan-net"].iter().all(|p| dir.join(p).exists())
    };
    candidates.into_iter().flatten().find(complete)
}

pub struct World {
    pub engine: Option<Arc<Engine>>,
    pub dir: tempfile::TempDir,
    pub config: Config,
}

fn config(dir: &Path, bin: &Path) -> Config {
    let runtimes = [
        ("sampan".to_owned(), RuntimeConfig { path: bin.join("sampan-runtime"), systemd_cgroup: false }),
        ("runc".to_owned(), RuntimeConfig { path: "runc".into(), systemd_cgroup: false }),
    ];
    Config {
        root: dir.join("root"),
        state: dir.join("state"),
        shim: bin.join("containerd-shim-sampan-v2"),
        runtimes: runtimes.into(),
        default_runtime: "sampan".into(),
        net_helper: bin.join("sampan-net"),
        snapshotter: "overlayfs".into(),
        cgroup_parent: format!("/sampan-test-{}-{}", std::process::id(), suffix(dir)),
        init_binary: None,
        builtin_hello: None,
        bridge: BridgeConfig { restore_forwarding: true, ..Default::default() },
        log_options: BTreeMap::new(),
        registry: registry::Config::default(),
        debug: true,
    }
}

fn suffix(dir: &Path) -> String {
    dir.file_name().map(|n| n.to_string_lossy().replace('.', "")).unwrap_or_default()
}

impl World {
    /// `None`, with the reason printed, where the machine lacks something.
    pub async fn new() -> Option<Self> {
        if !fs::read_to_string("/proc/self/status").unwrap_or_default().contains("Uid:\t0\t0") {
            eprintln!("skipped: must be root");
            return None;
        }
        let Some(bin) = bin() else {
            eprintln!("skipped: build containerd-shim-sampan-v2, sampan-runtime and sampan-net first");
            return None;
        };
        if !Path::new("/bin/busybox").exists() {
            eprintln!("skipped: busybox-static is not installed");
            return None;
        }
        let dir = tempfile::Builder::new().prefix(&format!("sampan-test-{}-", std::process::id())).tempdir().unwrap();
        let config = config(dir.path(), &bin);
        let engine = Engine::open(config.clone()).await.unwrap();
        let world = Self { engine: Some(engine), dir, config };
        world.import_busybox().await;
        Some(world)
    }

    pub fn ns(&self) -> Namespace {
        self.engine.as_ref().unwrap().namespace(NS)
    }

    pub fn containers(&self) -> Containers {
        self.ns().containers()
    }

    async fn import_busybox(&self) {
        let tree = self.dir.path().join("tree");
        for dir in ["bin", "etc", "tmp", "root", "data/sub", "proc", "sys", "dev"] {
            fs::create_dir_all(tree.join(dir)).unwrap();
        }
        fs::copy("/bin/busybox", tree.join("bin/busybox")).unwrap();
        for applet in
            ["sh", "echo", "cat", "sleep", "true", "false", "id", "hostname", "ls", "head", "wget", "nc", "dd"]
        {
            std::os::unix::fs::symlink("busybox", tree.join("bin").join(applet)).unwrap();
        }
        fs::write(tree.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nann:x:1000:100::/:/bin/sh\n").unwrap();
        fs::write(tree.join("etc/group"), "root:x:0:\nusers:x:100:\nwheel:x:10:ann\n").unwrap();
        fs::write(tree.join("data/sub/file"), "from the image\n").unwrap();
        let mut tar = Vec::new();
        storage::archive::export(File::open(&tree).unwrap(), &mut tar).unwrap();
        fs::remove_dir_all(&tree).unwrap();
        let stream = futures_util::stream::iter([Ok(bytes::Bytes::from(tar))]);
        let options = ImportOptions { reference: Some("busybox:latest".parse().unwrap()), ..Default::default() };
        self.ns().images().import(stream, options).await.unwrap();
    }

    /// A container that runs these words in busybox.
    pub fn spec(&self, words: &[&str]) -> ContainerSpec {
        ContainerSpec {
            image: "busybox".into(),
            command: Some(words.iter().map(|&w| w.to_owned()).collect()),
            network: NetworkMode::None,
            ..Default::default()
        }
    }

    /// Creates, attaches, starts and waits. Returns the id, what it wrote, and its exit.
    pub async fn run(&self, spec: ContainerSpec) -> (String, String, Exit) {
        let tty = spec.tty;
        let containers = self.containers();
        let id = containers.create(spec).await.unwrap().id;
        let options = AttachOptions { stdin: false, stdout: true, stderr: true, logs: false, stream: true };
        let mut stream = containers.attach(&id, options).await.unwrap();
        let exit = containers.wait(&id, Condition::NextExit).unwrap();
        containers.start(&id).await.unwrap();
        let mut output = Vec::new();
        let exit = tokio::time::timeout(LONG, async {
            while let Some(piece) = stream.output.next().await {
                output.extend_from_slice(&piece.unwrap());
            }
            exit.await.unwrap()
        })
        .await
        .unwrap();
        (id, if tty { String::from_utf8_lossy(&output).into_owned() } else { unframe(&output) }, exit)
    }

    /// Ends this engine as a crash would, as far as that is possible within one process, and opens it again.
    pub async fn reopen(&mut self) {
        if let Some(engine) = self.engine.take() {
            engine.shutdown().await;
            drop(engine);
        }
        for attempt in 0.. {
            match Engine::open(self.config.clone()).await {
                Ok(engine) => {
                    self.engine = Some(engine);
                    return;
                }
                // The last of the old engine's tasks may still hold the lock.
                Err(error) if attempt < 100 && error.kind() == oci::Kind::Conflict => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Removes everything, and checks that nothing of a run is left.
    pub async fn end(mut self) {
        let containers = self.containers();
        for record in containers.list() {
            containers.remove(&record.id, true, true).await.unwrap();
        }
        let bundles = self.config.state.join("bundles").join(NS);
        let left: Vec<_> = fs::read_dir(&bundles).map(|d| d.flatten().map(|e| e.path()).collect()).unwrap_or_default();
        assert!(left.is_empty(), "bundles left: {left:?}");
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let dir = self.dir.path().to_string_lossy().into_owned();
        let left: Vec<&str> = mounts.lines().filter(|l| l.contains(&dir)).collect();
        assert!(left.is_empty(), "mounts left: {left:?}");
        let engine = self.engine.take().unwrap();
        engine.give_networks_back().await.unwrap();
        engine.shutdown().await;
        for controller in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            let parent = controller.path().join(self.config.cgroup_parent.trim_start_matches('/'));
            // rmdir works only if no container's cgroup is left in it.
            if parent.exists() {
                fs::remove_dir(&parent).unwrap_or_else(|e| panic!("cgroups left in {}: {e}", parent.display()));
            }
        }
    }
}

/// The text in Docker's frames.
pub fn unframe(mut bytes: &[u8]) -> String {
    let mut text = Vec::new();
    while bytes.len() >= 8 {
        let length = u32::from_be_bytes(bytes[4..8].try_into().unwrap()) as usize;
        text.extend_from_slice(&bytes[8..8 + length]);
        bytes = &bytes[8 + length..];
    }
    assert!(bytes.is_empty(), "a cut frame: {bytes:?}");
    String::from_utf8_lossy(&text).into_owned()
}

pub async fn logs(containers: &Containers, id: &str) -> String {
    let options = LogOptions { stdout: true, stderr: true, since: None, until: None, tail: None, follow: false };
    let mut stream = containers.logs(id, options).await.unwrap();
    let mut text = String::new();
    while let Some(entry) = stream.next().await {
        text.push_str(&String::from_utf8_lossy(&entry.unwrap().line));
    }
    text
}

/// Waits until something holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1200 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}
