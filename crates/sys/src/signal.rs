//! The signal mask of the calling thread, waiting for signals, and dispositions for a program about to be executed.

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

/// A saved signal mask.
#[derive(Clone)]
pub struct Mask(libc::sigset_t);

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mask")
    }
}

fn set(fill: impl FnOnce(*mut libc::sigset_t)) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    fill(set.as_mut_ptr());
    // SAFETY: sigfillset and sigemptyset, the only ones passed here, initialise all of it.
    unsafe { set.assume_init() }
}

/// Blocks every signal; returns the mask that was.
pub fn block_all() -> Mask {
    // SAFETY: the pointer is valid for writes.
    let all = set(|s| unsafe {
        libc::sigfillset(s);
    });
    let mut old = all;
    // SAFETY: both sets are initialised; SIG_BLOCK with valid sets cannot fail.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const all, &raw mut old) };
    Mask(old)
}

/// Sets the mask.
pub fn restore(mask: &Mask) {
    // SAFETY: an initialised set; cannot fail.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const mask.0, std::ptr::null_mut()) };
}

/// Unblocks every signal and sets every disposition back to the default, as a new program expects.
pub fn reset() {
    // SAFETY: the pointer is valid for writes.
    let none = set(|s| unsafe {
        libc::sigemptyset(s);
    });
    // SAFETY: an initialised set; SIG_DFL needs no function. Numbers that cannot be changed fail harmlessly.
    unsafe {
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
    default(libc::SIGPIPE);
}

/// Sets one signal's disposition back to the default. (Rust's start-up ignores SIGPIPE; every other one is as inherited.)
pub fn default(signal: i32) {
    // SAFETY: SIG_DFL needs no function.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Sets to their defaults the signals that the caller has left ignored, all but SIGPIPE. A shell ignores SIGINT and SIGQUIT
/// for what it runs in the background, `nohup` SIGHUP: the container's program could never handle them. With SIGCHLD
/// ignored no child could be waited for.
///
/// The kernel tells all of them at once in `/proc/self/stat` (the real-time ones aside, which nobody ignores). Where there
/// is no procfs, they stay.
pub fn stop_ignoring() {
    use std::io::Read;
    let mut text = [0; 1024];
    let Ok(length) = std::fs::File::open("/proc/self/stat").and_then(|mut f| f.read(&mut text)) else { return };
    let ignored = ignored_in(&text[..length]).unwrap_or(0) & !(1 << (libc::SIGPIPE - 1));
    for signal in (1..=31).filter(|signal| ignored & 1 << (signal - 1) != 0) {
        default(signal);
    }
}

/// The ignored signals in a `/proc/PID/stat`, as bits. The program's name in it can be anything, also with brackets.
fn ignored_in(stat: &[u8]) -> Option<u64> {
    const FIELD: usize = 33 - 3;
    let end = stat.iter().rposition(|b| *b == b')')?;
    std::str::from_utf8(&stat[end + 1..]).ok()?.split_ascii_whitespace().nth(FIELD)?.parse().ok()
}

/// Lets a signal end this process, also as the first of a PID namespace, which signals without a handler do not reach.
/// Executing a program takes the handler away.
pub fn exit_on(signal: i32) {
    extern "C" fn end(signal: i32) {
        // SAFETY: may be called in a handler; does not return.
        unsafe { libc::_exit(128 + signal) }
    }
    let handler = end as extern "C" fn(i32);
    // SAFETY: the handler only calls what a handler may call.
    unsafe { libc::signal(signal, handler as libc::sighandler_t) };
}

/// Waits for any signal (all must be blocked), at most `timeout`.
///
/// # Errors
/// `EAGAIN` is reported as `Ok(None)`; there are no others with a valid time.
pub fn wait(timeout: Option<Duration>) -> io::Result<Option<i32>> {
    // SAFETY: the pointer is valid for writes.
    let all = set(|s| unsafe {
        libc::sigfillset(s);
    });
    loop {
        let signal = match timeout {
            // SAFETY: an initialised set; no information is asked for.
            None => unsafe { libc::sigwaitinfo(&raw const all, std::ptr::null_mut()) },
            Some(t) => {
                let time = libc::timespec { tv_sec: t.as_secs() as _, tv_nsec: t.subsec_nanos() as _ };
                // SAFETY: an initialised set and a valid time; no information is asked for.
                unsafe { libc::sigtimedwait(&raw const all, std::ptr::null_mut(), &raw const time) }
            }
        };
        if signal > 0 {
            return Ok(Some(signal));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::EAGAIN) => return Ok(None),
            _ => return Err(error),
        }
    }
}

/// A descriptor that becomes readable when any signal is pending (all must be blocked); for `poll(2)`.
///
/// # Errors
/// Those of `signalfd(2)`.
pub fn descriptor() -> io::Result<std::os::fd::OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: the pointer is valid for writes.
    let all = set(|s| unsafe {
        libc::sigfillset(s);
    });
    // SAFETY: an initialised set.
    let fd = unsafe { libc::signalfd(-1, &raw const all, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else knows.
    Ok(unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) })
}

/// Signals that would end this process, held back until this is dropped: its descriptor, for `poll(2)`, can be read
/// when one has come.
#[derive(Debug)]
pub struct Held {
    descriptor: std::os::fd::OwnedFd,
    before: Mask,
}

impl Held {
    /// Holds `signals` back, but those that are ignored: nobody waits for their effect.
    ///
    /// # Errors
    /// Those of `signalfd(2)`.
    pub fn new(signals: &[i32]) -> io::Result<Self> {
        use std::os::fd::FromRawFd;
        let wanted = set(|s| {
            // SAFETY: the pointer is valid for writes; a wrong number is refused and changes nothing.
            unsafe { libc::sigemptyset(s) };
            for signal in signals.iter().filter(|signal| !ignored(**signal)) {
                // SAFETY: the set was initialised before; a wrong number is refused and changes nothing.
                unsafe { libc::sigaddset(s, *signal) };
            }
        });
        // SAFETY: an initialised set.
        let fd = unsafe { libc::signalfd(-1, &raw const wanted, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor that nobody else knows.
        let descriptor = unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) };
        let mut before = wanted;
        // SAFETY: both sets are initialised; SIG_BLOCK with valid sets cannot fail.
        unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const wanted, &raw mut before) };
        Ok(Self { descriptor, before: Mask(before) })
    }

    /// Takes one that has come.
    pub fn take(&self) -> Option<i32> {
        use std::os::fd::AsRawFd;
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the pointer is valid for writes of that size.
        let read = unsafe { libc::read(self.descriptor.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        // SAFETY: the kernel writes whole structures or nothing.
        (read == size as isize).then(|| unsafe { info.assume_init() }.ssi_signo as i32)
    }
}

impl std::os::fd::AsFd for Held {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        restore(&self.before);
    }
}

fn ignored(signal: i32) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: the pointer is valid for writes, and nothing is changed.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: filled in where the call has succeeded.
    asked == 0 && unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_found_behind_any_name() {
        // SIGINT and SIGCHLD.
        let after = "S 1 2 3 0 -1 4194560 98 0 0 0 0 0 0 0 20 0 1 0 137 3 4 5 1 1 0 0 0 0 0 65538 7 0";
        for name in ["sh", "a b", "x) S 9 9"] {
            assert_eq!(ignored_in(format!("7 ({name}) {after}\n").as_bytes()), Some(0x1_0002), "{name}");
        }
        assert_eq!(ignored_in(b""), None);
        assert_eq!(ignored_in(b"7 (sh) S 1"), None);
        assert!(ignored_in(&std::fs::read("/proc/self/stat").expect("stat")).is_some());
    }
}
