//! The program `sampan-runtime`.

#![no_main]

#[cfg(target_arch = "x86_64")]
sys::begin_from_readonly_view!();
sys::program!(runtime::main);
