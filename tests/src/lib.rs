//! The small vocabulary that system tests are written in: a private world, a node in it, a
//! registry beside it, images made from Debian's packages, and a sweep that finds what leaked.
//!
//! ```text
//! World   namespaces of this test's own (net, mount), a directory, a cgroup parent; gone on drop
//!   Node      a sampand in the world: docker(), sampan(), kill9(), start(), sweep()
//!   Registry  Debian's docker-registry on loopback in the world
//!   peers     Debian's dockerd, containerd and podman in the world
//!   images    OCI layouts made once per checkout: busybox, a minimal Debian in several layers
//! ```

pub mod hostile;
pub mod images;
mod node;
pub mod peers;
mod proc;
mod registry;
pub mod terminal;
mod world;

pub use node::{Node, NodeOptions};
pub use proc::{Ran, run, wait_until};
pub use registry::Registry;
pub use world::World;

use std::path::{Path, PathBuf};

/// The root of the checkout.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_path_buf()
}

/// Where the programs under test are: `SAMPAN_BIN`, or `target/bin` of the checkout.
pub fn bin_dir() -> PathBuf {
    std::env::var_os("SAMPAN_BIN").map_or_else(|| workspace().join("target/bin"), PathBuf::from)
}

/// The path of one of our programs.
///
/// # Panics
/// If it has not been built.
pub fn program(name: &str) -> PathBuf {
    let path = bin_dir().join(name);
    assert!(path.exists(), "{} does not exist: run `make build` first, or set SAMPAN_BIN", path.display());
    path
}

/// The path of a peer's program, or `None` with the reason printed.
pub fn peer(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|candidate| candidate.exists());
    if found.is_none() {
        println!("SKIPPED: {name} is not installed here; `make peers` installs it");
    }
    found
}
