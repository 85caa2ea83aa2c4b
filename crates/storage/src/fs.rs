//! Directory handles: the few file-system steps that everything here is made of.
//!
//! Nothing below takes an untrusted path except through [`open_in_root`] (which follows symbolic
//! links but never out of the root) or [`open_beneath`] (which follows none).

use crate::Result;
use oci::{Context, Error};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, RenameFlags, ResolveFlags};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::fmt::Display;
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Turns a system call's error into ours, with what was being done.
pub(crate) trait Sys<T> {
    fn what<D: Display>(self, what: impl FnOnce() -> D) -> Result<T>;
}

impl<T> Sys<T> for std::result::Result<T, Errno> {
    fn what<D: Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|e| Error::from(std::io::Error::from(e)).prefixed(what()))
    }
}

/// Bytes of a path, printable.
pub(crate) fn show(path: &[u8]) -> String {
    String::from_utf8_lossy(path).escape_debug().to_string()
}

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// Makes a directory of the store, if it is missing, and opens it.
pub(crate) fn make_dir(at: impl AsFd, name: &str, mode: u32) -> Result<OwnedFd> {
    match rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(mode)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e) => return Err(e).what(|| format!("make directory {name}")),
    }
    open_dir(at, name)
}

/// Opens a directory whose name is the store's own choice.
pub(crate) fn open_dir(at: impl AsFd, name: &str) -> Result<OwnedFd> {
    rustix::fs::openat(at, name, OFlags::RDONLY | DIRECTORY, Mode::empty()).what(|| format!("open directory {name}"))
}

/// Opens a directory by an absolute path from the configuration.
pub(crate) fn open_root(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .what(|| format!("open directory {}", path.display()))
}

fn openat2(root: BorrowedFd<'_>, path: &[u8], flags: OFlags, resolve: ResolveFlags) -> rustix::io::Result<OwnedFd> {
    let path: &[u8] = if path.is_empty() { b"." } else { path };
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            // The kernel gives up on a rename that races with the walk; it says so, and a retry helps.
            Err(Errno::AGAIN) if tries < 128 => tries += 1,
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

/// Opens `path` as a process whose root is `root` would: symbolic links are followed, never out.
pub(crate) fn open_in_root(root: impl AsFd, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    openat2(root.as_fd(), path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// Opens `path` below `root` and follows no symbolic link at all.
pub(crate) fn open_beneath(root: impl AsFd, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    openat2(root.as_fd(), path, flags, ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS)
}

/// The names in a directory, without `.` and `..`, with their types where the file system tells.
pub(crate) fn entries(dir: impl AsFd) -> rustix::io::Result<Vec<(CString, FileType)>> {
    let mut buffer = [MaybeUninit::<u8>::uninit(); 16 << 10];
    let mut found = Vec::new();
    let dir = rustix::fs::openat(dir, c".", OFlags::RDONLY | DIRECTORY, Mode::empty())?;
    let mut iter = RawDir::new(dir, &mut buffer);
    while let Some(entry) = iter.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            found.push((name.to_owned(), entry.file_type()));
        }
    }
    Ok(found)
}

/// Below this depth a tree is flattened before it is removed: a layer may nest directories far
/// deeper than there are descriptors or stack.
const FLATTEN_BELOW: usize = 100;

/// Removes `name` in `dir` with everything below it; nothing there is success.
pub(crate) fn remove_tree(dir: impl AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<()> {
    let dir = dir.as_fd();
    name.into_with_c_str(|name| {
        let mut lifted = Vec::new();
        remove_below(dir, dir, name, 0, &mut lifted)?;
        while let Some(deep) = lifted.pop() {
            remove_below(dir, dir, &deep, 0, &mut lifted)?;
        }
        Ok(())
    })
}

/// Moves a deep directory up to `base`, under a name of its own.
fn lift(base: BorrowedFd<'_>, parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<CString> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let text = format!(".deep-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let to = CString::new(text).map_err(|_| Errno::INVAL)?;
        match rustix::fs::renameat_with(parent, name, base, &to, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            other => return other.map(|()| to),
        }
    }
}

fn remove_below(
    base: BorrowedFd<'_>,
    parent: BorrowedFd<'_>,
    name: &CStr,
    depth: usize,
    lifted: &mut Vec<CString>,
) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(e) => return Err(e),
    }
    if depth >= FLATTEN_BELOW {
        lifted.push(lift(base, parent, name)?);
        return Ok(());
    }
    let dir = rustix::fs::openat(parent, name, OFlags::RDONLY | DIRECTORY, Mode::empty())?;
    for (child, _) in entries(&dir)? {
        remove_below(base, dir.as_fd(), &child, depth + 1, lifted)?;
    }
    drop(dir);
    match rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e),
    }
}

/// Writes a small file so that it is whole on disk, or not there, whatever happens.
pub(crate) fn write_durably(dir: impl AsFd, name: &str, bytes: &[u8]) -> Result<()> {
    use std::io::Write;
    let temporary = format!("{name}.new");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let fd = rustix::fs::openat(&dir, &temporary, flags, Mode::from_raw_mode(0o600))
        .what(|| format!("make file {temporary}"))?;
    let mut file = File::from(fd);
    file.write_all(bytes).and_then(|()| file.sync_data()).context(|| format!("write file {temporary}"))?;
    rustix::fs::renameat(&dir, &temporary, &dir, name).what(|| format!("rename file {temporary}"))?;
    sync_dir(&dir)
}

/// Makes a directory's entries durable.
pub(crate) fn sync_dir(dir: impl AsFd) -> Result<()> {
    rustix::fs::fsync(dir).what(|| "sync a directory of the store")
}

/// The process's umask, which the kernel takes away from every mode given at creation.
pub(crate) fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    // Unknown: treat every bit as taken away, so that modes are always set explicitly.
    line.and_then(|text| u32::from_str_radix(text.trim(), 8).ok()).unwrap_or(0o777)
}

/// Identifies the present boot: what was only in the page cache is gone when it changes.
pub(crate) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_deeper_than_there_are_descriptors_is_removed() {
        let temp = tempfile::tempdir().unwrap();
        let root = open_root(temp.path()).unwrap();
        let mut dir = make_dir(&root, "top", 0o700).unwrap();
        for _ in 0..1500 {
            rustix::fs::openat(&dir, "file", OFlags::CREATE | OFlags::WRONLY, Mode::from_raw_mode(0)).unwrap();
            make_dir(&dir, "second", 0o700).unwrap();
            dir = make_dir(&dir, "a-name-of-some-length", 0o700).unwrap();
        }
        remove_tree(&root, "top").unwrap();
        assert!(entries(&root).unwrap().is_empty());
        remove_tree(&root, "top").unwrap();
    }

    #[test]
    fn resolving_never_leaves_the_root() {
        let temp = tempfile::tempdir().unwrap();
        let root = open_root(temp.path()).unwrap();
        std::os::unix::fs::symlink("/", temp.path().join("abs")).unwrap();
        std::os::unix::fs::symlink("../../../..", temp.path().join("up")).unwrap();
        make_dir(&root, "etc", 0o755).unwrap();
        let inside = rustix::fs::statat(&root, "etc", AtFlags::empty()).unwrap().st_ino;
        for path in ["abs/etc", "up/etc", "/etc", "../etc"] {
            let fd = open_in_root(&root, path.as_bytes(), OFlags::PATH).unwrap();
            assert_eq!(rustix::fs::fstat(&fd).unwrap().st_ino, inside, "{path}");
        }
        assert!(open_beneath(&root, b"abs/etc", OFlags::PATH).is_err());
        assert!(open_beneath(&root, b"../etc", OFlags::PATH).is_err());
    }
}
