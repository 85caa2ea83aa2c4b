//! Reading extended attributes.

use crate::Result;
use crate::fs::Sys;
use rustix::io::Errno;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Names and values of a file's attributes.
pub(crate) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// The attributes of an open file.
pub(crate) fn read(fd: BorrowedFd<'_>) -> Result<Xattrs> {
    read_by(|buffer| rustix::fs::flistxattr(fd, buffer), |name, buffer| rustix::fs::fgetxattr(fd, name, buffer))
}

/// The attributes of `name` in `dir`, which is not followed. No call takes the two apart, so the
/// directory is reached through its handle in /proc.
pub(crate) fn read_at(dir: BorrowedFd<'_>, name: &CStr) -> Result<Xattrs> {
    let path = [format!("/proc/self/fd/{}/", dir.as_raw_fd()).as_bytes(), name.to_bytes()].concat();
    read_by(
        |buffer| rustix::fs::llistxattr(path.as_slice(), buffer),
        |name, buffer| rustix::fs::lgetxattr(path.as_slice(), name, buffer),
    )
}

fn read_by(
    list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    get: impl Fn(&[u8], &mut [u8]) -> rustix::io::Result<usize>,
) -> Result<Xattrs> {
    let names = match grow(&list) {
        Ok(names) => names,
        Err(Errno::NOTSUP | Errno::NOENT) => return Ok(Vec::new()),
        Err(e) => return Err(e).what(|| "list extended attributes"),
    };
    let mut found = Vec::new();
    for name in names.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        match grow(&|buffer| get(name, buffer)) {
            Ok(value) => found.push((name.to_vec(), value)),
            // Removed meanwhile, or not for us.
            Err(Errno::NODATA | Errno::NOTSUP | Errno::PERM | Errno::ACCESS) => {}
            Err(e) => return Err(e).what(|| "read an extended attribute"),
        }
    }
    Ok(found)
}

/// Calls with a larger buffer until all fits; the kernel's bound is 64 KiB.
fn grow(call: &dyn Fn(&mut [u8]) -> rustix::io::Result<usize>) -> rustix::io::Result<Vec<u8>> {
    let mut size = 256;
    loop {
        let mut buffer = vec![0; size];
        match call(&mut buffer) {
            Ok(n) => {
                buffer.truncate(n);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if size < 128 << 10 => size *= 8,
            Err(e) => return Err(e),
        }
    }
}
