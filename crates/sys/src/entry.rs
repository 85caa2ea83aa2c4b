//! The start of a small program, without the preparations of Rust's own: those look up the stack's bounds in
//! `/proc/self/maps` and set up a handler for its overflow, in seventeen system calls.

use std::os::fd::RawFd;

/// What is left to do before a program's first line.
///
/// A closed standard descriptor becomes `/dev/null`: the next file to be opened would get its number, and be taken for
/// it. SIGPIPE is ignored, so that writing to a closed pipe is an error.
pub fn prepare() {
    const STANDARD: [RawFd; 3] = [0, 1, 2];
    let mut list = STANDARD.map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: the pointer and the length are those of the array.
    let answered = unsafe { libc::poll(list.as_mut_ptr(), list.len() as libc::nfds_t, 0) } >= 0;
    for entry in list {
        let closed = if answered {
            entry.revents & libc::POLLNVAL != 0
        } else {
            // SAFETY: no memory is passed.
            unsafe { libc::fcntl(entry.fd, libc::F_GETFD) == -1 }
        };
        // SAFETY: the path is a valid string; the descriptor is meant to stay open. The lowest free number is the one
        // that is closed, because those below are open by now.
        if closed && unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) } == -1 {
            std::process::abort();
        }
    }
    // SAFETY: SIG_IGN needs no function.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Makes `$main`, a `fn() -> i32` that returns the exit status, the program's entry. The program's root has
/// `#![no_main]`. The arguments are in `std::env::args_os` as ever (glibc hands them to Rust before `main`).
#[macro_export]
macro_rules! program {
    ($main:path) => {
        /// Called by the C library's start-up code.
        #[unsafe(no_mangle)]
        extern "C" fn main(_count: i32, _arguments: *const *const u8) -> i32 {
            $crate::entry::prepare();
            // Flushes what stands in the buffer of standard output.
            std::process::exit($main())
        }
    };
}

/// Makes the program begin in [`crate::first::execute_from_readonly_view`]. Its build script makes `sampan_first` the
/// file's entry (`-e` of the linker), in place of the C library's `_start`, to which this goes on.
#[cfg(target_arch = "x86_64")]
#[macro_export]
macro_rules! begin_from_readonly_view {
    () => {
        // rdx is the dynamic linker's, for `_start`; the stack is aligned to 16 bytes there and for the call.
        std::arch::global_asm!(
            ".section .text.sampan_first,\"ax\",@progbits",
            ".globl sampan_first",
            ".type sampan_first,@function",
            "sampan_first:",
            "mov rdi, rsp",
            "push rdx",
            "sub rsp, 8",
            "call {first}",
            "add rsp, 8",
            "pop rdx",
            "jmp _start",
            ".size sampan_first, . - sampan_first",
            ".text",
            first = sym $crate::first::execute_from_readonly_view,
        );
    };
}
