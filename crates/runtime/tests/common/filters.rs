//! What the tests of filters share: policies, and programs in C beside them.

#![allow(dead_code, reason = "every test file uses a part of it")]

use std::path::PathBuf;
use std::process::Command;

use oci::runtime::{Seccomp, SyscallRule};

use super::common::Bench;

pub(crate) const MKDIR: [&str; 2] = ["mkdir", "mkdirat"];

pub(crate) fn rule(names: &[&str], action: &str) -> SyscallRule {
    SyscallRule {
        names: names.iter().map(|s| s.to_string()).collect(),
        action: format!("SCMP_ACT_{action}"),
        ..Default::default()
    }
}

pub(crate) fn policy(default: &str, syscalls: Vec<SyscallRule>) -> Seccomp {
    Seccomp {
        default_action: format!("SCMP_ACT_{default}"),
        architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
            .map(String::from)
            .into(),
        syscalls,
        ..Default::default()
    }
}

/// Builds a C program of the tests; `None`, with the reason printed, where there is no compiler.
pub(crate) fn build(b: &Bench, name: &str, source: &str, libraries: &[&str]) -> Option<PathBuf> {
    let path = b.directory.path().join(name);
    let file = path.with_extension("c");
    std::fs::write(&file, source).expect("source");
    match Command::new("cc").arg("-o").arg(&path).arg(&file).args(libraries).output() {
        Ok(output) if output.status.success() => return Some(path),
        Ok(output) => println!("skipped: cc: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) => println!("skipped: cc: {error}"),
    }
    None
}
