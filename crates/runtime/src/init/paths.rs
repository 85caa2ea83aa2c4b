//! Masked and read-only paths, and kernel parameters.

use std::os::fd::{AsFd, OwnedFd};

use oci::{Context, Error, Result};
use rustix::fs::{FileType, fstat, makedev};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_bind};

use super::mounts::{attach, clone_tree, clone_tree_with};
use super::root::{Root, proc_path};
use crate::plan::mounts::AttrChange;
use crate::procfs::Procfs;
use sys::batch::Batch;
use sys::mount_attr::RDONLY;

fn io(error: Errno) -> Error {
    std::io::Error::from(error).into()
}

/// Hides paths: files behind the null device, directories behind one empty read-only directory. Missing ones stay so.
pub(crate) fn mask(paths: &[String], root: &Root, label: Option<&str>) -> Result<()> {
    if paths.is_empty() {
        return Ok(());
    }
    // The container's own node: its mode and owner are the container's to change, the host's are not. It must be the
    // real one: what an image calls /dev/null can be a link to anything (CVE-2025-31133).
    let null = root.resolve_literally("/dev/null").map_err(io).context(|| "open /dev/null of the container")?;
    let stat = fstat(&null).map_err(io)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::CharacterDevice || stat.st_rdev != makedev(1, 3) {
        return Err(Error::permission_denied(
            "/dev/null in the container is not the null device; paths cannot be masked with it",
        ));
    }
    let null_path = proc_path(null.as_fd());
    let mut empty: Option<OwnedFd> = None;
    let mut done = Batch::default();
    for path in paths {
        let target = match root.resolve_anchored(path) {
            Ok(target) => target,
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            Err(error) => return Err(io(error)).context(|| format!("mask path {path}")),
        };
        let result = (|| {
            let place = proc_path(target.as_fd());
            // Most are files; one cannot be put on a directory.
            match mount_bind(&null_path, &place) {
                Err(Errno::NOTDIR) => {}
                result => return result.map_err(io),
            }
            if let Some(first) = &empty {
                // One filesystem serves all of them.
                return mount_bind(proc_path(first.as_fd()), &place).map_err(io);
            }
            let data = crate::plan::mounts::labelled("nr_blocks=1,nr_inodes=1", label)?;
            mount(c"tmpfs", &place, c"tmpfs", MountFlags::RDONLY, data.as_c_str()).map_err(io)?;
            // The path is looked up again; in a volume that others change, it can lead elsewhere by now.
            empty = root.resolve_anchored(path).ok().filter(is_empty_tmpfs);
            Ok(())
        })();
        result.context(|| format!("mask path {path}"))?;
        done.add(target);
    }
    Ok(())
}

/// Whether a handle is one of a read-only tmpfs, which the mask is.
fn is_empty_tmpfs(handle: &OwnedFd) -> bool {
    const TMPFS_MAGIC: i64 = 0x0102_1994;
    rustix::fs::fstatfs(handle).is_ok_and(|s| s.f_type == TMPFS_MAGIC && s.f_files == 1)
}

/// Makes paths read-only with everything mounted below. Missing ones stay so.
pub(crate) fn readonly(paths: &[String], root: &Root) -> Result<()> {
    const READONLY: AttrChange = AttrChange { set: RDONLY, clear: 0 };
    let mut done = Batch::default();
    for path in paths {
        let target = match root.resolve_anchored(path) {
            Ok(target) => target,
            Err(Errno::NOENT | Errno::NOTDIR) => continue,
            Err(error) => return Err(io(error)).context(|| format!("make path {path} read-only")),
        };
        let result = (|| match clone_tree_with(target.as_fd(), c"", true, READONLY) {
            Ok(tree) => {
                attach(tree.as_fd(), target.as_fd())?;
                done.add(tree);
                Ok(())
            }
            Err(error) if error.raw_os_error() == Some(Errno::NOSYS.raw_os_error()) => {
                attach(clone_tree(target.as_fd(), c"", true)?.as_fd(), target.as_fd())?;
                super::mount_flags::make_readonly(&root.resolve_anchored(path).map_err(io)?)
            }
            Err(error) => Err(error.into()),
        })();
        result.context(|| format!("make path {path} read-only"))?;
        done.add(target);
    }
    Ok(())
}

/// Sets kernel parameters through the host's procfs, which shows them of the namespaces the caller is in. The
/// container's own procfs could be something else by now.
pub(crate) fn sysctl(parameters: &[(String, String)]) -> Result<()> {
    if parameters.is_empty() {
        return Ok(());
    }
    let proc = Procfs::open()?;
    for (path, value) in parameters {
        proc.write(&format!("sys/{path}"), value.as_bytes())
            .context(|| format!("linux.sysctl: write sysctl {}={value}", path.replace('/', ".")))?;
    }
    Ok(())
}
