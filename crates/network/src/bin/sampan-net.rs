//! `sampan-net`: one request as JSON on standard input, one response on standard output. It is
//! started by the daemon; see `sampan_network::plan`.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    if std::env::args_os().len() > 1 {
        eprintln!("sampan-net is started by sampand; it takes no arguments and reads one request from standard input");
        return ExitCode::from(2);
    }
    // Whoever asked may be killed; then nobody would know of what is made from here on.
    if let Err(error) = sampan_network::helper::follow_parent() {
        eprintln!("sampan-net: {error}");
        return ExitCode::FAILURE;
    }
    let response = sampan_network::helper::serve(std::io::stdin().lock());
    match std::io::stdout().lock().write_all(response.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
