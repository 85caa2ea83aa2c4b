//! Verbs about networks.

pub(super) mod connect;
pub(super) mod create;
pub(super) mod disconnect;
pub(super) mod inspect;
pub(super) mod ls;
pub(super) mod prune;
pub(super) mod rm;

use crate::client::escape;

/// A network's path below the version.
fn path(name: &str, rest: &str) -> String {
    format!("/networks/{}{rest}", escape(name, false))
}
