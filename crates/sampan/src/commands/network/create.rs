//! `network create`.

use crate::args::{Arity, Flags, bad_flag, flag, list, value, verb};
use crate::client::Call;
use crate::failure::{Failure, Result};
use crate::options::{env, pairs_map};
use crate::{Context, output};
use clap::{Arg, ArgMatches};
use std::net::IpAddr;
use wire::docker::network::{CreateRequest, CreateResponse, Ipam, IpamPool};

verb!("create", "[OPTIONS] NETWORK", "Create a network", Arity::Exactly(1));

fn flags() -> Vec<Arg> {
    vec![
        flag(None, "attachable", "Enable manual container attachment"),
        list(None, "aux-address", "map", "Auxiliary IPv4 or IPv6 addresses used by Network driver"),
        value(Some('d'), "driver", "string", "Driver to manage the Network (default \"bridge\")"),
        list(None, "gateway", "strings", "IPv4 or IPv6 Gateway for the master subnet"),
        flag(None, "ingress", "Create swarm routing-mesh network"),
        flag(None, "internal", "Restrict external access to the network"),
        list(None, "ip-range", "strings", "Allocate container ip from a sub-range"),
        value(None, "ipam-driver", "string", "IP Address Management Driver (default \"default\")"),
        list(None, "ipam-opt", "map", "Set IPAM driver specific options"),
        flag(None, "ipv4", "Enable or disable IPv4 address assignment"),
        flag(None, "ipv6", "Enable or disable IPv6 address assignment"),
        list(None, "label", "list", "Set metadata on a network"),
        list(Some('o'), "opt", "map", "Set driver specific options"),
        value(None, "scope", "string", "Control the network's scope"),
        list(None, "subnet", "strings", "Subnet in CIDR format that represents a network segment"),
    ]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let config = pools(m)?;
    let options = m.texts("opt");
    if let Some(bad) = options.iter().find(|option| !option.contains('=')) {
        return Err(bad_flag("opt", bad, "write key=value"));
    }
    let body = CreateRequest {
        name: m.arguments().remove(0),
        driver: m.given("driver").unwrap_or("bridge").to_owned(),
        scope: m.text("scope").to_owned(),
        enable_ipv4: m.switch("ipv4"),
        enable_ipv6: m.switch("ipv6"),
        ipam: Some(Ipam {
            driver: m.given("ipam-driver").unwrap_or("default").to_owned(),
            options: Some(pairs_map(&m.texts("ipam-opt"))),
            config: Some(config),
        }),
        internal: m.on("internal"),
        attachable: m.on("attachable"),
        ingress: m.on("ingress"),
        options: Some(pairs_map(&options)),
        labels: Some(pairs_map(&env::gather(&[], &m.texts("label"), env::Kind::Label)?)),
        ..CreateRequest::default()
    };
    let created: CreateResponse = cx.client.ask(Call::post("/networks/create").json(&body)?).await?;
    if !created.warning.is_empty() {
        output::error(&format!("WARNING: {}", created.warning));
    }
    output::line(&created.id);
    Ok(0)
}

/// A range of addresses: `10.0.0.0/8`.
fn cidr(text: &str) -> Result<(IpAddr, u32)> {
    let parsed = text.split_once('/').and_then(|(ip, bits)| Some((ip.parse::<IpAddr>().ok()?, bits.parse().ok()?)));
    parsed
        .filter(|(ip, bits)| *bits <= if ip.is_ipv4() { 32 } else { 128 })
        .ok_or_else(|| Failure::new(format!("invalid CIDR address: {text}")))
}

fn contains((net, bits): (IpAddr, u32), ip: IpAddr) -> bool {
    let number = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()) << 96,
        IpAddr::V6(ip) => ip.to_bits(),
    };
    let mask = if bits == 0 { 0 } else { u128::MAX << (128 - bits) };
    net.is_ipv4() == ip.is_ipv4() && number(net) & mask == number(ip) & mask
}

fn pools(m: &ArgMatches) -> Result<Vec<IpamPool>> {
    let (subnets, ranges, gateways) = (m.texts("subnet"), m.texts("ip-range"), m.texts("gateway"));
    if subnets.len() < ranges.len() || subnets.len() < gateways.len() {
        return Err(Failure::new("every ip-range or gateway must have a corresponding subnet"));
    }
    let mut pools: Vec<((IpAddr, u32), IpamPool)> = Vec::new();
    for subnet in subnets {
        let net = cidr(&subnet)?;
        if pools.iter().any(|(other, _)| contains(*other, net.0) || contains(net, other.0)) {
            return Err(Failure::new("multiple overlapping subnet configuration is not supported"));
        }
        pools.push((net, IpamPool { subnet, ..IpamPool::default() }));
    }
    for range in ranges {
        let (ip, _) = cidr(&range)?;
        let pool = pools.iter_mut().find(|(net, pool)| contains(*net, ip) && pool.ip_range.is_empty());
        pool.ok_or_else(|| Failure::new(format!("no matching subnet for range {range}")))?
            .1
            .ip_range
            .clone_from(&range);
    }
    for gateway in gateways {
        let ip = gateway.parse().map_err(|_| Failure::new(format!("invalid gateway address {gateway}")))?;
        let pool = pools.iter_mut().find(|(net, pool)| contains(*net, ip) && pool.gateway.is_empty());
        pool.ok_or_else(|| Failure::new(format!("no matching subnet for gateway {gateway}")))?
            .1
            .gateway
            .clone_from(&gateway);
    }
    for pair in m.texts("aux-address") {
        let (name, address) =
            pair.split_once('=').ok_or_else(|| bad_flag("aux-address", &pair, "write name=address"))?;
        let ip = address.parse().map_err(|_| Failure::new(format!("invalid auxiliary address {address}")))?;
        let pool = pools.iter_mut().find(|(net, _)| contains(*net, ip));
        let pool = pool.ok_or_else(|| Failure::new(format!("no matching subnet for aux-address {address}")))?;
        pool.1.auxiliary_addresses.get_or_insert_default().insert(name.to_owned(), address.to_owned());
    }
    Ok(pools.into_iter().map(|(_, pool)| pool).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let net = cidr("10.1.0.0/16").unwrap();
        assert!(contains(net, "10.1.2.3".parse().unwrap()) && !contains(net, "10.2.0.1".parse().unwrap()));
        assert!(!contains(net, "fd00::1".parse().unwrap()));
        assert!(contains(cidr("fd00::/8").unwrap(), "fd01::1".parse().unwrap()));
        assert!(cidr("10.0.0.0/33").is_err() && cidr("x/8").is_err() && cidr("10.0.0.0").is_err());
    }
}
