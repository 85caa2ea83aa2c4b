//! `network connect`.

use super::path;
use crate::Context;
use crate::args::{Arity, Flags, list, value, verb};
use crate::client::Call;
use crate::failure::Result;
use crate::options::pairs_map;
use clap::{Arg, ArgMatches};
use wire::docker::config::{EndpointIpam, EndpointSettings};
use wire::docker::network::ConnectRequest;

verb!("connect", "[OPTIONS] NETWORK CONTAINER", "Connect a container to a network", Arity::Exactly(2));

fn flags() -> Vec<Arg> {
    vec![
        list(None, "alias", "strings", "Add network-scoped alias for the container"),
        list(None, "driver-opt", "strings", "driver options for the network"),
        value(None, "ip", "string", "IPv4 address (e.g., \"172.30.100.104\")"),
        value(None, "ip6", "string", "IPv6 address (e.g., \"2001:db8::33\")"),
        list(None, "link", "list", "Add link to another container"),
        list(None, "link-local-ip", "strings", "Add a link-local address for the container"),
    ]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let words = m.arguments();
    let some = |name: &str| Some(m.texts(name)).filter(|list| !list.is_empty());
    let ipam = EndpointIpam {
        ipv4_address: m.text("ip").to_owned(),
        ipv6_address: m.text("ip6").to_owned(),
        link_local_ips: some("link-local-ip"),
    };
    let endpoint = EndpointSettings {
        ipam_config: Some(ipam).filter(|ipam| *ipam != EndpointIpam::default()),
        links: some("link"),
        aliases: some("alias"),
        driver_opts: some("driver-opt").map(|list| pairs_map(&list)),
        ..EndpointSettings::default()
    };
    let body = ConnectRequest { container: words[1].clone(), endpoint_config: Some(endpoint) };
    cx.client.tell(Call::post(path(&words[0], "/connect")).json(&body)?).await?;
    Ok(0)
}
