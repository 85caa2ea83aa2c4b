//! Control files: reading and writing them, in an order that the kernel accepts, and taking changes back.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use oci::{Context, Error, Result};

use crate::log;

/// One control file to be written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) controller: &'static str,
    pub(super) file: String,
    pub(super) value: String,
    pub(super) absent: Absent,
}

/// What is done where the kernel has no such file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Absent {
    /// The limit cannot be set.
    #[default]
    Fail,
    /// What the value asks for holds anyway.
    Skip,
    /// Another file with another value says the same.
    Instead(String, String),
}

/// What `update` has overwritten, to be put back when a later part fails.
#[derive(Debug, Default)]
pub(super) struct Undo {
    old: Vec<(PathBuf, String)>,
}

impl Undo {
    /// Remembers what a file says of that which `value` is about to change.
    fn note(&mut self, path: &Path, value: &str) {
        if let Some(old) = fs::read_to_string(path).ok().and_then(|text| before(path, &text, value)) {
            self.old.push((path.to_owned(), old));
        }
    }

    /// Puts everything back, last first. Goes on past errors, which are only told: the first failure is the answer.
    pub(super) fn run(self) {
        for (path, value) in self.old.iter().rev() {
            if let Err(error) = write_path(path, value) {
                log::warn(format_args!(
                    "Setting back cgroup configs failed due to error: write {value:?} to {}: {error}",
                    path.display()
                ));
            }
        }
    }
}

/// What must be written to a file that reads `text` in order to undo the writing of `new`.
fn before(path: &Path, text: &str, new: &str) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let line_of = |key: &str| text.lines().find(|line| line.split_whitespace().next() == Some(key));
    if file == "memory.oom_control" {
        return line_of("oom_kill_disable")?.split_whitespace().nth(1).map(String::from);
    }
    let mut words = new.split_whitespace();
    let key = words.next()?;
    if file != "cpu.max" && words.next().is_some() {
        // One line of several: that of a device or an interface.
        return Some(match line_of(key) {
            Some(line) => line.to_owned(),
            None if file == "io.max" => format!("{key} rbps=max wbps=max riops=max wiops=max"),
            None if file.contains("weight") && file.starts_with("io.") => format!("{key} default"),
            None => format!("{key} 0"),
        });
    }
    Some(line_of("default").unwrap_or(text).trim().to_owned())
}

/// Writes settings in order. Some bound each other, and in which order they may be written depends on the old values:
/// what the kernel calls invalid is tried once more when all others are written.
pub(super) fn apply<'a>(
    settings: &[Setting],
    directory: impl Fn(&'static str) -> Result<&'a Path>,
    undo: &mut Option<Undo>,
) -> Result<()> {
    let mut again = Vec::new();
    for setting in settings {
        let directory = directory(setting.controller)?;
        match put(directory, setting, undo) {
            Err((_, error)) if error.kind() == ErrorKind::InvalidInput => again.push((directory, setting)),
            result => result.map_err(|(file, error)| failure(directory, &file, &setting.value, error))?,
        }
    }
    for (directory, setting) in again {
        put(directory, setting, undo).map_err(|(file, error)| failure(directory, &file, &setting.value, error))?;
    }
    Ok(())
}

fn put(
    directory: &Path,
    setting: &Setting,
    undo: &mut Option<Undo>,
) -> std::result::Result<(), (String, std::io::Error)> {
    let write = |file: &str, value: &str, undo: &mut Option<Undo>| {
        let path = directory.join(file);
        if let Some(undo) = undo {
            undo.note(&path, value);
        }
        write_path(&path, value).map_err(|error| (file.to_owned(), error))
    };
    match (write(&setting.file, &setting.value, undo), &setting.absent) {
        (Err((_, error)), Absent::Skip) if error.kind() == ErrorKind::NotFound => Ok(()),
        (Err((_, error)), Absent::Instead(file, value)) if error.kind() == ErrorKind::NotFound => {
            write(file, value, undo)
        }
        (result, _) => result,
    }
}

fn failure(directory: &Path, file: &str, value: &str, error: std::io::Error) -> Error {
    // In the words that callers know.
    if error.kind() == ErrorKind::ResourceBusy && file == "memory.limit_in_bytes" {
        let number = |file| read(directory, file).unwrap_or_else(|_| "unknown".to_owned());
        let (usage, peak) = (number("memory.usage_in_bytes"), number("memory.max_usage_in_bytes"));
        return Error::conflict(format!(
            "linux.resources.memory.limit: unable to set memory limit to {value} (current usage: {usage}, peak usage: {peak})"
        ));
    }
    Error::from(error).prefixed(format!("write {value:?} to {}", directory.join(file).display()))
}

/// Writes one control file.
pub(super) fn write(directory: &Path, file: &str, value: &str) -> Result<()> {
    write_io(directory, file, value).context(|| format!("write {value:?} to {}", directory.join(file).display()))
}

pub(super) fn write_io(directory: &Path, file: &str, value: &str) -> std::io::Result<()> {
    write_path(&directory.join(file), value)
}

/// Never makes a file: a missing one stays missing, with the right error.
pub(super) fn write_path(path: &Path, value: &str) -> std::io::Result<()> {
    // An empty text would not reach the kernel; a line end does, and says "nothing".
    let value = if value.is_empty() { "\n" } else { value };
    File::options().write(true).open(path)?.write_all(value.as_bytes())
}

/// As [`write`], a line at a time, as some files want it.
pub(super) fn write_lines(directory: &Path, file: &str, value: &str, undo: &mut Option<Undo>) -> std::io::Result<()> {
    let path = directory.join(file);
    for line in value.split('\n').filter(|line| !line.is_empty()) {
        if let Some(undo) = undo {
            undo.note(&path, line);
        }
        write_path(&path, line)?;
    }
    Ok(())
}

pub(super) fn read(directory: &Path, file: &str) -> Result<String> {
    read_kernel_file(&directory.join(file)).map(|s| s.trim().to_owned())
}

/// Reads a file whose size the kernel does not tell, without asking for it.
pub(super) fn read_kernel_file(path: &Path) -> Result<String> {
    const MOST: usize = 1 << 20;
    let context = || format!("read {}", path.display());
    let mut file = File::open(path).context(context)?;
    let (mut text, mut buffer) = (Vec::new(), [0u8; 4096]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) if text.len() < MOST => text.extend_from_slice(&buffer[..length]),
            Ok(_) => return Err(Error::invalid(format!("{} is longer than {MOST} bytes", path.display()))),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context(context),
        }
    }
    String::from_utf8(text).map_err(|_| Error::corrupt(format!("{}: is not UTF-8", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn old(file: &str, text: &str, new: &str) -> String {
        before(Path::new(file), text, new).expect("a value")
    }

    #[test]
    fn every_form_of_file_can_be_put_back() {
        assert_eq!(old("memory.max", "max\n", "4096"), "max");
        assert_eq!(old("cpu.max", "max 100000\n", "5000 10000"), "max 100000");
        assert_eq!(
            old("io.max", "8:0 rbps=max wbps=5 riops=max wiops=max\n", "8:0 rbps=7"),
            "8:0 rbps=max wbps=5 riops=max wiops=max"
        );
        assert_eq!(old("io.max", "", "8:0 rbps=7"), "8:0 rbps=max wbps=max riops=max wiops=max");
        assert_eq!(old("io.weight", "default 100\n8:0 5\n", "300"), "default 100");
        assert_eq!(old("io.weight", "default 100\n", "8:0 300"), "8:0 default");
        assert_eq!(old("blkio.throttle.read_bps_device", "", "8:0 300"), "8:0 0");
        assert_eq!(old("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n", "1"), "0");
        assert_eq!(old("net_prio.ifpriomap", "lo 0\neth0 3\n", "eth0 5"), "eth0 3");
        assert_eq!(old("cpuset.cpus", "\n", "0"), "");
    }

    #[test]
    fn what_is_refused_at_first_is_tried_again_and_taken_back() {
        let dir = tempfile::tempdir().expect("tempdir");
        fs::write(dir.path().join("a"), "1").expect("write");
        let set = |file: &str, value: &str, absent| Setting {
            controller: "x",
            file: file.into(),
            value: value.into(),
            absent,
        };
        let list = [
            set("a", "2", Absent::Fail),
            set("b", "0", Absent::Skip),
            set("c", "5", Absent::Instead("a".into(), "7".into())),
            set("d", "0", Absent::Fail),
        ];
        let mut undo = Some(Undo::default());
        let error = apply(&list, |_| Ok(dir.path()), &mut undo).expect_err("d is missing").to_string();
        assert!(error.contains("/d"), "{error}");
        assert_eq!(fs::read_to_string(dir.path().join("a")).expect("a"), "7");
        undo.expect("undo").run();
        assert_eq!(fs::read_to_string(dir.path().join("a")).expect("a"), "1");
        assert!(!dir.path().join("d").exists());
    }
}
