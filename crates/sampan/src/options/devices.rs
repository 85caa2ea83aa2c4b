//! `--device`, `--device-cgroup-rule` and `--gpus`.

use super::mount::csv;
use crate::args::bad_flag;
use crate::failure::{Failure, Result};
use wire::docker::Map;
use wire::docker::host_config::{DeviceMapping, DeviceRequest};

/// Devices of the host, and requests to device drivers.
#[derive(Debug, Default)]
pub(crate) struct Requested {
    pub(crate) devices: Vec<DeviceMapping>,
    pub(crate) requests: Vec<DeviceRequest>,
}

/// Reads both flags.
pub(crate) fn parse(devices: &[String], gpus: &[String]) -> Result<Requested> {
    let mut requested = Requested::default();
    let mut cdi = Vec::new();
    for text in devices {
        if is_cdi(text) {
            cdi.push(text.clone());
        } else {
            requested.devices.push(mapping(text).map_err(|why| Failure::new(why).with_code(125))?);
        }
    }
    for text in gpus {
        requested.requests.push(gpu(text).map_err(|why| bad_flag("gpus", text, &why))?);
    }
    if !cdi.is_empty() {
        requested.requests.push(DeviceRequest { driver: "cdi".into(), device_ids: Some(cdi), ..Default::default() });
    }
    Ok(requested)
}

/// A qualified name of the Container Device Interface: `vendor.example/class=name`.
fn is_cdi(text: &str) -> bool {
    let name = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'))
    };
    text.split_once('/')
        .and_then(|(vendor, rest)| rest.split_once('=').map(|(class, device)| [vendor, class, device]))
        .is_some_and(|parts| parts.into_iter().all(name))
}

fn is_mode(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| matches!(b, b'r' | b'w' | b'm'))
        && ["r", "w", "m"].iter().all(|letter| text.matches(letter).count() <= 1)
}

fn mapping(text: &str) -> Result<DeviceMapping, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, mode) = match parts.as_slice() {
        [source] => (*source, *source, "rwm"),
        [source, mode] if is_mode(mode) => (*source, *source, *mode),
        [source, target] => (*source, *target, "rwm"),
        [source, target, mode] => (*source, *target, *mode),
        _ => return Err(format!("bad format for path: {text}")),
    };
    if source.is_empty() || target.is_empty() {
        return Err(format!("bad format for path: {text}"));
    }
    if !is_mode(mode) {
        return Err(format!("bad mode specified: {mode}"));
    }
    if !target.starts_with('/') {
        return Err(format!("{target} is not an absolute path"));
    }
    Ok(DeviceMapping {
        path_on_host: source.to_owned(),
        path_in_container: target.to_owned(),
        cgroup_permissions: mode.to_owned(),
    })
}

/// `[acb] major:minor [rwm]`, where a number may be `*`.
pub(crate) fn check_rule(text: &str) -> Result<()> {
    let number = |part: &str| part == "*" || (!part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    let parts: Vec<&str> = text.split(' ').collect();
    let valid = match parts.as_slice() {
        [kind, numbers, mode] => {
            matches!(*kind, "a" | "b" | "c")
                && numbers.split_once(':').is_some_and(|(major, minor)| number(major) && number(minor))
                && (1..=3).contains(&mode.len())
                && mode.bytes().all(|b| matches!(b, b'r' | b'w' | b'm'))
        }
        _ => false,
    };
    if valid {
        Ok(())
    } else {
        Err(bad_flag("device-cgroup-rule", text, &format!("invalid device cgroup format '{text}'")))
    }
}

/// `all`, a count, or `device=...,driver=...,capabilities=...,options=...`.
fn gpu(text: &str) -> Result<DeviceRequest, String> {
    let mut request = DeviceRequest::default();
    let mut capabilities: Option<Vec<String>> = None;
    let mut counted = false;
    for field in csv(text)? {
        let (key, value) = field.split_once('=').unwrap_or(("count", field.as_str()));
        match key {
            "count" => {
                counted = true;
                request.count = if value == "all" {
                    -1
                } else {
                    value
                        .parse()
                        .map_err(|_| format!("invalid count ({value}): value must be either \"all\" or an integer"))?
                };
            }
            "driver" => request.driver = value.to_owned(),
            "device" => request.device_ids = Some(value.split(',').map(str::to_owned).collect()),
            "capabilities" => capabilities = Some(value.split(',').map(str::to_owned).collect()),
            "options" => {
                let pairs = value.split(',').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
                request.options = Some(pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect());
            }
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
    }
    if !counted && request.device_ids.is_none() {
        request.count = 1;
    }
    let mut capabilities = capabilities.unwrap_or_default();
    if !capabilities.iter().any(|c| c == "gpu") {
        capabilities.push("gpu".into());
    }
    request.capabilities = Some(vec![capabilities]);
    request.options.get_or_insert_with(Map::new);
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, String> {
        mapping(text).map(|d| format!("{} {} {}", d.path_on_host, d.path_in_container, d.cgroup_permissions))
    }

    #[test]
    fn forms() {
        assert_eq!(shown("/dev/fuse").unwrap(), "/dev/fuse /dev/fuse rwm");
        assert_eq!(shown("/dev/a:/dev/b").unwrap(), "/dev/a /dev/b rwm");
        assert_eq!(shown("/dev/a:rw").unwrap(), "/dev/a /dev/a rw");
        assert_eq!(shown("/dev/a:/dev/b:r").unwrap(), "/dev/a /dev/b r");
        assert!(shown("/dev/a:/dev/b:rx").is_err() && shown("").is_err() && shown("a:b:c:d").is_err());
        assert!(is_cdi("vendor.com/gpu=0") && !is_cdi("/dev/x=y/z"));
        check_rule("c 1:* rwm").unwrap();
        assert!(check_rule("x 1:2 r").is_err());
        assert_eq!(gpu("all").unwrap().count, -1);
        assert_eq!(gpu("\"device=0,1\"").unwrap().device_ids.unwrap(), ["0", "1"]);
        assert!(gpu("many").is_err());
    }
}
