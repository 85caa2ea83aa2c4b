//! Exits on disk.
//!
//! ```text
//! <bundle>/exits/init.json        the container's own process
//! <bundle>/exits/exec-<id>.json   an exec
//! ```
//!
//! Written (to a temporary name, then renamed) before anyone is told, so that an exit survives the shim and the daemon.

use oci::{Context, Error, Kind, Result, Timestamp};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its pid on the host.
    pub pid: u32,
    /// 0 to 255; 128+n for signal n.
    pub status: u32,
    /// When the shim saw it end.
    pub exited_at: Timestamp,
    /// The kernel killed a process of the container for want of memory while this one ran.
    #[serde(default)]
    pub oom_killed: bool,
}

fn path(bundle: &Path, exec_id: &str) -> PathBuf {
    let name = if exec_id.is_empty() { "init.json".into() } else { format!("exec-{exec_id}.json") };
    bundle.join("exits").join(name)
}

/// The exit of the container's process (`exec_id` empty) or of an exec, if it has ended.
///
/// # Errors
/// If the file can't be read or is damaged.
pub fn read(bundle: &Path, exec_id: &str) -> Result<Option<Exit>> {
    let path = path(bundle, exec_id);
    let what = || format!("read exit {}", path.display());
    match std::fs::read(&path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map(Some).map_err(|error| Error::corrupt(what()).with_source(error))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context(what),
    }
}

/// Keeps an exit.
///
/// # Errors
/// If it can't be written.
pub fn write(bundle: &Path, exec_id: &str, exit: &Exit) -> Result<()> {
    let path = path(bundle, exec_id);
    let what = || format!("write exit {}", path.display());
    let bytes = serde_json::to_vec(exit).map_err(|error| Error::internal(what()).with_source(error))?;
    let temporary = path.with_extension("tmp");
    let attempt = || -> std::io::Result<()> {
        std::fs::create_dir_all(bundle.join("exits"))?;
        std::fs::write(&temporary, &bytes)?;
        std::fs::rename(&temporary, &path)
    };
    attempt().context(what)
}

/// Forgets an exit: before a new run with the same bundle, and when an exec is deleted.
///
/// # Errors
/// If it is there and can't be removed.
pub fn remove(bundle: &Path, exec_id: &str) -> Result<()> {
    match std::fs::remove_file(path(bundle, exec_id)).context(|| "remove exit") {
        Err(error) if error.kind() != Kind::NotFound => Err(error),
        _ => Ok(()),
    }
}
