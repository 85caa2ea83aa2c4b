//! A shim, its bundles and its client, for the tests.

#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses its part")]

use oci::Result;
use shim::client::{AttachOptions, Launch, ShimClient};
use shim::logs::json_file::{Options, ReadOptions, Reader};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use wire::task::{CreateTaskRequest, ExecProcessRequest};
use wire::well_known::Any;

/// How long anything may take here. It bounds a test that hangs; nothing is measured.
pub const LONG: Duration = Duration::from_secs(60);

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The runtimes that are here.
pub fn runtimes() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let bins = std::env::var_os("SAMPAN_BIN").map(PathBuf::from);
    let bins = bins.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bin"));
    let mut own = bins.join("sampan-runtime");
    if !own.exists() {
        // What cargo built last lies beside the shim.
        own = Path::new(env!("CARGO_BIN_EXE_containerd-shim-sampan-v2")).with_file_name("sampan-runtime");
    }
    for path in [PathBuf::from("/usr/sbin/runc"), PathBuf::from("/usr/bin/runc"), own] {
        if path.exists() {
            found.push(path);
        } else {
            println!("not tested: {} is not here", path.display());
        }
    }
    if found.iter().filter(|p| p.ends_with("runc")).count() == 2 {
        found.remove(1);
    }
    found
}

/// Whether these tests can run at all.
pub fn possible() -> bool {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: containers need root");
        return false;
    }
    if !Path::new("/bin/busybox").exists() {
        println!("skipped: /bin/busybox is not here (apt-get install busybox-static)");
        return false;
    }
    !runtimes().is_empty()
}

/// A state directory with containers' bundles; gone with the test, and all in it.
pub struct Place {
    pub root: PathBuf,
    pub runtime: PathBuf,
    made: std::sync::Mutex<Vec<(String, PathBuf)>>,
    shims: std::sync::Mutex<Vec<u32>>,
}

impl Place {
    pub fn new(runtime: &Path) -> Self {
        let name = format!("sampan-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let root = Path::new("/tmp").join(name);
        std::fs::create_dir_all(&root).unwrap();
        Self { root, runtime: runtime.into(), made: Default::default(), shims: Default::default() }
    }

    /// For each runtime, one place and one run of `test`.
    pub fn each<F: Future<Output = ()>>(test: impl Fn(std::sync::Arc<Self>) -> F) {
        if !possible() {
            return;
        }
        for runtime in runtimes() {
            println!("with {}", runtime.display());
            let place = std::sync::Arc::new(Self::new(&runtime));
            let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let outcome = tokio.block_on(async { tokio::time::timeout(LONG, test(place.clone())).await });
            assert!(outcome.is_ok(), "the test did not end in time");
        }
    }

    fn launch_in(&self, id: &str, bundle: PathBuf) -> Launch {
        Launch {
            program: env!("CARGO_BIN_EXE_containerd-shim-sampan-v2").into(),
            namespace: "test".into(),
            id: id.into(),
            bundle,
            address: self.root.join("engine.sock"),
            debug: true,
        }
    }

    /// A container that runs `script` in busybox's shell.
    pub fn container(self: &std::sync::Arc<Self>, id: &str, script: &str) -> Builder {
        let full = format!("t{}-{}-{id}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let bundle = self.root.join("b").join(&full);
        let lower = bundle.join("lower");
        for directory in ["bin", "proc", "dev", "tmp", "sys"] {
            std::fs::create_dir_all(lower.join(directory)).unwrap();
        }
        std::fs::copy("/bin/busybox", lower.join("bin/busybox")).unwrap();
        for applet in ["sh", "cat", "sleep", "echo", "yes", "head", "stty", "true", "dd", "tail", "seq", "id", "kill"] {
            std::os::unix::fs::symlink("busybox", lower.join("bin").join(applet)).unwrap();
        }
        self.made.lock().unwrap().push((full.clone(), bundle.clone()));
        Builder {
            place: self.clone(),
            id: full,
            bundle,
            args: vec!["/bin/sh".into(), "-c".into(), script.into()],
            terminal: false,
            stdin: false,
            log: None,
            memory: None,
            annotations: serde_json::json!({}),
            pid_namespace: true,
            uris: None,
            events: None,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // The shims first, so that nothing is raced with.
        for shim in self.shims.lock().unwrap().drain(..) {
            let ours = std::fs::read_to_string(format!("/proc/{shim}/cmdline"))
                .is_ok_and(|c| c.contains("-namespace\0test\0") && c.contains(self.root.to_str().unwrap()));
            if ours && let Some(pid) = rustix::process::Pid::from_raw(shim as i32) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                while Path::new(&format!("/proc/{shim}/exe")).exists() {
                    std::thread::yield_now();
                }
            }
        }
        for (id, bundle) in self.made.lock().unwrap().drain(..) {
            if bundle.join("config.json").exists() {
                let program = env!("CARGO_BIN_EXE_containerd-shim-sampan-v2");
                let mut delete = std::process::Command::new(program);
                delete.args(["-namespace", "test", "-id", &id, "-address"]).arg(self.root.join("engine.sock"));
                let done =
                    delete.arg("-bundle").arg(&bundle).arg("delete").stdout(std::process::Stdio::null()).status();
                if !std::thread::panicking() {
                    assert!(done.unwrap().success(), "delete of {id}");
                }
            }
        }
        for hierarchy in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let _ = std::fs::remove_dir(hierarchy.path().join(self.root.file_name().unwrap()));
        }
        if std::thread::panicking() {
            for log in walk(&self.root).filter(|p| p.ends_with("shim.log")) {
                println!("{}:\n{}", log.display(), std::fs::read_to_string(&log).unwrap_or_default());
            }
        } else {
            let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
            assert!(!mounts.contains(self.root.to_str().unwrap()), "mounts are left");
        }
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

fn walk(root: &Path) -> impl Iterator<Item = PathBuf> {
    let bundles = std::fs::read_dir(root.join("b")).into_iter().flatten().flatten();
    bundles.map(|b| b.path().join("shim.log")).filter(|p| p.exists())
}

pub struct Builder {
    place: std::sync::Arc<Place>,
    pub id: String,
    pub bundle: PathBuf,
    pub args: Vec<String>,
    pub terminal: bool,
    pub stdin: bool,
    pub log: Option<Options>,
    pub memory: Option<u64>,
    pub annotations: serde_json::Value,
    pub pid_namespace: bool,
    /// In place of the log and `attach://`.
    pub uris: Option<[String; 3]>,
    /// A socket that takes events, as containerd's does.
    pub events: Option<PathBuf>,
}

impl Builder {
    pub fn terminal(mut self) -> Self {
        self.terminal = true;
        self
    }

    pub fn stdin(mut self) -> Self {
        self.stdin = true;
        self
    }

    pub fn args(mut self, args: &[&str]) -> Self {
        self.args = args.iter().map(|a| (*a).to_owned()).collect();
        self
    }

    pub fn memory(mut self, bytes: u64) -> Self {
        self.memory = Some(bytes);
        self
    }

    pub fn log_limits(mut self, max_size: u64, max_file: u32) -> Self {
        self.log = Some(Options { path: self.bundle.join("c.log"), max_size: Some(max_size), max_file, attrs: None });
        self
    }

    pub fn pod(mut self, pod: &str) -> Self {
        self.annotations = serde_json::json!({ "io.kubernetes.cri.sandbox-id": pod });
        self
    }

    pub fn without_pid_namespace(mut self) -> Self {
        self.pid_namespace = false;
        self
    }

    fn config(&self) -> serde_json::Value {
        let mut namespaces: Vec<_> =
            ["mount", "ipc", "uts", "network"].iter().map(|n| serde_json::json!({ "type": n })).collect();
        if self.pid_namespace {
            namespaces.push(serde_json::json!({ "type": "pid" }));
        }
        let mut resources = serde_json::json!({ "devices": [{ "allow": true, "access": "rwm" }] });
        if let Some(memory) = self.memory {
            resources["memory"] = serde_json::json!({ "limit": memory });
        }
        serde_json::json!({
            "ociVersion": "1.0.2",
            "process": {
                "terminal": self.terminal,
                "user": { "uid": 0, "gid": 0 },
                "args": self.args,
                "env": ["PATH=/bin"],
                "cwd": "/",
            },
            "root": { "path": "rootfs" },
            "hostname": "t",
            "annotations": self.annotations,
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"] },
                { "destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"] },
            ],
            "linux": {
                "namespaces": namespaces,
                "cgroupsPath": format!("/{}/{}", self.place.root.file_name().unwrap().display(), self.id),
                "resources": resources,
            },
        })
    }

    /// Starts a shim and makes the container.
    pub async fn create(self) -> Task {
        let (task, made) = self.try_create().await;
        made.unwrap();
        task
    }

    pub async fn try_create(self) -> (Task, Result<u32>) {
        std::fs::write(self.bundle.join("config.json"), self.config().to_string()).unwrap();
        for directory in ["upper", "work", "rootfs"] {
            std::fs::create_dir_all(self.bundle.join(directory)).unwrap();
        }
        let launch = self.place.launch_in(&self.id, self.bundle.clone());
        let client = match &self.events {
            None => launch.start().await.unwrap(),
            Some(events) => {
                let mut start = tokio::process::Command::new(&launch.program);
                start.args(["-namespace", "test", "-id", &self.id, "-address"]).arg(&launch.address);
                start.arg("-bundle").arg(&self.bundle).arg("start").env("TTRPC_ADDRESS", events);
                let said = start.output().await.unwrap();
                assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
                ShimClient::connect(std::str::from_utf8(&said.stdout).unwrap()).await.unwrap()
            }
        };
        let shim_pid = client.info(&self.id).await.unwrap().shim_pid;
        self.place.shims.lock().unwrap().push(shim_pid);
        let options = self.log.clone().unwrap_or_else(|| Options {
            path: self.bundle.join("c.log"),
            max_size: None,
            max_file: 1,
            attrs: None,
        });
        let uri = shim::logs::json_file_uri(&options);
        let stdin = if self.stdin { "attach://".into() } else { String::new() };
        let stderr = if self.terminal { String::new() } else { uri.clone() };
        let [stdin, stdout, stderr] = self.uris.clone().unwrap_or([stdin, uri, stderr]);
        let b = self.bundle.display();
        let request = CreateTaskRequest {
            id: self.id.clone(),
            bundle: b.to_string(),
            rootfs: vec![wire::task::Mount {
                r#type: "overlay".into(),
                source: "overlay".into(),
                options: vec![
                    format!("lowerdir={b}/lower"),
                    format!("upperdir={b}/upper"),
                    format!("workdir={b}/work"),
                ],
                target: String::new(),
            }],
            terminal: self.terminal,
            stdin,
            stdout,
            stderr,
            options: Some(Any::pack(
                "containerd.runc.v1.Options",
                &wire::runc_options::Options {
                    binary_name: self.place.runtime.to_str().unwrap().into(),
                    ..Default::default()
                },
            )),
            ..Default::default()
        };
        let made = client.create(&request).await;
        (Task { client, launch, id: self.id, bundle: self.bundle, log: options.path, shim_pid }, made)
    }
}

pub struct Task {
    pub client: ShimClient,
    pub launch: Launch,
    pub id: String,
    pub bundle: PathBuf,
    pub log: PathBuf,
    pub shim_pid: u32,
}

impl Task {
    pub async fn start(&self) {
        self.client.start(&self.id, "").await.unwrap();
    }

    /// Waits for the end; returns the code.
    pub async fn wait(&self) -> u32 {
        self.client.wait(&self.id, "").await.unwrap().status
    }

    pub async fn attach(&self, exec: &str, stdin: bool) -> shim::client::Attachment {
        let options = AttachOptions { stdin, stdout: true, stderr: true, close_stdin: true };
        self.client.attach(&self.id, exec, options).await.unwrap()
    }

    pub async fn exec(&self, exec: &str, script: &str, terminal: bool, stdin: bool) -> Result<()> {
        let process = serde_json::json!({
            "terminal": terminal, "user": { "uid": 0, "gid": 0 }, "cwd": "/",
            "args": ["/bin/sh", "-c", script], "env": ["PATH=/bin"],
        });
        self.exec_process(exec, &process, terminal, stdin).await
    }

    pub async fn exec_process(
        &self,
        exec: &str,
        process: &serde_json::Value,
        terminal: bool,
        stdin: bool,
    ) -> Result<()> {
        self.client
            .exec(&ExecProcessRequest {
                id: self.id.clone(),
                exec_id: exec.into(),
                terminal,
                stdin: if stdin { "attach://".into() } else { String::new() },
                spec: Some(Any { type_url: "Process".into(), value: process.to_string().into_bytes() }),
                ..Default::default()
            })
            .await
    }

    /// What the log says.
    pub fn logged(&self) -> String {
        let mut reader = Reader::open(&self.log, ReadOptions::default()).unwrap();
        let mut text = Vec::new();
        while let Some(entry) = reader.next_entry().unwrap() {
            text.extend(entry.line);
        }
        String::from_utf8(text).unwrap()
    }

    /// Deletes the container and ends the shim.
    pub async fn delete(&self) {
        self.client.delete(&self.id, "").await.unwrap();
        self.client.shutdown(&self.id).await.unwrap();
    }
}

/// All output, with Docker's frames taken off: standard output and standard error.
pub async fn collect(output: &mut shim::client::Output) -> (Vec<u8>, Vec<u8>) {
    let mut bytes = Vec::new();
    while let Some(chunk) = output.next().await {
        bytes.extend(chunk.unwrap());
    }
    split(&bytes)
}

pub fn split(mut bytes: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut streams = (Vec::new(), Vec::new());
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_first_chunk::<8>().expect("a whole header");
        let length = u32::from_be_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let (data, rest) = rest.split_at(length);
        match head[0] {
            1 => streams.0.extend_from_slice(data),
            2 => streams.1.extend_from_slice(data),
            other => panic!("stream {other}"),
        }
        bytes = rest;
    }
    streams
}
