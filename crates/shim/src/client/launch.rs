//! Running a shim's actions (containerd, core/runtime/v2/README.md).

use super::ShimClient;
use oci::{Context, Error, Result};
use prost::Message;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use wire::task::DeleteResponse;

/// How long an action may take.
const LIMIT: Duration = Duration::from_secs(30);
/// The most that an action may print.
const OUTPUT_LIMIT: usize = 1 << 20;

/// How to run a shim.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Its program.
    pub program: PathBuf,
    /// containerd namespace.
    pub namespace: String,
    /// The container's id.
    pub id: String,
    /// The bundle; the shim's working directory.
    pub bundle: PathBuf,
    /// The daemon's own socket. The shim puts its sockets into the directory `s` beside it.
    pub address: PathBuf,
    /// More messages in `<bundle>/shim.log`.
    pub debug: bool,
}

/// The path in a shim's address.
pub(super) fn socket_path(address: &str) -> Result<&Path> {
    let path = address.strip_prefix("unix://").unwrap_or(address);
    if path.starts_with('/') {
        return Ok(Path::new(path));
    }
    Err(Error::unsupported(format!("shim address {address:?}: only Unix sockets are supported")))
}

impl Launch {
    /// Runs the `start` action and connects to the shim it names (a new one, or the pod's).
    ///
    /// # Errors
    /// If the program can't be run, or says no; the message holds what it printed.
    pub async fn start(&self) -> Result<ShimClient> {
        let output = self.action("start").await?;
        let text = String::from_utf8_lossy(&output);
        let text = text.trim();
        // Newer shims answer with JSON, older ones with the bare address.
        let address = match serde_json::from_str::<serde_json::Value>(text) {
            Ok(answer) => answer["address"].as_str().map(ToOwned::to_owned),
            Err(_) => Some(text.to_owned()),
        };
        let address = address
            .filter(|a| !a.is_empty())
            .ok_or_else(|| Error::internal(format!("shim {} printed no address: {text:?}", self.program.display())))?;
        ShimClient::connect(&address).await
    }

    /// Runs the `delete` action: for a shim that is gone, kills what is left of the container, removes what the shim
    /// would have removed, and tells the exit as far as it is known (137 if it is not).
    ///
    /// # Errors
    /// If the program can't be run, or says no.
    pub async fn delete(&self) -> Result<super::Ended> {
        let output = self.action("delete").await?;
        let answer = DeleteResponse::decode(&*output).map_err(|error| {
            Error::corrupt(format!("answer of {} delete", self.program.display())).with_source(error)
        })?;
        Ok(super::Ended { pid: answer.pid, status: answer.exit_status, at: super::time(answer.exited_at) })
    }

    async fn action(&self, action: &str) -> Result<Vec<u8>> {
        let what = || format!("shim {} {action}", self.program.display());
        let mut command = Command::new(&self.program);
        command.args(["-namespace", &self.namespace, "-id", &self.id]).arg("-address").arg(&self.address);
        command.arg("-bundle").arg(&self.bundle);
        if self.debug {
            command.arg("-debug");
        }
        command.arg(action).current_dir(&self.bundle).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().context(what)?;
        let output = tokio::time::timeout(LIMIT, child.wait_with_output())
            .await
            .map_err(|_| Error::deadline(format!("{}: no answer within {} s", what(), LIMIT.as_secs())))?
            .context(what)?;
        if !output.status.success() || output.stdout.len() > OUTPUT_LIMIT {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(Error::internal(format!("{}: {} ({})", what(), said.trim(), output.status)));
        }
        Ok(output.stdout)
    }
}
