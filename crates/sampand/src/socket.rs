//! The door's Unix socket: made with its rights, taken over from a daemon that is gone, removed at the end.

use oci::{Context, Error, Result};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;

/// Owner and group may connect.
const MODE: u32 = 0o660;

/// What tells one file from the next at the same path: inode numbers alone are used again.
type Identity = (u64, u64, i64, i64);

fn identity(path: &Path) -> std::io::Result<Identity> {
    let found = std::fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino(), found.ctime(), found.ctime_nsec()))
}

/// A listening socket whose name goes with it.
pub struct Socket {
    path: PathBuf,
    identity: Identity,
}

impl Socket {
    /// Listens at `path`, for root and `group` (if that exists).
    ///
    /// # Errors
    /// `AlreadyExists` if a daemon answers there, or something else than a socket is in the way.
    pub fn listen(path: &Path, group: Option<&str>) -> Result<(Self, UnixListener)> {
        if let Some(dir) = path.parent() {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o755)
                .create(dir)
                .context(|| format!("make {}", dir.display()))?;
        }
        clear(path)?;
        // Bound under another name, so that nobody connects before the rights are set.
        let fresh = path.with_extension(format!("new-{}", std::process::id()));
        let _ = std::fs::remove_file(&fresh);
        let listen = || -> std::io::Result<(UnixListener, Identity)> {
            let listener = UnixListener::bind(&fresh)?;
            chown(&fresh, None, group.and_then(group_id))?;
            std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(MODE))?;
            std::fs::rename(&fresh, path)?;
            Ok((listener, identity(path)?))
        };
        match listen() {
            Ok((listener, identity)) => Ok((Self { path: path.into(), identity }, listener)),
            Err(error) => {
                let _ = std::fs::remove_file(&fresh);
                Err(error).context(|| format!("listen at {}", path.display()))
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Another daemon may have taken the name over.
        if identity(&self.path).is_ok_and(|found| found == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Removes the socket of a daemon that is gone.
fn clear(path: &Path) -> Result<()> {
    let Ok(found) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(Error::already_exists(format!("{} exists and is no socket; remove it", path.display())));
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(Error::already_exists(format!(
            "another daemon serves {}; stop it, or choose another with --docker-socket",
            path.display()
        ))),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).context(|| format!("remove the old socket {}", path.display()))
        }
        Err(error) => Err(error).context(|| format!("look at the old socket {}", path.display())),
    }
}

/// A group's number, from the machine's own list.
fn group_id(name: &str) -> Option<u32> {
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_taken_over_and_a_live_one_is_not() {
        let dir = std::env::temp_dir().join(format!("sampan-test-{}-socket", std::process::id()));
        let path = dir.join("deep/d.sock");
        let (first, listener) = Socket::listen(&path, None).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, MODE);
        let error = Socket::listen(&path, None).map(|_| ()).unwrap_err();
        assert!(error.message().contains("another daemon"), "{error}");
        drop(listener);
        let (second, _listener) = Socket::listen(&path, None).unwrap();
        drop(first);
        assert!(path.exists(), "the first one removed the second one's name");
        drop(second);
        assert!(!path.exists());
        std::fs::write(&path, "x").unwrap();
        assert!(Socket::listen(&path, None).map(|_| ()).unwrap_err().message().contains("no socket"));
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn groups_of_the_machine() {
        assert_eq!(group_id("root"), Some(0));
        assert_eq!(group_id("no-such-group-here"), None);
    }
}
