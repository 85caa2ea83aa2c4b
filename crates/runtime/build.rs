//! The program's first instructions are its own (`sys::first`), on the processor for which they are written.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64") {
        println!("cargo:rustc-link-arg-bin=sampan-runtime=-Wl,-e,sampan_first");
    }
}
