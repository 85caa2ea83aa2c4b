//! What the tests are told in: a world (network namespace and state directory of the test's own),
//! containers that are only a namespace, and an outside machine.
#![allow(dead_code, reason = "each test file uses a part")]

use sampan_network::{Attach, Attached, Manager, Options, PortMapping, Protocol};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(3);

/// The built helper.
pub(crate) fn helper() -> PathBuf {
    env!("CARGO_BIN_EXE_sampan-net").into()
}

/// Moves the test's thread into a network namespace of its own, with loopback.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
}

impl World {
    /// `None`, with the reason printed, where the test can't run.
    pub(crate) fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root for network namespaces");
            return None;
        }
        sys::unshare::new_network_and_mount_namespace().expect("unshare");
        ip(&["link", "set", "lo", "up"]);
        let name = format!("sampan-test-{}-", std::process::id());
        Some(Self { dir: tempfile::Builder::new().prefix(&name).tempdir().expect("a directory") })
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.dir.path().join("net")
    }

    pub(crate) fn options(&self) -> Options {
        Options { bridge_name: Some("sampan0".into()), ..Options::new(helper()) }
    }

    pub(crate) fn manager(&self) -> Manager {
        Manager::open(&self.state(), self.options()).expect("a manager")
    }

    /// A machine at the other end of a wire: we are 10.99.0.1, it is 10.99.0.2 with a default route to us.
    pub(crate) fn outside(&self) -> Inside {
        let outside = Inside::new();
        ip(&["link", "add", "wire", "type", "veth", "peer", "name", "wire0"]);
        ip(&["addr", "add", "10.99.0.1/24", "dev", "wire"]);
        ip(&["link", "set", "wire", "up"]);
        let file = std::fs::File::open(&outside.netns).expect("its namespace");
        let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
        let path = format!("/proc/{}/fd/{fd}", std::process::id());
        ip(&["link", "set", "wire0", "netns", &path]);
        outside.run(|| {
            ip(&["addr", "add", "10.99.0.2/24", "dev", "wire0"]);
            ip(&["link", "set", "wire0", "up"]);
            ip(&["link", "set", "lo", "up"]);
            ip(&["route", "add", "default", "via", "10.99.0.1"]);
        });
        outside
    }
}

/// Runs `ip`, which must succeed.
pub(crate) fn ip(args: &[&str]) -> String {
    tool("ip", args)
}

/// Runs a program, which must succeed, and returns what it printed.
pub(crate) fn tool(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The rules as `nft` sees them, one line each.
pub(crate) fn nft() -> String {
    tool("nft", &["list", "ruleset"])
}

/// Names of interfaces that the prefix fits.
pub(crate) fn interfaces(prefix: &str) -> Vec<String> {
    let text = ip(&["-o", "link"]);
    let names = text.lines().filter_map(|line| line.split(": ").nth(1)).map(|n| n.split('@').next().unwrap_or(n));
    names.filter(|n| n.starts_with(prefix)).map(str::to_owned).collect()
}

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace with one thread in it, which is as much container as networking needs.
pub(crate) struct Inside {
    pub(crate) netns: PathBuf,
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Inside {
    pub(crate) fn new() -> Self {
        let (jobs, inbox) = channel::<Job>();
        let (hello, born) = channel();
        let thread = std::thread::spawn(move || {
            sys::unshare::new_network_and_mount_namespace().expect("unshare");
            hello.send(rustix::thread::gettid().as_raw_nonzero()).expect("a listener");
            inbox.iter().for_each(|job| job());
        });
        let tid = born.recv().expect("a thread");
        let netns = format!("/proc/{}/task/{tid}/ns/net", std::process::id()).into();
        Self { netns, jobs: Some(jobs), thread: Some(thread) }
    }

    /// Runs a job inside and returns its result.
    pub(crate) fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (reply, answer) = channel();
        let job = Box::new(move || drop(reply.send(job())));
        self.jobs.as_ref().expect("alive").send(job).expect("alive");
        answer.recv().expect("the job ended")
    }

    /// A TCP server inside that answers each client with `word` and the client's address.
    pub(crate) fn serve_tcp(&self, port: u16, word: &'static str) {
        let listener = self.run(move || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).expect("bind"));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let peer = stream.peer_addr().map(|a| a.ip().to_string()).unwrap_or_default();
                let _gone = (&stream).write_all(format!("{word} {peer}").as_bytes());
            }
        });
    }

    /// A UDP server inside that answers each packet with `word` and the sender's address.
    pub(crate) fn serve_udp(&self, port: u16, word: &'static str) {
        let socket = self.run(move || UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).expect("bind"));
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                let _gone = socket.send_to(format!("{word} {}", peer.ip()).as_bytes(), peer);
            }
        });
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the inside thread");
        }
    }
}

/// What a TCP server says, or why not.
pub(crate) fn ask_tcp(address: impl Into<SocketAddr>) -> Result<String, String> {
    ask_tcp_within(address, PATIENCE)
}

/// As [`ask_tcp`], with less patience where no answer is expected.
pub(crate) fn ask_tcp_within(address: impl Into<SocketAddr>, patience: Duration) -> Result<String, String> {
    let mut stream = TcpStream::connect_timeout(&address.into(), patience).map_err(|e| e.to_string())?;
    stream.set_read_timeout(Some(patience)).map_err(|e| e.to_string())?;
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(|e| e.to_string())?;
    Ok(text)
}

/// What a UDP server says, or why not.
pub(crate) fn ask_udp(address: impl Into<SocketAddr>) -> Result<String, String> {
    ask_udp_from(&UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(|e| e.to_string())?, address, PATIENCE)
}

/// As [`ask_udp`], from a socket that exists.
pub(crate) fn ask_udp_from(
    socket: &UdpSocket,
    to: impl Into<SocketAddr>,
    patience: Duration,
) -> Result<String, String> {
    socket.set_read_timeout(Some(patience)).map_err(|e| e.to_string())?;
    socket.send_to(b"hello", to.into()).map_err(|e| e.to_string())?;
    let mut buffer = [0; 64];
    let (length, _) = socket.recv_from(&mut buffer).map_err(|e| e.to_string())?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// A published port.
pub(crate) fn port(host_ip: Option<&str>, host_port: u16, container_port: u16, protocol: Protocol) -> PortMapping {
    PortMapping { host_ip: host_ip.map(|ip| ip.parse().expect("an address")), host_port, container_port, protocol }
}

/// A request to attach to the default network.
pub(crate) fn to_bridge(id: &str, inside: &Inside, ports: &[PortMapping]) -> Attach {
    Attach {
        container_id: id.into(),
        network: "bridge".into(),
        netns: inside.netns.clone(),
        ports: ports.to_vec(),
        ..Attach::default()
    }
}

/// The address that was given.
pub(crate) fn address(attached: &Attached) -> Ipv4Addr {
    attached.ip.expect("an address")
}

/// Moves the calling thread into another namespace (for threads of the test's own).
pub(crate) fn enter(netns: &Path) {
    let file = std::fs::File::open(netns).expect("a namespace");
    rustix::thread::move_into_link_name_space(file.as_fd(), None).expect("setns");
}
