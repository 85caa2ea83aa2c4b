//! A create body as the engine's [`ContainerSpec`]: pure functions, nothing of the machine is looked at.
//!
//! Every field of Docker's `Config` and `HostConfig` is honoured, or refused by its name if it is set to anything but
//! its zero value; what is refused because this engine lacks it is `Unsupported`, what is wrong is `InvalidArgument`.

pub mod mounts;
pub mod ports;
pub mod resources;
pub mod security;

pub use ports::{parse_exposed, port_key};
pub use resources::{restart, update};

use engine::model::{
    ContainerSpec, EndpointSpec, Healthcheck, LogSpec, NamespaceMode, NetworkMode, RestartPolicy, Ulimit,
};
use oci::{Error, Platform, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use wire::docker::Map;
use wire::docker::config::{self, Config, CreateRequest, EndpointSettings};
use wire::docker::host_config::HostConfig;

/// The spec for `request`. The request itself is kept in it as `door`, for inspection.
///
/// # Errors
/// See the [module](self).
pub fn container(request: CreateRequest, name: Option<&str>, platform: Option<Platform>) -> Result<ContainerSpec> {
    let door = serde_json::to_value(&request).map_err(|error| Error::internal(format!("keep the request: {error}")))?;
    let CreateRequest { config, host_config, networking_config, other } = request;
    let host = host_config.unwrap_or_default();
    unknown("", &other)?;
    unknown("HostConfig.", &host.other)?;
    refuse_what_is_missing(&config, &host)?;
    if config.image.is_empty() {
        return Err(Error::invalid("no image specified: the field Image is empty"));
    }
    environment(config.env.as_deref().unwrap_or_default())?;
    if !config.working_dir.is_empty() && !config.working_dir.starts_with('/') {
        return Err(Error::invalid(format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            config.working_dir
        )));
    }
    let network = if config.network_disabled { NetworkMode::None } else { network_mode(&host.network_mode) };
    let endpoints = endpoints(networking_config.unwrap_or_default(), &network)?;
    let restart = restart(&host.restart_policy)?;
    if host.auto_remove && restart != RestartPolicy::No {
        return Err(Error::invalid("can't create 'AutoRemove' container with restart policy"));
    }
    let (mut exposed_ports, ports) = ports::published(host.port_bindings.as_ref())?;
    for port in config.exposed_ports.iter().flat_map(Map::keys) {
        exposed_ports.extend(parse_exposed(port)?);
    }
    Ok(ContainerSpec {
        name: name.map(container_name).transpose()?,
        image: config.image.clone(),
        platform,
        entrypoint: config.entrypoint.clone().map(|words| words.0),
        command: config.cmd.clone().map(|words| words.0),
        env: config.env.clone().unwrap_or_default(),
        labels: config.labels.clone().unwrap_or_default(),
        user: config.user.clone(),
        groups: host.group_add.clone().unwrap_or_default(),
        cwd: config.working_dir.clone(),
        tty: config.tty,
        console_size: console_size(host.console_size)?,
        open_stdin: config.open_stdin,
        stdin_once: config.stdin_once,
        hostname: config.hostname.clone(),
        domainname: config.domainname.clone(),
        mounts: mounts::all(&config, &host)?,
        volumes_from: host.volumes_from.clone().unwrap_or_default(),
        readonly_rootfs: host.readonly_rootfs,
        network,
        endpoints,
        mac_address: some(&config.mac_address),
        ports,
        publish_all: host.publish_all_ports,
        exposed_ports,
        extra_hosts: extra_hosts(host.extra_hosts.as_deref().unwrap_or_default())?,
        dns: host.dns.clone().unwrap_or_default(),
        dns_search: host.dns_search.clone().unwrap_or_default(),
        dns_options: host.dns_options.clone().unwrap_or_default(),
        resources: resources::all(&host.resources)?,
        cap_add: host.cap_add.clone().unwrap_or_default(),
        cap_drop: host.cap_drop.clone().unwrap_or_default(),
        privileged: host.privileged,
        security: security::options(host.security_opt.as_deref().unwrap_or_default())?,
        devices: resources::devices(&host.resources)?,
        device_cgroup_rules: host.resources.device_cgroup_rules.clone().unwrap_or_default(),
        ulimits: ulimits(&host),
        sysctls: host.sysctls.clone().unwrap_or_default(),
        pid_mode: namespace("PidMode", &host.pid_mode, &["host", "container"])?.unwrap_or_default(),
        ipc_mode: namespace("IpcMode", &host.ipc_mode, &["host", "container", "private", "shareable", "none"])?
            .unwrap_or_default(),
        uts_mode: namespace("UTSMode", &host.uts_mode, &["host"])?.unwrap_or_default(),
        cgroupns_mode: namespace("CgroupnsMode", &host.cgroupns_mode, &["host", "private"])?,
        shm_size: shm_size(host.shm_size)?,
        oom_score_adj: oom_score_adj(host.oom_score_adj)?,
        restart,
        log: log(&host),
        init: host.init.unwrap_or(false),
        auto_remove: host.auto_remove,
        stop_signal: some(&config.stop_signal),
        stop_timeout: config.stop_timeout,
        healthcheck: config.healthcheck.as_ref().and_then(healthcheck),
        runtime: some(&host.runtime),
        cgroup_parent: some(&host.resources.cgroup_parent),
        masked_paths: host.masked_paths.clone(),
        readonly_paths: host.readonly_paths.clone(),
        annotations: host.annotations.clone().unwrap_or_default(),
        door,
    })
}

/// Refuses keys that the model doesn't know, if they are set.
fn unknown(prefix: &str, other: &Map<Value>) -> Result<()> {
    let set = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) => true,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    };
    match other.iter().find(|(_, value)| set(value)) {
        Some((name, _)) => Err(unsupported(&format!("{prefix}{name}"))),
        None => Ok(()),
    }
}

fn unsupported(option: &str) -> Error {
    Error::unsupported(format!("not implemented: the option {option}"))
}

/// Fields of Docker's model that no engine call takes.
fn refuse_what_is_missing(config: &Config, host: &HostConfig) -> Result<()> {
    let some = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let r = &host.resources;
    let refused = [
        ("ArgsEscaped", config.args_escaped),
        ("OnBuild", some(&config.on_build)),
        ("Shell", config.shell.as_ref().is_some_and(|words| !words.0.is_empty())),
        ("HostConfig.Links", some(&host.links)),
        ("HostConfig.Cgroup", !host.cgroup.is_empty()),
        ("HostConfig.StorageOpt", host.storage_opt.as_ref().is_some_and(|map| !map.is_empty())),
        // Without a remapping daemon, "host" is what every container has.
        ("HostConfig.UsernsMode", !matches!(host.userns_mode.as_str(), "" | "host")),
        ("HostConfig.Isolation", !matches!(host.isolation.as_str(), "" | "default")),
        ("HostConfig.BlkioWeightDevice", r.blkio_weight_device.as_ref().is_some_and(|list| !list.is_empty())),
        ("HostConfig.DeviceRequests", r.device_requests.as_ref().is_some_and(|list| !list.is_empty())),
        ("HostConfig.KernelMemory", r.kernel_memory > 0),
        ("HostConfig.KernelMemoryTCP", r.kernel_memory_tcp > 0),
        ("HostConfig.CpuCount", r.cpu_count != 0),
        ("HostConfig.CpuPercent", r.cpu_percent != 0),
        ("HostConfig.IOMaximumIOps", r.io_maximum_iops != 0),
        ("HostConfig.IOMaximumBandwidth", r.io_maximum_bandwidth != 0),
    ];
    match refused.iter().find(|(_, set)| *set) {
        Some((name, _)) => Err(unsupported(name)),
        None => Ok(()),
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Docker's rule for names: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, with a leading slash allowed.
pub fn container_name(name: &str) -> Result<String> {
    let bare = name.strip_prefix('/').unwrap_or(name);
    let mut bytes = bare.bytes();
    let good = bare.len() >= 2
        && bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if good {
        return Ok(bare.to_owned());
    }
    Err(Error::invalid(format!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")))
}

fn environment(env: &[String]) -> Result<()> {
    match env.iter().find(|pair| pair.is_empty() || pair.starts_with('=')) {
        Some(pair) => Err(Error::invalid(format!("invalid environment variable: {pair}"))),
        None => Ok(()),
    }
}

/// Docker's terminal size: height and width; nothing where one is 0.
pub fn console_size([height, width]: [u32; 2]) -> Result<Option<(u16, u16)>> {
    if height == 0 || width == 0 {
        return Ok(None);
    }
    match (u16::try_from(height), u16::try_from(width)) {
        (Ok(rows), Ok(columns)) => Ok(Some((rows, columns))),
        _ => Err(Error::invalid(format!("invalid ConsoleSize {height}x{width}"))),
    }
}

fn network_mode(mode: &str) -> NetworkMode {
    match mode {
        "" | "default" | "bridge" => NetworkMode::Default,
        "none" => NetworkMode::None,
        "host" => NetworkMode::Host,
        other => match other.strip_prefix("container:") {
            Some(container) => NetworkMode::Container(container.to_owned()),
            None => NetworkMode::Network(other.to_owned()),
        },
    }
}

fn endpoints(networking: config::NetworkingConfig, network: &NetworkMode) -> Result<BTreeMap<String, EndpointSpec>> {
    let mut specs = BTreeMap::new();
    for (name, settings) in networking.endpoints_config.unwrap_or_default() {
        let settings = settings.unwrap_or_default();
        let ours = match network {
            NetworkMode::Default => matches!(name.as_str(), "default" | "bridge"),
            NetworkMode::None => name == "none",
            NetworkMode::Host => name == "host",
            NetworkMode::Container(_) => false,
            NetworkMode::Network(network) => *network == name,
        };
        if !ours {
            return Err(unsupported(&format!("NetworkingConfig.EndpointsConfig: more than one network ({name})")));
        }
        let name = if name == "default" { "bridge".to_owned() } else { name };
        specs.insert(name, endpoint(&settings)?);
    }
    Ok(specs)
}

/// A container's settings in one network.
///
/// # Errors
/// See the [module](self).
pub fn endpoint(settings: &EndpointSettings) -> Result<EndpointSpec> {
    let some_list = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
    let ipam = settings.ipam_config.clone().unwrap_or_default();
    let refused = [
        ("Links", some_list(&settings.links)),
        ("DriverOpts", settings.driver_opts.as_ref().is_some_and(|map| !map.is_empty())),
        ("GwPriority", settings.gw_priority != 0),
        ("IPAMConfig.LinkLocalIPs", some_list(&ipam.link_local_ips)),
    ];
    if let Some((name, _)) = refused.iter().find(|(_, set)| *set) {
        return Err(unsupported(&format!("EndpointSettings.{name}")));
    }
    let address = |text: &str| {
        some(text).map(|t| t.parse().map_err(|_| Error::invalid(format!("invalid address {t:?}")))).transpose()
    };
    Ok(EndpointSpec {
        aliases: settings.aliases.clone().unwrap_or_default(),
        ipv4: address(&ipam.ipv4_address)?,
        ipv6: address(&ipam.ipv6_address)?,
        mac_address: some(&settings.mac_address),
    })
}

fn extra_hosts(hosts: &[String]) -> Result<Vec<(String, String)>> {
    hosts
        .iter()
        .map(|entry| {
            let (name, address) = entry
                .split_once(['=', ':'])
                .filter(|(name, address)| !name.is_empty() && !address.is_empty())
                .ok_or_else(|| Error::invalid(format!("bad format for add-host: {entry:?}")))?;
            Ok((name.to_owned(), address.trim_start_matches('[').trim_end_matches(']').to_owned()))
        })
        .collect()
}

fn ulimits(host: &HostConfig) -> Vec<Ulimit> {
    let list = host.resources.ulimits.iter().flatten();
    list.map(|limit| Ulimit { name: limit.name.clone(), soft: limit.soft, hard: limit.hard }).collect()
}

/// A namespace's mode; `None` where nothing is said.
fn namespace(field: &str, mode: &str, known: &[&str]) -> Result<Option<NamespaceMode>> {
    let (word, container) = mode.split_once(':').map_or((mode, None), |(word, id)| (word, Some(id)));
    let bad = || Error::invalid(format!("invalid HostConfig.{field}: {mode:?}"));
    if mode.is_empty() {
        return Ok(None);
    }
    if !known.contains(&word) || (container.is_some() != (word == "container")) {
        return Err(bad());
    }
    Ok(Some(match (word, container) {
        ("host", _) => NamespaceMode::Host,
        ("shareable", _) => NamespaceMode::Shareable,
        ("none", _) => NamespaceMode::None,
        ("container", Some(id)) if !id.is_empty() => NamespaceMode::Container(id.to_owned()),
        ("container", _) => return Err(bad()),
        _ => NamespaceMode::Private,
    }))
}

fn shm_size(bytes: i64) -> Result<Option<u64>> {
    match bytes {
        0 => Ok(None),
        _ => u64::try_from(bytes).map(Some).map_err(|_| Error::invalid("SHM size can not be less than 0")),
    }
}

fn oom_score_adj(value: i64) -> Result<Option<i32>> {
    match value {
        0 => Ok(None),
        -1000..=1000 => Ok(i32::try_from(value).ok()),
        _ => Err(Error::invalid(format!("Invalid value {value}, range for oom score adj is [-1000, 1000]"))),
    }
}

fn log(host: &HostConfig) -> LogSpec {
    let default = LogSpec::default();
    LogSpec {
        driver: some(&host.log_config.kind).unwrap_or(default.driver),
        options: host.log_config.config.clone().unwrap_or_default(),
    }
}

fn healthcheck(check: &config::Healthcheck) -> Option<Healthcheck> {
    let check = Healthcheck {
        test: check.test.clone().unwrap_or_default(),
        interval: check.interval,
        timeout: check.timeout,
        start_period: check.start_period,
        start_interval: check.start_interval,
        retries: check.retries,
    };
    // An empty check inherits the image's, as no check does.
    (check != Healthcheck::default()).then_some(check)
}

#[cfg(test)]
mod tests;
