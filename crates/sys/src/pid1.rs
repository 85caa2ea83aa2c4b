//! What the first process of a container needs: waiting for signals, reaping, a child in the foreground.
//!
//! The C functions are declared here, not taken from the `libc` crate, so that a build script can compile this file by
//! itself. The declarations hold for Linux with glibc or musl on 64-bit machines.

use std::ffi::{OsStr, OsString, c_int};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// A child ended, stopped or went on.
pub const SIGCHLD: i32 = 17;
const SIGTTIN: c_int = 21;
const SIGTTOU: c_int = 22;
/// Raised by the process's own faults: ILL, TRAP, ABRT, BUS, FPE, SEGV, SYS. Blocking them would hide a crash.
const FAULTS: [c_int; 7] = [4, 5, 6, 7, 8, 11, 31];

const SIG_DFL: usize = 0;
const SIG_IGN: usize = 1;
const SIG_BLOCK: c_int = 0;
const WNOHANG: c_int = 1;

/// `sigset_t`: 1024 bits.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct SigSet([u64; 16]);

unsafe extern "C" {
    fn sigprocmask(how: c_int, set: *const SigSet, old: *mut SigSet) -> c_int;
    fn sigwait(set: *const SigSet, signal: *mut c_int) -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn setpgid(pid: c_int, group: c_int) -> c_int;
    fn getpgrp() -> c_int;
    fn tcsetpgrp(fd: c_int, group: c_int) -> c_int;
    fn signal(signal: c_int, handler: usize) -> usize;
}

/// Blocked signals, to be waited for.
#[derive(Debug)]
pub struct Signals(SigSet);

/// Blocks every signal but those of the process's own faults and of job control.
pub fn block_signals() -> Signals {
    let mut set = SigSet([0; 16]);
    set.0[0] = u64::MAX;
    for number in FAULTS.into_iter().chain([SIGTTIN, SIGTTOU]) {
        set.0[0] &= !(1 << (number - 1));
    }
    // SAFETY: `set` is a valid signal set of the full size; the old mask is not asked for.
    unsafe { sigprocmask(SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    Signals(set)
}

impl Signals {
    /// Waits for the next of the blocked signals.
    pub fn wait(&self) -> i32 {
        loop {
            let mut number = 0;
            // SAFETY: both pointers are to live values of the right types.
            if unsafe { sigwait(&raw const self.0, &raw mut number) } == 0 {
                return number;
            }
        }
    }
}

/// Takes the status of one ended child, if there is one: its pid, and its exit code or 128 plus its signal.
pub fn reap() -> Option<(i32, u8)> {
    let mut status = 0;
    // SAFETY: `status` is a live integer; -1 with WNOHANG waits for any child without blocking.
    let pid = unsafe { waitpid(-1, &raw mut status, WNOHANG) };
    if pid <= 0 {
        return None;
    }
    let signal = status & 0x7f;
    let code = if signal == 0 { (status >> 8) & 0xff } else { 128 + signal };
    Some((pid, u8::try_from(code).unwrap_or(255)))
}

/// Sends `signal` to `pid`. A process that is gone is no error: its end is on the way.
pub fn send(pid: i32, signal: i32) {
    // SAFETY: kill takes no pointers.
    unsafe { kill(pid, signal) };
}

/// Starts `program` in a process group of its own, which becomes the terminal's foreground if standard input is a
/// terminal. The child has no signal blocked.
///
/// # Errors
/// If the program can't be found or executed.
pub fn spawn_in_foreground(program: &OsStr, arguments: impl Iterator<Item = OsString>) -> io::Result<i32> {
    let mut command = Command::new(program);
    command.args(arguments);
    let foreground = || {
        // SAFETY: these calls take no pointers and are async-signal-safe. A background group that moves itself to the
        // front is stopped by SIGTTOU unless that is ignored meanwhile; without a terminal tcsetpgrp fails, harmlessly.
        unsafe {
            setpgid(0, 0);
            signal(SIGTTOU, SIG_IGN);
            tcsetpgrp(0, getpgrp());
            signal(SIGTTOU, SIG_DFL);
        }
        Ok(())
    };
    // SAFETY: the closure allocates nothing and makes async-signal-safe calls only.
    unsafe { command.pre_exec(foreground) };
    let child = command.spawn()?;
    Ok(i32::try_from(child.id()).unwrap_or(i32::MAX))
}
