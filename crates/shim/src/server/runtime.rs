//! runc's command line, and what it leaves behind to be read.

use oci::{Context, Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use wire::runc_options::Options;

/// Which OCI runtime drives a container, and how. Kept in the bundle, so that the `delete` action knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Runtime {
    pub(super) binary: PathBuf,
    pub(super) root: PathBuf,
    pub(super) systemd_cgroup: bool,
    pub(super) no_pivot: bool,
    pub(super) no_new_keyring: bool,
}

/// The most of a runtime's log that is read for its error.
const LOG_LIMIT: u64 = 1 << 20;

fn file(bundle: &Path) -> PathBuf {
    bundle.join("runtime.json")
}

impl Runtime {
    /// From the options of a create request; the defaults are `sampan-runtime` beside this program (or in PATH), and
    /// the directory `runc` beside the daemon's socket, which for containerd is where people look for it.
    pub(super) fn new(options: &Options, address: &Path, namespace: &str) -> Self {
        let binary = if options.binary_name.is_empty() { default_binary() } else { options.binary_name.clone().into() };
        let beside = address.parent().filter(|p| p.is_absolute()).unwrap_or(Path::new("/run/containerd"));
        let root = if options.root.is_empty() { beside.join("runc") } else { PathBuf::from(&options.root) };
        Self {
            binary,
            root: root.join(namespace),
            systemd_cgroup: options.systemd_cgroup,
            no_pivot: options.no_pivot_root,
            no_new_keyring: options.no_new_keyring,
        }
    }

    pub(super) fn save(&self, bundle: &Path) -> Result<()> {
        let text = serde_json::to_vec(self).map_err(|e| Error::internal("encode runtime.json").with_source(e))?;
        std::fs::write(file(bundle), text).context(|| format!("write {}", file(bundle).display()))
    }

    pub(super) fn load(bundle: &Path) -> Result<Option<Self>> {
        match std::fs::read(file(bundle)) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| Error::corrupt(format!("read {}", file(bundle).display())).with_source(error)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context(|| format!("read {}", file(bundle).display())),
        }
    }

    /// The command with its global flags; the log is a new file.
    pub(super) fn command(&self, bundle: &Path, log: &Path) -> Command {
        // What an earlier command wrote must not be taken for this one's error.
        let _ = std::fs::remove_file(log);
        let mut command = Command::new(&self.binary);
        command.arg("--root").arg(&self.root).arg("--log").arg(log).args(["--log-format", "json"]);
        if self.systemd_cgroup {
            command.arg("--systemd-cgroup");
        }
        command.current_dir(bundle).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// The runtime's name, for messages.
    pub(super) fn name(&self) -> String {
        self.binary.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

fn default_binary() -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join("sampan-runtime")));
    match beside {
        Some(path) if path.exists() => path,
        _ => "sampan-runtime".into(),
    }
}

#[derive(Deserialize)]
struct LogLine {
    #[serde(default)]
    level: String,
    #[serde(default)]
    msg: String,
}

/// The last error in a runtime's JSON log.
pub(super) fn last_error(log: &Path) -> Option<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(log).ok()?.take(LOG_LIMIT).read_to_string(&mut text).ok()?;
    let mut lines = text.lines().filter_map(|line| serde_json::from_str::<LogLine>(line).ok());
    lines.rfind(|l| matches!(l.level.as_str(), "error" | "fatal")).map(|l| l.msg)
}
