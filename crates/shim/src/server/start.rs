//! The `start` action: a new server, or the one that serves the pod already.

use super::args::Args;
use oci::{Context, Error, Result};
use rustix::fs::{FlockOperation, flock};
use std::fs::{DirBuilder, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A Unix socket's path may have this many bytes (unix(7), with its closing zero).
const PATH_LIMIT: usize = 107;
/// Containers with the same value of one of these share a shim, as under runc-v2.
const GROUPS: [&str; 2] = ["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"];

pub(super) fn start(args: &Args) -> Result<()> {
    let socket = socket_path(args)?;
    let dir = socket.parent().unwrap_or(Path::new("/"));
    let mut make = DirBuilder::new();
    make.recursive(true).mode(0o700).create(dir).context(|| format!("make {}", dir.display()))?;
    // Containers of one pod may be started at the same moment.
    let lock = File::options().create(true).append(true).open(dir.join("lock"));
    let lock = lock.context(|| format!("open {}", dir.join("lock").display()))?;
    flock(&lock, FlockOperation::LockExclusive)
        .map_err(std::io::Error::from)
        .context(|| format!("lock {}", dir.join("lock").display()))?;
    if UnixStream::connect(&socket).is_err() {
        spawn(args, &socket)?;
    }
    let address = format!("unix://{}", socket.display());
    let file = args.bundle.join("address");
    std::fs::write(&file, &address).context(|| format!("write {}", file.display()))?;
    std::io::stdout().write_all(address.as_bytes()).context(|| "print the address")
}

fn spawn(args: &Args, socket: &Path) -> Result<()> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).context(|| format!("remove the stale socket {}", socket.display()));
        }
        _ => {}
    }
    let listener = UnixListener::bind(socket).context(|| format!("listen on {}", socket.display()))?;
    let log = || -> Result<Stdio> {
        let path = args.bundle.join("shim.log");
        let file = File::options().create(true).append(true).open(&path);
        Ok(Stdio::from(file.context(|| format!("open {}", path.display()))?))
    };
    let mut server = Command::new("/proc/self/exe");
    // What ps shows.
    std::os::unix::process::CommandExt::arg0(&mut server, "containerd-shim-sampan-v2");
    server.args(["-namespace", &args.namespace, "-id", &args.id]).arg("-address").arg(&args.address);
    server.arg("-bundle").arg(&args.bundle);
    if args.debug {
        server.arg("-debug");
    }
    // The listening socket goes over as standard input; the server moves it away.
    server.current_dir(&args.bundle).stdin(Stdio::from(OwnedFd::from(listener))).stdout(Stdio::null()).stderr(log()?);
    server.env("SAMPAN_SHIM_SOCKET", socket);
    match server.spawn() {
        Ok(child) => adjust_oom_score(child.id()),
        Err(error) => {
            let _ = std::fs::remove_file(socket);
            return Err(error).context(|| "start the shim's server");
        }
    }
    Ok(())
}

/// A shim outlives a container that eats all memory, but goes before the daemon. Where the kernel forbids it, the shim
/// keeps what it has.
fn adjust_oom_score(pid: u32) {
    if let Ok(own) = std::fs::read_to_string("/proc/self/oom_score_adj")
        && let Ok(own) = own.trim().parse::<i32>()
    {
        let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), (own + 1).min(1000).to_string());
    }
}

/// `<directory of the daemon's address>/s/<hash>`: the same for all containers of a pod.
pub(super) fn socket_path(args: &Args) -> Result<PathBuf> {
    let group = group(&args.bundle)?.unwrap_or_else(|| args.id.clone());
    let base = match args.address.parent() {
        Some(parent) if args.address.is_absolute() => parent.join("s"),
        _ => PathBuf::from("/run/containerd/s"),
    };
    let name = [args.address.to_string_lossy().as_ref(), &args.namespace, &group].join("\n");
    let path = base.join(format!("{:032x}", fnv1a(name.as_bytes())));
    if path.as_os_str().len() > PATH_LIMIT {
        return Err(Error::invalid(format!(
            "socket path {} is longer than {PATH_LIMIT} bytes; choose a shorter state directory",
            path.display()
        )));
    }
    Ok(path)
}

/// FNV-1a, 128 bits: spreads names over file names; nothing relies on it being hard to invert.
fn fnv1a(bytes: &[u8]) -> u128 {
    bytes.iter().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash: u128, byte| {
        (hash ^ u128::from(*byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    })
}

#[derive(serde::Deserialize)]
struct Annotated {
    #[serde(default)]
    annotations: Option<std::collections::BTreeMap<String, String>>,
}

/// The pod that the bundle's configuration names.
fn group(bundle: &Path) -> Result<Option<String>> {
    let path = bundle.join("config.json");
    let bytes = std::fs::read(&path).context(|| format!("read {}", path.display()))?;
    let config: Annotated = serde_json::from_slice(&bytes)
        .map_err(|error| Error::invalid(format!("read {}", path.display())).with_source(error))?;
    let annotations = config.annotations.unwrap_or_default();
    Ok(GROUPS.iter().find_map(|name| annotations.get(*name)).filter(|g| !g.is_empty()).cloned())
}
