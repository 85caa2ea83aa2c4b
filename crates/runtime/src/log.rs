//! The log that callers read: lines in logrus' text or JSON form, to a file or to standard error.
//!
//! containerd and podman parse the JSON form and look for the last line of level `error`.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::OnceLock;

use oci::{Context, Error, Result, Timestamp};

struct Log {
    file: Option<File>,
    json: bool,
    debug: bool,
}

static LOG: OnceLock<Log> = OnceLock::new();

/// Sets the log up, once. `path` absent or `/dev/stderr` is standard error.
pub(crate) fn init(path: Option<&Path>, format: Option<&str>, debug: bool) -> Result<()> {
    let json = match format {
        None | Some("text") => false,
        Some("json") => true,
        Some(other) => return Err(Error::invalid(format!("unknown log-format {other:?}"))),
    };
    let file = match path.filter(|p| *p != Path::new("/dev/stderr") && !p.as_os_str().is_empty()) {
        None => None,
        Some(path) => Some(
            File::options()
                .append(true)
                .create(true)
                // What is in it is the caller's and root's alone to change.
                .mode(0o644)
                .open(path)
                .context(|| format!("open log file {}", path.display()))?,
        ),
    };
    // Only `main` calls this, once; a second call would be ignored.
    let _ = LOG.set(Log { file, json, debug });
    Ok(())
}

/// The number of the log file's descriptor.
pub(crate) fn descriptor() -> Option<RawFd> {
    LOG.get().and_then(|l| l.file.as_ref()).map(AsRawFd::as_raw_fd)
}

/// Something that is worth knowing and does not stop the command.
pub(crate) fn warn(message: fmt::Arguments<'_>) {
    write("warning", &message.to_string());
}

/// Details, with `--debug`.
pub(crate) fn debug(message: fmt::Arguments<'_>) {
    if LOG.get().is_some_and(|l| l.debug) {
        write("debug", &message.to_string());
    }
}

/// The reason for which the command fails: to the log, and to standard error where the log is elsewhere.
pub(crate) fn error(message: &str) {
    write("error", message);
    if LOG.get().is_some_and(|l| l.file.is_some()) {
        // Nothing is left to be done where standard error is closed.
        let _ = writeln!(std::io::stderr(), "{message}");
    }
}

fn write(level: &str, message: &str) {
    let log = LOG.get();
    let time = Timestamp::now().to_string();
    let mut line = String::new();
    // Writing to a String cannot fail.
    let _ = if log.is_some_and(|l| l.json) {
        writeln!(line, "{}", serde_json::json!({"level": level, "msg": message, "time": time}))
    } else {
        writeln!(line, "time=\"{time}\" level={level} msg={message:?}")
    };
    let _ = match log.and_then(|l| l.file.as_ref()) {
        Some(mut file) => file.write_all(line.as_bytes()),
        None => std::io::stderr().write_all(line.as_bytes()),
    };
}
