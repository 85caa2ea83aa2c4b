//! `--network`, short (`name`) and long (`name=...,alias=...,ip=...`), with the flags that speak of the first network.

use super::mount::csv;
use crate::args::{Flags, bad_flag};
use crate::failure::{Failure, Result};
use clap::ArgMatches;
use wire::docker::Map;
use wire::docker::config::{EndpointIpam, EndpointSettings, NetworkingConfig};

/// What the API wants to know of networks.
pub(crate) struct Networks {
    pub(crate) mode: String,
    pub(crate) config: NetworkingConfig,
    /// The MAC address stands with the network, not with the container.
    pub(crate) mac_elsewhere: bool,
}

pub(crate) fn parse(m: &ArgMatches) -> Result<Networks> {
    let mut endpoints: Vec<(String, EndpointSettings)> = Vec::new();
    for text in m.texts("network") {
        let (name, endpoint) = one(&text).map_err(|why| bad_flag("network", &text, &why))?;
        if endpoints.iter().any(|(known, _)| *known == name) {
            return Err(Failure::new(format!("network {name:?} is specified multiple times")).with_code(125));
        }
        endpoints.push((name, endpoint));
    }
    if endpoints.is_empty() {
        endpoints.push(("default".into(), EndpointSettings::default()));
    }
    let several = endpoints.len() > 1;
    let (first, endpoint) = &mut endpoints[0];
    let conflict = |flag: &str| {
        Failure::new(format!("conflicting options: cannot specify both --{flag} and per-network {flag}")).with_code(125)
    };
    let addresses = [("ip", "ip"), ("ip6", "ip6")].map(|(flag, _)| m.text(flag).to_owned());
    let user_defined =
        !matches!(first.as_str(), "default" | "bridge" | "host" | "none") && !first.starts_with("container:");
    if !user_defined && !m.texts("network-alias").is_empty() {
        return Err(Failure::new("network-scoped aliases are only supported for user-defined networks").with_code(125));
    }
    if several && !user_defined && matches!(first.as_str(), "host" | "none") {
        return Err(Failure::new(
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
        )
        .with_code(125));
    }
    for (flag, value) in [("ip", &addresses[0]), ("ip6", &addresses[1])] {
        if value.is_empty() {
            continue;
        }
        let ipam = endpoint.ipam_config.get_or_insert_default();
        let slot = if flag == "ip" { &mut ipam.ipv4_address } else { &mut ipam.ipv6_address };
        if !slot.is_empty() {
            return Err(conflict(flag));
        }
        slot.clone_from(value);
    }
    let local = m.texts("link-local-ip");
    if !local.is_empty() {
        endpoint.ipam_config.get_or_insert_default().link_local_ips = Some(local);
    }
    let aliases = m.texts("network-alias");
    if !aliases.is_empty() {
        if endpoint.aliases.is_some() {
            return Err(conflict("network-alias"));
        }
        endpoint.aliases = Some(aliases);
    }
    let links = m.texts("link");
    if !links.is_empty() && user_defined {
        endpoint.links = Some(links);
    }
    let mac = m.text("mac-address");
    if !mac.is_empty() {
        if !is_mac(mac) {
            return Err(Failure::new(format!("{mac} is not a valid mac address")).with_code(125));
        }
        if !endpoint.mac_address.is_empty() {
            return Err(conflict("mac-address"));
        }
        endpoint.mac_address = mac.to_owned();
    }
    let mode = first.clone();
    let bare = matches!(mode.as_str(), "host" | "none") || mode.starts_with("container:");
    // These are no networks: there is nothing to say of a place in them.
    if bare && *endpoint == EndpointSettings::default() {
        endpoints.remove(0);
    }
    Ok(Networks {
        mode,
        mac_elsewhere: false,
        config: NetworkingConfig {
            endpoints_config: Some(endpoints.into_iter().map(|(name, endpoint)| (name, Some(endpoint))).collect()),
        },
    })
}

fn is_mac(text: &str) -> bool {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    parts.len() == 6 && parts.iter().all(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn one(text: &str) -> Result<(String, EndpointSettings), String> {
    let mut endpoint = EndpointSettings::default();
    // A name may hold an equals sign where no value follows it.
    if !text.split_once('=').is_some_and(|(key, value)| !key.is_empty() && !value.is_empty()) {
        return Ok((text.to_owned(), endpoint));
    }
    let mut name = String::new();
    for field in csv(text)? {
        let (key, value) = field.split_once('=').ok_or_else(|| format!("invalid field {field}"))?;
        let ipam = || EndpointIpam::default();
        match key.trim().to_ascii_lowercase().as_str() {
            "name" => name = value.to_owned(),
            "alias" => endpoint.aliases.get_or_insert_default().push(value.to_owned()),
            "ip" => endpoint.ipam_config.get_or_insert_with(ipam).ipv4_address = value.to_owned(),
            "ip6" => endpoint.ipam_config.get_or_insert_with(ipam).ipv6_address = value.to_owned(),
            "mac-address" if is_mac(value) => endpoint.mac_address = value.to_owned(),
            "mac-address" => return Err(format!("{value} is not a valid mac address")),
            "link-local-ip" => {
                let ipam = endpoint.ipam_config.get_or_insert_with(ipam);
                ipam.link_local_ips.get_or_insert_default().push(value.to_owned());
            }
            "driver-opt" => {
                let (key, value) = value
                    .split_once('=')
                    .ok_or_else(|| "invalid key value pair format in driver options".to_owned())?;
                endpoint.driver_opts.get_or_insert_with(Map::new).insert(key.to_owned(), value.to_owned());
            }
            "gw-priority" => {
                endpoint.gw_priority =
                    value.parse().map_err(|_| format!("invalid gw-priority: invalid syntax: {value:?}"))?;
            }
            other => return Err(format!("invalid field key {other}")),
        }
    }
    if name.is_empty() { Err("network name/id is not specified".into()) } else { Ok((name, endpoint)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        assert_eq!(one("host").unwrap().0, "host");
        let (name, endpoint) = one("name=n,alias=a,alias=b,ip=1.2.3.4,\"driver-opt=k=v\"").unwrap();
        assert_eq!(name, "n");
        assert_eq!(endpoint.aliases.unwrap(), ["a", "b"]);
        assert_eq!(endpoint.ipam_config.unwrap().ipv4_address, "1.2.3.4");
        assert_eq!(endpoint.driver_opts.unwrap()["k"], "v");
        assert!(one("alias=x").unwrap_err().contains("not specified"));
        assert!(one("name=x,foo=1").unwrap_err().contains("invalid field key foo"));
        assert!(is_mac("92:d0:c6:0a:29:33") && !is_mac("92:d0"));
    }
}
