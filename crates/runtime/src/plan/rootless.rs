//! What a configuration may ask for when an ordinary user makes the container, in runc's words.

use oci::runtime::{IdMapping, Linux, Process, Spec};
use oci::{Error, Result};

use super::namespaces::{self, Namespaces};
use crate::mappings;

/// Refuses what the kernel would refuse half-way.
pub(crate) fn check(spec: &Spec, linux: &Linux, namespaces: &Namespaces) -> Result<()> {
    if !namespaces.has(namespaces::USER) {
        return Err(Error::invalid("linux.namespaces: rootless container requires user namespaces"));
    }
    if namespaces.create & namespaces::USER == 0 {
        return Ok(()); // the mappings are those of somebody else's namespace
    }
    let groups = |p: &Process| !p.user.additional_gids.is_empty();
    if mappings::is_own_group(&linux.gid_mappings) && spec.process.as_ref().is_some_and(groups) {
        return Err(Error::invalid(
            "process.user.additionalGids: cannot set any additional groups in a rootless container",
        ));
    }
    for mount in spec.mounts.iter().filter(|m| !is_bind(m.kind.as_deref(), &m.options)) {
        for option in &mount.options {
            let (key, number) = option.split_once('=').unwrap_or((option, ""));
            let (ids, what) = match key {
                "uid" => (&linux.uid_mappings, "user"),
                "gid" => (&linux.gid_mappings, "group"),
                _ => continue,
            };
            // Words that are no numbers are the filesystem's business.
            let Ok(id) = number.parse() else { continue };
            if !is_mapped(ids, id) {
                return Err(Error::invalid(format!(
                    "mounts ({}): cannot specify {option} mount option for rootless container: \
                     user namespaces enabled, but no {what} mapping found",
                    mount.destination
                )));
            }
        }
    }
    Ok(())
}

fn is_bind(kind: Option<&str>, options: &[String]) -> bool {
    kind == Some("bind") || options.iter().any(|o| o == "bind" || o == "rbind")
}

fn is_mapped(mappings: &[IdMapping], id: u32) -> bool {
    mappings.iter().any(|m| id.checked_sub(m.container_id).is_some_and(|offset| offset < m.size))
}
