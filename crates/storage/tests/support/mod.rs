//! What the tests share: stores in temporary directories, layers made by GNU tar, mounts, listings.
#![allow(dead_code, unreachable_pub, reason = "each test program uses a part")]

use oci::Digest;
use oci::image::{Descriptor, media};
use sampan_storage as storage;
use sampan_storage::{LayerSpec, Mount, Options, Store, digest_of};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A store in a directory that goes away with it.
pub struct Fixture {
    pub store: Store,
    pub temp: tempfile::TempDir,
}

pub fn fixture() -> Fixture {
    let temp = tempfile::Builder::new().prefix("sampan-test-").tempdir().unwrap();
    let store = Store::open(&temp.path().join("root"), Options::default()).unwrap();
    Fixture { store, temp }
}

impl Fixture {
    /// Closes the store and opens it again.
    pub fn reopen(self) -> Self {
        let Self { store, temp } = self;
        drop(store);
        let store = Store::open(&temp.path().join("root"), Options::default()).unwrap();
        Self { store, temp }
    }

    pub fn dir(&self, name: &str) -> PathBuf {
        let path = self.temp.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }
}

/// Runs a shell script in `dir`; panics with its output if it fails.
pub fn sh(dir: &Path, script: &str) -> String {
    let output = Command::new("bash").args(["-euc", script]).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn have(program: &str) -> bool {
    Command::new("sh").args(["-c", &format!("command -v {program}")]).output().is_ok_and(|o| o.status.success())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    None,
    Gzip,
    Zstd,
}

pub fn pack(tar: &[u8], packing: Packing) -> (Vec<u8>, &'static str) {
    match packing {
        Packing::None => (tar.to_vec(), media::OCI_LAYER),
        Packing::Gzip => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            out.write_all(tar).unwrap();
            (out.finish().unwrap(), media::OCI_LAYER_GZIP)
        }
        Packing::Zstd => (zstd::encode_all(tar, 1).unwrap(), media::OCI_LAYER_ZSTD),
    }
}

/// A layer's specification for these bytes.
pub fn spec(blob: &[u8], media_type: &str, tar: &[u8], snapshotter: &str) -> LayerSpec {
    let digest = digest_of(blob);
    LayerSpec {
        key: format!("layer-{digest}"),
        descriptor: Descriptor::new(media_type, digest, blob.len() as u64),
        diff_id: Some(digest_of(tar)),
        snapshotter: snapshotter.into(),
    }
}

/// Sends a tar through a sink, in pieces of an odd size.
pub fn receive(store: &Store, tar: &[u8], packing: Packing, snapshotter: &str) -> oci::Result<storage::StagedLayer> {
    let (blob, media_type) = pack(tar, packing);
    let mut sink = store.layer_sink(&spec(&blob, media_type, tar, snapshotter))?;
    for part in blob.chunks(7919) {
        sink.write(part)?;
    }
    sink.finish()
}

/// Mounts in a directory, unmounted at the end.
pub struct Mounted(pub PathBuf);

pub fn mount(mounts: &[Mount], at: &Path) -> Mounted {
    std::fs::create_dir_all(at).unwrap();
    for mount in mounts {
        let mut command = Command::new("mount");
        let options = mount.options.join(",");
        match mount.kind.as_str() {
            "bind" => command.args(["--bind", "-o", &options.replace(",rbind", "")]),
            kind => command.args(["-t", kind, "-o", &options]),
        };
        let output = command.arg(&mount.source).arg(at).output().unwrap();
        assert!(output.status.success(), "{mount:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Mounted(at.to_owned())
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Extended attributes, overlayfs's own left out.
pub fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 4096];
    let n = rustix::fs::llistxattr(path, names.as_mut_slice()).unwrap();
    let names = String::from_utf8(names[..n].to_vec()).unwrap();
    let names = names.split('\0').filter(|name| !name.is_empty() && !name.starts_with("trusted.overlay"));
    names
        .map(|name| {
            let mut value = vec![0; 4096];
            let n = rustix::fs::lgetxattr(path, name, value.as_mut_slice()).unwrap();
            (name.to_owned(), value[..n].to_vec())
        })
        .collect()
}

pub fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
}

fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Everything below `root`, one line for each: type, mode, owner, time, and contents.
pub fn listing(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    list(root, b"", &mut found);
    found
}

fn list(path: &Path, name: &[u8], found: &mut BTreeMap<String, String>) {
    let meta = std::fs::symlink_metadata(path).unwrap();
    let kind = meta.file_type();
    let mut line = format!("{:o} {}:{} t={}.{}", meta.mode(), meta.uid(), meta.gid(), meta.mtime(), meta.mtime_nsec());
    if kind.is_file() {
        let mut bytes = Vec::new();
        std::fs::File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
        write!(line, " size={} links={} {}", bytes.len(), meta.nlink(), digest_of(&bytes).short()).unwrap();
    } else if kind.is_symlink() {
        write!(line, " -> {}", escaped(std::fs::read_link(path).unwrap().as_os_str().as_bytes())).unwrap();
    } else if kind.is_char_device() || kind.is_block_device() {
        write!(line, " device={:#x}", meta.rdev()).unwrap();
    }
    for (key, value) in xattrs(path) {
        write!(line, " {key}={}", escaped(&value)).unwrap();
    }
    found.insert(escaped(name), line);
    if kind.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let child = [name, if name.is_empty() { b"" } else { b"/" }, entry.file_name().as_bytes()].concat();
            list(&entry.path(), &child, found);
        }
    }
}

/// Compares listings and prints only what differs.
pub fn assert_same(found: &BTreeMap<String, String>, expected: &BTreeMap<String, String>) {
    let mut text = String::new();
    for key in found.keys().chain(expected.keys().filter(|k| !found.contains_key(*k))) {
        let (a, b) = (found.get(key), expected.get(key));
        if a != b {
            writeln!(text, "{key}\n  found    {a:?}\n  expected {b:?}").unwrap();
        }
    }
    assert!(text.is_empty(), "{text}");
}

pub fn sha512(bytes: &[u8]) -> Digest {
    use sha2::Digest as _;
    let mut text = String::from("sha512:");
    for byte in sha2::Sha512::digest(bytes) {
        write!(text, "{byte:02x}").unwrap();
    }
    text.parse().unwrap()
}

/// Files below the store's root that only a leak would leave.
pub fn leftovers(store: &Store) -> Vec<String> {
    let mut found = Vec::new();
    for dir in ["trash", "content/ingest", "snapshots/overlayfs/staging", "snapshots/native/staging"] {
        for entry in std::fs::read_dir(store.path().join(dir)).unwrap() {
            found.push(format!("{dir}/{}", entry.unwrap().file_name().to_string_lossy()));
        }
    }
    found
}
