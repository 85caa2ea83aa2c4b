//! The rules that a network and an endpoint need.
//!
//! ```text
//! guard        raw: nothing from a bridge may claim to go to 127.0.0.0/8 (the bridges route it, see below)
//! prerouting   what is for this host        -> ports
//! output       what is for this host        -> ports; ports on 127.x.y.z only here, so never from outside
//! ports        host port                    -> DNAT to the container
//! forward      to a bridge: replies, its own containers, what was redirected; else drop
//!              from an internal bridge to anywhere else: drop
//! postrouting  from a subnet to elsewhere   -> masquerade
//!              from a subnet or 127.0.0.0/8 to a container that it reached by a published port -> masquerade,
//!              because the answer would not come back through this host otherwise
//! ```
//! A process of this host that connects to 127.0.0.1 and a published port keeps 127.0.0.1 as its
//! source until postrouting; the kernel routes that through a bridge only with `route_localnet`.

use super::expr::{self, Expr, Meta, Op, Verdict};
use super::{FORWARD, GUARD, OUTPUT, PORTS, POSTROUTING, Rule, RuleSet};
use crate::names;
use crate::plan::{EndpointPlan, NetworkPlan, PortPlan};
use crate::subnet::Subnet;
use std::hash::{Hash, Hasher};
use std::net::Ipv4Addr;

const LOOPBACK: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 0);

fn rule(chain: &'static str, parts: &[&[Expr]]) -> Rule {
    Rule { chain, expressions: parts.concat() }
}

/// The rules for a network. Their comment ends in a hash of the plan: a changed plan has another.
pub(crate) fn network_rules(network: &NetworkPlan) -> RuleSet {
    let (bridge, subnet) = (network.bridge.as_str(), network.subnet);
    let loopback = Subnet::containing(LOOPBACK, 8);
    let from = expr::interface(Meta::IifName, Op::Eq, bridge);
    let not_from = expr::interface(Meta::IifName, Op::Ne, bridge);
    let to = expr::interface(Meta::OifName, Op::Eq, bridge);
    let not_to = expr::interface(Meta::OifName, Op::Ne, bridge);
    let (accept, drop) = ([Expr::Verdict(Verdict::Accept)], [Expr::Verdict(Verdict::Drop)]);
    let masquerade = [Expr::Masquerade];
    let mut rules = vec![rule(GUARD, &[&from, &expr::destination(loopback), &drop])];
    if network.internal {
        rules.push(rule(FORWARD, &[&from, &not_to, &drop]));
        rules.push(rule(FORWARD, &[&to, &not_from, &drop]));
    } else {
        rules.push(rule(FORWARD, &[&to, &expr::established_or_related(), &accept]));
        rules.push(rule(FORWARD, &[&to, &expr::redirected(), &accept]));
        rules.push(rule(FORWARD, &[&to, &not_from, &Expr::counted(&drop)]));
    }
    if !network.icc {
        rules.push(rule(FORWARD, &[&from, &to, &drop]));
    }
    if !network.internal {
        if network.masquerade {
            rules.push(rule(POSTROUTING, &[&expr::source(subnet), &not_to, &masquerade]));
        }
        rules.push(rule(POSTROUTING, &[&expr::source(subnet), &to, &expr::redirected(), &masquerade]));
        rules.push(rule(POSTROUTING, &[&expr::source(loopback), &to, &masquerade]));
    }
    let mut hasher = Fnv(Vec::new());
    network.hash(&mut hasher);
    let key = format!("{}{}", names::network_key(&network.id), names::letters(hasher.finish(), 6));
    RuleSet { key, rules }
}

/// The rules for a container in a network; none without published ports.
pub(crate) fn endpoint_rules(endpoint: &EndpointPlan) -> RuleSet {
    let rules = runs(&endpoint.ports)
        .into_iter()
        .map(|(port, length)| {
            let mut expressions = Vec::new();
            if !port.host_ip.is_unspecified() {
                expressions.extend(expr::destination(Subnet::containing(port.host_ip, 32)));
            }
            expressions.extend(expr::port(port.protocol.number(), port.host_port, port.host_port + (length - 1)));
            let target = (length == 1).then_some(port.container_port);
            expressions.push(Expr::Counter);
            expressions.push(Expr::Dnat(endpoint.ip, target));
            Rule { chain: if port.host_ip.is_loopback() { OUTPUT } else { PORTS }, expressions }
        })
        .collect();
    RuleSet { key: names::endpoint_key(&endpoint.container, &endpoint.network), rules }
}

/// Consecutive ports that keep their number become one run, so that a large range is one rule.
fn runs(ports: &[PortPlan]) -> Vec<(PortPlan, u16)> {
    let mut sorted = ports.to_vec();
    sorted.sort_by_key(|p| (p.host_ip, p.protocol, p.host_port));
    let mut out: Vec<(PortPlan, u16)> = Vec::new();
    for port in sorted {
        if let Some((first, length)) = out.last_mut()
            && (first.host_ip, first.protocol) == (port.host_ip, port.protocol)
            && first.host_port == first.container_port
            && port.host_port == port.container_port
            && first.host_port.checked_add(*length) == Some(port.host_port)
        {
            *length += 1;
        } else {
            out.push((port, 1));
        }
    }
    out
}

impl Expr {
    /// With a packet counter before the statement, for people who look for lost packets.
    fn counted(statement: &[Self]) -> Vec<Self> {
        [&[Self::Counter], statement].concat()
    }
}

/// [`names::hash`] as a hasher: the same in every build, which the standard one doesn't promise.
struct Fnv(Vec<u8>);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        names::hash(&[&self.0])
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Protocol;

    fn port(host: u16, inside: u16) -> PortPlan {
        PortPlan { host_ip: Ipv4Addr::UNSPECIFIED, host_port: host, container_port: inside, protocol: Protocol::Tcp }
    }

    #[test]
    fn only_ports_that_keep_their_number_are_joined() {
        let ports = [port(8002, 8002), port(8000, 8000), port(8001, 8001), port(8003, 80), port(8005, 8005)];
        let got: Vec<_> = runs(&ports).iter().map(|(p, n)| (p.host_port, *n)).collect();
        assert_eq!(got, [(8000, 3), (8003, 1), (8005, 1)]);
        let top = [port(65534, 65534), port(65535, 65535)];
        assert_eq!(runs(&top)[0].1, 2);
    }

    #[test]
    fn loopback_ports_are_never_reached_from_outside() {
        let local = PortPlan { host_ip: Ipv4Addr::LOCALHOST, ..port(80, 80) };
        let endpoint = EndpointPlan {
            container: "c".into(),
            network: "n".into(),
            veth: "v".into(),
            ip: Ipv4Addr::new(172, 17, 0, 2),
            ports: vec![local, port(81, 81)],
        };
        let chains: Vec<_> = endpoint_rules(&endpoint).rules.iter().map(|r| r.chain).collect();
        assert_eq!(chains, [PORTS, OUTPUT]);
    }
}
