//! What `fuzz/` and `tests/fuzz.rs` feed with arbitrary bytes. Each function panics where a promise is broken.

pub use crate::seccomp::fuzzing::seccomp;

use std::path::Path;

/// `config.json` to plan: any answer is right but a panic, a hang or a plan that cannot be carried out.
pub fn config(text: &[u8]) {
    let Ok(spec) = serde_json::from_slice::<oci::runtime::Spec>(text) else { return };
    // Written and read again, it is the same: state and hooks depend on that.
    let again = serde_json::to_vec(&spec).expect("a specification can be written");
    let again: oci::runtime::Spec = serde_json::from_slice(&again).expect("what was written can be read");
    assert_eq!(spec, again);
    match crate::plan::InitPlan::from_spec(&spec, Path::new("/usr")) {
        Ok(plan) => {
            assert!(plan.rootfs.is_absolute());
            assert!(plan.masked_paths.iter().chain(&plan.readonly_paths).all(|p| p.starts_with('/')));
            assert!(plan.sysctl.iter().all(|(path, _)| !path.split('/').any(|p| p == "..")));
            assert!(!plan.process.args.is_empty());
            if let Some(filter) = &plan.seccomp {
                crate::seccomp::fuzzing::check_program(&filter.program);
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A stored filter program (the kernel's `struct sock_filter`, little-endian) as what it says of a call: architecture,
/// number, arguments.
pub fn verdicts(program: &[u8]) -> impl Fn(u32, u32, [u64; 6]) -> u32 {
    let program = crate::seccomp::instructions(program);
    move |arch, number, args| crate::seccomp::fuzzing::run(&program, arch, number, args)
}
