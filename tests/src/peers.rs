//! Other people's daemons and commands, started in a world.

use crate::{Ran, World, peer, run, wait_until};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A peer's daemon; ended on drop, with what it started.
pub struct Peer {
    child: Child,
    /// Where it listens.
    pub socket: PathBuf,
}

impl Peer {
    /// The daemon's pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let start = std::time::Instant::now();
        while self.child.try_wait().ok().flatten().is_none() {
            if start.elapsed().as_secs() > 15 {
                let _ = self.child.kill();
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

fn spawn(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start the peer")
}

/// Debian's dockerd with a containerd of its own, and more arguments. `None` where it is not installed.
pub fn dockerd(world: &World, more: &[&str]) -> Option<Peer> {
    let program = peer("dockerd")?;
    let dir = world.dir().join("dockerd");
    std::fs::create_dir_all(&dir).expect("a directory");
    let socket = dir.join("d.sock");
    let child = spawn(
        Command::new(program)
            .args(["--data-root", &dir.join("data").to_string_lossy()])
            .args(["--exec-root", &dir.join("exec").to_string_lossy()])
            .args(["--pidfile", &dir.join("pid").to_string_lossy()])
            .args(["--cgroup-parent", &format!("/{}", world.name())])
            .args(["--insecure-registry", "127.0.0.0/8"])
            .args(more)
            .args(["-H", &format!("unix://{}", socket.display())]),
    );
    let peer = Peer { child, socket };
    wait_until("dockerd answers", || docker(&peer.socket, &["version"]).code == 0);
    Some(peer)
}

/// The docker command on some daemon's socket.
pub fn docker(socket: &std::path::Path, args: &[&str]) -> Ran {
    run(Command::new("docker").env("DOCKER_HOST", format!("unix://{}", socket.display())).args(args), b"")
}

/// Debian's containerd, with a store of its own named `name`.
pub fn containerd(world: &World, name: &str) -> Option<Peer> {
    let program = peer("containerd")?;
    let dir = world.dir().join(name);
    std::fs::create_dir_all(&dir).expect("a directory");
    let socket = dir.join("c.sock");
    let config = format!(
        "version = 2\nroot = \"{0}/root\"\nstate = \"{0}/state\"\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
         [grpc]\naddress = \"{0}/c.sock\"\n[ttrpc]\naddress = \"{0}/t.sock\"\n",
        dir.display()
    );
    std::fs::write(dir.join("config.toml"), config).expect("write the configuration");
    let child = spawn(Command::new(program).arg("--config").arg(dir.join("config.toml")));
    let peer = Peer { child, socket };
    wait_until("containerd answers", || ctr(&peer, &["version"]).code == 0);
    Some(peer)
}

/// The ctr command on a containerd.
pub fn ctr(peer: &Peer, args: &[&str]) -> Ran {
    run(Command::new("ctr").arg("--address").arg(&peer.socket).args(args), b"")
}

/// The podman command with a store in the world.
pub fn podman(world: &World, args: &[&str]) -> Ran {
    let dir = world.dir().join("podman");
    let path = |name: &str| dir.join(name).to_string_lossy().into_owned();
    run(
        Command::new("podman")
            .args(["--root", &path("root"), "--runroot", &path("run"), "--tmpdir", &path("tmp")])
            .args(["--network-config-dir", &path("net"), "--cgroup-manager=cgroupfs", "--storage-driver=overlay"])
            .args(["--events-backend=file", "--runtime=runc"])
            .args(args),
        b"",
    )
}

/// What podman needs where hard limits can't be raised.
pub const PODMAN_LIMITS: [&str; 4] = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"];

/// Proportional set size of a process, in KiB.
pub fn pss(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("Pss:")).unwrap_or("");
    line.trim().trim_end_matches(" kB").trim().parse().unwrap_or(f64::NAN)
}

/// Pids whose command line has `needle` and whose program is named `program`.
pub fn pids(program: &str, needle: &str) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let first = line.split(' ').next().unwrap_or_default();
        if first.rsplit('/').next() == Some(program) && line.contains(needle) {
            found.push(pid);
        }
    }
    found
}
