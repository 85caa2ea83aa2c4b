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
        None | Some("" | "text") => false,
        Some("json") => true,
        Some(other) => return Err(Error::invalid(format!("invalid log-format: {other}"))),
    };
    let file = match path.filter(|p| *p != Path::new("/dev/stderr") && !p.as_os_str().is_empty()) {
        None => None,
        Some(path) => {
            // What is in it is the caller's and root's alone to change.
            let options = File::options().append(true).create(true).mode(0o644).clone();
            Some(options.open(path).context(|| format!("open {}", path.display()))?)
        }
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
    // logrus writes whole seconds.
    let time = Timestamp::from_unix(Timestamp::now().seconds(), 0).to_string();
    let line = if log.is_some_and(|l| l.json) { json(level, message, &time) } else { text(level, message, &time) };
    let _ = match log.and_then(|l| l.file.as_ref()) {
        Some(mut file) => file.write_all(line.as_bytes()),
        None => std::io::stderr().write_all(line.as_bytes()),
    };
}

fn text(level: &str, message: &str, time: &str) -> String {
    // logrus leaves a message of such characters alone.
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '/' | '@' | '^' | '+');
    let message = if !message.is_empty() && message.chars().all(plain) { message.into() } else { quoted(message) };
    format!("time=\"{time}\" level={level} msg={message}\n")
}

/// In Go's quotes.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        // Writing to a String cannot fail.
        let _ = match c {
            '"' | '\\' => write!(quoted, "\\{c}"),
            '\n' => write!(quoted, "\\n"),
            '\t' => write!(quoted, "\\t"),
            '\r' => write!(quoted, "\\r"),
            c if c.is_ascii_control() => write!(quoted, "\\x{:02x}", c as u32),
            c => write!(quoted, "{c}"),
        };
    }
    quoted.push('"');
    quoted
}

fn json(level: &str, message: &str, time: &str) -> String {
    let line = serde_json::json!({"level": level, "msg": message, "time": time}).to_string();
    // Go's encoder, for the sake of web pages.
    let line = line.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_read_as_those_of_logrus() {
        let time = "2026-01-02T03:04:05Z";
        for (message, shown) in [
            ("one", "one"),
            ("a/b-c_d.e@f^g+h", "a/b-c_d.e@f^g+h"),
            ("", "\"\""),
            ("two words", "\"two words\""),
            ("exec: \"x\"\n", "\"exec: \\\"x\\\"\\n\""),
            ("\u{1}\\é", "\"\\x01\\\\é\""),
        ] {
            assert_eq!(text("error", message, time), format!("time=\"{time}\" level=error msg={shown}\n"));
        }
        assert_eq!(
            json("warning", "a <b> & \"c\"", time),
            format!("{{\"level\":\"warning\",\"msg\":\"a \\u003cb\\u003e \\u0026 \\\"c\\\"\",\"time\":\"{time}\"}}\n")
        );
    }
}
