//! `sweep`: what is there against what should be.

use super::{lock, sysctl};
use crate::conntrack::{Which, forget};
use crate::names;
use crate::netlink::Socket;
use crate::netlink::link::Link;
use crate::nft::{RuleSet, Table, endpoint_rules, network_rules};
use crate::plan::{Done, SweepPlan};
use oci::Result;

pub(super) fn sweep(plan: &SweepPlan) -> Result<Done> {
    let _guard = lock(&plan.host)?;
    let mut done = Done::default();
    if let Err(error) = rules(plan, &mut done) {
        done.problems.push(error.to_string());
    }
    if let Err(error) = interfaces(plan, &mut done) {
        done.problems.push(error.to_string());
    }
    if let Err(error) = forget(&Which::LeadingTo(&plan.dead)) {
        done.problems.push(error.to_string());
    }
    if plan.restore_forwarding
        && plan.endpoints.is_empty()
        && let Err(error) = sysctl::restore_forwarding(&plan.host)
    {
        done.problems.push(error.to_string());
    }
    Ok(done)
}

/// Removes rules that nothing stands for, puts back those that are missing, and removes the
/// table when no network stays.
fn rules(plan: &SweepPlan, done: &mut Done) -> Result<()> {
    let Some(mut table) = Table::open_if_supported(&plan.host.owner)? else { return Ok(()) };
    let used = |id: &String| plan.endpoints.iter().any(|e| e.network == *id);
    let mut keep: Vec<RuleSet> = plan.networks.iter().map(network_rules).collect();
    keep.extend(plan.endpoints.iter().map(endpoint_rules));
    if plan.networks.is_empty() && plan.endpoints.is_empty() {
        done.removed_rules = table.present().count();
        return table.remove();
    }
    let needed: Vec<String> = plan.networks.iter().filter(|n| used(&n.id)).map(|n| network_rules(n).key).collect();
    let missing: Vec<RuleSet> = keep
        .iter()
        .filter(|set| table.present().filter(|rule| rule.key == set.key).count() != set.rules.len())
        // A network that nobody uses yet gets its rules with its first container.
        .filter(|set| set.key.starts_with("ctr:") || needed.contains(&set.key))
        .cloned()
        .collect();
    done.restored_rules = missing.iter().map(|set| set.rules.len()).sum();
    done.removed_rules = table.present().filter(|rule| !keep.iter().any(|set| set.key == rule.key)).count();
    table.change(|rule| !keep.iter().any(|set| set.key == rule.key), &missing)?;
    Ok(())
}

/// Removes veths and bridges that nothing stands for.
fn interfaces(plan: &SweepPlan, done: &mut Done) -> Result<()> {
    let owner = &plan.host.owner;
    let mut socket = Socket::route()?;
    let links = socket.links().map_err(|r| r.about("list interfaces"))?;
    for link in links.iter().filter(|link| is_orphan(plan, link)) {
        match socket.delete_link(link.index) {
            Ok(()) => done.removed_interfaces.push(link.name.clone()),
            Err(refusal) => {
                done.problems.push(refusal.about(&format!("remove interface {} of {owner}", link.name)).to_string());
            }
        }
    }
    Ok(())
}

/// Ours by alias, or by name where we were killed before the alias was written; and not to stay.
fn is_orphan(plan: &SweepPlan, link: &Link) -> bool {
    let owner = &plan.host.owner;
    let aliased = link.alias.starts_with(&names::alias_prefix(owner));
    let named = match link.kind.as_str() {
        "veth" => link.name.starts_with(&names::veth_prefix(owner)),
        "bridge" => link.name.starts_with(&names::bridge_prefix(owner)),
        _ => false,
    };
    let half_made = named && link.alias.is_empty();
    if !(aliased || half_made) {
        return false;
    }
    match link.kind.as_str() {
        "veth" => !plan.endpoints.iter().any(|e| e.veth == link.name),
        "bridge" => !plan.networks.iter().any(|n| n.bridge == link.name),
        _ => false,
    }
}
