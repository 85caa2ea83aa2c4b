//! `tmpcopyup`: what a tmpfs covers is copied into it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use oci::{Context, Error, Result};
use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, chownat, fchmod, mkdirat, mknodat, openat,
    readlinkat, statat, symlinkat, utimensat,
};
use rustix::io::Errno;

/// Directories deeper than this are an attack and not a default configuration.
const MAX_DEPTH: usize = 64;

/// Copies everything below `old` into `new`: files, directories, links, devices; modes, owners and times.
pub(crate) fn copy(old: &OwnedFd, new: &OwnedFd) -> Result<()> {
    let readable = open(old.as_fd(), ".", OFlags::RDONLY | OFlags::DIRECTORY)?;
    let target = open(new.as_fd(), ".", OFlags::RDONLY | OFlags::DIRECTORY)?;
    directory(&readable, &target, 0)
}

fn io(error: Errno) -> Error {
    std::io::Error::from(error).into()
}

fn open(at: BorrowedFd<'_>, name: &str, flags: OFlags) -> Result<OwnedFd> {
    openat(at, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).map_err(io)
}

fn directory(old: &OwnedFd, new: &OwnedFd, depth: usize) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(Error::exhausted(format!("directories nest deeper than {MAX_DEPTH}")));
    }
    for entry in Dir::read_from(old).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = statat(old, name, AtFlags::SYMLINK_NOFOLLOW).map_err(io)?;
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        let shown = || name.to_string_lossy().into_owned();
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                mkdirat(new, name, mode).map_err(io).context(shown)?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let from = openat(old, name, flags, Mode::empty()).map_err(io).context(shown)?;
                let to = openat(new, name, flags, Mode::empty()).map_err(io).context(shown)?;
                directory(&from, &to, depth + 1).context(shown)?;
                fchmod(&to, mode).map_err(io).context(shown)?;
            }
            FileType::RegularFile => {
                let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let from = openat(old, name, flags | OFlags::RDONLY, Mode::empty()).map_err(io).context(shown)?;
                let create = flags | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
                let to = openat(new, name, create, mode).map_err(io).context(shown)?;
                std::io::copy(&mut std::fs::File::from(from), &mut std::fs::File::from(to.try_clone()?))
                    .context(shown)?;
                fchmod(&to, mode).map_err(io).context(shown)?;
            }
            FileType::Symlink => {
                let link = readlinkat(old, name, Vec::new()).map_err(io).context(shown)?;
                symlinkat(link.as_c_str(), new, name).map_err(io).context(shown)?;
            }
            kind => mknodat(new, name, kind, mode, stat.st_rdev).map_err(io).context(shown)?,
        }
        let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        chownat(new, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map_err(io).context(shown)?;
        if stat.st_mode & 0o6000 != 0 && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            // A change of owner has taken the set-id bits away.
            rustix::fs::chmodat(new, name, mode, AtFlags::empty()).map_err(io).context(shown)?;
        }
        let times = Timestamps {
            last_access: Timespec { tv_sec: stat.st_atime as _, tv_nsec: stat.st_atime_nsec as _ },
            last_modification: Timespec { tv_sec: stat.st_mtime as _, tv_nsec: stat.st_mtime_nsec as _ },
        };
        utimensat(new, name, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(io).context(shown)?;
    }
    Ok(())
}
