//! `ps`: the list of containers.

use super::shared;
use crate::Context;
use crate::args::{Arity, Flags, filter_flag, flag, format_flag, value, verb};
use crate::client::{Call, Query};
use crate::failure::Result;
use crate::format::listing::{Listing, ellipsis, id_text, label_text, row, short_id, with_labels};
use crate::format::{time, units};
use crate::value::Val;
use clap::{Arg, ArgMatches};
use wire::docker::container::{Port, Summary};

verb!("ps", "[OPTIONS]", "List containers", Arity::None);

fn flags() -> Vec<Arg> {
    vec![
        flag(Some('a'), "all", "Show all containers (default shows just running)"),
        filter_flag(),
        format_flag(),
        value(Some('n'), "last", "int", "Show n last created containers (includes all states) (default -1)"),
        flag(Some('l'), "latest", "Show the latest created container (includes all states)"),
        flag(None, "no-trunc", "Don't truncate output"),
        flag(Some('q'), "quiet", "Only display container IDs"),
        flag(Some('s'), "size", "Display total file sizes"),
    ]
}

const LISTING: Listing = Listing {
    headings: &[
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("CreatedAt", "CREATED AT"),
        ("RunningFor", "CREATED"),
        ("Ports", "PORTS"),
        ("State", "STATE"),
        ("Status", "STATUS"),
        ("Size", "SIZE"),
        ("Names", "NAMES"),
        ("Labels", "LABELS"),
        ("Mounts", "MOUNTS"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Networks", "NETWORKS"),
    ],
    table: "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}",
    quiet: "{{.ID}}",
};

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let format = m.given("format").unwrap_or_else(|| cx.config.text("psFormat"));
    let last = if m.on("latest") { 1 } else { m.integer("last")?.unwrap_or(-1) };
    // Sizes cost the daemon a walk: they are asked for only where they are shown.
    let size = m.on("size") || format.contains(".Size");
    let query = Query::new()
        .flag("all", m.on("all"))
        .flag("size", size)
        .text("limit", &if last > 0 { last.to_string() } else { String::new() })
        .text("filters", &shared::filters(&m.texts("filter"))?);
    let containers: Vec<Summary> = cx.client.ask(Call::get("/containers/json").query(query)).await?;
    let rows: Vec<Val> = containers.iter().map(|c| summary_row(c, m.on("no-trunc"))).collect();
    let with_size = Listing { table: concat_size(), ..LISTING };
    let listing = if m.on("size") { &with_size } else { &LISTING };
    listing.print(format, m.on("quiet"), &rows)?;
    Ok(0)
}

const fn concat_size() -> &'static str {
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}\t{{.Size}}"
}

/// A container as a row.
pub(super) fn summary_row(c: &Summary, whole: bool) -> Val {
    let names: Vec<&str> = c
        .names
        .iter()
        .map(|name| name.strip_prefix('/').unwrap_or(name))
        // Names with a slash are links of other containers.
        .filter(|name| whole || !name.contains('/'))
        .collect();
    let image = match c.image.as_str() {
        "" => "<no image>".to_owned(),
        image if !whole && (c.image_id == image || image.starts_with("sha256:")) => short_id(image),
        image => image.to_owned(),
    };
    let command = if whole { c.command.clone() } else { ellipsis(&c.command, 20) };
    let mounts: Vec<String> = c
        .mounts
        .iter()
        .map(|mount| if mount.name.is_empty() { &mount.source } else { &mount.name })
        .map(|name| if whole { name.clone() } else { ellipsis(name, 15) })
        .collect();
    let local = c.mounts.iter().filter(|mount| mount.driver == "local").count();
    let mut size = units::size3(c.size_rw);
    if c.size_root_fs > 0 {
        size.push_str(&format!(" (virtual {})", units::size3(c.size_root_fs)));
    }
    let labels = c.labels.clone().unwrap_or_default();
    let networks: Vec<&str> = c.network_settings.networks.keys().map(String::as_str).collect();
    let fields = row([
        ("ID", id_text(&c.id, whole)),
        ("Image", image),
        ("Command", crate::value::quote(&command)),
        ("CreatedAt", time::go_string(c.created)),
        ("RunningFor", time::ago(c.created)),
        ("Ports", ports(&c.ports)),
        ("State", c.state.clone()),
        ("Status", c.status.clone()),
        ("Size", size),
        ("Names", names.join(",")),
        ("Labels", label_text(&labels)),
        ("Mounts", mounts.join(",")),
        ("LocalVolumes", local.to_string()),
        ("Networks", networks.join(",")),
    ]);
    with_labels(fields, &labels)
}

/// Ports with runs of neighbours drawn together: `0.0.0.0:80-82->80-82/tcp, 9000/udp`.
pub(super) fn ports(ports: &[Port]) -> String {
    let mut sorted: Vec<&Port> = ports.iter().collect();
    sorted.sort_by(|a, b| {
        (a.private_port, &a.ip, a.public_port, &a.kind).cmp(&(b.private_port, &b.ip, b.public_port, &b.kind))
    });
    let at = |ip: &str| if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    let run = |(ip, kind): (&str, &str), first: u16, last: u16| {
        let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
        if ip.is_empty() { format!("{range}/{kind}") } else { format!("{}:{range}->{range}/{kind}", at(ip)) }
    };
    let mut shown = Vec::new();
    let mut moved = Vec::new();
    let mut runs: Vec<((&str, &str), u16, u16)> = Vec::new();
    for port in sorted {
        if !port.ip.is_empty() && port.public_port != port.private_port {
            moved.push(format!("{}:{}->{}/{}", at(&port.ip), port.public_port, port.private_port, port.kind));
            continue;
        }
        let key = (port.ip.as_str(), port.kind.as_str());
        match runs.iter_mut().find(|(k, ..)| *k == key) {
            None => runs.push((key, port.private_port, port.private_port)),
            Some((_, _, last)) if last.checked_add(1) == Some(port.private_port) => *last = port.private_port,
            Some((_, first, last)) => {
                shown.push(run(key, *first, *last));
                (*first, *last) = (port.private_port, port.private_port);
            }
        }
    }
    shown.extend(runs.into_iter().map(|(key, first, last)| run(key, first, last)));
    shown.extend(moved);
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_drawn_together() {
        let port =
            |ip: &str, private_port, public_port| Port { ip: ip.into(), private_port, public_port, kind: "tcp".into() };
        let list = [
            port("0.0.0.0", 81, 81),
            port("0.0.0.0", 80, 80),
            port("::", 80, 8080),
            port("", 9000, 0),
            port("", 9001, 0),
            port("", 9005, 0),
        ];
        assert_eq!(ports(&list), "9000-9001/tcp, 0.0.0.0:80-81->80-81/tcp, 9005/tcp, [::]:8080->80/tcp");
    }
}
