//! `containerd-shim-sampan-v2`: parse, pick the action, print one error.

#![no_main]

sys::program!(run);

fn run() -> i32 {
    match shim::server::main(std::env::args_os().skip(1)) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("containerd-shim-sampan-v2: {error}");
            1
        }
    }
}
