//! Verbs about the engine as a whole.

pub(super) mod df;
pub(super) mod prune;
