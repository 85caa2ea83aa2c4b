//! The rootfs as a directory handle. Every path in it is resolved by the kernel, which does not let it leave.

use std::cell::RefCell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use oci::{Context, Error, Result};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;

/// The root of the container's files.
#[derive(Debug)]
pub(crate) struct Root {
    directory: OwnedFd,
    /// The kernel's filesystems at their usual places, for what is looked up in them later.
    anchors: RefCell<Vec<(&'static str, OwnedFd)>>,
}

/// Where the kernel's filesystems are mounted, and by which number they are known.
const ANCHORS: [(&str, i64); 2] = [("/proc", PROC_SUPER_MAGIC), ("/sys", 0x6265_6572)];

const PROC_SUPER_MAGIC: i64 = 0x9fa0;

/// Symbolic links that may be followed when a path is made that does not exist yet.
const MAX_LINKS: usize = 40;

impl AsFd for Root {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// A path that mount(2) takes in place of a handle. Only used while `/proc` is still the runtime's own.
pub(crate) fn proc_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

fn openat2(root: BorrowedFd<'_>, path: &str, extra: ResolveFlags) -> Result<OwnedFd, Errno> {
    // EAGAIN: a rename elsewhere raced with "..", the kernel could not tell; bounded retries settle it.
    let mut tries = 0;
    loop {
        let flags = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | extra;
        match rustix::fs::openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), flags) {
            Err(Errno::AGAIN) if tries < 128 => tries += 1,
            result => return result,
        }
    }
}

impl Root {
    pub(crate) fn new(directory: OwnedFd) -> Self {
        Self { directory, anchors: RefCell::default() }
    }

    /// Resolves a path in the root, following symbolic links inside it.
    pub(crate) fn resolve(&self, path: &str) -> Result<OwnedFd, Errno> {
        openat2(self.as_fd(), path, ResolveFlags::empty())
    }

    /// Remembers what was just mounted at a place where later paths will begin, if this is one. Who shares the rootfs
    /// could put something else there in the meantime, and masks would then miss what they are to hide.
    pub(crate) fn anchor(&self, path: &str) -> Result<()> {
        let Some((place, magic)) = ANCHORS.iter().find(|(place, _)| *place == path) else { return Ok(()) };
        let handle = self.resolve_literally(path).map_err(std::io::Error::from).context(|| format!("open {path}"))?;
        if rustix::fs::fstatfs(&handle).map_err(std::io::Error::from)?.f_type != *magic {
            return Err(Error::permission_denied(format!("{path} in the rootfs was changed while it was mounted")));
        }
        self.anchors.borrow_mut().push((place, handle));
        Ok(())
    }

    /// A handle of what was just mounted at a path. The name is looked up again, and who shares the place may have put
    /// something else there.
    pub(crate) fn mounted(&self, path: &str) -> Result<OwnedFd> {
        const STATX_ATTR_MOUNT_ROOT: u64 = 0x2000;
        let io = std::io::Error::from;
        let handle = self.resolve(path).map_err(io)?;
        let stat = rustix::fs::statx(&handle, "", AtFlags::EMPTY_PATH, StatxFlags::TYPE).map_err(io)?;
        // Kernels before 5.8 do not tell.
        let told = stat.stx_attributes_mask.bits() & STATX_ATTR_MOUNT_ROOT != 0;
        if told && stat.stx_attributes.bits() & STATX_ATTR_MOUNT_ROOT == 0 {
            return Err(Error::permission_denied(format!("{path} in the rootfs was changed while it was mounted")));
        }
        Ok(handle)
    }

    /// Something else will be mounted on top.
    pub(crate) fn cover(&self, path: &str) {
        self.anchors.borrow_mut().retain(|(place, _)| *place != path);
    }

    /// Resolves a path like [`Root::resolve`], below what was mounted first at the path's beginning.
    pub(crate) fn resolve_anchored(&self, path: &str) -> Result<OwnedFd, Errno> {
        let anchors = self.anchors.borrow();
        let below = anchors.iter().find_map(|(place, handle)| {
            let rest = path.strip_prefix(place)?.strip_prefix('/')?;
            Some((handle, rest))
        });
        match below {
            Some((handle, rest)) => openat2(handle.as_fd(), rest, ResolveFlags::empty()),
            None => self.resolve(path),
        }
    }

    /// Resolves a path without any symbolic link in it.
    pub(crate) fn resolve_literally(&self, path: &str) -> Result<OwnedFd, Errno> {
        openat2(self.as_fd(), path, ResolveFlags::NO_SYMLINKS)
    }

    /// Resolves a path on which something will be mounted: not one that a symbolic link turns into a place in procfs.
    fn resolve_target(&self, path: &str) -> Result<Result<OwnedFd>, Errno> {
        match openat2(self.as_fd(), path, ResolveFlags::NO_SYMLINKS) {
            Ok(fd) => return Ok(Ok(fd)),
            Err(Errno::LOOP) => {}
            Err(error) => return Err(error),
        }
        let fd = self.resolve(path)?;
        if is_procfs(fd.as_fd())? && (!path.starts_with("/proc") || !crate::plan::mounts::destination_allowed(path)) {
            return Ok(Err(Error::permission_denied(format!(
                "{path} leads into /proc by a symbolic link, and nothing may be mounted there"
            ))));
        }
        Ok(Ok(fd))
    }

    /// A handle of a mount's destination, which is made where it does not exist: a directory, or an empty file.
    pub(crate) fn target(&self, path: &str, directory: impl FnOnce() -> Result<bool>) -> Result<OwnedFd> {
        match self.resolve_target(path) {
            Ok(result) => return result,
            Err(Errno::NOENT) => {}
            Err(error) => return Err(std::io::Error::from(error)).context(|| format!("open {path} in the rootfs")),
        }
        if directory()? {
            if let Some(made) = self.make_last(path)? {
                return Ok(made);
            }
            self.make_directories(path, 0o755)?;
        } else {
            self.make_file(path)?;
        }
        self.resolve_target(path).map_err(std::io::Error::from).context(|| format!("open {path} in the rootfs"))?
    }

    /// Makes a directory in one that exists, with no symbolic link on the way to it. `None` where it is not that easy.
    fn make_last(&self, path: &str) -> Result<Option<OwnedFd>> {
        let Some((parent, name)) = path.rsplit_once('/').filter(|(parent, _)| !parent.is_empty()) else {
            return Ok(None);
        };
        let Ok(parent) = self.resolve_literally(parent) else { return Ok(None) };
        match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(None),
            Err(error) => {
                return Err(std::io::Error::from(error)).context(|| format!("make directory {path} in the rootfs"));
            }
        }
        let made = openat2(parent.as_fd(), name, ResolveFlags::NO_SYMLINKS);
        made.map(Some).map_err(std::io::Error::from).context(|| format!("open {path} in the rootfs"))
    }

    /// A handle of the directory on which procfs or sysfs will be mounted. It must be a directory itself: what is masked
    /// and made read-only in it later is looked up again, and a symbolic link could be changed in between
    /// (CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2025-54867).
    pub(crate) fn ordinary_directory(&self, path: &str, filesystem: &str) -> Result<OwnedFd> {
        let (parent, name) = self.parent(path)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || rustix::fs::openat(&parent, name, flags, Mode::empty());
        let opened = match open() {
            Err(Errno::NOENT) => rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755)).and_then(|()| open()),
            result => result,
        };
        match opened {
            Err(Errno::NOTDIR | Errno::LOOP) => Err(Error::permission_denied(format!(
                "filesystem {filesystem:?} must be mounted on ordinary directory"
            ))),
            result => result.map_err(std::io::Error::from).context(|| format!("open {path} in the rootfs")),
        }
    }

    /// A handle of a mount's destination that must exist and may be a symbolic link, which is not followed. Nowhere in
    /// the kernel's own filesystems: their links are not an image's.
    pub(crate) fn unfollowed_target(&self, path: &str) -> Result<OwnedFd> {
        const KERNELS: [i64; 3] = [0x9fa0, 0x6265_6572, 0x1cd1]; // procfs, sysfs, devpts
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let io = |e: Errno| Error::from(std::io::Error::from(e)).prefixed(format!("open {path} in the rootfs"));
        let parent = self.resolve(if parent.is_empty() { "/" } else { parent }).map_err(io)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = rustix::fs::openat(&parent, name, flags, Mode::empty()).map_err(io)?;
        if KERNELS.contains(&rustix::fs::fstatfs(&target).map_err(io)?.f_type) {
            return Err(Error::permission_denied(format!("override of the mount destination {path:?} is not allowed")));
        }
        Ok(target)
    }

    /// Makes a directory and its parents. Returns a handle of it.
    pub(crate) fn make_directories(&self, path: &str, mode: u32) -> Result<OwnedFd> {
        let mut links = 0;
        // Components still to be entered, the next one last.
        let mut todo: Vec<String> = path.split('/').rev().filter(|p| !p.is_empty()).map(String::from).collect();
        let mut done = String::new();
        let io = |error: Errno, what: &str| Error::from(std::io::Error::from(error)).prefixed(what);
        let mut current = self.resolve("/").map_err(|e| io(e, "open the rootfs"))?;
        while let Some(part) = todo.pop() {
            if part == "." {
                continue;
            }
            // Also "..", of which the kernel knows what is above a link's target.
            let next = format!("{done}/{part}");
            match self.resolve(&next) {
                Ok(fd) => {
                    current = fd;
                    done = next;
                    continue;
                }
                Err(Errno::NOENT) => {}
                Err(error) => return Err(io(error, &format!("open {next} in the rootfs"))),
            }
            match rustix::fs::mkdirat(&current, &part, Mode::from_raw_mode(mode)) {
                Ok(()) => {
                    current = openat2(current.as_fd(), &part, ResolveFlags::NO_SYMLINKS)
                        .map_err(|e| io(e, &format!("open {next} in the rootfs")))?;
                    done = next;
                }
                // Nothing resolves and yet the name is taken: a symbolic link to what does not exist. Make that.
                Err(Errno::EXIST) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Error::invalid(format!("{path} in the rootfs: too many symbolic links")));
                    }
                    let link = rustix::fs::readlinkat(&current, &part, Vec::new())
                        .map_err(|e| io(e, &format!("read link {next} in the rootfs")))?;
                    let link = link.to_str().map_err(|_| Error::invalid(format!("{next}: its link is not UTF-8")))?;
                    if link.starts_with('/') {
                        done.clear();
                        current = self.resolve("/").map_err(|e| io(e, "open the rootfs"))?;
                    }
                    todo.extend(link.split('/').rev().filter(|p| !p.is_empty()).map(String::from));
                }
                Err(error) => return Err(io(error, &format!("make directory {next} in the rootfs"))),
            }
        }
        Ok(current)
    }

    /// Makes an empty file and the directories above it. Where the name is a symbolic link to what does not exist, that.
    fn make_file(&self, path: &str) -> Result<()> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let failed = |error: Errno| {
            Error::from(std::io::Error::from(error)).prefixed(format!("make mount point {path} in the rootfs"))
        };
        let mut wanted = path.to_owned();
        for _ in 0..=MAX_LINKS {
            let (parent, name) = wanted.rsplit_once('/').unwrap_or(("", &wanted));
            if matches!(name, "" | "." | "..") {
                return Err(Error::invalid(format!("{path} in the rootfs leads to {wanted}, which is no file's name")));
            }
            let directory = self.make_directories(parent, 0o755)?;
            match rustix::fs::openat(&directory, name, flags, Mode::from_raw_mode(0o644)) {
                Ok(_) => return Ok(()),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(failed(error)),
            }
            let link = match rustix::fs::readlinkat(&directory, name, Vec::new()) {
                Ok(link) => link,
                // Somebody else has just made it.
                Err(Errno::INVAL) => return Ok(()),
                Err(error) => return Err(failed(error)),
            };
            let link = link.to_str().map_err(|_| Error::invalid(format!("{wanted}: its link is not UTF-8")))?;
            wanted = if link.starts_with('/') { link.to_owned() } else { format!("{parent}/{link}") };
        }
        Err(Error::invalid(format!("{path} in the rootfs: too many symbolic links")))
    }

    /// The directory of a path, made where it is missing, and the last name.
    pub(crate) fn parent<'a>(&self, path: &'a str) -> Result<(OwnedFd, &'a str)> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let directory = match self.resolve(if parent.is_empty() { "/" } else { parent }) {
            Ok(fd) => fd,
            Err(_) => self.make_directories(parent, 0o755)?,
        };
        Ok((directory, name))
    }
}

/// Whether a handle is one of something in a procfs.
pub(crate) fn is_procfs(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(rustix::fs::fstatfs(fd)?.f_type == PROC_SUPER_MAGIC)
}

/// Whether a handle is one of a directory.
pub(crate) fn is_directory(fd: BorrowedFd<'_>) -> Result<bool> {
    let stat = rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::TYPE).map_err(std::io::Error::from)?;
    Ok(rustix::fs::FileType::from_raw_mode(stat.stx_mode.into()).is_dir())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn root() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().expect("tempdir");
        let fd = fs::File::open(dir.path()).expect("open");
        (dir, Root::new(fd.into()))
    }

    #[test]
    fn what_is_made_stays_inside() {
        let (dir, root) = root();
        symlink("/missing/deep", dir.path().join("abs")).expect("link");
        symlink("../../../out", dir.path().join("up")).expect("link");
        root.target("/abs/x", || Ok(true)).expect("made");
        assert!(dir.path().join("missing/deep/x").is_dir());
        root.target("/up/y", || Ok(false)).expect("made");
        assert!(dir.path().join("out/y").is_file());
        root.target("/a/b/c", || Ok(false)).expect("made");
        assert!(dir.path().join("a/b/c").is_file());
        symlink("../q/nowhere", dir.path().join("a/file")).expect("link");
        symlink("/q/further", dir.path().join("q-link")).expect("link");
        root.target("/a/file", || Ok(false)).expect("made");
        root.target("/q-link", || Ok(false)).expect("made");
        assert!(dir.path().join("q/nowhere").is_file() && dir.path().join("q/further").is_file());
        // What is above is above the directory, not above the link by which it is reached.
        fs::create_dir_all(dir.path().join("deep/er")).expect("directories");
        symlink("/deep/er", dir.path().join("jump")).expect("link");
        symlink("../beside", dir.path().join("deep/er/link")).expect("link");
        root.target("/jump/link", || Ok(false)).expect("made");
        assert!(dir.path().join("deep/beside").is_file());
        root.target("/jump/../other/x", || Ok(true)).expect("made");
        assert!(dir.path().join("deep/other/x").is_dir());
        // A second time it is only opened.
        root.target("/a/b/c", || Err(Error::internal("must not be asked"))).expect("opened");
    }

    #[test]
    fn loops_and_files_in_the_way_are_errors() {
        let (dir, root) = root();
        symlink("b", dir.path().join("a")).expect("link");
        symlink("a", dir.path().join("b")).expect("link");
        assert!(root.target("/a/x", || Ok(true)).is_err());
        assert!(root.target("/a", || Ok(false)).is_err());
        symlink("c/..", dir.path().join("d")).expect("link");
        assert!(root.target("/d", || Ok(false)).is_err());
        fs::write(dir.path().join("f"), "").expect("write");
        assert!(root.target("/f/x", || Ok(true)).is_err());
    }
}
