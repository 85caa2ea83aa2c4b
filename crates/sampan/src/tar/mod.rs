//! Archives for `cp`: POSIX tar with pax headers written, and GNU's long names read as well.
//!
//! - [`Reader`]: bytes into entries; [`extract`]: entries into a directory, by handles and never through a link
//! - [`Builder`]: files into bytes

mod build;
mod extract;
mod read;

pub(crate) use build::Builder;
pub(crate) use extract::{Extract, extract};
pub(crate) use read::Reader;

/// The size of a block.
const BLOCK: usize = 512;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Link,
    Symlink,
    Character,
    Block,
    Directory,
    Fifo,
}

/// An entry's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    /// Permission bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    /// Seconds since the epoch.
    pub(crate) mtime: i64,
    /// The target of a link.
    pub(crate) target: Vec<u8>,
    pub(crate) device: (u32, u32),
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::path::{Path, PathBuf};

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("sampan-test-{}-{name}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn archive(source: &Path, name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut builder = Builder::new(&mut bytes);
        builder.add_tree(source, name.as_bytes()).unwrap();
        builder.finish().unwrap();
        bytes
    }

    fn entry(path: &str, kind: Kind) -> Entry {
        Entry {
            path: path.into(),
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: 0,
            target: Vec::new(),
            device: (0, 0),
        }
    }

    #[test]
    fn a_tree_survives_the_way() {
        let scratch = Scratch::new("tree");
        let source = scratch.0.join("src");
        let long = "long-".repeat(40);
        std::fs::create_dir_all(source.join("sub")).unwrap();
        std::fs::write(source.join("a"), "hello").unwrap();
        std::fs::write(source.join("sub").join(&long), vec![7u8; 100_000]).unwrap();
        std::fs::write(source.join("ünï"), "").unwrap();
        std::fs::hard_link(source.join("a"), source.join("sub/b")).unwrap();
        std::os::unix::fs::symlink("../a", source.join("sub/link")).unwrap();
        std::fs::set_permissions(source.join("a"), std::fs::Permissions::from_mode(0o4751)).unwrap();

        let bytes = archive(&source, "new");
        let target = scratch.0.join("dst");
        std::fs::create_dir(&target).unwrap();
        let rule = Extract { first: Some(b"renamed".to_vec()), owners: false };
        extract(&mut bytes.as_slice(), &target, &rule).unwrap();

        let made = target.join("renamed");
        assert_eq!(std::fs::read_to_string(made.join("a")).unwrap(), "hello");
        assert_eq!(std::fs::read(made.join("sub").join(&long)).unwrap(), vec![7u8; 100_000]);
        assert_eq!(std::fs::read_link(made.join("sub/link")).unwrap(), PathBuf::from("../a"));
        assert!(made.join("ünï").exists());
        let (a, b) = (std::fs::metadata(made.join("a")).unwrap(), std::fs::metadata(made.join("sub/b")).unwrap());
        assert_eq!((a.ino(), a.mode() & 0o7777), (b.ino(), 0o4751));
    }

    #[test]
    fn an_archive_stays_in_its_directory() {
        let scratch = Scratch::new("evil");
        let target = scratch.0.join("dst");
        std::fs::create_dir(&target).unwrap();
        std::fs::write(scratch.0.join("secret"), "untouched").unwrap();
        let rule = Extract { first: None, owners: false };
        for (name, entries) in [
            ("parent", vec![Entry { size: 1, ..entry("../secret", Kind::File) }]),
            (
                "through a link",
                vec![
                    Entry { target: b"..".into(), ..entry("up", Kind::Symlink) },
                    Entry { size: 1, ..entry("up/secret", Kind::File) },
                ],
            ),
            ("hard link", vec![Entry { target: b"../secret".into(), ..entry("hard", Kind::Link) }]),
        ] {
            let mut bytes = Vec::new();
            let mut builder = Builder::new(&mut bytes);
            for entry in &entries {
                builder.add(entry, &mut &b"x"[..]).unwrap();
            }
            builder.finish().unwrap();
            assert!(extract(&mut bytes.as_slice(), &target, &rule).is_err(), "{name}");
            assert_eq!(std::fs::read_to_string(scratch.0.join("secret")).unwrap(), "untouched", "{name}");
        }
        // An absolute path is one below the directory.
        let mut bytes = Vec::new();
        let mut builder = Builder::new(&mut bytes);
        builder.add(&Entry { size: 1, ..entry("/inside", Kind::File) }, &mut &b"x"[..]).unwrap();
        builder.finish().unwrap();
        extract(&mut bytes.as_slice(), &target, &rule).unwrap();
        assert!(target.join("inside").exists());
    }

    #[test]
    fn broken_archives_are_refused() {
        let scratch = Scratch::new("broken");
        let file = scratch.0.join("f");
        std::fs::write(&file, vec![1u8; 3000]).unwrap();
        let whole = archive(&file, "f");
        let rule = Extract { first: None, owners: false };
        for cut in [100, 512, 1000, 3000] {
            assert!(extract(&mut &whole[..cut], &scratch.0, &rule).is_err(), "cut at {cut}");
        }
        let mut flipped = whole;
        flipped[0] ^= 1;
        assert!(extract(&mut flipped.as_slice(), &scratch.0, &rule).is_err());
        let mut reader = Reader::new(&[][..]);
        assert!(reader.next().unwrap().is_none());
        let mut text = String::new();
        reader.data().read_to_string(&mut text).unwrap();
    }
}
