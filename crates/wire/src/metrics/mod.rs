//! What a shim answers to Stats: one message for each version of cgroups.

pub mod v1;
pub mod v2;
