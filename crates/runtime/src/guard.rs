//! Keeps a container from overwriting this program (CVE-2019-5736).
//!
//! A process inside can reach the runtime's own file through `/proc/<pid>/exe`, and write to it once no runtime runs.
//! So the runtime executes itself again from a read-only view of its file: a detached mount that nobody else can
//! reach and that cannot be made writable. That costs three system calls and an `execve`, a copy costs reading and
//! writing the whole file. On x86-64 most of it is done earlier still (`sys::first`); what is here finds it done, or does
//! what could not be done there.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;

use oci::{Context, Error, Result};
use rustix::fs::StatVfsMountFlags;
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use sys::exec::Vector;
use sys::mount_attr::{MountAttr, RDONLY, mount_setattr};

/// Returns when the program's file cannot be written through any link to it.
pub(crate) fn protect() -> Result<()> {
    const EXE: &str = "/proc/self/exe";
    let view = rustix::fs::statvfs(EXE).map_err(std::io::Error::from).context(|| "look at the own program")?;
    if view.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Ok(());
    }
    let user = sys::process::user_at_start();
    if user != 0 {
        // What the user cannot write, a container of the user cannot write either. An owner can give himself the right.
        let owner = rustix::fs::stat(EXE).map_err(std::io::Error::from).context(|| "look at the own program")?.st_uid;
        let mine = owner == user;
        let writable = || {
            let flags = rustix::fs::AtFlags::empty();
            rustix::fs::accessat(rustix::fs::CWD, EXE, rustix::fs::Access::WRITE_OK, flags).is_ok()
        };
        return if mine || writable() { execute_copy() } else { Ok(()) };
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let readonly = open_tree(rustix::fs::CWD, EXE, flags).map_err(std::io::Error::from).and_then(|tree| {
        mount_setattr(tree.as_fd(), false, &MountAttr { set: RDONLY, ..Default::default() }).map(|()| tree)
    });
    match readonly {
        Ok(tree) => Err(execute(tree.as_fd())),
        Err(error) if matches!(error.raw_os_error(), Some(e) if e == Errno::NOSYS.raw_os_error() || e == Errno::PERM.raw_os_error()) => {
            execute_copy()
        }
        Err(error) => Err(error).context(|| "make a read-only view of the own program"),
    }
}

/// Executes the file with the present arguments and environment.
fn execute(file: std::os::fd::BorrowedFd<'_>) -> Error {
    let args: Result<Vec<CString>, _> = std::env::args_os().map(|a| CString::new(a.into_vec())).collect();
    let env: Result<Vec<CString>, _> = std::env::vars_os()
        .map(|(name, value)| CString::new([name.into_vec(), value.into_vec()].join(&b'=')))
        .collect();
    let (Ok(args), Ok(env)) = (args, env) else { return Error::internal("arguments with zero bytes") };
    Error::from(sys::exec::fexecve(file, &Vector::new(args), &Vector::new(env)))
        .prefixed("execute the own program again")
}

/// Executes a sealed copy in memory: for kernels before 5.12, and for users who own the program.
fn execute_copy() -> Result<()> {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};
    let mut own = File::open("/proc/self/exe").context(|| "open the own program")?;
    // Already the copy?
    if fcntl_get_seals(&own).is_ok_and(|seals| seals.contains(SealFlags::WRITE)) {
        return Ok(());
    }
    let copy = memfd_create("sampan-runtime", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
        .map_err(std::io::Error::from)
        .context(|| "make a copy of the own program")?;
    let mut copy = File::from(copy);
    std::io::copy(&mut own, &mut copy).context(|| "copy the own program")?;
    fcntl_add_seals(&copy, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)
        .map_err(std::io::Error::from)
        .context(|| "seal the copy of the own program")?;
    Err(execute(copy.as_fd()))
}
