//! A store of its own, Debian's registry, and images made by umoci and skopeo.
#![allow(dead_code, unreachable_pub, reason = "each test program compiles this and uses a part of it")]

use engine::images::{Hooks, ImageConfig, ImageService, ImageUser, Images, Progress, ProgressSink};
use oci::{Digest, ImageRef};
use registry::{Config, Registry, Timeouts};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use storage::Store;

pub const NS: &str = "test";

pub fn have(programs: &[&str]) -> bool {
    programs.iter().all(|program| {
        let found = std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).exists()));
        if !found {
            eprintln!("skipped: {program} is not installed");
        }
        found
    })
}

pub fn temp() -> tempfile::TempDir {
    tempfile::Builder::new().prefix(&format!("sampan-test-{}-", std::process::id())).tempdir().unwrap()
}

pub fn run(program: &str, arguments: &[&str], dir: &Path) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(dir)
        .env("HOME", dir)
        .env("XDG_RUNTIME_DIR", dir)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Debian's docker-registry on a free loopback port.
pub struct RealRegistry {
    child: Child,
    pub place: String,
    pub dir: tempfile::TempDir,
}

impl RealRegistry {
    pub fn start() -> Self {
        let dir = temp();
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let text = format!(
                "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}/data\nhttp:\n  \
                 addr: 127.0.0.1:{port}\n",
                dir.path().display()
            );
            let file = dir.path().join("config.yml");
            std::fs::write(&file, text).unwrap();
            let log = std::fs::File::create(dir.path().join("log")).unwrap();
            let mut child = Command::new("docker-registry")
                .arg("serve")
                .arg(&file)
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap();
            let until = Instant::now() + Duration::from_secs(20);
            while Instant::now() < until && child.try_wait().unwrap().is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self { child, place: format!("127.0.0.1:{port}"), dir };
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("docker-registry does not start: {}", std::fs::read_to_string(dir.path().join("log")).unwrap());
    }

    pub fn name(&self, name: &str) -> ImageRef {
        format!("{}/{name}", self.place).parse().unwrap()
    }

    /// The file of a blob in the registry's storage.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        let blobs = self.dir.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&digest.hex()[..2]).join(digest.hex()).join("data")
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An OCI layout with a busybox image of two layers, made by umoci, tagged `latest`.
pub fn busybox_layout(dir: &Path) -> PathBuf {
    let layout = dir.join("layout");
    let image = "layout:latest";
    run("umoci", &["init", "--layout", "layout"], dir);
    run("umoci", &["new", "--image", image], dir);
    run("umoci", &["insert", "--image", image, "/bin/busybox", "/bin/busybox"], dir);
    std::fs::write(dir.join("motd"), "welcome\n".repeat(1000)).unwrap();
    run("umoci", &["insert", "--image", image, "motd", "/etc/motd"], dir);
    let settings = ["--config.cmd", "/bin/busybox", "--config.env", "A=b", "--config.label", "x=y", "--author", "joe"];
    run("umoci", &[&["config", "--image", image][..], &settings].concat(), dir);
    layout
}

/// The busybox image in a registry.
pub fn push_busybox(registry: &RealRegistry, names: &[&str]) {
    let dir = temp();
    busybox_layout(dir.path());
    for name in names {
        skopeo(dir.path(), "oci:layout:latest", &format!("docker://{}/{name}", registry.place));
    }
}

pub fn skopeo(dir: &Path, from: &str, to: &str) {
    std::fs::write(dir.join("policy.json"), r#"{"default":[{"type":"insecureAcceptAnything"}]}"#).unwrap();
    let tls = ["--src-tls-verify=false", "--dest-tls-verify=false"];
    run("skopeo", &[&["--policy", "policy.json", "copy"][..], &tls, &[from, to]].concat(), dir);
}

/// Short waits.
pub fn registry_config() -> Config {
    let second = Duration::from_secs(1);
    let timeouts = Timeouts {
        connect: 10 * second,
        handshake: 5 * second,
        response: 10 * second,
        stall: 3 * second,
        exchange: 20 * second,
        backoff: Duration::from_millis(20),
    };
    Config { timeouts, ..Config::default() }
}

/// A relay to `place` that passes on only so many bytes of each answer longer than `threshold`, and then
/// falls silent.
pub fn stalling(place: &str, threshold: usize, pass: usize) -> String {
    use std::io::{Read, Write};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().to_string();
    let place = place.to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(&place) else { return };
            let (mut up_from, mut up_to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut up_from, &mut up_to);
                let _ = up_to.shutdown(std::net::Shutdown::Write);
            });
            std::thread::spawn(move || {
                let (mut from, mut to) = (server, client);
                let (mut buffer, mut passed) = (vec![0; 16 << 10], 0);
                while let Ok(n @ 1..) = from.read(&mut buffer) {
                    passed += n;
                    // Small answers (manifests, configurations) go through whole.
                    if passed > threshold + pass {
                        std::thread::sleep(Duration::from_secs(60));
                        return;
                    }
                    if to.write_all(&buffer[..n]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    own
}

/// An image service on a store of its own, with an engine's hooks.
pub struct World {
    pub service: Arc<ImageService>,
    pub images: Images,
    pub store: Arc<Store>,
    pub users: Arc<Mutex<Vec<ImageUser>>>,
    pub events: Arc<Mutex<Vec<String>>>,
    pub dir: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        Self::at(temp(), None)
    }

    pub fn at(dir: tempfile::TempDir, hello: Option<&'static [u8]>) -> Self {
        let store = Arc::new(open_store(dir.path()));
        let service = ImageService::new(ImageConfig {
            store: store.clone(),
            registry: Registry::new(registry_config()),
            snapshotter: "overlayfs".into(),
            builtin_hello: hello,
        });
        let (users, events) = (Arc::<Mutex<Vec<ImageUser>>>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (asked, told) = (users.clone(), events.clone());
        let (own, weak) = (store.clone(), Arc::downgrade(&service));
        service.connect(Hooks {
            users: Box::new(move |_, _| asked.lock().unwrap().clone()),
            collect: Box::new(move || {
                let (store, service) = (own.clone(), weak.upgrade().unwrap());
                Box::pin(async move {
                    let report = tokio::task::spawn_blocking(move || store.gc(|| service.roots())).await.unwrap()?;
                    assert!(report.problems.is_empty(), "{:?}", report.problems);
                    Ok(report.content_bytes + report.snapshot_bytes)
                })
            }),
            event: Box::new(move |ns, action, id, _| told.lock().unwrap().push(format!("{ns} {action} {id}"))),
        });
        let images = service.namespace(NS);
        Self { service, images, store, users, events, dir }
    }

    /// Nothing of any image is left, nor of anything half made.
    pub fn assert_empty(&self) {
        assert_eq!(self.store.content().list().unwrap().len(), 0);
        let snapshots = self.store.snapshotter("overlayfs").unwrap().walk().unwrap();
        assert!(snapshots.is_empty(), "{snapshots:?}");
        assert_eq!(self.staged(), 0);
    }

    /// Directories in which layers are being unpacked.
    pub fn staged(&self) -> usize {
        let dir = self.dir.path().join("root/snapshots/overlayfs/staging");
        std::fs::read_dir(dir).map_or(0, Iterator::count)
    }
}

/// Opens the store in `dir`; the one before may be closing on another thread.
pub fn open_store(dir: &Path) -> Store {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        match Store::open(&dir.join("root"), storage::Options::default()) {
            Ok(store) => return store,
            Err(error) if error.kind() == oci::Kind::Conflict && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Keeps all steps.
pub fn recorder() -> (ProgressSink, Arc<Mutex<Vec<Progress>>>) {
    let seen: Arc<Mutex<Vec<Progress>>> = Arc::default();
    let own = seen.clone();
    (Arc::new(move |step| own.lock().unwrap().push(step)), seen)
}

pub fn quiet() -> ProgressSink {
    Arc::new(|_| {})
}

/// All lines of the steps, as docker prints them.
pub fn lines(steps: &Mutex<Vec<Progress>>) -> Vec<String> {
    let steps = steps.lock().unwrap();
    let messages = steps.iter().flat_map(Progress::messages);
    messages
        .map(|m| match m.id {
            Some(id) => format!("{id}: {}", m.status),
            None => m.status,
        })
        .collect()
}
