//! Signals by number, for those that no name stands for (real-time signals).

/// Sends signal `number` to process `pid`.
///
/// # Errors
/// The kernel's: `EINVAL` for an unknown signal, `ESRCH` for no such process.
pub fn kill_raw(pid: u32, number: u32) -> std::io::Result<()> {
    let (Ok(pid @ 1..), Ok(number)) = (i32::try_from(pid), i32::try_from(number)) else {
        return Err(std::io::ErrorKind::InvalidInput.into());
    };
    // SAFETY: kill takes plain numbers; a positive pid names one process.
    match unsafe { libc::kill(pid, number) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}
