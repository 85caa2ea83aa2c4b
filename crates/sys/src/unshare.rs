//! Leaving namespaces behind (unshare(2)).

use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Moves the calling thread into a new network and a new mount namespace; children started from
/// it follow. Mount propagation is left as it was: make the tree private before mounting.
///
/// # Errors
/// The kernel's, `EPERM` without CAP_SYS_ADMIN.
pub fn new_network_and_mount_namespace() -> std::io::Result<()> {
    // SAFETY: unshare is unsound only with CLONE_FILES, which would close descriptors that other
    // threads hold; it isn't among these flags.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET | UnshareFlags::NEWNS) }?;
    Ok(())
}

/// Moves the calling process into a new cgroup namespace, whose root is the cgroup it is in.
///
/// # Errors
/// The kernel's, `EPERM` without CAP_SYS_ADMIN.
pub fn new_cgroup_namespace() -> std::io::Result<()> {
    // SAFETY: as above, the flag is not CLONE_FILES.
    unsafe { unshare_unsafe(UnshareFlags::NEWCGROUP) }?;
    Ok(())
}

/// Makes a new time namespace that the caller's later children are in; the caller stays.
///
/// # Errors
/// The kernel's, `EPERM` without CAP_SYS_ADMIN, `EINVAL` before Linux 5.6.
pub fn new_time_namespace_for_children() -> std::io::Result<()> {
    // SAFETY: as above, the flag is not CLONE_FILES.
    unsafe { unshare_unsafe(UnshareFlags::NEWTIME) }?;
    Ok(())
}
