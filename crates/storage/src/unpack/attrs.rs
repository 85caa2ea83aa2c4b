//! Owner, mode, extended attributes and times, set through handles.
//!
//! The order matters: changing the owner drops setuid bits and file capabilities, and everything
//! changes the times.

use crate::fs::{Sys, show};
use crate::tar::Entry;
use oci::{Error, Result};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Bits that are dropped or inherited behind one's back, and so are always set explicitly.
const SPECIAL_BITS: u32 = 0o7000;

pub(super) struct Attrs {
    pub(super) mode: u32,
    uid: u32,
    gid: u32,
    times: Timestamps,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Attrs {
    pub(super) fn of(entry: &Entry, owner: Option<(u32, u32)>) -> Result<Self> {
        let id = |what: &str, id: u64| match u32::try_from(id) {
            // The last one means "leave as it is" to the kernel.
            Ok(id) if id != u32::MAX => Ok(id),
            _ => Err(Error::invalid(format!("its {what} {id} is larger than Linux has"))),
        };
        let (uid, gid) = match owner {
            Some(owner) => owner,
            None => (id("uid", entry.uid)?, id("gid", entry.gid)?),
        };
        let spec = |(seconds, nanos): (i64, u32)| Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
        let mtime = spec(entry.mtime);
        let atime = entry.atime.map_or(mtime, |atime| spec(atime.max(entry.mtime)));
        // Marks of a storage driver are no property of a file: taken over, they would let a layer
        // redirect or hide what lies below it.
        let private = |name: &[u8]| name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
        Ok(Self {
            mode: entry.mode,
            uid,
            gid,
            times: Timestamps { last_access: atime, last_modification: mtime },
            xattrs: entry.xattrs.iter().filter(|(name, _)| !private(name)).cloned().collect(),
        })
    }

    fn owner(&self) -> (Option<Uid>, Option<Gid>) {
        (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))
    }

    fn is_root(&self) -> bool {
        self.uid == 0 && self.gid == 0
    }

    pub(super) fn set_on_file(&self, file: BorrowedFd<'_>, always: bool, umask: u32) -> Result<()> {
        if always || !self.is_root() {
            let (uid, gid) = self.owner();
            rustix::fs::fchown(file, uid, gid).what(|| "set owner")?;
        }
        if always || self.mode & (SPECIAL_BITS | umask) != 0 {
            rustix::fs::fchmod(file, Mode::from_raw_mode(self.mode)).what(|| "set mode")?;
        }
        for (name, value) in &self.xattrs {
            check_xattr(name, rustix::fs::fsetxattr(file, name.as_slice(), value, XattrFlags::empty()))?;
        }
        rustix::fs::futimens(file, &self.times).what(|| "set times")
    }

    /// Sets the owner of something just made, by name, in a root that nobody else changes.
    pub(super) fn chown_at(&self, dir: &OwnedFd, name: &[u8]) -> Result<()> {
        if self.is_root() {
            return Ok(());
        }
        let (uid, gid) = self.owner();
        rustix::fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).what(|| "set owner")
    }

    pub(super) fn set_on_directory(&self, dir: &OwnedFd, always: bool, umask: u32) -> Result<()> {
        if always {
            let (uid, gid) = self.owner();
            rustix::fs::fchown(dir, uid, gid).what(|| "set owner")?;
        }
        if always || self.mode & (SPECIAL_BITS | umask) != 0 {
            rustix::fs::fchmod(dir, Mode::from_raw_mode(self.mode)).what(|| "set mode")?;
        }
        for (name, value) in &self.xattrs {
            check_xattr(name, rustix::fs::fsetxattr(dir, name.as_slice(), value, XattrFlags::empty()))?;
        }
        rustix::fs::futimens(dir, &self.times).what(|| "set times")
    }

    pub(super) fn set_on_symlink(&self, dir: &OwnedFd, name: &[u8], always: bool) -> Result<()> {
        if always || !self.is_root() {
            let (uid, gid) = self.owner();
            rustix::fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).what(|| "set owner")?;
        }
        // No call takes a handle to a link for this; the directory's handle keeps it in place.
        let path = [format!("/proc/self/fd/{}/", dir.as_raw_fd()).as_bytes(), name].concat();
        for (name, value) in &self.xattrs {
            let set = rustix::fs::lsetxattr(path.as_slice(), name.as_slice(), value, XattrFlags::empty());
            check_xattr(name, set)?;
        }
        rustix::fs::utimensat(dir, name, &self.times, AtFlags::SYMLINK_NOFOLLOW).what(|| "set times")
    }

    /// Devices and fifos, which must not be opened to be changed.
    pub(super) fn set_on_special(&self, dir: &OwnedFd, name: &[u8]) -> Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let node = rustix::fs::openat(dir, name, flags, Mode::empty()).what(|| "open")?;
        let (uid, gid) = self.owner();
        rustix::fs::chownat(node.as_fd(), "", uid, gid, AtFlags::EMPTY_PATH).what(|| "set owner")?;
        let path = format!("/proc/self/fd/{}", node.as_raw_fd());
        rustix::fs::chmod(path.as_str(), Mode::from_raw_mode(self.mode)).what(|| "set mode")?;
        for (name, value) in &self.xattrs {
            let set = rustix::fs::setxattr(path.as_str(), name.as_slice(), value, XattrFlags::empty());
            check_xattr(name, set)?;
        }
        rustix::fs::utimensat(rustix::fs::CWD, path.as_str(), &self.times, AtFlags::empty()).what(|| "set times")
    }
}

/// An attribute that this file system or kind of file can't have is left out, as containerd does,
/// unless programs would lose their privileges by that.
fn check_xattr(name: &[u8], set: rustix::io::Result<()>) -> Result<()> {
    match set {
        Ok(()) => Ok(()),
        Err(Errno::NOTSUP) if name != b"security.capability" => Ok(()),
        Err(Errno::PERM) if name.starts_with(b"user.") => Ok(()),
        Err(e) => Err(e).what(|| format!("set extended attribute {}", show(name))),
    }
}
