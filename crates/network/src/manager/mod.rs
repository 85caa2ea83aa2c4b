//! Networks and endpoints: decides, writes down, has `sampan-net` do it, and knows what to undo.
//!
//! ```text
//! <state>/lock                               locked while a manager is open
//! <state>/helper.lock                        locked while the host's side is changed
//! <state>/forwarding                         ip_forward before we changed it
//! <state>/networks/<id>.json                 Network
//! <state>/endpoints/<container>@<id>.json    Endpoint, written before anything is made
//! <state>/leases/<id>/                       see ipam
//! ```
//! The order of an attach is address, port, record, kernel; of a detach kernel, record, port,
//! address. Whatever a crash leaves is therefore either recorded or a lease without a record, and
//! [`Manager::sweep`] removes both.

mod attach;
mod call;
mod choose;
mod detach;
mod networks;
mod records;
mod stats;
mod sweep;

pub use attach::{Attach, Attached, PortMapping};
pub use networks::NetworkConfig;
pub use records::{Endpoint, Network};
pub use stats::Counters;
pub use sweep::SweepReport;

use crate::names;
use crate::plan::Host;
use crate::ports::PortReservation;
use crate::subnet::Subnet;
use oci::{Context, Error, Result};
use records::Directory;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long another daemon's lock is waited for.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// How a [`Manager`] works.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program `sampan-net`.
    pub helper: PathBuf,
    /// The owner's id in the names of all that is made: five characters of a-z and 2-7. Derived
    /// from the state directory where absent.
    pub owner: Option<String>,
    /// Name of the default network's bridge. `smp-<owner>` where absent; the standard root's
    /// configuration says `sampan0`.
    pub bridge_name: Option<String>,
    /// Subnet of the default network; a free one is picked where absent.
    pub bridge_subnet: Option<Subnet>,
    /// Largest packet of networks that don't say, in bytes.
    pub mtu: u32,
    /// Subnets to pick from for networks that have none.
    pub pools: Vec<Subnet>,
    /// Ports to pick from for a published port without number, both ends included. The kernel's
    /// `ip_local_port_range` where absent.
    pub port_range: Option<(u16, u16)>,
    /// Gives `ip_forward` back its value when the last endpoint goes, if we changed it.
    pub restore_forwarding: bool,
    /// How long one run of the helper may take.
    pub deadline: Duration,
}

impl Options {
    /// The defaults, with the helper's path.
    pub fn new(helper: impl Into<PathBuf>) -> Self {
        Self {
            helper: helper.into(),
            owner: None,
            bridge_name: None,
            bridge_subnet: None,
            mtu: 1500,
            pools: choose::default_pools(),
            port_range: None,
            restore_forwarding: false,
            deadline: Duration::from_secs(30),
        }
    }
}

/// See the [module](self). All methods block, for the helper's run of a few milliseconds or for
/// what the kernel takes to delete an interface; call them from threads that may.
pub struct Manager {
    options: Options,
    host: Host,
    directory: Directory,
    state: Mutex<State>,
    _lock: File,
}

/// What is known, as it is on disk.
struct State {
    networks: BTreeMap<String, Network>,
    /// By container and network.
    endpoints: BTreeMap<(String, String), Endpoint>,
    reservations: BTreeMap<(String, String), Vec<PortReservation>>,
    next_port: u16,
}

impl Manager {
    /// Opens or makes the state in `dir`. Nothing of the kernel's is touched. Published ports of
    /// endpoints that were recorded are taken again by [`sweep`](Self::sweep).
    ///
    /// # Errors
    /// `Conflict` if another manager has it open, `InvalidArgument` for bad options, and I/O errors.
    pub fn open(dir: &Path, options: Options) -> Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(dir).context(|| format!("create {}", dir.display()))?;
        let dir = std::path::absolute(dir).context(|| format!("network state {}", dir.display()))?;
        let path = dir.join("lock");
        let lock = File::create(&path).context(|| format!("create {}", path.display()))?;
        take_lock(&lock, &dir)?;
        let owner = options.owner.clone().unwrap_or_else(|| names::owner_of(&dir));
        names::check_owner(&owner)?;
        if let Some(name) = &options.bridge_name {
            names::check_interface(name)?;
        }
        networks::check_mtu(options.mtu)?;
        if let Some(subnet) = options.bridge_subnet {
            networks::check_subnet(subnet)?;
        }
        let host = Host { owner, lock: dir.join("helper.lock"), forwarding_memo: dir.join("forwarding") };
        let directory = Directory::open(dir)?;
        let state = State {
            networks: directory.networks()?,
            endpoints: directory.endpoints()?,
            reservations: BTreeMap::new(),
            next_port: 0,
        };
        let manager = Self { options, host, directory, state: Mutex::new(state), _lock: lock };
        manager.make_builtin_networks()?;
        Ok(manager)
    }

    /// The owner's id, which is in the name of everything that is made.
    pub fn owner(&self) -> &str {
        &self.host.owner
    }

    /// A panic elsewhere can't leave the state half changed: records are replaced whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn port_range(&self) -> (u16, u16) {
        const FALLBACK: (u16, u16) = (32768, 60999);
        self.options.port_range.unwrap_or_else(|| {
            let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
            let mut numbers = text.split_whitespace().map_while(|n| n.parse().ok());
            match (numbers.next(), numbers.next()) {
                (Some(first), Some(last)) if first <= last => (first, last),
                _ => FALLBACK,
            }
        })
    }
}

/// Takes the lock of a state directory. A daemon that was killed while it started a program lives
/// on in that child for a moment, so it is tried for a while.
fn take_lock(lock: &File, dir: &Path) -> Result<()> {
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::AGAIN | Errno::INTR) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(Errno::AGAIN | Errno::INTR) => {
                return Err(Error::conflict(format!("network state {} is in use by another daemon", dir.display())));
            }
            Err(errno) => {
                return Err(Error::from(std::io::Error::from(errno)).prefixed(format!("lock {}", dir.display())));
            }
        }
    }
}

impl State {
    /// Endpoints of a container, with the one that has the default route first.
    fn endpoints_of<'a>(&'a self, container: &'a str) -> impl Iterator<Item = &'a Endpoint> {
        let mut found: Vec<&Endpoint> = self.endpoints.values().filter(|e| e.container == container).collect();
        found.sort_by_key(|e| !e.default_route);
        found.into_iter()
    }

    /// The addresses that a network's endpoints and its gateway have are all from one range.
    fn has_endpoints(&self, network: &str) -> bool {
        self.endpoints.keys().any(|(_, id)| id == network)
    }
}

/// The address that stands for every one of the host's.
const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
