//! From the mounts asked for to those that a container has: volumes made and found, the image's declared ones added,
//! others' taken over.

use crate::engine::Core;
use crate::model::*;
use crate::spec;
use oci::{Error, Result};
use std::path::Path;
use std::sync::Arc;

/// Options of tmpfs that are taken as they are.
const TMPFS: &[&str] = &[
    "rw",
    "ro",
    "exec",
    "noexec",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "norelatime",
    "strictatime",
    "nostrictatime",
    "sync",
    "async",
    "dirsync",
    "private",
    "rprivate",
];
const TMPFS_VALUES: &[&str] = &["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol"];

/// Fills in the record's mounts. `declared`: paths that the image says are volumes.
pub(super) async fn resolve(core: &Arc<Core>, record: &mut ContainerRecord, declared: &[String]) -> Result<()> {
    let wanted = record.spec.mounts.clone();
    for mount in &wanted {
        let target = clean(&mount.target)?;
        if target == "/" {
            return Err(Error::invalid("invalid specification: destination can't be '/'"));
        }
        if record.mounts.iter().any(|m| m.target == target) {
            return Err(Error::invalid(format!("Duplicate mount point: {target}")));
        }
        let point = match &mount.source {
            MountSource::Bind { path, create, propagation, non_recursive } => {
                bind(path, target, mount.readonly, *create, propagation.as_deref(), *non_recursive).await?
            }
            MountSource::Tmpfs { size, mode, options } => tmpfs(target, mount.readonly, *size, *mode, options)?,
            MountSource::Volume { name, no_copy, driver, options, labels, subpath } => {
                if subpath.as_deref().is_some_and(|s| !s.is_empty()) {
                    return Err(Error::unsupported("mounting a subpath of a volume"));
                }
                let spec = VolumeSpec {
                    name: name.clone().filter(|n| !n.is_empty()),
                    driver: driver.clone(),
                    options: options.clone(),
                    labels: labels.clone(),
                };
                volume(core, record, spec, target, !mount.readonly, !no_copy).await?
            }
        };
        record.mounts.push(point);
    }
    for given in record.spec.volumes_from.clone() {
        take_over(core, record, &given)?;
    }
    for path in declared {
        let target = clean(path)?;
        if target != "/" && !record.mounts.iter().any(|m| m.target == target) {
            let point = volume(core, record, VolumeSpec::default(), target, true, true).await?;
            record.mounts.push(point);
        }
    }
    Ok(())
}

/// An absolute path without `.`, `..` and doubled slashes.
pub(super) fn clean(path: &str) -> Result<String> {
    if !path.starts_with('/') {
        return Err(Error::invalid(format!(
            "invalid mount config: invalid mount path: '{path}' mount path must be absolute"
        )));
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    Ok(format!("/{}", parts.join("/")))
}

async fn bind(
    path: &str,
    target: String,
    readonly: bool,
    create: bool,
    propagation: Option<&str>,
    non_recursive: bool,
) -> Result<MountPoint> {
    let source = clean(path)?;
    let dir = source.clone();
    crate::blocking(move || match std::fs::symlink_metadata(Path::new(&dir)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && create => std::fs::create_dir_all(&dir)
            .map_err(|e| Error::from(e).prefixed(format!("error while creating mount source path '{dir}'"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Error::invalid(format!(
            "invalid mount config for type \"bind\": bind source path does not exist: {dir}"
        ))),
        Err(error) => Err(Error::from(error).prefixed(format!("look at bind source {dir}"))),
    })
    .await?;
    let mut options = vec![if non_recursive { "bind" } else { "rbind" }.to_owned()];
    match propagation.filter(|p| !p.is_empty()) {
        Some(word) if spec::PROPAGATION.contains(&word) => options.push(word.to_owned()),
        Some(word) => return Err(Error::invalid(format!("invalid propagation mode: {word}"))),
        None => options.push("rprivate".into()),
    }
    Ok(MountPoint {
        kind: MountKind::Bind,
        name: String::new(),
        source,
        target,
        rw: !readonly,
        options,
        anonymous: false,
        copy_up: false,
    })
}

fn tmpfs(target: String, readonly: bool, size: Option<u64>, mode: Option<u32>, more: &[String]) -> Result<MountPoint> {
    let mut options: Vec<String> = ["noexec", "nosuid", "nodev"].map(str::to_owned).into();
    let mut rw = !readonly;
    for option in more.iter().filter(|o| !o.is_empty()) {
        let known = match option.split_once('=') {
            Some((key, _)) => TMPFS_VALUES.contains(&key),
            None => TMPFS.contains(&option.as_str()),
        };
        if !known {
            return Err(Error::invalid(format!("invalid tmpfs option [{option:?}]")));
        }
        match option.as_str() {
            "ro" => rw = false,
            "rw" => {}
            "exec" | "suid" | "dev" => {
                let no = format!("no{option}");
                options.retain(|o| *o != no);
                options.push(option.clone());
            }
            _ => options.push(option.clone()),
        }
    }
    options.extend(size.filter(|s| *s > 0).map(|s| format!("size={s}")));
    options.extend(mode.map(|m| format!("mode={m:o}")));
    Ok(MountPoint {
        kind: MountKind::Tmpfs,
        name: String::new(),
        source: String::new(),
        target,
        rw,
        options,
        anonymous: false,
        copy_up: false,
    })
}

async fn volume(
    core: &Arc<Core>,
    record: &ContainerRecord,
    spec: VolumeSpec,
    target: String,
    rw: bool,
    copy_up: bool,
) -> Result<MountPoint> {
    let anonymous = spec.name.is_none();
    let volume = core.make_volume(&record.namespace, spec, Some(&record.id)).await?;
    Ok(MountPoint {
        kind: MountKind::Volume,
        name: volume.name,
        source: volume.mountpoint,
        target,
        rw,
        options: vec!["rbind".into(), "rprivate".into()],
        anonymous,
        copy_up,
    })
}

/// `container[:ro|rw]`: its binds and volumes appear here at the same places.
fn take_over(core: &Core, record: &mut ContainerRecord, given: &str) -> Result<()> {
    let (name, mode) = given.rsplit_once(':').unwrap_or((given, ""));
    let readonly = match mode {
        "" | "rw" | "z" | "Z" => false,
        "ro" => true,
        other => return Err(Error::invalid(format!("invalid mode for volumes-from: {other}"))),
    };
    let other = core.containers.find(&record.namespace, name)?.record();
    for mount in other.mounts.iter().filter(|m| m.kind != MountKind::Tmpfs) {
        if record.mounts.iter().any(|m| m.target == mount.target) {
            continue;
        }
        // The volume stays the other's: it goes with that container, not with this one.
        record.mounts.push(MountPoint { rw: mount.rw && !readonly, anonymous: false, copy_up: false, ..mount.clone() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        for (given, clean_path) in [("/a//b/./c", "/a/b/c"), ("/a/../b", "/b"), ("/..", "/"), ("/", "/")] {
            assert_eq!(clean(given).unwrap(), clean_path);
        }
        assert!(clean("relative").is_err());
    }

    #[test]
    fn tmpfs_options() {
        let point = tmpfs("/t".into(), false, Some(9), Some(0o1777), &["exec".into(), "uid=5".into()]).unwrap();
        assert_eq!(point.options, ["nosuid", "nodev", "exec", "uid=5", "size=9", "mode=1777"]);
        assert!(tmpfs("/t".into(), false, None, None, &["bogus".into()]).unwrap_err().to_string().contains("bogus"));
    }
}
