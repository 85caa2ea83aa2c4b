//! The daemon over its real socket: how it starts and ends, and what a careless or hostile client gets from the door.

use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A daemon with directories of its own. Dropping it ends the daemon and removes them.
struct Daemon {
    dir: PathBuf,
    child: Child,
}

fn scratch() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let n = NUMBER.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("sampan-test-{}-door-{n}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    dir
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sampand"));
    command
        .arg("--root")
        .arg(dir.join("root"))
        .arg("--state")
        .arg(dir.join("state"))
        .arg("--docker-socket")
        .arg(dir.join("d.sock"))
        .args(["--config", "/dev/null"]);
    command
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Daemon {
    fn start() -> Self {
        let dir = scratch();
        let child = command(&dir).stderr(Stdio::null()).spawn().expect("start sampand");
        let daemon = Self { dir, child };
        wait_for("the socket", || UnixStream::connect(daemon.socket()).is_ok());
        daemon
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("d.sock")
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.socket()).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        stream.set_write_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        stream
    }

    /// Raw bytes, and what comes back until the daemon closes.
    fn raw(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(request).expect("write");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("read");
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn get(&self, path: &str) -> String {
        self.raw(format!("GET {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n").as_bytes())
    }

    fn post(&self, path: &str, content_type: &str, body: &str) -> String {
        let head = format!("POST {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Type: {content_type}\r\n");
        self.raw(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
    }

    fn create(&self, body: &str) -> String {
        self.post("/v1.43/containers/create", "application/json", body)
    }

    fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).expect("signal a child");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// The message of an error's JSON body.
#[track_caller]
fn message(answer: &str) -> String {
    let body = answer.split("\r\n\r\n").nth(1).unwrap_or_default();
    let json: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e} in {answer}"));
    json["message"].as_str().expect("a message").to_owned()
}

/// Nothing to test without the rights that the daemon needs.
fn root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        println!("skipped: the daemon needs root");
    }
    is_root
}

#[test]
fn ping_tells_what_serves() {
    if !root() {
        return;
    }
    let daemon = Daemon::start();
    for request in ["GET /_ping", "GET /v1.24/_ping", "HEAD /_ping"] {
        let answer = daemon.raw(format!("{request} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n").as_bytes());
        assert_eq!(status(&answer), 200, "{answer}");
        let lower = answer.to_lowercase();
        for header in ["api-version: 1.51", "ostype: linux", "docker-experimental: false", "server: sampan/"] {
            assert!(lower.contains(header), "{request}: no {header} in {answer}");
        }
        assert_eq!(answer.ends_with("\r\n\r\nOK"), request.starts_with("GET"), "{request}: {answer}");
    }
    let version = daemon.get("/version");
    assert!(version.contains("\"ApiVersion\":\"1.51\"") && version.contains("\"MinAPIVersion\":\"1.24\""), "{version}");
}

#[test]
fn versions_and_paths_that_are_not_served() {
    if !root() {
        return;
    }
    let daemon = Daemon::start();
    for (path, code, words) in [
        ("/v1.10/info", 400, "client version 1.10 is too old"),
        ("/v1.99/info", 400, "client version 1.99 is too new. Maximum supported API version is 1.51"),
        ("/no/such/page", 404, "page not found"),
        ("/v1.43/containers/%zz/json", 400, "escape"),
        ("/v1.43/containers/json?filters=%7B%22nope%22:%5B%22x%22%5D%7D", 400, "'nope'"),
        ("/v1.43/containers/json?filters=x", 400, "filters"),
        ("/v1.43/containers/json?limit=many", 400, "limit"),
        ("/v1.43/swarm", 501, "swarm"),
        ("/v1.43/plugins", 501, "plugins"),
        ("/v1.43/images/search?term=x", 501, "images/search"),
        ("/v1.43/containers/x/attach/ws", 501, "websocket"),
        ("/v1.43/containers/absent/json", 404, "No such container: absent"),
        ("/v1.43/exec/absent/json", 404, "No such exec instance: absent"),
    ] {
        let answer = daemon.get(path);
        assert_eq!(status(&answer), code, "{path}: {answer}");
        assert!(message(&answer).contains(words), "{path}: {answer}");
    }
    assert_eq!(status(&daemon.post("/v1.43/build", "application/x-tar", "")), 501);
}

#[test]
fn bodies_that_are_wrong() {
    if !root() {
        return;
    }
    let daemon = Daemon::start();
    for (body, words) in [
        ("", "EOF"),
        ("{\"Image\": ", "invalid JSON"),
        ("[]", "invalid JSON"),
        ("{\"Image\": 5}", "invalid JSON"),
        ("{} {}", "invalid JSON"),
        ("{\"Image\":\"a\",\"Env\":[\"=x\"]}", "environment"),
        ("{}", "no image"),
    ] {
        let answer = daemon.create(body);
        assert_eq!(status(&answer), 400, "{body}: {answer}");
        assert!(message(&answer).contains(words), "{body}: {answer}");
    }
    let answer = daemon.create("{\"Image\":\"a\",\"HostConfig\":{\"Links\":[\"b\"]}}");
    assert_eq!(status(&answer), 501);
    assert_eq!(message(&answer), "not implemented: the option HostConfig.Links");
    let answer = daemon.post("/v1.43/containers/create", "text/plain", "{}");
    assert!(status(&answer) == 400 && message(&answer).contains("must be 'application/json'"), "{answer}");
}

#[test]
fn bodies_without_end_are_bounded() {
    if !root() {
        return;
    }
    let daemon = Daemon::start();
    let answer = daemon.create(&format!("{{\"Image\":\"{}\"}}", "x".repeat(20_000_000)));
    assert!(status(&answer) == 400 && message(&answer).contains("limit"), "{}", &answer[..answer.len().min(300)]);

    // Chunks without end: the daemon answers and closes; it does not read for ever.
    let mut stream = daemon.connect();
    let head = "POST /v1.43/containers/create HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n";
    stream.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).expect("write");
    let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    let mut sent = 0;
    while stream.write_all(&chunk).is_ok() {
        sent += chunk.len();
        assert!(sent < 512 << 20, "the daemon reads on and on");
    }
    // A head without end: it may be cut before all of it is written.
    let mut stream = daemon.connect();
    let _ = stream.write_all(format!("GET /_ping HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20)).as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.is_empty() || status(&answer) == 431, "{answer}");
    assert_eq!(status(&daemon.get("/_ping")), 200);
}

#[test]
fn what_is_no_http_is_refused_and_the_daemon_goes_on() {
    if !root() {
        return;
    }
    let daemon = Daemon::start();
    for garbage in [b"\x16\x03\x01\x02\x00\x01".as_slice(), b"GET\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = daemon.connect();
        stream.write_all(garbage).expect("write");
        stream.shutdown(std::net::Shutdown::Write).expect("shut down");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let text = String::from_utf8_lossy(&answer);
        assert!(text.is_empty() || status(&text) == 400, "{text}");
    }
    assert_eq!(status(&daemon.get("/_ping")), 200);
}

#[test]
fn it_keeps_to_itself_and_ends_cleanly() {
    if !root() {
        return;
    }
    let mut daemon = Daemon::start();
    let mode = |path: &str| std::fs::metadata(daemon.dir.join(path)).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode("root") & 0o066, mode("state") & 0o066, mode("d.sock")), (0, 0, 0o660));
    assert!(std::fs::metadata(daemon.socket()).expect("the socket").file_type().is_socket());

    let second = command(&daemon.dir).output().expect("run sampand");
    let told = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success(), "two daemons on one root: {told}");
    assert_eq!(told.lines().filter(|line| line.starts_with("sampand: ")).count(), 1, "{told}");

    // A client that never leaves does not hold the end up.
    let mut idle = daemon.connect();
    idle.write_all(b"GET /v1.43/events HTTP/1.1\r\nHost: d\r\n\r\n").expect("write");
    let mut first = [0; 12];
    idle.read_exact(&mut first).expect("the head comes before any event");
    assert_eq!(&first, b"HTTP/1.1 200");
    daemon.signal(rustix::process::Signal::TERM);
    let ended = daemon.child.wait().expect("wait");
    assert!(ended.success(), "{ended}");
    assert!(!daemon.socket().exists(), "the socket is left behind");
}

#[test]
fn a_service_manager_is_told() {
    if !root() {
        return;
    }
    let dir = scratch();
    let receiver = UnixDatagram::bind(dir.join("notify")).expect("bind");
    receiver.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    let child =
        command(&dir).env("NOTIFY_SOCKET", dir.join("notify")).stderr(Stdio::null()).spawn().expect("start sampand");
    let daemon = Daemon { dir, child };
    let mut buffer = [0; 64];
    let told = |n: usize, buffer: &[u8]| String::from_utf8_lossy(&buffer[..n]).into_owned();
    let n = receiver.recv(&mut buffer).expect("READY");
    assert_eq!(told(n, &buffer), "READY=1");
    assert_eq!(status(&daemon.get("/_ping")), 200, "it is ready when it says so");
    daemon.signal(rustix::process::Signal::TERM);
    let n = receiver.recv(&mut buffer).expect("STOPPING");
    assert_eq!(told(n, &buffer), "STOPPING=1");
}

#[test]
fn configuration_that_is_wrong_is_named() {
    let dir = scratch();
    let file = dir.join("c.toml");
    let run = |text: &str| -> Output {
        std::fs::write(&file, text).expect("write");
        Command::new(env!("CARGO_BIN_EXE_sampand")).arg("--config").arg(&file).output().expect("run sampand")
    };
    for (text, words) in
        [("rooot = \"/x\"\n", "rooot"), ("[bridge]\nmtu = \"big\"\n", "mtu"), ("log-level = \"a=b=c\"", "log-level")]
    {
        let output = run(text);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(words), "{text}: {told}");
    }
    std::fs::remove_dir_all(&dir).expect("remove");
}
