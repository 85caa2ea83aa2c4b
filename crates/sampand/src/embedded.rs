//! Programs that the daemon carries inside; the build script compiles them.

use oci::{Context, Result};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The program of the built-in image `hello`.
pub static HELLO: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hello"));
/// The first process of containers with `--init`.
static INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/init"));

/// Writes the init program to `<root>/bin/sampan-init` and returns its path. A container that runs keeps the file it
/// has mounted: a new version replaces the name, not the file.
///
/// # Errors
/// If it can't be written.
pub fn install_init(root: &Path) -> Result<PathBuf> {
    let dir = root.join("bin");
    let path = dir.join("sampan-init");
    if std::fs::read(&path).is_ok_and(|present| present == INIT) {
        return Ok(path);
    }
    let fresh = dir.join("sampan-init.new");
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(&dir)?;
        let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o755).open(&fresh)?;
        file.write_all(INIT)?;
        file.sync_all()?;
        std::fs::rename(&fresh, &path)
    };
    write().context(|| format!("install the init program as {}", path.display()))?;
    Ok(path)
}
