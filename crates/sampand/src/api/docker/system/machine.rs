//! The machine's own description, read once.

use oci::{Context, Result};

/// What `info` and `version` tell of the machine.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// Kernel release.
    pub kernel: String,
    /// `PRETTY_NAME` of os-release.
    pub system: String,
    /// `VERSION_ID` of os-release.
    pub system_version: String,
    /// Processors on line.
    pub processors: i64,
    /// Bytes of memory.
    pub memory: i64,
}

impl Machine {
    /// Reads it from `/proc` and `/etc/os-release`.
    ///
    /// # Errors
    /// If `/proc` can't be read.
    pub fn read() -> Result<Self> {
        let read = |path: &str| std::fs::read_to_string(path).context(|| format!("read {path}"));
        let release = std::fs::read_to_string("/etc/os-release")
            .or_else(|_| std::fs::read_to_string("/usr/lib/os-release"))
            .unwrap_or_default();
        let processors = std::thread::available_parallelism().map_or(1, |n| i64::try_from(n.get()).unwrap_or(1));
        Ok(Self {
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            system: field(&release, "PRETTY_NAME").unwrap_or_else(|| "Linux".into()),
            system_version: field(&release, "VERSION_ID").unwrap_or_default(),
            processors,
            memory: memory(&read("/proc/meminfo")?),
        })
    }
}

fn field(release: &str, name: &str) -> Option<String> {
    let value = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.trim_matches(['"', '\'']).to_owned())
}

fn memory(meminfo: &str) -> i64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<i64>().unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_machine() {
        assert_eq!(field("ID=x\nPRETTY_NAME=\"A B\"\n", "PRETTY_NAME").as_deref(), Some("A B"));
        assert_eq!(field("ID=x\n", "VERSION_ID"), None);
        assert_eq!(memory("MemTotal:       24684084 kB\nMemFree: 1 kB\n"), 24_684_084 * 1024);
    }
}
