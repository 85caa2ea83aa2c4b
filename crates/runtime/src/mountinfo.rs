//! The lines of `/proc/<pid>/mountinfo` (proc(5)).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// One mount.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) id: u64,
    /// The mount that it is on.
    pub(crate) parent: u64,
    /// What of the filesystem is seen.
    pub(crate) root: PathBuf,
    pub(crate) point: PathBuf,
    /// The peer group that it shares mounts with.
    pub(crate) group: Option<u64>,
    /// The filesystem's type.
    pub(crate) kind: String,
    /// The filesystem's options, not the mount's: `rw,cpu,cpuacct`.
    pub(crate) options: String,
}

/// `31 25 0:27 / /sys/fs/cgroup/pids rw,nosuid shared:9 - cgroup cgroup rw,pids`; nothing for what reads otherwise.
pub(crate) fn parse(line: &str) -> Option<Mount> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut of_filesystem = filesystem.split(' ');
    let (kind, options) = (of_filesystem.next()?, of_filesystem.nth(1)?);
    let mut fields = mount.split(' ');
    let (id, parent) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let (root, point) = (fields.nth(1)?, fields.next()?);
    let group = fields.skip(1).find_map(|field| field.strip_prefix("shared:")?.parse().ok());
    Some(Mount {
        id,
        parent,
        root: unescaped(root),
        point: unescaped(point),
        group,
        kind: kind.to_owned(),
        options: options.to_owned(),
    })
}

/// The kernel writes white space and backslashes as three octal digits.
fn unescaped(text: &str) -> PathBuf {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let octal = bytes.get(at + 1..at + 4).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| *byte == b'\\') {
            Some(value) => {
                plain.push(value);
                at += 4;
            }
            None => {
                plain.push(*byte);
                at += 1;
            }
        }
    }
    OsString::from_vec(plain).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_apart() {
        let mount = parse("22 1 0:20 /x\\040y /a\\040b\\134 rw,nosuid master:3 shared:5 - proc none rw,hidepid=2");
        let expected = Mount {
            id: 22,
            parent: 1,
            root: "/x y".into(),
            point: "/a b\\".into(),
            group: Some(5),
            kind: "proc".into(),
            options: "rw,hidepid=2".into(),
        };
        assert_eq!(mount, Some(expected));
        assert_eq!(parse("23 1 0:21 / /sys rw - sysfs sysfs rw").and_then(|m| m.group), None);
        assert_eq!(parse("garbage"), None);
    }
}
