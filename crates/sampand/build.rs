//! Compiles the programs that the daemon carries inside, each by itself, static and small: `hello`, the program of the
//! built-in image, and `init`, the first process of a container with `--init`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let crates = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("..");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let hello = crates.join("hello/src/main.rs");
    let init = crates.join("init/src/main.rs");
    let pid1 = crates.join("sys/src/pid1.rs");
    for source in [&hello, &init, &pid1] {
        println!("cargo::rerun-if-changed={}", source.display());
    }
    println!("cargo::rerun-if-changed=build.rs");

    rustc(&hello, &out.join("hello"), &["--crate-name", "hello"]);

    // `init` sees of `sys` what this one module offers.
    let part = out.join("sys.rs");
    let text = format!("//! The part of sys that init uses.\n#[path = {:?}]\npub mod pid1;\n", canonical(&pid1));
    std::fs::write(&part, text).expect("write to OUT_DIR");
    let library = out.join("libsys.rlib");
    rustc(&part, &library, &["--crate-name", "sys", "--crate-type", "rlib"]);
    let external = format!("sys={}", library.display());
    rustc(&init, &out.join("init"), &["--crate-name", "init", "--extern", &external]);
}

fn canonical(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rustc(source: &Path, output: &Path, more: &[&str]) {
    let mut command = Command::new(env::var_os("RUSTC").expect("cargo sets it"));
    command
        .args(["--edition", "2024", "--target", &env::var("TARGET").expect("cargo sets it")])
        .args(["-C", "opt-level=s", "-C", "panic=abort", "-C", "strip=symbols", "-C", "target-feature=+crt-static"])
        .args(["-C", "codegen-units=1", "-C", "embed-bitcode=yes", "-C", "relocation-model=static"])
        .args(more)
        .arg("-o")
        .arg(output)
        .arg(source);
    if !more.contains(&"rlib") {
        command.args(["-C", "lto=fat"]);
    }
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        command.arg("-C").arg(format!("linker={}", linker.display()));
    }
    let status = command.status().unwrap_or_else(|error| panic!("run rustc: {error}"));
    assert!(status.success(), "rustc {} failed: {status}", source.display());
}
