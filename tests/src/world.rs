//! A world of one test's own: network and mount namespaces of the test's thread (every program it
//! starts inherits them), a directory, and a cgroup parent. Dropping it removes what it made.

use crate::proc::run;
use std::cell::Cell;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// The network namespace in which the first world of this process was made.
static HOST_NETWORK: OnceLock<File> = OnceLock::new();

/// Calls `action` where Debian's packages can be fetched, also from inside a world, which has no way out.
///
/// # Panics
/// If `action` does, or the namespace cannot be entered.
pub(crate) fn on_host_network<T: Send>(action: impl FnOnce() -> T + Send) -> T {
    const CLONE_NEWNET: u64 = 0x4000_0000;
    let enter = || {
        if let Some(network) = HOST_NETWORK.get() {
            sys::process::setns(network.as_fd(), CLONE_NEWNET).expect("enter the host's network namespace");
        }
        action()
    };
    // A thread of its own, because the caller's stays in its world.
    std::thread::scope(|scope| scope.spawn(enter).join()).expect("no panic on the host's network")
}

thread_local! {
    static ENTERED: Cell<bool> = const { Cell::new(false) };
}

/// See the [module](self).
pub struct World {
    dir: PathBuf,
    name: String,
}

impl World {
    /// Moves the calling thread into namespaces of its own and makes a directory.
    ///
    /// # Panics
    /// If this is not root, or the thread is in a world already.
    pub fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "system tests run as root: sudo make test");
        assert!(!ENTERED.replace(true), "one world for a thread");
        let network = File::open("/proc/thread-self/ns/net").expect("the network namespace of this thread");
        let _ = HOST_NETWORK.set(network);
        sys::unshare::new_network_and_mount_namespace().expect("unshare");
        // A sysfs mounted inside shows this network namespace's devices; the cgroup mounts move over.
        let script = "mount --make-rprivate / && mkdir -p /tmp/.sampan-cg && mount -t tmpfs t /tmp/.sampan-cg \
             && mkdir /tmp/.sampan-cg/c && mount --rbind /sys/fs/cgroup /tmp/.sampan-cg/c && mount -t sysfs s /sys \
             && mount --rbind /tmp/.sampan-cg/c /sys/fs/cgroup && umount -l /tmp/.sampan-cg \
             && mount -t tmpfs t /run/lock && ip link set lo up";
        run(Command::new("sh").args(["-c", script]), b"").ok();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("sampan-test-{}-{number}", std::process::id());
        let dir = Path::new("/tmp").join(&name);
        std::fs::create_dir(&dir).expect("a fresh directory");
        Self { dir, name }
    }

    /// The world's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A name unique on the machine, used for the cgroup parent.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Hides the cgroup v2 hierarchy that stands beside v1 controllers: crun 1.8 refuses the mixture.
    pub fn hide_unified_cgroups(&self) {
        // A new directory of mounts, because the old one keeps a plain directory where the hierarchy was.
        let script = "cd /tmp && mkdir -p .sampan-cg && mount -t tmpfs t .sampan-cg && for c in /sys/fs/cgroup/*/; do \
             n=$(basename $c); [ $n = unified ] || { mkdir .sampan-cg/$n && mount --bind $c .sampan-cg/$n; }; done \
             && mount --rbind .sampan-cg /sys/fs/cgroup && umount -l .sampan-cg";
        run(Command::new("sh").args(["-c", script]), b"").ok();
    }

    /// The cgroup directories with this world's name, in every hierarchy.
    pub fn cgroups(&self) -> Vec<PathBuf> {
        let mut roots = vec![PathBuf::from("/sys/fs/cgroup").join(&self.name)];
        for entry in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            if entry.path().is_dir() {
                roots.push(entry.path().join(&self.name));
            }
        }
        roots.retain(|p| p.is_dir());
        roots
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

/// The directories at and below `path`, the deepest first.
pub(crate) fn directories(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            found.extend(directories(&entry.path()));
        }
    }
    found.push(path.to_path_buf());
    found
}

impl Drop for World {
    fn drop(&mut self) {
        for root in self.cgroups() {
            for dir in directories(&root) {
                for pid in std::fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default().lines() {
                    if let Some(pid) = pid.parse().ok().and_then(rustix::process::Pid::from_raw) {
                        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                    }
                }
            }
            for _ in 0..100 {
                let left = directories(&root).iter().filter(|d| std::fs::remove_dir(d).is_err()).count();
                if left == 0 {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
        for line in std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default().lines().rev() {
            let point = line.split(' ').nth(4).unwrap_or_default();
            if point.starts_with(&*self.dir.to_string_lossy()) {
                let _ = rustix::mount::unmount(point, rustix::mount::UnmountFlags::DETACH);
            }
        }
        if std::env::var_os("SAMPAN_TEST_KEEP").is_none() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}
