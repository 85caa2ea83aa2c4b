//! What docker's cp asks before it copies.

use super::resolve::{evaluate, find};
use crate::Result;
use oci::Timestamp;
use rustix::fs::FileType;
use serde::{Deserialize, Serialize};
use std::os::fd::AsFd;

/// One path in a container, as the Engine API's `X-Docker-Container-Path-Stat` header has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathStat {
    /// The last component of the path asked for.
    pub name: String,
    /// Length in bytes.
    pub size: u64,
    /// Go's `os.FileMode`: permission bits below, type bits above.
    pub mode: u32,
    /// Time of the last change.
    pub mtime: Timestamp,
    /// For a symbolic link, where it leads inside the container; else empty.
    #[serde(rename = "linkTarget")]
    pub link_target: String,
}

/// Looks at `path` below `root` without following its last component, unless it ends in `/` or `/.`.
/// [`oci::Kind::NotFound`] if nothing is there.
pub fn stat_in_root(root: impl AsFd, path: &str) -> Result<PathStat> {
    let found = find(root.as_fd(), path.as_bytes())?;
    let link_target = if found.kind() == FileType::Symlink {
        String::from_utf8_lossy(&evaluate(root.as_fd(), path.as_bytes())?).into_owned()
    } else {
        String::new()
    };
    Ok(PathStat {
        name: String::from_utf8_lossy(&found.base).into_owned(),
        size: found.stat.st_size as u64,
        mode: go_mode(found.stat.st_mode),
        mtime: Timestamp::from_unix(found.stat.st_mtime, found.stat.st_mtime_nsec as u32),
        link_target,
    })
}

/// A mode in the bits of Go's `os.FileMode`.
fn go_mode(mode: u32) -> u32 {
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => 1 << 31,
        FileType::Symlink => 1 << 27,
        FileType::BlockDevice => 1 << 26,
        FileType::CharacterDevice => 1 << 26 | 1 << 21,
        FileType::Fifo => 1 << 25,
        FileType::Socket => 1 << 24,
        _ => 0,
    };
    let special = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    let special = special.iter().filter(|(bit, _)| mode & bit != 0).map(|(_, go)| go).sum::<u32>();
    kind | special | mode & 0o777
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_gos() {
        assert_eq!(go_mode(0o100644), 0o644);
        assert_eq!(go_mode(0o040755), 0x8000_0000 | 0o755);
        assert_eq!(go_mode(0o104755), 0x0080_0000 | 0o755);
        assert_eq!(go_mode(0o120777), 0x0800_0000 | 0o777);
        assert_eq!(go_mode(0o041777), 0x8010_0000 | 0o777);
        assert_eq!(go_mode(0o020666), 0x0420_0000 | 0o666);
    }
}
