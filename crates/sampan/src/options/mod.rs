//! The options of `run` and `create`, and what they mean as a body of `POST /containers/create`.
//!
//! [`flags`] is what may be written; [`container`] reads it. Each syntax of its own has its own file. Nothing here talks
//! to the daemon, and only `--env-file`, `--label-file` and seccomp profiles touch the disk.

pub(crate) mod devices;
pub(crate) mod env;
mod flags;
mod health;
mod host;
pub(crate) mod mount;
pub(crate) mod network;
pub(crate) mod ports;
pub(crate) mod resources;
mod security;
pub(crate) mod volumes;

pub(crate) use flags::flags;
pub(crate) use host::restart_policy;

use crate::args::{Flags, bad_flag};
use crate::failure::{Failure, Result};
use clap::ArgMatches;
use wire::docker::config::{Config, CreateRequest};
use wire::docker::{Empty, Map, Words};

/// The body for an image and a command.
pub(crate) fn container(m: &ArgMatches) -> Result<CreateRequest> {
    let mut arguments = m.arguments();
    let image = arguments.remove(0);
    let mut config = Config {
        hostname: m.text("hostname").to_owned(),
        domainname: m.text("domainname").to_owned(),
        user: m.text("user").to_owned(),
        tty: m.on("tty"),
        open_stdin: m.on("interactive"),
        env: Some(env::gather(&m.texts("env-file"), &m.texts("env"), env::Kind::Variable)?)
            .filter(|env| !env.is_empty()),
        cmd: Some(Words(arguments)).filter(|words| !words.0.is_empty()),
        image,
        working_dir: m.text("workdir").to_owned(),
        labels: Some(labels(m)?),
        stop_signal: m.text("stop-signal").to_owned(),
        stop_timeout: m.integer("stop-timeout")?,
        mac_address: m.text("mac-address").to_owned(),
        healthcheck: health::check(m)?,
        ..Config::default()
    };
    attach(m, &mut config)?;
    if let Some(entrypoint) = m.given("entrypoint") {
        // An empty one takes the image's away.
        config.entrypoint = Some(Words(vec![entrypoint.to_owned()]));
    }

    let published = ports::publish(&m.texts("publish"))?;
    let mut exposed = published.exposed;
    for port in ports::expose(&m.texts("expose"))? {
        exposed.insert(port, Empty {});
    }
    config.exposed_ports = Some(exposed).filter(|ports| !ports.is_empty());

    let volumes = volumes::split(&m.texts("volume"))?;
    config.volumes = Some(volumes.anonymous.into_iter().map(|target| (target, Empty {})).collect());

    let mut host = host::config(m)?;
    host.binds = Some(volumes.binds).filter(|binds| !binds.is_empty());
    host.port_bindings = Some(published.bindings);
    let networks = network::parse(m)?;
    host.network_mode = networks.mode;
    if networks.mac_elsewhere {
        config.mac_address = String::new();
    }
    Ok(CreateRequest { host_config: Some(host), networking_config: Some(networks.config), config, other: Map::new() })
}

fn attach(m: &ArgMatches, config: &mut Config) -> Result<()> {
    let streams = m.texts("attach");
    for stream in &streams {
        match stream.to_ascii_lowercase().as_str() {
            "stdin" => config.attach_stdin = true,
            "stdout" => config.attach_stdout = true,
            "stderr" => config.attach_stderr = true,
            _ => return Err(bad_flag("attach", stream, "valid streams are STDIN, STDOUT and STDERR")),
        }
    }
    if streams.is_empty() {
        config.attach_stdout = true;
        config.attach_stderr = true;
        config.attach_stdin = config.open_stdin;
    }
    config.stdin_once = config.open_stdin && config.attach_stdin;
    Ok(())
}

fn labels(m: &ArgMatches) -> Result<Map<String>> {
    let pairs = env::gather(&m.texts("label-file"), &m.texts("label"), env::Kind::Label)?;
    Ok(pairs_map(&pairs))
}

/// `k=v` texts as a map; without `=` the value is empty.
pub(crate) fn pairs_map(pairs: &[String]) -> Map<String> {
    pairs
        .iter()
        .map(|pair| pair.split_once('=').map_or((pair.clone(), String::new()), |(k, v)| (k.to_owned(), v.to_owned())))
        .collect()
}

/// A value of one of the given words.
pub(crate) fn one_of(name: &str, value: &str, valid: impl Fn(&str) -> bool, complaint: &str) -> Result<String> {
    if valid(value) { Ok(value.to_owned()) } else { Err(Failure::new(format!("--{name}: {complaint}")).with_code(125)) }
}
