//! `execve(2)` and `execveat(2)` with argument vectors that were made beforehand.

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// A null-terminated vector of strings, ready for `execve(2)`.
#[derive(Debug)]
pub struct Vector {
    strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Vector {
    /// Takes the strings.
    pub fn new(strings: Vec<CString>) -> Self {
        let mut pointers: Vec<_> = strings.iter().map(|s| s.as_ptr()).collect();
        pointers.push(std::ptr::null());
        Self { strings, pointers }
    }

    /// The strings.
    pub fn strings(&self) -> &[CString] {
        &self.strings
    }
}

/// Replaces the program. Returns only on failure.
pub fn execve(path: &CStr, args: &Vector, env: &Vector) -> io::Error {
    // SAFETY: all three are valid, null-terminated and owned by live values.
    unsafe { libc::execve(path.as_ptr(), args.pointers.as_ptr(), env.pointers.as_ptr()) };
    io::Error::last_os_error()
}

/// Replaces the program with the file that `file` holds. Returns only on failure.
pub fn fexecve(file: BorrowedFd<'_>, args: &Vector, env: &Vector) -> io::Error {
    // SAFETY: the vectors are null-terminated and owned by live values; the path is the empty string as the flag demands.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            args.pointers.as_ptr(),
            env.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    io::Error::last_os_error()
}
