//! Servers for the tests: Debian's real registry, and one that misbehaves as it is told.
#![allow(dead_code, unreachable_pub, reason = "each test program compiles this and uses a part of it")]

use oci::image::{Descriptor, media};
use oci::{Digest, ImageRef};
use registry::{Config, Registry, Timeouts};
use sha2::{Digest as _, Sha256};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Short waits, so that the tests of silence are quick; long enough for two busy cores.
pub fn config() -> Config {
    Config {
        timeouts: Timeouts {
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(5),
            response: Duration::from_secs(5),
            stall: Duration::from_secs(2),
            exchange: Duration::from_secs(20),
            backoff: Duration::from_millis(20),
        },
        ..Config::default()
    }
}

pub fn client() -> Registry {
    Registry::new(config())
}

pub fn digest(bytes: &[u8]) -> Digest {
    Digest::from_sha256(&Sha256::digest(bytes).into())
}

pub fn descriptor(bytes: &[u8]) -> Descriptor {
    Descriptor::new(media::OCI_LAYER_GZIP, digest(bytes), bytes.len() as u64)
}

pub fn image(place: &str, name: &str) -> ImageRef {
    format!("{place}/{name}").parse().unwrap()
}

/// Bytes that repeat nowhere near.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

/// All of a fetch.
pub async fn collect(fetch: &mut registry::BlobFetch) -> oci::Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(piece) = fetch.chunk().await? {
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

pub fn have(program: &str) -> bool {
    let found =
        std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).exists()));
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}

/// Debian's docker-registry on a free loopback port.
pub struct RealRegistry {
    child: Child,
    pub place: String,
    pub dir: tempfile::TempDir,
}

impl RealRegistry {
    pub fn start() -> Option<Self> {
        Self::start_with("", |_| String::new())
    }

    /// With further lines for the configuration; `more` gets the directory.
    pub fn start_with(http: &str, more: impl Fn(&Path) -> String) -> Option<Self> {
        if !have("docker-registry") {
            return None;
        }
        let dir = tempfile::Builder::new().prefix(&format!("sampan-test-{}-", std::process::id())).tempdir().unwrap();
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let text = format!(
                "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {0}/data\n  delete:\n    \
                 enabled: true\nhttp:\n  addr: 127.0.0.1:{port}\n{http}{1}",
                dir.path().display(),
                more(dir.path())
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
                    return Some(Self { child, place: format!("127.0.0.1:{port}"), dir });
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("docker-registry does not start: {}", std::fs::read_to_string(dir.path().join("log")).unwrap());
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A request as the misbehaving server sees it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Requests before this one, over all connections.
    pub number: usize,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The first byte of its Range, or 0.
    pub fn offset(&self) -> usize {
        self.header("range").map_or(0, |r| r.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap())
    }
}

type Handler = dyn Fn(&Seen, &mut TcpStream) -> bool + Send + Sync;

/// A server that does whatever its handler writes; `false` closes the connection.
pub struct Rogue {
    pub place: String,
    pub seen: Arc<Mutex<Vec<Seen>>>,
    pub connections: Arc<AtomicUsize>,
}

impl Rogue {
    pub fn start(handler: impl Fn(&Seen, &mut TcpStream) -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = listener.local_addr().unwrap().to_string();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let connections: Arc<AtomicUsize> = Arc::default();
        let handler: Arc<Handler> = Arc::new(handler);
        let (log, count) = (seen.clone(), connections.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, count, handler) = (log.clone(), count.clone(), handler.clone());
                std::thread::spawn(move || serve(stream, &log, &count, &*handler));
            }
        });
        Self { place, seen, connections }
    }

    pub fn requests(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, log: &Mutex<Vec<Seen>>, count: &AtomicUsize, handler: &Handler) -> Option<()> {
    let mut first = [0];
    // A TLS hello is answered as plain servers do: with a complaint in HTTP.
    if stream.peek(&mut first).ok()? == 1 && first[0] == 22 {
        let _ = stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent TLS to a plain server");
        return None;
    }
    count.fetch_add(1, Ordering::SeqCst);
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let mut words = line.split_whitespace();
        let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let length = headers.iter().find(|(n, _)| n.eq_ignore_ascii_case("content-length"));
        let mut body = vec![0; length.map_or(0, |(_, v)| v.parse().unwrap())];
        reader.read_exact(&mut body).ok()?;
        let seen = {
            let mut log = log.lock().unwrap();
            let seen = Seen { method, path, headers, body, number: log.len() };
            log.push(seen.clone());
            seen
        };
        if !handler(&seen, &mut stream) {
            let _ = stream.shutdown(std::net::Shutdown::Both);
            return None;
        }
    }
}

/// Writes a whole answer; returns whether the connection can go on.
pub fn reply(stream: &mut TcpStream, status: u16, headers: &[(&str, &str)], body: &[u8]) -> bool {
    let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).is_ok() && stream.write_all(body).is_ok()
}

pub fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Runs openssl in `dir`.
pub fn openssl(dir: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(dir).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority `ca.crt`, and a certificate `server.crt` with `server.key` for `names`.
pub fn certificates(dir: &Path, names: &str, days: &str) -> (PathBuf, PathBuf, PathBuf) {
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let mut ca =
        vec!["req", "-x509", "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.crt", "-days", "2"];
    ca.extend(key);
    openssl(dir, &ca);
    let mut request = vec!["req", "-new", "-subj", "/CN=server", "-keyout", "server.key", "-out", "server.csr"];
    request.extend(key);
    openssl(dir, &request);
    std::fs::write(dir.join("ext"), format!("subjectAltName={names}\nbasicConstraints=CA:FALSE\n")).unwrap();
    openssl(
        dir,
        &[
            "x509",
            "-req",
            "-in",
            "server.csr",
            "-CA",
            "ca.crt",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-extfile",
            "ext",
            "-days",
            days,
            "-out",
            "server.crt",
        ],
    );
    (dir.join("ca.crt"), dir.join("server.crt"), dir.join("server.key"))
}

/// A relay to `place` that once cuts the line, after about `after` bytes have gone up on it.
pub fn cutter(place: &str, after: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = listener.local_addr().unwrap().to_string();
    let place = place.to_owned();
    let budget = Arc::new(Mutex::new(Some(after)));
    std::thread::spawn(move || {
        for up in listener.incoming().flatten() {
            let Ok(down) = TcpStream::connect(&place) else { return };
            let (mut back_from, mut back_to) = (down.try_clone().unwrap(), up.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut back_from, &mut back_to);
                let _ = back_to.shutdown(std::net::Shutdown::Both);
            });
            let budget = budget.clone();
            std::thread::spawn(move || relay_up(up, down, &budget));
        }
    });
    own
}

fn relay_up(mut up: TcpStream, mut down: TcpStream, budget: &Mutex<Option<usize>>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n @ 1..) = up.read(&mut buffer) {
        let mut left = budget.lock().unwrap();
        match *left {
            Some(few) if few < n => {
                *left = None;
                break;
            }
            Some(more) => *left = Some(more - n),
            None => {}
        }
        drop(left);
        if down.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = up.shutdown(std::net::Shutdown::Both);
    let _ = down.shutdown(std::net::Shutdown::Write);
}
