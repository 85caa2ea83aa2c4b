//! `sampand`: parse, pick, call, print one error.

use clap::Parser;
use sampand::config::{Flags, Settings};
use sampand::daemon;
use std::process::ExitCode;

fn main() -> ExitCode {
    let result = Settings::resolve(Flags::parse()).and_then(|settings| {
        daemon::start_log(&settings)?;
        daemon::run(settings)
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sampand: {error}");
            ExitCode::FAILURE
        }
    }
}
