//! What is different for those who are not root of the machine.

use std::sync::OnceLock;

/// `--rootless`, where it says true or false.
static GIVEN: OnceLock<bool> = OnceLock::new();

/// Takes `--rootless` over.
pub(crate) fn set(given: bool) {
    // Only the command line's start calls this, once.
    let _ = GIVEN.set(given);
}

/// What `--rootless` says, if anything.
pub(crate) fn given() -> Option<bool> {
    GIVEN.get().copied()
}

/// Whether a container may go without the cgroups that the caller has no right to make.
pub(crate) fn does_without_cgroups() -> bool {
    GIVEN.get().copied().unwrap_or_else(|| !rustix::process::geteuid().is_root() || in_user_namespace())
}

/// Whether device rules may stay unset: who is not root of the machine has no right to set them, and can make no device
/// nodes that they would have to guard.
pub(crate) fn does_without_device_rules() -> bool {
    does_without_cgroups() || in_user_namespace()
}

/// Whether this process is in a user namespace below the machine's own.
pub(crate) fn in_user_namespace() -> bool {
    const WHOLE: [&str; 3] = ["0", "0", "4294967295"];
    // Kernels without user namespaces have no such file.
    std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !map.split_whitespace().eq(WHOLE))
}

/// Whether the state belongs into the user's own directory. Root in a user namespace that a user has made for himself
/// counts as that user, unless `USER` says that he is root.
pub(crate) fn has_own_directory() -> bool {
    if !rustix::process::geteuid().is_root() {
        return true;
    }
    std::env::var_os("USER").is_none_or(|user| user != "root") && in_user_namespace()
}
