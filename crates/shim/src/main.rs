//! `containerd-shim-sampan-v2`: parse, pick the action, print one error.

use std::process::ExitCode;

fn main() -> ExitCode {
    match shim::server::main(std::env::args_os().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("containerd-shim-sampan-v2: {error}");
            ExitCode::FAILURE
        }
    }
}
