//! What a program does before the C library's start: execute itself again from a read-only view of its file, where that
//! is wanted. Done later, glibc's preparations would be paid for twice, and they are the larger part of starting a small
//! program: they ask the processor for its caches with `cpuid` some eighty times, and under a hypervisor each of these
//! is an exit to it.
//!
//! Nothing is set up yet when this runs: no thread-local storage, and in a static program no relocations either. So it
//! calls nothing outside this file, touches no constant that holds an address, and compares strings by itself (`memcmp`
//! is one of the functions that glibc has yet to choose).

use std::arch::asm;
use std::ffi::c_char;
use std::mem::MaybeUninit;

/// A path's own mount, detached, closed by `execve(2)`: `open_tree(2)`.
const CLONE_AND_CLOSE: usize = 1 | libc::O_CLOEXEC as usize;

/// The length of `struct statfs` of `statfs(2)` in words, and the place of `f_flags` in it, which the libc crate hides.
const FILE_SYSTEM_WORDS: usize = size_of::<libc::statfs>() / 8;
const FILE_SYSTEM_FLAGS: usize = 10;

/// `struct mount_attr` of `mount_setattr(2)`.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// A system call. The C library's wrapper would store errors in thread-local memory.
///
/// # Safety
/// That of the call itself.
#[inline(always)]
unsafe fn call(number: i64, arguments: [usize; 5]) -> isize {
    let result: isize;
    // SAFETY: the kernel changes rax, rcx and r11, and the memory that the caller vouches for.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            in("r10") arguments[3],
            in("r8") arguments[4],
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Whether the string at `text` is `word`, both with the zero byte that ends them.
///
/// # Safety
/// `text` ends with a zero byte.
#[inline(always)]
unsafe fn is<const N: usize>(text: *const u8, word: &[u8; N]) -> bool {
    let mut i = 0;
    while i < N {
        // SAFETY: every byte before was that of `word`, and so none of them the zero byte at the end of `text`.
        if unsafe { *text.add(i) } != word[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// Executes the program again from a detached, read-only mount of its file, if one of its arguments is a verb that makes a
/// process in a container. Returns where that is not needed, is done already, or fails: who needs it looks again later.
///
/// # Safety
/// `stack` is what the kernel gives a new program (System V ABI, x86-64 supplement, "initial stack"): the number of
/// arguments, their pointers, a null pointer, those of the environment, and a null pointer.
pub unsafe extern "C" fn execute_from_readonly_view(stack: *const usize) {
    // SAFETY: the caller's promise; every index is below the number that the kernel has written, and every argument
    // ends with a zero byte.
    let (arguments, environment, makes) = unsafe {
        let count = *stack;
        let arguments = stack.add(1).cast::<*const u8>();
        let mut makes = false;
        let mut i = 1;
        while i < count {
            let word = *arguments.add(i);
            makes |= is(word, b"run\0") || is(word, b"create\0") || is(word, b"exec\0") || is(word, b"restore\0");
            i += 1;
        }
        (arguments, arguments.add(count + 1), makes)
    };
    if !makes {
        return;
    }
    let exe = c"/proc/self/exe".as_ptr() as usize;
    let mut view = MaybeUninit::<[u64; FILE_SYSTEM_WORDS]>::uninit();
    // SAFETY: the path is a string, and the structure can be written.
    let failed = unsafe { call(libc::SYS_statfs, [exe, view.as_mut_ptr() as usize, 0, 0, 0]) } != 0;
    // SAFETY: the kernel has filled it in, and the word is one of them.
    if failed || unsafe { *view.as_ptr().cast::<u64>().add(FILE_SYSTEM_FLAGS) } & libc::ST_RDONLY != 0 {
        return;
    }
    // SAFETY: the path is a string.
    let tree = unsafe { call(libc::SYS_open_tree, [libc::AT_FDCWD as usize, exe, CLONE_AND_CLOSE, 0, 0]) };
    if tree < 0 {
        return;
    }
    let tree = tree as usize;
    let readonly = MountAttr { set: 1, clear: 0, propagation: 0, user_namespace: 0 };
    let empty: *const c_char = c"".as_ptr();
    // SAFETY: strings, a structure with its size, and what the kernel itself has put on the stack. The descriptor is
    // this function's own.
    unsafe {
        let attr = &raw const readonly as usize;
        let by_handle = libc::AT_EMPTY_PATH as usize;
        if call(libc::SYS_mount_setattr, [tree, empty as usize, by_handle, attr, size_of::<MountAttr>()]) == 0 {
            call(libc::SYS_execveat, [tree, empty as usize, arguments as usize, environment as usize, by_handle]);
        }
        call(libc::SYS_close, [tree, 0, 0, 0, 0]);
    }
}
