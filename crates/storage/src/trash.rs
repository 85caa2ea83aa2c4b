//! Where things go to be deleted: a rename takes them out of sight at once and whole; the slow
//! removal follows, and is done at the next start if it was cut short.

use crate::Result;
use crate::fs::{Sys, entries, make_dir, remove_tree};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The store's trash directory.
#[derive(Debug)]
pub(crate) struct Trash {
    dir: OwnedFd,
    next: AtomicU64,
    emptying: Mutex<()>,
}

impl Trash {
    pub(crate) fn open(root: &OwnedFd) -> Result<Self> {
        let trash = Self { dir: make_dir(root, "trash", 0o700)?, next: AtomicU64::new(0), emptying: Mutex::default() };
        trash.empty()?;
        Ok(trash)
    }

    /// A number that this process has not given out.
    pub(crate) fn unique(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes `name` out of `dir`; nothing there is success.
    pub(crate) fn put(&self, dir: impl AsFd, name: &str) -> Result<()> {
        loop {
            let to = self.unique().to_string();
            match rustix::fs::renameat_with(&dir, name, &self.dir, &to, rustix::fs::RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(e) => return Err(e).what(|| format!("move {name} to the trash")),
            }
        }
    }

    /// Deletes what is in it.
    pub(crate) fn empty(&self) -> Result<()> {
        let _one_at_a_time = self.emptying.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, _) in entries(&self.dir).what(|| "list the trash")? {
            remove_tree(&self.dir, name.as_c_str()).what(|| "empty the trash")?;
        }
        Ok(())
    }
}
