//! Mounts in Docker's four notations: `Binds`, `Mounts`, `Tmpfs`, and the volumes of `Config`.

use super::{some, unsupported};
use engine::model::{MountSource, MountSpec};
use oci::{Error, Result};
use std::collections::BTreeMap;
use wire::docker::config::Config;
use wire::docker::host_config::{HostConfig, Mount};

/// Mount propagation, by the kernel's words.
const PROPAGATION: &[&str] = &["private", "rprivate", "shared", "rshared", "slave", "rslave"];

/// All mounts of a request. One target may be named once only.
///
/// # Errors
/// `InvalidArgument` for a bad mount, `Unsupported` for an option that is missing.
pub fn all(config: &Config, host: &HostConfig) -> Result<Vec<MountSpec>> {
    let driver = some(&host.volume_driver);
    let mut mounts = Vec::new();
    for text in host.binds.iter().flatten() {
        push(&mut mounts, bind(text, driver.as_deref())?)?;
    }
    for mount in host.mounts.iter().flatten() {
        push(&mut mounts, long(mount)?)?;
    }
    for (target, options) in host.tmpfs.iter().flatten() {
        push(&mut mounts, tmpfs(target, options)?)?;
    }
    for target in config.volumes.iter().flat_map(BTreeMap::keys) {
        // An image's own volume may be given a source by one of the others.
        if !mounts.iter().any(|mount| mount.target == clean(target)) {
            push(&mut mounts, volume(target, None, driver.as_deref(), false, false)?)?;
        }
    }
    Ok(mounts)
}

fn push(mounts: &mut Vec<MountSpec>, mount: MountSpec) -> Result<()> {
    if mounts.iter().any(|other| other.target == mount.target) {
        return Err(Error::invalid(format!("Duplicate mount point: {}", mount.target)));
    }
    mounts.push(mount);
    Ok(())
}

/// Go's `path.Clean` for absolute paths.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    format!("/{}", parts.join("/"))
}

fn target_of(text: &str, target: &str) -> Result<String> {
    let bad = |why: &str| Error::invalid(format!("invalid mount config for {text:?}: {why}"));
    if !target.starts_with('/') {
        return Err(bad("the mount path must be absolute"));
    }
    match clean(target).as_str() {
        "/" => Err(bad("the destination can't be '/'")),
        cleaned => Ok(cleaned.to_owned()),
    }
}

fn volume(
    target: &str,
    name: Option<String>,
    driver: Option<&str>,
    no_copy: bool,
    readonly: bool,
) -> Result<MountSpec> {
    Ok(MountSpec {
        target: target_of(target, target)?,
        source: MountSource::Volume {
            name,
            no_copy,
            driver: driver.map(Into::into),
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
            subpath: None,
        },
        readonly,
    })
}

/// `-v`: `target`, `source:target` or `source:target:options`.
fn bind(text: &str, driver: Option<&str>) -> Result<MountSpec> {
    let bad = |why: String| Error::invalid(format!("invalid volume specification: '{text}': {why}"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => (None, *target, ""),
        [source, target] => (Some(*source), *target, ""),
        [source, target, options] => (Some(*source), *target, *options),
        _ => return Err(bad("too many colons".into())),
    };
    if source == Some("") {
        return Err(bad("the source is empty".into()));
    }
    let (mut readonly, mut no_copy, mut propagation) = (None, false, None);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" | "rw" if readonly.is_none() => readonly = Some(option == "ro"),
            // SELinux labels and macOS's caching mean nothing here, as with dockerd on such a machine.
            "z" | "Z" | "consistent" | "cached" | "delegated" => {}
            "nocopy" => no_copy = true,
            word if PROPAGATION.contains(&word) && propagation.is_none() => propagation = Some(word.to_owned()),
            other => return Err(bad(format!("invalid mode: {other}"))),
        }
    }
    let readonly = readonly.unwrap_or(false);
    match source {
        Some(path) if path.starts_with('/') => {
            if no_copy {
                return Err(bad("nocopy is for volumes".into()));
            }
            let source = MountSource::Bind { path: clean(path), create: true, propagation, non_recursive: false };
            Ok(MountSpec { target: target_of(text, target)?, source, readonly })
        }
        name => {
            if propagation.is_some() {
                return Err(bad("propagation is for binds of the host's paths".into()));
            }
            if let Some(name) = name {
                volume_name(name)?;
            }
            target_of(text, target)?;
            volume(target, name.map(Into::into), driver, no_copy, readonly)
        }
    }
}

/// Docker's rule for volumes' names.
fn volume_name(name: &str) -> Result<()> {
    let mut bytes = name.bytes();
    let good = name.len() >= 2
        && bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if good {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "\"{name}\" includes invalid characters for a local volume name, only \"[a-zA-Z0-9][a-zA-Z0-9_.-]\" are \
         allowed. If you intended to pass a host directory, use absolute path"
    )))
}

/// `--mount`.
fn long(mount: &Mount) -> Result<MountSpec> {
    let bad = |why: &str| Error::invalid(format!("invalid mount config for type \"{}\": {why}", mount.kind));
    let only = |name: &str, set: bool, kind: &str| {
        if set && mount.kind != kind { Err(bad(&format!("field {name} must not be specified"))) } else { Ok(()) }
    };
    only("BindOptions", mount.bind_options.is_some(), "bind")?;
    only("VolumeOptions", mount.volume_options.is_some(), "volume")?;
    only("TmpfsOptions", mount.tmpfs_options.is_some(), "tmpfs")?;
    if mount.image_options.is_some() || mount.cluster_options.is_some() {
        return Err(unsupported("Mounts: ImageOptions and ClusterOptions"));
    }
    if !matches!(mount.consistency.as_str(), "" | "default" | "consistent" | "cached" | "delegated") {
        return Err(bad(&format!("invalid consistency {:?}", mount.consistency)));
    }
    if mount.target.is_empty() {
        return Err(bad("field Target must not be empty"));
    }
    let target = target_of(&mount.target, &mount.target)?;
    let source = match mount.kind.as_str() {
        "bind" => {
            let options = mount.bind_options.clone().unwrap_or_default();
            if mount.source.is_empty() {
                return Err(bad("field Source must not be empty"));
            }
            if !mount.source.starts_with('/') {
                return Err(bad(&format!("invalid mount path: '{}' mount path must be absolute", mount.source)));
            }
            if options.read_only_non_recursive || options.read_only_force_recursive {
                return Err(unsupported("Mounts: ReadOnlyNonRecursive and ReadOnlyForceRecursive"));
            }
            let propagation = some(&options.propagation);
            if let Some(word) = propagation.as_deref().filter(|word| !PROPAGATION.contains(word)) {
                return Err(bad(&format!("invalid propagation {word:?}")));
            }
            MountSource::Bind {
                path: clean(&mount.source),
                create: options.create_mountpoint,
                propagation,
                non_recursive: options.non_recursive,
            }
        }
        "volume" => {
            let options = mount.volume_options.clone().unwrap_or_default();
            let driver = options.driver_config.unwrap_or_default();
            if !mount.source.is_empty() {
                volume_name(&mount.source)?;
            }
            MountSource::Volume {
                name: some(&mount.source),
                no_copy: options.no_copy,
                driver: some(&driver.name),
                options: driver.options.unwrap_or_default(),
                labels: options.labels.unwrap_or_default(),
                subpath: some(&options.subpath),
            }
        }
        "tmpfs" => {
            let options = mount.tmpfs_options.clone().unwrap_or_default();
            if !mount.source.is_empty() {
                return Err(bad("field Source must not be specified"));
            }
            MountSource::Tmpfs {
                size: match options.size_bytes {
                    0 => None,
                    bytes => Some(u64::try_from(bytes).map_err(|_| bad("SizeBytes is negative"))?),
                },
                mode: (options.mode != 0).then_some(options.mode),
                options: options.options.unwrap_or_default().into_iter().map(|pair| pair.join("=")).collect(),
            }
        }
        "image" | "cluster" | "npipe" => return Err(unsupported(&format!("Mounts: type {}", mount.kind))),
        other => return Err(Error::invalid(format!("mount type unknown: {other:?}"))),
    };
    Ok(MountSpec { target, source, readonly: mount.read_only })
}

/// `--tmpfs`: a target and mount(8)'s options.
fn tmpfs(target: &str, text: &str) -> Result<MountSpec> {
    let bad = |option: &str| Error::invalid(format!("invalid tmpfs option {option:?} for {target}"));
    let (mut size, mut mode, mut readonly, mut options) = (None, None, false, Vec::new());
    for option in text.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", value)) => match parse_size(value) {
                Some(bytes) => size = Some(bytes),
                // A share of the machine's memory (`50%`) is the kernel's to understand.
                None if value.ends_with('%') => options.push(option.to_owned()),
                None => return Err(bad(option)),
            },
            Some(("mode", value)) => mode = Some(u32::from_str_radix(value, 8).map_err(|_| bad(option))?),
            _ if option == "ro" => readonly = true,
            _ if option == "rw" => readonly = false,
            _ => options.push(option.to_owned()),
        }
    }
    Ok(MountSpec { target: target_of(target, target)?, source: MountSource::Tmpfs { size, mode, options }, readonly })
}

/// A size with one of the kernel's suffixes.
fn parse_size(text: &str) -> Option<u64> {
    let (number, shift) = match text.as_bytes().last()?.to_ascii_lowercase() {
        b'k' => (&text[..text.len() - 1], 10),
        b'm' => (&text[..text.len() - 1], 20),
        b'g' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(json: &str) -> HostConfig {
        serde_json::from_str(json).unwrap()
    }

    fn of(json: &str) -> Result<Vec<MountSpec>> {
        all(&Config::default(), &host(json))
    }

    #[test]
    fn binds_in_every_form() {
        let mounts = of(r#"{"Binds":["/a/../b:/c/","/x:/y:ro,rslave,z","data:/d:nocopy","/e"]}"#).unwrap();
        let expected = MountSource::Bind { path: "/b".into(), create: true, propagation: None, non_recursive: false };
        assert_eq!((mounts[0].target.as_str(), &mounts[0].source, mounts[0].readonly), ("/c", &expected, false));
        assert!(mounts[1].readonly);
        assert!(matches!(&mounts[1].source, MountSource::Bind { propagation: Some(p), .. } if p == "rslave"));
        assert!(matches!(&mounts[2].source, MountSource::Volume { name: Some(n), no_copy: true, .. } if n == "data"));
        assert!(matches!(&mounts[3].source, MountSource::Volume { name: None, .. }));
    }

    #[test]
    fn bad_binds_are_refused() {
        for bind in [
            "",
            ":",
            "/a:",
            ":/a",
            "/a:b",
            "/a:/",
            "a/b:/c",
            "/a:/b:ro:x",
            "/a:/b:bogus",
            "/a:/b:nocopy",
            "d:/x:shared",
            "/a:/b:ro,rw",
            "/a:/b/..",
        ] {
            let json = serde_json::json!({ "Binds": [bind] }).to_string();
            assert!(of(&json).is_err(), "{bind:?}");
        }
        let twice = of(r#"{"Binds":["/a:/x","/b:/x/"]}"#).unwrap_err();
        assert_eq!(twice.message(), "Duplicate mount point: /x");
    }

    #[test]
    fn long_mounts() {
        let json = r#"{"Mounts":[{"Type":"bind","Source":"/a","Target":"/b","ReadOnly":true},
            {"Type":"volume","Source":"dd","Target":"/c","VolumeOptions":{"Subpath":"s","Labels":{"k":"v"}}},
            {"Type":"tmpfs","Target":"/d","TmpfsOptions":{"SizeBytes":5,"Mode":511,"Options":[["noexec"],["uid","1"]]}}]}"#;
        let mounts = of(json).unwrap();
        assert!(matches!(&mounts[0].source, MountSource::Bind { create: false, .. }) && mounts[0].readonly);
        assert!(matches!(&mounts[1].source, MountSource::Volume { subpath: Some(s), .. } if s == "s"));
        let tmpfs =
            MountSource::Tmpfs { size: Some(5), mode: Some(0o777), options: vec!["noexec".into(), "uid=1".into()] };
        assert_eq!(mounts[2].source, tmpfs);
        for bad in [
            r#"{"Type":"bind","Source":"a","Target":"/b"}"#,
            r#"{"Type":"bind","Target":"/b"}"#,
            r#"{"Type":"bind","Source":"/a","Target":"b"}"#,
            r#"{"Type":"volume","Source":"dd"}"#,
            r#"{"Type":"volume","Source":"/a","Target":"/b"}"#,
            r#"{"Type":"tmpfs","Source":"/a","Target":"/b"}"#,
            r#"{"Type":"tmpfs","Target":"/b","BindOptions":{}}"#,
            r#"{"Type":"image","Source":"a","Target":"/b"}"#,
            r#"{"Type":"strange","Source":"a","Target":"/b"}"#,
        ] {
            assert!(of(&format!(r#"{{"Mounts":[{bad}]}}"#)).is_err(), "{bad}");
        }
    }

    #[test]
    fn tmpfs_options() {
        let mounts = of(r#"{"Tmpfs":{"/t":"size=1m,mode=1777,ro,noexec,nr_inodes=5"}}"#).unwrap();
        let source = MountSource::Tmpfs {
            size: Some(1 << 20),
            mode: Some(0o1777),
            options: vec!["noexec".into(), "nr_inodes=5".into()],
        };
        assert_eq!((&mounts[0].source, mounts[0].readonly), (&source, true));
        assert!(of(r#"{"Tmpfs":{"/t":"size=x"}}"#).is_err());
        assert!(of(r#"{"Tmpfs":{"t":""}}"#).is_err());
    }

    #[test]
    fn an_image_s_volume_yields_to_a_mount() {
        let config: Config = serde_json::from_str(r#"{"Volumes":{"/data/":{},"/more":{}}}"#).unwrap();
        let mounts = all(&config, &host(r#"{"Binds":["/a:/data"]}"#)).unwrap();
        assert_eq!(mounts.iter().map(|m| m.target.as_str()).collect::<Vec<_>>(), ["/data", "/more"]);
    }
}
