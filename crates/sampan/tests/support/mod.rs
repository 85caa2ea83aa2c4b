//! An engine that says what a test wants: a Unix socket, HTTP/1.1, one handler for all requests.
//!
//! It stands in for a daemon only where a real one can't be made to misbehave, or where its requests are what is tested.
#![allow(dead_code, reason = "every test file uses its own part")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// With the version and the query.
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// Whether the path without its version begins so.
    pub(crate) fn is(&self, method: &str, prefix: &str) -> bool {
        self.method == method && self.bare().starts_with(prefix)
    }

    /// The path without its version.
    pub(crate) fn bare(&self) -> &str {
        match self.path.strip_prefix("/v1.") {
            Some(rest) => &rest[rest.find('/').unwrap_or(0)..],
            None => &self.path,
        }
    }
}

type Writer = dyn FnOnce(&mut UnixStream, &mut BufReader<UnixStream>) + Send;

/// What the handler does with a request: status and JSON, or whatever it writes itself.
pub(crate) enum Reply {
    Json(u16, String),
    /// The connection, and what was read ahead of it.
    Raw(Box<Writer>),
}

/// Shorthand for a reply that is JSON.
pub(crate) fn json(status: u16, body: &str) -> Reply {
    Reply::Json(status, body.to_owned())
}

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// A scratch directory that goes with its owner.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("sampan-test-{}-cli-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// See the [module](self).
pub(crate) struct Engine {
    scratch: Scratch,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Engine {
    /// Serves with `handler`; pings are answered with `api`.
    pub(crate) fn new(api: &'static str, handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let scratch = Scratch::new();
        let listener = UnixListener::bind(scratch.path().join("sock")).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (handler, record) = (Arc::new(handler), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (handler, record) = (Arc::clone(&handler), Arc::clone(&record));
                std::thread::spawn(move || serve(stream, api, &*handler, &record));
            }
        });
        Self { scratch, seen }
    }

    /// All requests but pings, up to now.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// Forgets them.
    pub(crate) fn forget(&self) {
        self.seen.lock().unwrap().clear();
    }

    pub(crate) fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// A command that talks to this engine.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("DOCKER_HOST", format!("unix://{}/sock", self.scratch.path().display()))
            .env("DOCKER_CONFIG", self.scratch.path())
            .env("VALUE_FROM_HERE", "here")
            .env_remove("SAMPAN_HOST")
            .env_remove("DOCKER_API_VERSION")
            .stdin(Stdio::null());
        command
    }

    /// Runs `sampan`.
    pub(crate) fn sampan(&self, args: &[&str]) -> Output {
        self.command(env!("CARGO_BIN_EXE_sampan")).args(args).output().unwrap()
    }

    /// Runs `sampan` with something to read.
    pub(crate) fn sampan_with(&self, args: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(env!("CARGO_BIN_EXE_sampan"));
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    }
}

fn serve(stream: UnixStream, api: &str, handler: &dyn Fn(&Request) -> Reply, record: &Mutex<Vec<Request>>) {
    let mut out = stream.try_clone().unwrap();
    let mut input = BufReader::new(stream);
    while let Some(request) = read_request(&mut input) {
        if request.path.ends_with("/_ping") {
            let head = format!("HTTP/1.1 200 OK\r\nApi-Version: {api}\r\nOstype: linux\r\nContent-Length: 2\r\n\r\n");
            let body = if request.method == "HEAD" { "" } else { "OK" };
            out.write_all(format!("{head}{body}").as_bytes()).unwrap();
            continue;
        }
        record.lock().unwrap().push(request.clone());
        match handler(&request) {
            Reply::Json(status, body) => {
                let head = format!(
                    "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                if out.write_all(format!("{head}{body}").as_bytes()).is_err() {
                    return;
                }
            }
            Reply::Raw(write) => {
                write(&mut out, &mut input);
                let _ = out.shutdown(std::net::Shutdown::Both);
                return;
            }
        }
    }
}

fn read_request(input: &mut BufReader<UnixStream>) -> Option<Request> {
    let mut line = String::new();
    input.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        input.read_line(&mut line).ok()?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => drop(headers.insert(name.to_ascii_lowercase(), value.trim().to_owned())),
            None => break,
        }
    }
    let mut body = Vec::new();
    if headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        loop {
            let mut line = String::new();
            input.read_line(&mut line).ok().filter(|n| *n > 0)?;
            let size = usize::from_str_radix(line.trim(), 16).ok()?;
            let mut chunk = vec![0; size + 2];
            input.read_exact(&mut chunk).ok()?;
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    } else if let Some(length) = headers.get("content-length").and_then(|length| length.parse().ok()) {
        body.resize(length, 0);
        input.read_exact(&mut body).ok()?;
    }
    Some(Request { method, path, headers, body })
}

/// A frame of a container's output.
pub(crate) fn frame(stream: u8, text: &str) -> Vec<u8> {
    let mut frame = vec![stream, 0, 0, 0];
    frame.extend((text.len() as u32).to_be_bytes());
    frame.extend(text.as_bytes());
    frame
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
