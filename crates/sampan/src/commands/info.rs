//! `info`: the daemon and the machine it runs on.

use crate::Context;
use crate::args::{Arity, Flags, value, verb};
use crate::client::Call;
use crate::failure::Result;
use crate::format::units::binary_size;
use crate::output;
use crate::template::Template;
use crate::value::Val;
use clap::{Arg, ArgMatches};
use wire::docker::system::Info;

verb!("info", "[OPTIONS]", "Display system-wide information", Arity::None);

fn flags() -> Vec<Arg> {
    vec![value(Some('f'), "format", "string", "Format output using a Go template, or 'json'")]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let bytes = cx.client.fetch(Call::get("/info")).await?;
    let format = m.text("format");
    if !format.is_empty() {
        let value: Val = serde_json::from_slice(&bytes)?;
        let template = Template::parse(if format == "json" { "{{json .}}" } else { format })?;
        output::line(&template.render(&value)?);
        return Ok(0);
    }
    let info: Info = serde_json::from_slice(&bytes)?;
    output::print(&text(cx, &info));
    for warning in info.warnings.iter().flatten() {
        output::error(warning);
    }
    Ok(0)
}

fn text(cx: &Context, info: &Info) -> String {
    let mut lines = vec![
        "Client: Sampan".to_owned(),
        format!(" Version:    {}", env!("CARGO_PKG_VERSION")),
        format!(" Daemon:     {}", cx.client.endpoint()),
        String::new(),
        "Server:".to_owned(),
        format!(" Containers: {}", info.containers),
        format!("  Running: {}", info.containers_running),
        format!("  Paused: {}", info.containers_paused),
        format!("  Stopped: {}", info.containers_stopped),
        format!(" Images: {}", info.images),
        format!(" Server Version: {}", info.server_version),
        format!(" Storage Driver: {}", info.driver),
    ];
    lines.extend(info.driver_status.iter().flatten().map(|[name, value]| format!("  {name}: {value}")));
    lines.push(format!(" Logging Driver: {}", info.logging_driver));
    lines.push(format!(" Cgroup Driver: {}", info.cgroup_driver));
    lines.push(format!(" Cgroup Version: {}", info.cgroup_version));
    lines.push(" Plugins:".to_owned());
    for (name, list) in
        [("Volume", &info.plugins.volume), ("Network", &info.plugins.network), ("Log", &info.plugins.log)]
    {
        if let Some(list) = list {
            lines.push(format!("  {name}: {}", list.join(" ")));
        }
    }
    let mut fact = |name: &str, value: &str| {
        if !value.is_empty() {
            lines.push(format!(" {name}: {value}"));
        }
    };
    fact("Swarm", &info.swarm.local_node_state);
    let runtimes: Vec<&str> = info.runtimes.keys().map(String::as_str).collect();
    fact("Runtimes", &runtimes.join(" "));
    fact("Default Runtime", &info.default_runtime);
    fact("Init Binary", &info.init_binary);
    fact("containerd version", &info.containerd_commit.id);
    fact("runc version", &info.runc_commit.id);
    fact("init version", &info.init_commit.id);
    if !info.security_options.is_empty() {
        lines.push(" Security Options:".to_owned());
        for option in &info.security_options {
            let mut parts = option.split(',').map(|part| part.split_once('=').unwrap_or(("name", part)));
            lines.extend(parts.next().map(|(_, name)| format!("  {name}")));
            lines.extend(parts.map(|(key, value)| {
                let key = if key == "profile" { "Profile" } else { key };
                format!("   {key}: {value}")
            }));
        }
    }
    let mut fact = |name: &str, value: &str| {
        if !value.is_empty() {
            lines.push(format!(" {name}: {value}"));
        }
    };
    fact("Kernel Version", &info.kernel_version);
    fact("Operating System", &info.operating_system);
    fact("OSType", &info.os_type);
    fact("Architecture", &info.architecture);
    fact("CPUs", &info.n_cpu.to_string());
    fact("Total Memory", &binary_size(info.mem_total as f64));
    fact("Name", &info.name);
    fact("ID", &info.id);
    fact("Docker Root Dir", &info.docker_root_dir);
    fact("Debug Mode", &info.debug.to_string());
    fact("HTTP Proxy", &info.http_proxy);
    fact("HTTPS Proxy", &info.https_proxy);
    fact("No Proxy", &info.no_proxy);
    if !info.labels.is_empty() {
        lines.push(" Labels:".to_owned());
        lines.extend(info.labels.iter().map(|label| format!("  {label}")));
    }
    lines.push(format!(" Experimental: {}", info.experimental_build));
    let networks = info.registry_config.as_ref().and_then(|config| config.get("InsecureRegistryCIDRs"));
    if let Some(list) = networks.and_then(serde_json::Value::as_array).filter(|list| !list.is_empty()) {
        lines.push(" Insecure Registries:".to_owned());
        lines.extend(list.iter().filter_map(|n| n.as_str()).map(|network| format!("  {network}")));
    }
    lines.push(format!(" Live Restore Enabled: {}", info.live_restore_enabled));
    lines.join("\n") + "\n"
}
