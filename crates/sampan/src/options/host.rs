//! `HostConfig`, but for volumes and networks.

use super::{devices, mount, one_of, pairs_map, resources, security};
use crate::args::{Flags, bad_flag};
use crate::failure::{Failure, Result};
use crate::format::units::parse_size;
use clap::ArgMatches;
use std::net::IpAddr;
use wire::docker::Map;
use wire::docker::host_config::{HostConfig, LogConfig, RestartPolicy};

pub(super) fn config(m: &ArgMatches) -> Result<HostConfig> {
    let some = |name: &str| Some(m.texts(name)).filter(|list| !list.is_empty());
    let pid =
        one_of("pid", m.text("pid"), |v| matches!(v, "" | "host") || v.starts_with("container:"), "invalid PID mode")?;
    let uts = one_of("uts", m.text("uts"), |v| matches!(v, "" | "host"), "invalid UTS mode")?;
    let userns = one_of("userns", m.text("userns"), |v| matches!(v, "" | "host"), "invalid USER mode")?;
    let cgroupns =
        one_of("cgroupns", m.text("cgroupns"), |v| matches!(v, "" | "host" | "private"), "invalid CGROUP mode")?;
    let security = security::options(&m.texts("security-opt"))?;
    let restart_policy = restart_policy(m.given("restart").unwrap_or("no"))?;
    let auto_remove = m.on("rm");
    if auto_remove && !matches!(restart_policy.name.as_str(), "" | "no") {
        return Err(Failure::new("conflicting options: cannot specify both --restart and --rm").with_code(125));
    }
    let mut resources = resources::from_flags(m)?;
    let requested = devices::parse(&m.texts("device"), &m.texts("gpus"))?;
    resources.devices = Some(requested.devices);
    resources.device_requests = Some(requested.requests).filter(|r| !r.is_empty());
    resources.device_cgroup_rules = some("device-cgroup-rule");
    for rule in m.texts("device-cgroup-rule") {
        devices::check_rule(&rule)?;
    }
    let shm_size =
        m.given("shm-size").map(|text| parse_size(text).map_err(|why| bad_flag("shm-size", text, &why))).transpose()?;
    let oom_score_adj = m.integer("oom-score-adj")?.unwrap_or(0);
    Ok(HostConfig {
        container_id_file: m.text("cidfile").to_owned(),
        log_config: log_config(m)?,
        restart_policy,
        auto_remove,
        volume_driver: m.text("volume-driver").to_owned(),
        volumes_from: some("volumes-from"),
        annotations: some("annotation").map(|list| pairs("annotation", &list)).transpose()?,
        cap_add: some("cap-add").map(capabilities),
        cap_drop: some("cap-drop").map(capabilities),
        cgroupns_mode: cgroupns,
        dns: Some(dns(m)?),
        dns_options: Some(m.texts("dns-option")),
        dns_search: Some(dns_search(m)?),
        extra_hosts: some("add-host").map(|hosts| hosts.iter().map(|h| extra_host(h)).collect()).transpose()?,
        group_add: some("group-add"),
        ipc_mode: m.text("ipc").to_owned(),
        links: some("link"),
        oom_score_adj,
        pid_mode: pid,
        privileged: m.on("privileged"),
        publish_all_ports: m.on("publish-all"),
        readonly_rootfs: m.on("read-only"),
        security_opt: security.options,
        masked_paths: security.masked_paths,
        readonly_paths: security.readonly_paths,
        storage_opt: some("storage-opt").map(|list| storage_options(&list)).transpose()?,
        tmpfs: some("tmpfs").map(|list| tmpfs(&list)),
        uts_mode: uts,
        userns_mode: userns,
        shm_size: shm_size.unwrap_or(0),
        sysctls: some("sysctl").map(|list| pairs("sysctl", &list)).transpose()?,
        runtime: m.text("runtime").to_owned(),
        isolation: m.text("isolation").to_owned(),
        mounts: some("mount")
            .map(|mounts| {
                mounts.iter().map(|text| mount::parse(text).map_err(|why| bad_flag("mount", text, &why))).collect()
            })
            .transpose()?,
        init: m.switch("init"),
        resources,
        ..HostConfig::default()
    })
}

/// Names in the kernel's spelling, sorted, each once.
fn capabilities(list: Vec<String>) -> Vec<String> {
    let spell = |name: String| {
        let upper = name.trim().to_ascii_uppercase();
        if upper == "ALL" || upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") }
    };
    let sorted: std::collections::BTreeSet<String> = list.into_iter().map(spell).collect();
    sorted.into_iter().collect()
}

/// `no`, `always`, `unless-stopped`, `on-failure[:count]`; the daemon checks the name.
pub(crate) fn restart_policy(text: &str) -> Result<RestartPolicy> {
    let refuse = |why: &str| Failure::new(format!("invalid restart policy format: {why}")).with_code(125);
    let (name, count) = text.split_once(':').map_or((text, None), |(name, count)| (name, Some(count)));
    if name.is_empty() && count.is_some() {
        return Err(refuse("no policy provided before colon"));
    }
    let maximum_retry_count = match count {
        None => 0,
        Some(count) => count.parse().map_err(|_| refuse("maximum retry count must be an integer"))?,
    };
    Ok(RestartPolicy { name: name.to_owned(), maximum_retry_count })
}

fn log_config(m: &ArgMatches) -> Result<LogConfig> {
    let kind = m.text("log-driver").to_owned();
    let options = m.texts("log-opt");
    if kind == "none" && !options.is_empty() {
        return Err(Failure::new(format!("invalid logging opts for driver {kind}")).with_code(125));
    }
    Ok(LogConfig { kind, config: Some(pairs_map(&options)) })
}

fn pairs(name: &str, list: &[String]) -> Result<Map<String>> {
    for pair in list {
        if pair.split_once('=').is_none_or(|(key, _)| key.is_empty()) {
            return Err(bad_flag(name, pair, &format!("{name} '{pair}' is not allowed: write key=value")));
        }
    }
    Ok(pairs_map(list))
}

fn storage_options(list: &[String]) -> Result<Map<String>> {
    if list.iter().any(|option| !option.contains('=')) {
        return Err(Failure::new("invalid storage option").with_code(125));
    }
    Ok(pairs_map(list))
}

fn tmpfs(list: &[String]) -> Map<String> {
    list.iter()
        .map(|text| text.split_once(':').map_or((text.clone(), String::new()), |(k, v)| (k.to_owned(), v.to_owned())))
        .collect()
}

fn dns(m: &ArgMatches) -> Result<Vec<String>> {
    let check = |text: String| match text.trim().parse::<IpAddr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => Err(bad_flag("dns", &text, &format!("IP address is not correctly formatted: {text}"))),
    };
    m.texts("dns").into_iter().map(check).collect()
}

fn dns_search(m: &ArgMatches) -> Result<Vec<String>> {
    let check = |text: String| {
        let domain = text.trim().trim_end_matches('.').to_owned();
        let is_label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        let valid = text.trim() == "." || (domain.len() < 256 && domain.split('.').all(is_label));
        if valid {
            Ok(if domain.is_empty() { ".".into() } else { domain })
        } else {
            Err(bad_flag("dns-search", &text, &format!("{text} is not a valid domain")))
        }
    };
    m.texts("dns-search").into_iter().map(check).collect()
}

/// `host:ip` or `host=ip`; brackets around the address may be left out.
pub(crate) fn extra_host(text: &str) -> Result<String> {
    let refuse = |why: String| bad_flag("add-host", text, &why);
    let (name, address) = text
        .split_once('=')
        .or_else(|| text.split_once(':'))
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| refuse(format!("bad format for add-host: {text:?}")))?;
    let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    if bare != "host-gateway" && bare.parse::<IpAddr>().is_err() {
        return Err(refuse(format!("invalid IP address in add-host: {address:?}")));
    }
    Ok(format!("{name}:{bare}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restart_policies() {
        let policy = restart_policy("on-failure:3").unwrap();
        assert_eq!((policy.name.as_str(), policy.maximum_retry_count), ("on-failure", 3));
        assert!(restart_policy(":3").unwrap_err().message.contains("no policy provided"));
        assert!(restart_policy("on-failure:x").unwrap_err().message.contains("must be an integer"));
    }

    #[test]
    fn extra_hosts() {
        assert_eq!(extra_host("a:1.2.3.4").unwrap(), "a:1.2.3.4");
        assert_eq!(extra_host("a=::1").unwrap(), "a:::1");
        assert_eq!(extra_host("a:[::1]").unwrap(), "a:::1");
        assert_eq!(extra_host("a:host-gateway").unwrap(), "a:host-gateway");
        assert!(extra_host("a").is_err() && extra_host(":1.2.3.4").is_err() && extra_host("a:b").is_err());
    }
}
