//! A seccomp policy to BPF.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| runtime::fuzzing::seccomp(data));
