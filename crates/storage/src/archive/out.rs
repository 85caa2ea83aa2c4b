//! From files to a tar stream.

use super::TarWriter;
use super::resolve::find;
use crate::Result;
use crate::fs::Sys;
use crate::walk::{Mounts, walk_from};
use rustix::fs::{FileType, Mode, OFlags};
use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};

/// Writes `path` and everything below it, by the rules of docker's `GET /containers/{id}/archive`:
/// names begin with the path's last component; with `./` if the path ends in `/.`; with `/` for the
/// root. The last component is not followed unless a `/` comes after it.
/// [`oci::Kind::NotFound`] if nothing is there.
pub fn tar_out(root: impl AsFd, path: &str, out: impl Write) -> Result<()> {
    let found = find(root.as_fd(), path.as_bytes())?;
    let mut writer = TarWriter::new(out);
    let name = CString::new(found.name.clone()).unwrap_or_default();
    if found.kind() == FileType::Directory {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(&found.dir, &name, flags, Mode::empty()).what(|| format!("open {path:?}"))?;
        let prefix = if found.base == b"/" { Vec::new() } else { found.base.clone() };
        add_tree(&mut writer, dir.as_fd(), Mounts::Enter, &mut |below| {
            if below.is_empty() { Some(found.base.clone()) } else { Some([&prefix, b"/".as_slice(), below].concat()) }
        })?;
    } else {
        writer.add(found.dir.as_fd(), &name, &found.base)?;
    }
    writer.finish()
}

/// Writes everything below `root`, as docker's export: names without a leading `./`, no entry for
/// the root itself, and of other mounts in it only the directory they are on.
pub fn export(root: impl AsFd, out: impl Write) -> Result<()> {
    let mut writer = TarWriter::new(out);
    add_tree(&mut writer, root.as_fd(), Mounts::StayOut, &mut |below| (!below.is_empty()).then(|| below.to_vec()))?;
    writer.finish()
}

fn add_tree<W: Write>(
    writer: &mut TarWriter<W>,
    dir: BorrowedFd<'_>,
    mounts: Mounts,
    name: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>,
) -> Result<()> {
    walk_from(dir, mounts, &mut |found| match name(found.path) {
        Some(path) => writer.add(found.dir, found.name, &path),
        None => Ok(()),
    })
}
