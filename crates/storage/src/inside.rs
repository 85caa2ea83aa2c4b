//! Small steps in a root filesystem that the engine takes from outside: by handle, never out of the root.

use crate::Result;
use crate::fs::{Sys, entries, open_in_root, show};
use crate::snapshots::copy_tree;
use oci::{Context, Error};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

/// Reads a file as a process whose root is `root` would, if it is a regular file of at most `limit` bytes.
///
/// # Errors
/// `NotFound`; `InvalidArgument` for something else than a file; `ResourceExhausted` for a longer one.
pub fn read_in_root(root: BorrowedFd<'_>, path: &str, limit: u64) -> Result<Vec<u8>> {
    let what = || format!("read {path:?} in the root filesystem");
    // Without blocking: a FIFO must not hold us up.
    let fd = open_in_root(root, path.as_bytes(), OFlags::RDONLY | OFlags::NONBLOCK).what(what)?;
    let file = File::from(fd);
    if !file.metadata().context(what)?.is_file() {
        return Err(Error::invalid(format!("{}: not a regular file", what())));
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).context(what)?;
    if bytes.len() as u64 > limit {
        return Err(Error::exhausted(format!("{}: longer than {limit} bytes", what())));
    }
    Ok(bytes)
}

/// Copies the directory `path` in `root`, with its attributes, to the directory `to`, if that one is empty. Nothing, or
/// something else than a directory, at `path` is fine: then nothing is copied.
///
/// # Errors
/// The kernel's.
pub fn copy_into_empty(root: BorrowedFd<'_>, path: &str, to: &Path) -> Result<()> {
    let from = match open_in_root(root, path.as_bytes(), OFlags::RDONLY | OFlags::DIRECTORY) {
        Ok(from) => from,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        Err(e) => return Err(e).what(|| format!("open {:?}", show(path.as_bytes()))),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let to = rustix::fs::open(to, flags, Mode::empty()).what(|| format!("open {}", to.display()))?;
    if !entries(&to).what(|| "list the volume")?.is_empty() {
        return Ok(());
    }
    copy_tree(from.as_fd(), to.as_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_inside_the_root_only() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("etc")).unwrap();
        std::fs::write(temp.path().join("etc/passwd"), "inside").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", temp.path().join("link")).unwrap();
        let root = crate::fs::open_root(temp.path()).unwrap();
        assert_eq!(read_in_root(root.as_fd(), "link", 100).unwrap(), b"inside");
        assert_eq!(read_in_root(root.as_fd(), "../../etc/passwd", 100).unwrap(), b"inside");
        assert_eq!(read_in_root(root.as_fd(), "none", 100).unwrap_err().kind(), oci::Kind::NotFound);
        assert_eq!(read_in_root(root.as_fd(), "etc", 100).unwrap_err().kind(), oci::Kind::InvalidArgument);
        assert_eq!(read_in_root(root.as_fd(), "link", 3).unwrap_err().kind(), oci::Kind::ResourceExhausted);
    }

    #[test]
    fn only_an_empty_directory_is_filled() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(temp.path().join("image/data/sub")).unwrap();
        std::fs::write(temp.path().join("image/data/sub/x"), "1").unwrap();
        std::fs::create_dir(temp.path().join("volume")).unwrap();
        let root = crate::fs::open_root(&temp.path().join("image")).unwrap();
        let volume = temp.path().join("volume");
        copy_into_empty(root.as_fd(), "missing", &volume).unwrap();
        copy_into_empty(root.as_fd(), "data", &volume).unwrap();
        assert_eq!(std::fs::read(volume.join("sub/x")).unwrap(), b"1");
        std::fs::write(volume.join("sub/x"), "2").unwrap();
        copy_into_empty(root.as_fd(), "data", &volume).unwrap();
        assert_eq!(std::fs::read(volume.join("sub/x")).unwrap(), b"2");
    }
}
