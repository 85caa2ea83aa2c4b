//! Names: `linux.cgroupsPath` as `slice:prefix:name`, unit names, and where systemd puts a unit's cgroup.

use std::path::PathBuf;

use oci::{Error, Result};

/// What `linux.cgroupsPath` asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Empty for the default.
    pub(super) slice: String,
    pub(super) unit: String,
    pub(super) name: String,
}

/// Reads `slice:prefix:name`; nothing means a scope by the container's id.
pub(super) fn wanted(cgroups_path: Option<&str>, id: &str) -> Result<Wanted> {
    let (slice, prefix, name) = match cgroups_path.filter(|p| !p.is_empty()) {
        None => ("", "runc", id),
        Some(path) => {
            let bad = || {
                // runc's sentence, which its callers know, with the place in front.
                Error::invalid(format!(
                    "linux.cgroupsPath: expected cgroupsPath to be of format \"slice:prefix:name\" for systemd \
                     cgroups, got {path:?} instead"
                ))
            };
            let mut parts = path.split(':');
            let (Some(slice), Some(prefix), Some(name), None) =
                (parts.next(), parts.next(), parts.next(), parts.next())
            else {
                return Err(bad());
            };
            (slice, prefix, name)
        }
    };
    if name.ends_with(".slice") {
        return Err(Error::unsupported(format!(
            "linux.cgroupsPath: the unit {name:?} would be a slice, and a container's processes can only be in a scope"
        )));
    }
    let unit = format!("{prefix}-{name}.scope");
    // As systemd has it; above all no '/', because the unit's name becomes a directory's.
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b':' | b'-' | b'_' | b'.' | b'\\' | b'@');
    if name.is_empty() || !unit.bytes().all(fine) || unit.len() > 255 {
        return Err(Error::invalid(format!("linux.cgroupsPath: {unit:?} is not a valid name of a unit")));
    }
    if like_a_file(&unit) {
        return Err(Error::unsupported(format!(
            "linux.cgroupsPath: the unit {unit:?} would have the name of a cgroup's own file; let it begin otherwise"
        )));
    }
    Ok(Wanted { slice: slice.to_owned(), unit, name: name.to_owned() })
}

/// Where a slice is: `a-b.slice` is in `a.slice`.
pub(super) fn expand(slice: &str) -> Result<PathBuf> {
    let invalid = || Error::invalid(format!("linux.cgroupsPath: invalid slice name: {slice}"));
    let stem = slice.strip_suffix(".slice").filter(|s| !s.contains('/')).ok_or_else(invalid)?;
    let mut path = PathBuf::new();
    if stem == "-" {
        return Ok(path);
    }
    let mut prefix = String::new();
    for part in stem.split('-') {
        if part.is_empty() {
            return Err(invalid());
        }
        prefix += part;
        path.push(format!("{prefix}.slice"));
        prefix.push('-');
    }
    Ok(path)
}

/// Whether the name could be that of one of a cgroup's own files. systemd puts a `_` before some of these, and not every
/// version before the same ones.
fn like_a_file(unit: &str) -> bool {
    const FILES: [&str; 11] = [
        "cgroup",
        "cpu",
        "cpuacct",
        "cpuset",
        "io",
        "blkio",
        "memory",
        "devices",
        "pids",
        "bpf-firewall",
        "bpf-devices",
    ];
    let first = unit.split('.').next().unwrap_or("");
    unit.starts_with(['_', '.']) || FILES.contains(&first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_below_each_other() {
        for (slice, path) in [
            ("system.slice", "system.slice"),
            ("test-a-b.slice", "test.slice/test-a.slice/test-a-b.slice"),
            ("-.slice", ""),
        ] {
            assert_eq!(expand(slice).expect(slice), PathBuf::from(path));
        }
        for slice in ["", "a", ".slice", "a/b.slice", "a--b.slice", "-a.slice", "a-.slice", "../x.slice"] {
            assert!(expand(slice).is_err(), "{slice}");
        }
    }

    #[test]
    fn the_path_names_a_scope() {
        let get = |path| wanted(path, "c1").map(|w| (w.slice, w.unit, w.name));
        let strings = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(get(None).expect("default"), strings("", "runc-c1.scope", "c1"));
        assert_eq!(get(Some("")).expect("default"), strings("", "runc-c1.scope", "c1"));
        assert_eq!(get(Some("a-b.slice:libpod:x")).expect("valid"), strings("a-b.slice", "libpod-x.scope", "x"));
        for bad in [
            "/a/b",
            "a:b",
            "a:b:c:d",
            "a.slice:b:c/../d",
            "a.slice:b:",
            "a:b:c d",
            "a.slice::x.slice",
            "a.slice:memory.max:x",
            "a.slice:_b:x",
        ] {
            assert!(get(Some(bad)).is_err(), "{bad}");
        }
        let long = format!("a.slice:b:{}", "x".repeat(250));
        assert!(get(Some(&long)).is_err());
    }
}
