//! `detach`: what `attach` made, gone to the last rule, whatever is gone already.

use super::{lock, sysctl};
use crate::conntrack::{Which, forget};
use crate::names;
use crate::netlink::Socket;
use crate::nft::Table;
use crate::plan::{DetachPlan, Done, EndpointPlan};
use oci::{Error, Result};

pub(super) fn detach(plan: &DetachPlan) -> Result<Done> {
    let _guard = lock(&plan.host)?;
    let owner = &plan.host.owner;
    let mut problems = Vec::new();
    let mut note = |result: Result<()>| {
        if let Err(error) = result {
            problems.push(error);
        }
    };
    let published = plan.endpoints.iter().filter(|e| !e.ports.is_empty());
    let keys: Vec<String> = published.map(|e| names::endpoint_key(&e.container, &e.network)).collect();
    // Closing the table's socket waits until the kernel has freed the rules, which takes about as
    // long as deleting an interface: it stays open so that both go on at once.
    let mut table = None;
    if !keys.is_empty() {
        match Table::open_if_supported(owner) {
            Ok(None) => {}
            Ok(Some(opened)) => note(table.insert(opened).change(|rule| keys.contains(&rule.key), &[]).map(drop)),
            Err(error) => note(Err(error)),
        }
    }
    match Socket::route() {
        Ok(mut socket) => {
            for endpoint in &plan.endpoints {
                note(remove_veth(&mut socket, owner, endpoint));
            }
        }
        Err(error) => note(Err(error)),
    }
    note(forget(&Which::LeadingTo(&plan.endpoints)).map(drop));
    if plan.restore_forwarding {
        note(sysctl::restore_forwarding(&plan.host));
    }
    all_or_first(problems)
}

/// Deletes the host's end of a pair, and with it the other. An interface of that name with
/// somebody else's alias is left alone.
pub(super) fn remove_veth(socket: &mut Socket, owner: &str, endpoint: &EndpointPlan) -> Result<()> {
    let what = format!("remove interface {}", endpoint.veth);
    let Some(link) = socket.link(&endpoint.veth).map_err(|r| r.about(&what))? else { return Ok(()) };
    if link.alias.is_empty() || link.alias == names::container_alias(owner, &endpoint.container) {
        socket.delete_link(link.index).map_err(|r| r.about(&what))?;
    }
    Ok(())
}

/// Done, or the first problem with the number of others in its message.
fn all_or_first(problems: Vec<Error>) -> Result<Done> {
    let mut problems = problems.into_iter();
    let Some(first) = problems.next() else { return Ok(Done::default()) };
    let rest: Vec<String> = problems.map(|error| error.to_string()).collect();
    if rest.is_empty() {
        return Err(first);
    }
    Err(Error::new(first.kind(), format!("{first}; and {}", rest.join("; "))))
}
