//! The program `sampan-runtime`.

fn main() {
    std::process::exit(runtime::main());
}
