//! `exec --cgroup`: cgroups below the container's own, which must exist.
//!
//! `path` is below the container's cgroup of every hierarchy; `controller,...:path` only below those named.

use std::path::{Path, PathBuf};

use oci::{Error, Result};

use super::Location;

impl Location {
    /// The place that the options name. Nothing is looked up in the file system.
    pub(crate) fn below(&self, options: &[String]) -> Result<Self> {
        let mut place = self.clone();
        let mut seen: Vec<&str> = Vec::new();
        for option in options {
            let Some((controllers, path)) = option.split_once(':') else {
                if options.len() != 1 {
                    return Err(bad(option, " (missing <controller>: prefix)"));
                }
                return match place {
                    Self::None => Err(Error::unsupported("--cgroup: the container has no cgroup")),
                    Self::V1 { paths } => {
                        let moved = paths.into_iter().map(|(c, p)| Ok((c, join(&p, option)?)));
                        Ok(Self::V1 { paths: moved.collect::<Result<_>>()? })
                    }
                    Self::V2 { path } => Ok(Self::V2 { path: join(&path, option)? }),
                };
            };
            if path.contains(':') {
                return Err(bad(option, ""));
            }
            for controller in controllers.split(',') {
                if controller.is_empty() {
                    return Err(bad(option, " (empty <controller> prefix)"));
                }
                if seen.contains(&controller) {
                    return Err(Error::invalid(format!(
                        "invalid --cgroup argument(s): controller {controller} specified multiple times"
                    )));
                }
                seen.push(controller);
            }
        }
        for option in options {
            let Some((controllers, path)) = option.split_once(':') else { continue };
            let mut moved: Vec<PathBuf> = Vec::new();
            for controller in controllers.split(',') {
                let unknown = || Error::not_found(format!("unknown controller {controller} in --cgroup {option}"));
                let Self::V1 { paths } = &mut place else { return Err(unknown()) };
                let hierarchy = paths.iter_mut().find(|(names, _)| names.split(',').any(|n| n == controller));
                let (_, directory) = hierarchy.ok_or_else(unknown)?;
                // Two controllers of one option can be in one hierarchy.
                if !moved.contains(directory) {
                    *directory = join(directory, path)?;
                    moved.push(directory.clone());
                }
            }
        }
        Ok(place)
    }
}

fn bad(option: &str, why: &str) -> Error {
    Error::invalid(format!("invalid --cgroup argument: {option}{why}"))
}

/// A path below a directory; `..` may not lead out of it.
fn join(directory: &Path, path: &str) -> Result<PathBuf> {
    let mut depth = 0usize;
    let mut joined = directory.to_owned();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if depth > 0 => {
                depth -= 1;
                joined.pop();
            }
            ".." => return Err(Error::invalid(format!("bad sub cgroup path: {path} is not a sub cgroup path"))),
            name => {
                depth += 1;
                joined.push(name);
            }
        }
    }
    Ok(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v1() -> Location {
        let path = |name: &str| (name.to_owned(), PathBuf::from(format!("/sys/fs/cgroup/{name}/c")));
        Location::V1 { paths: ["cpu,cpuacct", "memory", "name=systemd"].map(path).into() }
    }

    fn below(place: &Location, options: &[&str]) -> Result<Location> {
        place.below(&options.iter().map(|o| o.to_string()).collect::<Vec<_>>())
    }

    #[test]
    fn controllers_go_where_they_are_told() {
        let Location::V1 { paths } = below(&v1(), &["cpu,cpuacct:a", "memory:/b/../c"]).expect("valid") else {
            panic!("not v1")
        };
        let shown: Vec<_> = paths.iter().map(|(_, p)| p.to_str().expect("path")).collect();
        assert_eq!(
            shown,
            ["/sys/fs/cgroup/cpu,cpuacct/c/a", "/sys/fs/cgroup/memory/c/c", "/sys/fs/cgroup/name=systemd/c"]
        );
        let v2 = Location::V2 { path: "/sys/fs/cgroup/c".into() };
        assert_eq!(below(&v2, &["a/b"]).expect("valid"), Location::V2 { path: "/sys/fs/cgroup/c/a/b".into() });
        assert_eq!(below(&v2, &["/"]).expect("valid"), v2);
    }

    #[test]
    fn nothing_leads_out() {
        for (options, words) in [
            (&[".."][..], "bad sub cgroup path: .. is not a sub cgroup path"),
            (&["cpu:../c-sibling"], "bad sub cgroup path"),
            (&["a/../../b"], "bad sub cgroup path"),
            (&["whaaat:/"], "unknown controller whaaat"),
            (&["a", "b"], "missing <controller>: prefix"),
            (&["cpu:a", "cpu:b"], "specified multiple times"),
            (&[",cpu:a"], "empty <controller> prefix"),
            (&["cpu:a:b"], "invalid --cgroup argument: cpu:a:b"),
        ] {
            let error = below(&v1(), options).expect_err("refused").to_string();
            assert!(error.contains(words), "{options:?}: {error}");
        }
        let v2 = Location::V2 { path: "/sys/fs/cgroup/c".into() };
        assert!(below(&v2, &["cpu:a"]).expect_err("refused").to_string().contains("unknown controller"));
    }
}
