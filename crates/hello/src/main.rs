//! The program in the built-in image: says that every layer of the stack carried it here.
//! One file without dependencies, so that `sampand`'s build script can compile it by itself.

use std::process::ExitCode;

fn main() -> ExitCode {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    println!("Hello from Sampan!");
    println!();
    println!("This line was written by process {} in container {}.", std::process::id(), host.trim());
    println!("On its way to you it passed sampan-runtime, the shim, the daemon and the Docker door.");
    ExitCode::SUCCESS
}
