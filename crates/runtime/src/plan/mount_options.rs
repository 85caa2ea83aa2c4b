//! The words of mount options, and what they mean to the kernel.

use sys::mount_attr as attr;

/// Attribute bits of `mount_setattr(2)`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct AttrChange {
    pub(crate) set: u64,
    pub(crate) clear: u64,
}

/// Flags of a mount by the words of its options.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FlagWords {
    /// `MS_*` bits named.
    pub(crate) set: u64,
    /// `MS_*` bits whose opposite was named (`rw`, `suid`).
    pub(crate) cleared: u64,
}

impl FlagWords {
    /// The change that gives a mount these flags and no others, as `mount --bind -o` and runc have it. Access times
    /// stay as they are unless they are named; the opposite of one of their words (`atime`, `norelatime`) names none, as
    /// under runc.
    pub(crate) fn exact(self) -> AttrChange {
        let mut change = AttrChange::default();
        for (ms, bit) in PLAIN {
            if self.set & ms != 0 {
                change.set |= bit;
            } else {
                change.clear |= bit;
            }
        }
        if self.set & MS_ATIMES != 0 {
            change.clear |= attr::ATIME;
            change.set |= match self.set {
                bits if bits & MS_STRICTATIME != 0 => attr::STRICTATIME,
                bits if bits & MS_NOATIME != 0 => attr::NOATIME,
                _ => 0,
            };
            if self.set & MS_NODIRATIME != 0 {
                change.set |= attr::NODIRATIME;
            } else {
                change.clear |= attr::NODIRATIME;
            }
        }
        change
    }
}

/// Flags that are one bit, for mount(2) and for `mount_setattr(2)`.
pub(crate) const PLAIN: [(u64, u64); 5] = [
    (MS_RDONLY, attr::RDONLY),
    (MS_NOSUID, attr::NOSUID),
    (MS_NODEV, attr::NODEV),
    (MS_NOEXEC, attr::NOEXEC),
    (MS_NOSYMFOLLOW, attr::NOSYMFOLLOW),
];

pub(crate) const MS_RDONLY: u64 = 1;
pub(crate) const MS_NOSUID: u64 = 2;
pub(crate) const MS_NODEV: u64 = 4;
pub(crate) const MS_NOEXEC: u64 = 8;
const MS_SYNCHRONOUS: u64 = 16;
pub(crate) const MS_REMOUNT: u64 = 32;
const MS_MANDLOCK: u64 = 64;
const MS_DIRSYNC: u64 = 128;
pub(crate) const MS_NOSYMFOLLOW: u64 = 256;
pub(crate) const MS_NOATIME: u64 = 1024;
pub(crate) const MS_NODIRATIME: u64 = 2048;
const MS_SILENT: u64 = 32768;
const MS_POSIXACL: u64 = 1 << 16;
pub(crate) const MS_RELATIME: u64 = 1 << 21;
const MS_I_VERSION: u64 = 1 << 23;
pub(crate) const MS_STRICTATIME: u64 = 1 << 24;
const MS_LAZYTIME: u64 = 1 << 25;
pub(crate) const MS_BIND: u64 = 4096;
pub(crate) const MS_REC: u64 = 16384;
pub(crate) const MS_UNBINDABLE: u64 = 1 << 17;
pub(crate) const MS_PRIVATE: u64 = 1 << 18;
pub(crate) const MS_SLAVE: u64 = 1 << 19;
pub(crate) const MS_SHARED: u64 = 1 << 20;

/// All that is about access times.
pub(crate) const MS_ATIMES: u64 = MS_NOATIME | MS_NODIRATIME | MS_RELATIME | MS_STRICTATIME;

/// Option, `MS_*` bits it sets, `MS_*` bits it clears, attribute bits it sets, attribute bits it clears.
type Row = (&'static str, u64, u64, u64, u64);

/// Options that set or clear a flag. Those with attribute bits exist with an `r` in front for the whole tree.
const FLAGS: [Row; 29] = [
    ("acl", MS_POSIXACL, 0, 0, 0),
    ("async", 0, MS_SYNCHRONOUS, 0, 0),
    ("atime", 0, MS_NOATIME, 0, attr::ATIME),
    ("defaults", 0, 0, 0, 0),
    ("dev", 0, MS_NODEV, 0, attr::NODEV),
    ("diratime", 0, MS_NODIRATIME, 0, attr::NODIRATIME),
    ("dirsync", MS_DIRSYNC, 0, 0, 0),
    ("exec", 0, MS_NOEXEC, 0, attr::NOEXEC),
    ("iversion", MS_I_VERSION, 0, 0, 0),
    ("lazytime", MS_LAZYTIME, 0, 0, 0),
    ("loud", 0, MS_SILENT, 0, 0),
    ("mand", MS_MANDLOCK, 0, 0, 0),
    ("noacl", 0, MS_POSIXACL, 0, 0),
    ("noatime", MS_NOATIME, 0, attr::NOATIME, attr::ATIME),
    ("nodev", MS_NODEV, 0, attr::NODEV, 0),
    ("nodiratime", MS_NODIRATIME, 0, attr::NODIRATIME, 0),
    ("noexec", MS_NOEXEC, 0, attr::NOEXEC, 0),
    ("noiversion", 0, MS_I_VERSION, 0, 0),
    ("nolazytime", 0, MS_LAZYTIME, 0, 0),
    ("nomand", 0, MS_MANDLOCK, 0, 0),
    ("nosuid", MS_NOSUID, 0, attr::NOSUID, 0),
    ("nosymfollow", MS_NOSYMFOLLOW, 0, attr::NOSYMFOLLOW, 0),
    ("remount", MS_REMOUNT, 0, 0, 0),
    ("ro", MS_RDONLY, 0, attr::RDONLY, 0),
    ("rw", 0, MS_RDONLY, 0, attr::RDONLY),
    ("silent", MS_SILENT, 0, 0, 0),
    ("suid", 0, MS_NOSUID, 0, attr::NOSUID),
    ("symfollow", 0, MS_NOSYMFOLLOW, 0, attr::NOSYMFOLLOW),
    ("sync", MS_SYNCHRONOUS, 0, 0, 0),
];

/// Options about access times, which are one choice among several and not single flags.
const TIMES: [Row; 4] = [
    ("norelatime", 0, MS_RELATIME, 0, attr::ATIME),
    ("nostrictatime", 0, MS_STRICTATIME, 0, attr::ATIME),
    ("relatime", MS_RELATIME, 0, 0, attr::ATIME),
    ("strictatime", MS_STRICTATIME, 0, attr::STRICTATIME, attr::ATIME),
];

const PROPAGATION: [(&str, u64); 8] = [
    ("private", MS_PRIVATE),
    ("rprivate", MS_PRIVATE | MS_REC),
    ("rshared", MS_SHARED | MS_REC),
    ("rslave", MS_SLAVE | MS_REC),
    ("runbindable", MS_UNBINDABLE | MS_REC),
    ("shared", MS_SHARED),
    ("slave", MS_SLAVE),
    ("unbindable", MS_UNBINDABLE),
];

/// `MS_*` bits of a propagation word, for mounts and for `linux.rootfsPropagation`.
pub(crate) fn propagation(word: &str) -> Option<u64> {
    PROPAGATION.iter().find(|(name, _)| *name == word).map(|(_, bits)| *bits)
}

/// The words themselves, for messages.
pub(crate) fn propagation_names() -> String {
    PROPAGATION.map(|p| p.0).join(", ")
}

/// Every option understood, sorted, for `features`.
pub(crate) fn option_names() -> Vec<String> {
    let rows = || FLAGS.iter().chain(&TIMES);
    let mut names: Vec<String> =
        ["bind", "copy-symlink", "dest-nofollow", "idmap", "rbind", "ridmap", "src-nofollow", "tmpcopyup"]
            .map(String::from)
            .to_vec();
    names.extend(rows().map(|r| r.0.to_owned()));
    names.extend(rows().filter(|r| r.3 | r.4 != 0).map(|r| format!("r{}", r.0)));
    names.extend(PROPAGATION.iter().map(|p| p.0.to_owned()));
    names.sort();
    names
}

/// What is done with symbolic links themselves, instead of with what they lead to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Links {
    /// The source is bound as the link that it is.
    pub(crate) source: bool,
    /// The mount is put on the link that the destination is.
    pub(crate) destination: bool,
    /// A source that is a link is made anew at the destination.
    pub(crate) copy: bool,
}

/// The options of one mount, sorted by what acts on them.
#[derive(Default)]
pub(super) struct Options<'a> {
    pub(super) flags: FlagWords,
    /// `MS_BIND`, `MS_REC`.
    pub(super) bind: u64,
    pub(super) copy_up: bool,
    /// crun's options about symbolic links.
    pub(super) links: Links,
    /// Whether recursive.
    pub(super) id_map: Option<bool>,
    pub(super) recursive: AttrChange,
    pub(super) propagation: Vec<u64>,
    pub(super) data: Vec<&'a str>,
}

impl<'a> Options<'a> {
    pub(super) fn parse(words: &'a [String]) -> Self {
        let mut options = Self::default();
        let find = |name: &str| FLAGS.iter().chain(&TIMES).find(|r| r.0 == name);
        for word in words {
            match word.as_str() {
                "" => {}
                "bind" => options.bind |= MS_BIND,
                "rbind" => options.bind |= MS_BIND | MS_REC,
                "tmpcopyup" => options.copy_up = true,
                "src-nofollow" => options.links.source = true,
                "dest-nofollow" => options.links.destination = true,
                "copy-symlink" => options.links.copy = true,
                "idmap" => options.id_map = Some(false),
                "ridmap" => options.id_map = Some(true),
                name => {
                    if let Some(bits) = propagation(name) {
                        options.propagation.push(bits);
                    } else if let Some(row) = find(name) {
                        options.flags.set = options.flags.set & !row.2 | row.1;
                        options.flags.cleared = options.flags.cleared & !row.1 | row.2;
                    } else if let Some(row) = name.strip_prefix('r').and_then(find).filter(|r| r.3 | r.4 != 0) {
                        let change = &mut options.recursive;
                        change.set = change.set & !row.4 | row.3;
                        change.clear = (change.clear & !row.3) | row.4;
                    } else {
                        options.data.push(name);
                    }
                }
            }
        }
        // The kernel wants the whole access time mode cleared when one is set.
        if options.recursive.set & attr::ATIME != 0 {
            options.recursive.clear |= attr::ATIME;
        }
        options
    }
}
