//! Writing to standard output and standard error. A reader that has gone away ends the program quietly, as a signal
//! would have done.

use std::io::Write;

/// Prints `text` as it is to standard output.
pub(crate) fn print(text: &str) {
    bytes(text.as_bytes());
}

/// Prints `text` and a newline to standard output.
pub(crate) fn line(text: &str) {
    bytes(format!("{text}\n").as_bytes());
}

/// Writes to standard output, all at once.
pub(crate) fn bytes(data: &[u8]) {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(data).and_then(|()| out.flush());
    if let Err(error) = written {
        if error.kind() != std::io::ErrorKind::BrokenPipe {
            self::error(&format!("write to standard output: {error}"));
            std::process::exit(1);
        }
        // 128 + SIGPIPE
        std::process::exit(141);
    }
}

/// Prints a line to standard error; that it can't be written is nobody's concern any more.
pub(crate) fn error(text: &str) {
    let mut err = std::io::stderr().lock();
    let _ = err.write_all(format!("{}\n", text.trim_end_matches('\n')).as_bytes());
}
