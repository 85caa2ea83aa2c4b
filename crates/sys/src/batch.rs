//! Closing many descriptors in few calls.

use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};

/// Descriptors that are no longer needed. They are closed together: those with neighbouring numbers, which most are, by
/// one `close_range(2)`.
#[derive(Debug, Default)]
pub struct Batch(Vec<OwnedFd>);

/// So many are kept at most, far below every usual limit of open files.
const MOST: usize = 64;

impl Batch {
    /// Takes a descriptor over.
    pub fn add(&mut self, descriptor: impl Into<OwnedFd>) {
        if self.0.len() == MOST {
            self.close();
        }
        self.0.push(descriptor.into());
    }

    /// Closes what was taken over so far.
    pub fn close(&mut self) {
        let mut left = std::mem::take(&mut self.0);
        left.sort_by_key(AsRawFd::as_raw_fd);
        let mut left = left.into_iter().peekable();
        while let Some(first) = left.next() {
            let start = first.into_raw_fd();
            let mut end = start;
            while let Some(next) = left.next_if(|next| next.as_raw_fd() == end + 1) {
                end = next.into_raw_fd();
            }
            // SAFETY: every number from start to end was owned here a moment ago and by nobody else.
            let done = unsafe { libc::syscall(libc::SYS_close_range, start, end, 0) };
            if done != 0 {
                // Before Linux 5.9, or forbidden by a filter.
                for number in start..=end {
                    // SAFETY: as above.
                    unsafe { libc::close(number) };
                }
            }
        }
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn is_open(number: i32) -> bool {
        std::fs::read_link(format!("/proc/self/fd/{number}")).is_ok_and(|to| to.as_os_str() == "/dev/zero")
    }

    #[test]
    fn only_what_was_taken_over_is_closed() {
        let open = || File::open("/dev/zero").unwrap();
        let mut batch = Batch::default();
        let (mut kept, mut gone) = (Vec::new(), Vec::new());
        for index in 0..60 {
            let file = open();
            if index % 3 == 0 {
                kept.push(file);
            } else {
                gone.push(file.as_raw_fd());
                batch.add(file);
            }
        }
        drop(batch);
        assert!(kept.iter().all(|file| is_open(file.as_raw_fd())));
        assert!(gone.iter().all(|number| !is_open(*number)));
    }
}
