//! What the OCI runtimes are given: bundles, a place for their state, and the programs in C beside them.

use sampan_tests::{Node, Registry, World, images, run};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory on tmpfs, where every runtime keeps its state on a real machine (`/run`).
pub(crate) fn memory_directory(world: &World) -> PathBuf {
    let path = world.dir().join("run");
    std::fs::create_dir_all(&path).expect("a directory");
    run(Command::new("mount").args(["-t", "tmpfs", "t"]).arg(&path), b"").ok();
    path
}

/// The parent that an engine keeps for its containers, in every hierarchy.
pub(crate) fn cgroup_parents(world: &World) {
    for entry in std::fs::read_dir("/sys/fs/cgroup").expect("the hierarchies").flatten() {
        let directory = entry.path().join(world.name());
        if !entry.file_type().is_ok_and(|t| t.is_dir()) {
            continue;
        }
        std::fs::create_dir_all(&directory).expect("a cgroup");
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if let Ok(value) = std::fs::read_to_string(entry.path().join(file)) {
                std::fs::write(directory.join(file), value.trim()).expect("a cpuset");
            }
        }
    }
}

/// Compiles one of the programs in this directory.
pub(crate) fn compile(world: &World, name: &str, source: &str) -> PathBuf {
    let program = world.dir().join(name);
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-static", "-x", "c", "-", "-o"]).arg(&program);
    run(&mut cc, source.as_bytes()).ok();
    program
}

/// Docker's default policy, as the engine writes it for a container.
pub(crate) fn dockers_policy(world: &World) -> Option<Value> {
    let registry = Registry::start(world, 5000)?;
    registry.push(&images::busybox(), "latest", "busybox");
    let image = registry.name("busybox:latest");
    let node = Node::new(world);
    node.docker(&["pull", "-q", &image]).ok();
    let id = node.docker(&["run", "-d", &image, "sleep", "1000"]).ok();
    let found = config_below(&node.dir().join("state"), &id).expect("the container's bundle");
    let text = std::fs::read(found).expect("config.json");
    let config: Value = serde_json::from_slice(&text).expect("JSON");
    node.docker(&["rm", "-f", &id]).ok();
    Some(config["linux"]["seccomp"].clone())
}

fn config_below(directory: &Path, id: &str) -> Option<PathBuf> {
    for entry in std::fs::read_dir(directory).ok()?.flatten() {
        let path = entry.path();
        if !entry.file_type().is_ok_and(|t| t.is_dir()) {
            continue;
        }
        let config = path.join("config.json");
        if path.ends_with(id) && config.exists() {
            return Some(config);
        }
        if let Some(found) = config_below(&path, id) {
            return Some(found);
        }
    }
    None
}

/// A bundle with the default configuration and busybox.
pub(crate) struct Bundle {
    pub(crate) path: PathBuf,
    pub(crate) config: Value,
}

impl Bundle {
    /// Makes it.
    pub(crate) fn new(world: &World, name: &str) -> Self {
        let path = world.dir().join(name);
        std::fs::create_dir_all(path.join("rootfs/bin")).expect("a bundle");
        std::fs::copy("/bin/busybox", path.join("rootfs/bin/busybox")).expect("busybox-static");
        for applet in ["true", "sleep"] {
            std::os::unix::fs::symlink("busybox", path.join("rootfs/bin").join(applet)).expect("a link");
        }
        run(Command::new("runc").arg("spec").current_dir(&path), b"").ok();
        let text = std::fs::read(path.join("config.json")).expect("config.json");
        let mut config: Value = serde_json::from_slice(&text).expect("JSON");
        config["process"]["terminal"] = json!(false);
        // The machines that this runs on cannot raise limits.
        config["process"]["rlimits"] = json!([]);
        // runc 1.1 writes ambient capabilities that nobody can have, and everybody warns about them.
        config["process"]["capabilities"]["ambient"] = json!([]);
        config["process"]["args"] = json!(["/bin/true"]);
        config["linux"]["cgroupsPath"] = json!(format!("/{}/{name}", world.name()));
        let bundle = Self { path, config };
        bundle.write();
        bundle
    }

    /// Writes `config.json` again.
    pub(crate) fn write(&self) {
        std::fs::write(self.path.join("config.json"), self.config.to_string()).expect("write config.json");
    }
}
