//! The first process of a container that was started with `--init`:
//!
//! ```text
//! sampan-init [--] command [argument]...
//! ```
//!
//! It starts the command in a process group of its own (in the foreground, if there is a terminal), passes every
//! signal on to it, reaps whatever the container's orphans leave, and ends with the command's status, or 128 plus the
//! signal that ended it; 127 if the command doesn't exist, 126 if it can't be executed, as shells do.
//!
//! One file, so that `sampand`'s build script can compile it with nothing but [`sys::pid1`].

use std::io::ErrorKind;
use std::process::ExitCode;
use sys::pid1;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1).peekable();
    if words.peek().is_some_and(|word| word == "--") {
        words.next();
    }
    let Some(program) = words.next() else {
        eprintln!("sampan-init: no command. Usage: sampan-init [--] command [argument]...");
        return ExitCode::from(2);
    };
    // Blocked before the start, so that no signal is lost between the start and the first wait.
    let signals = pid1::block_signals();
    let child = match pid1::spawn_in_foreground(&program, words) {
        Ok(child) => child,
        Err(error) => {
            eprintln!("sampan-init: exec {}: {error}", program.to_string_lossy());
            return ExitCode::from(if error.kind() == ErrorKind::NotFound { 127 } else { 126 });
        }
    };
    loop {
        match signals.wait() {
            pid1::SIGCHLD => {
                let mut end = None;
                while let Some((pid, code)) = pid1::reap() {
                    if pid == child {
                        end = Some(code);
                    }
                }
                if let Some(code) = end {
                    return ExitCode::from(code);
                }
            }
            signal => pid1::send(child, signal),
        }
    }
}
