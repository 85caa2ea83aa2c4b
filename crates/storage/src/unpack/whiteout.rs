//! Whiteouts: a layer's `.wh.` names (image-spec, layer.md, "Whiteouts") and overlayfs's own form, a
//! character device 0:0, or the attribute `trusted.overlay.opaque` on a directory.

use crate::fs::Sys;
use oci::{Error, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, XattrFlags};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// Names that start with this hide something.
pub(crate) const PREFIX: &[u8] = b".wh.";
/// After the prefix: everything that the directory had below is hidden.
const OPAQUE: &[u8] = b".wh..opq";
/// After the prefix: names that aufs kept for itself; docker and containerd pass over them.
const AUFS: &[u8] = b".wh.";
/// The attribute of an opaque directory.
pub(crate) const OPAQUE_XATTR: &str = "trusted.overlay.opaque";

/// Whether a file is overlayfs's whiteout.
pub(crate) fn is_one(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Carries out the whiteout whose name is `.wh.` and `hidden`; whether a file was made.
pub(super) fn apply(dir: &OwnedFd, hidden: &[u8]) -> Result<bool> {
    if hidden == OPAQUE {
        return make_opaque(dir, b".").map(|()| false);
    }
    if hidden.starts_with(AUFS) {
        return Ok(false);
    }
    if matches!(hidden, b"" | b"." | b"..") {
        return Err(Error::invalid("a whiteout that names no file"));
    }
    match rustix::fs::mknodat(dir, hidden, FileType::CharacterDevice, Mode::empty(), 0) {
        Ok(()) => Ok(true),
        // A whiteout hides what lies in lower layers, and leaves what this layer brings.
        Err(Errno::EXIST) => {
            let found = rustix::fs::statat(dir, hidden, AtFlags::SYMLINK_NOFOLLOW).what(|| "look at what is there")?;
            if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
                make_opaque(dir, hidden)?;
            }
            Ok(false)
        }
        Err(e) => Err(e).what(|| "make a whiteout"),
    }
}

/// Makes the directory `name` hide what lies below it.
pub(super) fn make_opaque(dir: &OwnedFd, name: &[u8]) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(dir, name, flags, Mode::empty()).what(|| "open an opaque directory")?;
    rustix::fs::fsetxattr(&fd, OPAQUE_XATTR, b"y", XattrFlags::empty()).what(|| "mark a directory as opaque")
}
