//! The program `sampan-runtime`.

#![no_main]

sys::program!(runtime::main);
