//! Carrying out a layer in overlayfs's form on a whole tree.

use super::copy::{copy_attrs, set_times};
use crate::Result;
use crate::fs::{Sys, entries, open_beneath, remove_tree, show};
use crate::unpack::{is_whiteout, split};
use crate::walk::{Found, walk};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW);

/// Moves the files of `layer` to `tree`, and removes there what the layer hides. Directories named
/// in `implied` lend nothing but their names.
pub(super) fn merge(layer: &OwnedFd, tree: &OwnedFd, implied: &[Vec<u8>]) -> Result<()> {
    let implied: HashSet<&[u8]> = implied.iter().map(Vec::as_slice).collect();
    let mut directories: Vec<(Vec<u8>, Stat)> = Vec::new();
    walk(layer.as_fd(), &mut |found| {
        let mut step = || {
            let lends = !implied.contains(found.path);
            if found.kind == FileType::Directory {
                let to = merge_directory(tree, found)?;
                if lends {
                    let from = open_beneath(layer, found.path, DIRECTORY).what(|| "open")?;
                    copy_attrs(from.as_fd(), to.as_fd(), &found.stat)?;
                    directories.push((found.path.to_vec(), found.stat));
                } else {
                    // Its times are those from below, which the changes in it would move on.
                    directories.push((found.path.to_vec(), rustix::fs::fstat(&to).what(|| "stat")?));
                }
                return Ok(());
            }
            let parent = split(found.path).map_or(&[] as &[u8], |(parent, _)| parent);
            let dir = open_beneath(tree, parent, DIRECTORY).what(|| "open its directory")?;
            move_file(found, dir.as_fd())
        };
        step().map_err(|e| e.prefixed(format!("apply {:?}", show(found.path))))
    })?;
    for (path, stat) in directories.iter().rev() {
        match open_beneath(tree, path, DIRECTORY) {
            Ok(dir) => set_times(dir.as_fd(), stat)?,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(e) => return Err(e).what(|| format!("open {:?}", show(path))),
        }
    }
    Ok(())
}

/// Makes sure that the tree has this directory, emptied if the layer's is opaque.
fn merge_directory(tree: &OwnedFd, found: &Found<'_>) -> Result<OwnedFd> {
    let opaque = is_opaque(found)?;
    let Some((parent, name)) = split(found.path) else {
        if opaque {
            clear(tree)?;
        }
        return open_beneath(tree, b"", DIRECTORY).what(|| "open");
    };
    let dir = open_beneath(tree, parent, DIRECTORY).what(|| "open its directory")?;
    match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
            let there = open_beneath(&dir, name, DIRECTORY).what(|| "open")?;
            if opaque {
                clear(&there)?;
            }
            return Ok(there);
        }
        Ok(_) => remove_tree(&dir, name).what(|| "remove what is there")?,
        Err(Errno::NOENT) => {}
        Err(e) => return Err(e).what(|| "look at what is there"),
    }
    rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(0o755)).what(|| "make directory")?;
    open_beneath(&dir, name, DIRECTORY).what(|| "open")
}

fn is_opaque(found: &Found<'_>) -> Result<bool> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(found.dir, found.name, flags, Mode::empty()).what(|| "open")?;
    Ok(crate::xattr::read(dir.as_fd())?
        .iter()
        .any(|(name, value)| name == crate::unpack::OPAQUE_XATTR.as_bytes() && value == b"y"))
}

fn clear(dir: &OwnedFd) -> Result<()> {
    for (name, _) in entries(dir).what(|| "list")? {
        remove_tree(dir, name.as_c_str()).what(|| "remove what an opaque directory hides")?;
    }
    Ok(())
}

fn move_file(found: &Found<'_>, dir: BorrowedFd<'_>) -> Result<()> {
    if is_whiteout(&found.stat) {
        return remove_tree(dir, found.name).what(|| "remove what a whiteout hides");
    }
    match rustix::fs::renameat(found.dir, found.name, dir, found.name) {
        Err(Errno::ISDIR | Errno::EXIST | Errno::NOTEMPTY) => {
            remove_tree(dir, found.name).what(|| "remove what is there")?;
            rustix::fs::renameat(found.dir, found.name, dir, found.name).what(|| "move")
        }
        // Two names of one file: the rename did nothing, and nothing needs to be done.
        other => other.what(|| "move"),
    }
}
