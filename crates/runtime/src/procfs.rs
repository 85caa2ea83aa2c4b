//! Files of the process in procfs, opened so that nothing else can be in their place: a write to a label or a kernel
//! parameter that lands elsewhere does harm (CVE-2019-16884, CVE-2025-52881).

use std::io::Write;
use std::os::fd::OwnedFd;

use oci::{Context, Error, Result};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstat, fstatfs, openat, openat2};

/// The procfs at `/proc`: really one, and its root.
#[derive(Debug)]
pub(crate) struct Procfs(OwnedFd);

impl Procfs {
    /// Opens it; to be done while `/proc` is the runtime's.
    pub(crate) fn open() -> Result<Self> {
        const MAGIC: i64 = 0x9fa0;
        const ROOT_INODE: u64 = 1;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let io = std::io::Error::from;
        let proc = openat(CWD, "/proc", flags, Mode::empty()).map_err(io).context(|| "open /proc")?;
        let magic = fstatfs(&proc).map_err(io).context(|| "look at /proc")?.f_type;
        if magic != MAGIC || fstat(&proc).map_err(io)?.st_ino != ROOT_INODE {
            return Err(Error::permission_denied("/proc is not the root of a procfs"));
        }
        Ok(Self(proc))
    }

    /// Writes a file in one piece. No mount and no link to another file is followed on the way.
    pub(crate) fn write(&self, path: &str, value: &[u8]) -> std::io::Result<()> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = openat2(&self.0, path, flags, Mode::empty(), resolve).map_err(std::io::Error::from)?;
        std::fs::File::from(file).write_all(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_procfs_itself_is_written() {
        let proc = Procfs::open().expect("open");
        proc.write("self/comm", b"renamed").expect("written");
        assert_eq!(std::fs::read_to_string("/proc/self/comm").expect("comm"), "renamed\n");
        // Magic links and paths that lead away.
        for path in ["self/exe", "self/cwd/x", "self/root/etc/passwd", "../etc/passwd", "/etc/passwd"] {
            assert!(proc.write(path, b"").is_err(), "{path}");
        }
    }
}
