//! `port`: where a container's ports are published.

use super::shared;
use crate::Context;
use crate::args::{Arity, Flags, verb};
use crate::client::Call;
use crate::failure::{Failure, Result};
use crate::output;
use clap::{Arg, ArgMatches};
use wire::docker::container::Inspect;
use wire::docker::host_config::PortBinding;

verb!(
    "port",
    "CONTAINER [PRIVATE_PORT[/PROTO]]",
    "List port mappings or a specific mapping for the container",
    Arity::Between(1, 2)
);

fn flags() -> Vec<Arg> {
    Vec::new()
}

fn address(binding: &PortBinding) -> String {
    match binding.host_ip.contains(':') {
        true => format!("[{}]:{}", binding.host_ip, binding.host_port),
        false => format!("{}:{}", binding.host_ip, binding.host_port),
    }
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let words = m.arguments();
    let container: Inspect = cx.client.ask(Call::get(shared::container(&words[0], "json"))).await?;
    let ports = container.network_settings.ports;
    if let Some(port) = words.get(1) {
        let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        if number.parse::<u16>().is_err() {
            return Err(Failure::new(format!("Error: invalid port ({number}): use a number from 0 to 65535")));
        }
        let key = format!("{number}/{}", protocol.to_ascii_lowercase());
        let bindings = ports.get(&key).cloned().flatten().unwrap_or_default();
        if bindings.is_empty() {
            return Err(Failure::new(format!("Error: No public port '{key}' published for {}", words[0])));
        }
        for binding in &bindings {
            output::line(&address(binding));
        }
        return Ok(0);
    }
    let mut lines: Vec<(u16, String)> = Vec::new();
    for (port, bindings) in &ports {
        let number = port.split('/').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        lines.extend(bindings.iter().flatten().map(|b| (number, format!("{port} -> {}", address(b)))));
    }
    lines.sort();
    for (_, line) in lines {
        output::line(&line);
    }
    Ok(0)
}
