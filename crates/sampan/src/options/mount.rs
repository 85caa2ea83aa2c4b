//! `--mount type=...,source=...,target=...`.

use super::volumes::absolute;
use crate::args::parse_bool;
use crate::format::units::parse_size;
use wire::docker::Map;
use wire::docker::host_config::{BindOptions, Driver, ImageOptions, Mount, TmpfsOptions, VolumeOptions};

/// The fields of one line of comma separated values; quotes hold commas.
pub(crate) fn csv(text: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut chars = text.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => quoted = true,
            '"' => return Err("parse error on line 1: bare \" in non-quoted field".into()),
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    if quoted {
        return Err("parse error on line 1: extraneous or missing \" in quoted-field".into());
    }
    fields.push(field);
    Ok(fields)
}

/// Reads one mount; the error is the reason without the flag's name.
pub(crate) fn parse(text: &str) -> Result<Mount, String> {
    let mut mount = Mount { kind: "volume".into(), ..Mount::default() };
    let (mut bind, mut volume, mut image, mut tmpfs) = (None, None, None, None);
    for field in csv(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_ascii_lowercase(), Some(value)),
            None => (field.to_ascii_lowercase(), None),
        };
        let Some(value) = value else {
            match key.as_str() {
                "readonly" | "ro" => mount.read_only = true,
                "volume-nocopy" => volume.get_or_insert_with(VolumeOptions::default).no_copy = true,
                "bind-nonrecursive" => bind.get_or_insert_with(BindOptions::default).non_recursive = true,
                _ => return Err(format!("invalid field '{field}' must be a key=value pair")),
            }
            continue;
        };
        let truth = || parse_bool(value).ok_or_else(|| format!("invalid value for {key}: {value}"));
        match key.as_str() {
            "type" => mount.kind = value.to_ascii_lowercase(),
            "source" | "src" => {
                mount.source =
                    if value.starts_with('.') { absolute(value).map_err(|f| f.message)? } else { value.to_owned() };
            }
            "target" | "dst" | "destination" => mount.target = value.to_owned(),
            "readonly" | "ro" => mount.read_only = truth()?,
            "consistency" => mount.consistency = value.to_ascii_lowercase(),
            "bind-propagation" => {
                bind.get_or_insert_with(BindOptions::default).propagation = value.to_ascii_lowercase();
            }
            "bind-nonrecursive" => bind.get_or_insert_with(BindOptions::default).non_recursive = truth()?,
            "bind-recursive" => {
                let bind = bind.get_or_insert_with(BindOptions::default);
                match value {
                    "enabled" => {}
                    "disabled" => bind.non_recursive = true,
                    "writable" => bind.read_only_non_recursive = true,
                    "readonly" => bind.read_only_force_recursive = true,
                    _ => {
                        return Err(format!(
                            "invalid value for {key}: {value} (must be \"enabled\", \"disabled\", \"writable\", or \
                             \"readonly\")"
                        ));
                    }
                }
            }
            "volume-subpath" => volume.get_or_insert_with(VolumeOptions::default).subpath = value.to_owned(),
            "volume-nocopy" => volume.get_or_insert_with(VolumeOptions::default).no_copy = truth()?,
            "volume-label" => {
                let labels = &mut volume.get_or_insert_with(VolumeOptions::default).labels;
                insert(labels.get_or_insert_default(), value);
            }
            "volume-driver" => driver(&mut volume).name = value.to_owned(),
            "volume-opt" => insert(driver(&mut volume).options.get_or_insert_default(), value),
            "image-subpath" => image.get_or_insert_with(ImageOptions::default).subpath = value.to_owned(),
            "tmpfs-size" => {
                let size = parse_size(value).map_err(|_| format!("invalid value for {key}: {value}"))?;
                tmpfs.get_or_insert_with(TmpfsOptions::default).size_bytes = size;
            }
            "tmpfs-mode" => {
                let mode = u32::from_str_radix(value, 8).map_err(|_| format!("invalid value for {key}: {value}"))?;
                tmpfs.get_or_insert_with(TmpfsOptions::default).mode = mode;
            }
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    let kind = mount.kind.clone();
    if kind.is_empty() {
        return Err("type is required".into());
    }
    if mount.target.is_empty() {
        return Err("target is required".into());
    }
    for (prefix, owner, given) in [
        ("volume", "volume", volume.is_some()),
        ("bind", "bind", bind.is_some()),
        ("image", "image", image.is_some()),
        ("tmpfs", "tmpfs", tmpfs.is_some()),
    ] {
        if given && kind != owner {
            return Err(format!("cannot mix '{prefix}-*' options with mount type '{kind}'"));
        }
    }
    if let Some(bind) = &bind {
        if bind.read_only_non_recursive && !mount.read_only {
            return Err("option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction".into());
        }
        if bind.read_only_force_recursive {
            if !mount.read_only {
                return Err(
                    "option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction".into()
                );
            }
            if bind.propagation != "rprivate" {
                return Err(
                    "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in \
                            conjunction"
                        .into(),
                );
            }
        }
    }
    (mount.bind_options, mount.volume_options, mount.image_options, mount.tmpfs_options) = (bind, volume, image, tmpfs);
    Ok(mount)
}

fn driver(volume: &mut Option<VolumeOptions>) -> &mut Driver {
    volume.get_or_insert_default().driver_config.get_or_insert_default()
}

fn insert(map: &mut Map<String>, pair: &str) {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    map.insert(key.to_owned(), value.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts() {
        let mount = parse("type=bind,src=/a,dst=/b,ro,bind-propagation=rslave").unwrap();
        assert_eq!((mount.kind.as_str(), mount.source.as_str(), mount.target.as_str()), ("bind", "/a", "/b"));
        assert!(mount.read_only);
        assert_eq!(mount.bind_options.unwrap().propagation, "rslave");
        let mount = parse("target=/t,volume-opt=type=nfs,\"volume-opt=o=a,b\",volume-label=x=y").unwrap();
        assert_eq!(mount.kind, "volume");
        let options = mount.volume_options.unwrap();
        assert_eq!(options.driver_config.unwrap().options.unwrap()["o"], "a,b");
        assert_eq!(options.labels.unwrap()["x"], "y");
        let mount = parse("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1777").unwrap();
        assert_eq!(mount.tmpfs_options.map(|t| (t.size_bytes, t.mode)), Some((1 << 20, 0o1777)));
    }

    #[test]
    fn mistakes() {
        for (text, why) in [
            ("type=bind", "target is required"),
            ("type=", "type is required"),
            ("foo=1,target=/x", "unexpected key 'foo' in 'foo=1'"),
            ("bogus", "invalid field 'bogus' must be a key=value pair"),
            ("type=bind,target=/x,ro=maybe", "invalid value for ro: maybe"),
            ("type=bind,target=/x,volume-nocopy", "cannot mix 'volume-*' options with mount type 'bind'"),
            ("type=tmpfs,target=/x,tmpfs-size=z", "invalid value for tmpfs-size: z"),
        ] {
            assert_eq!(parse(text).unwrap_err(), why);
        }
        assert!(parse("\"x").is_err());
    }
}
